/*
 * fetch in terms of curl, which carries it out inside the sandbox: from the parameters to its
 * arguments, and from the head it prints to the answer. No state and no I/O.
 *
 * Header values and reasons are bytes in HTTP; in JSON, as in the clients' Headers, each byte is
 * the character of that number (ISO 8859-1), and other characters are refused.
 */
#pragma once

#include <stdbool.h>

#include "rpc/methods.h"
#include "wire/http1_answer.h"

enum fetch_body {
	FETCH_NO_BODY,
	FETCH_WHOLE_BODY,    /* comes to its end at once: sent with a Content-Length */
	FETCH_STREAMED_BODY, /* sent in chunks as it comes */
};

/* What a client may not ask for, as text for a TypeError (heap), or NULL. Makes the method upper
 * case where HTTP's own methods are meant, and GET when there is none. */
char *fetch_check(struct rpc_fetch *p);
/* The arguments of curl, for checked parameters. Free with fetch_arguments_done(). */
struct rpc_strings fetch_arguments(const struct rpc_fetch *p, enum fetch_body body);
void fetch_arguments_done(struct rpc_strings *args);

/* What curl follows when it may. */
bool fetch_is_redirect(const struct http1_answer *head);
/* An answer of the gate's own: the sandbox may not ask this. */
bool fetch_is_refusal(const struct http1_answer *head);
/* What a client's Response may not have a body with. */
bool fetch_is_bodyless(const struct rpc_fetch *p, int status);
/* The answer without a stream; rpc_clear() it. */
void fetch_answer(const struct http1_answer *head, struct rpc_fetched *ret);
/* Why it failed, in curl's words or, when it has said nothing, by its exit code (heap). */
char *fetch_failure(const char *url, const void *said, size_t len, int64_t code);
