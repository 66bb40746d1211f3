/*
 * HTTP/1.1 answers, as strict as the reader of requests (http1.h): bytes in, fields out, no policy.
 */
#pragma once

#include "wire/http1.h"

/* Real answers have more headers than real requests. */
#define HTTP1_ANSWER_HEADERS_MAX 200

/* Views point into the bytes given to http1_parse_answer_head(). */
struct http1_answer {
	int status;               /* 100 to 599 */
	int minor;                /* 0 or 1 */
	struct http1_view reason; /* may be empty */
	bool keep_alive;          /* from version and Connection; false for HTTP1_BODY_CLOSE */
	bool upgrade_websocket;   /* 101 with Connection: upgrade and Upgrade: websocket */
	enum http1_body body;     /* NONE to HEAD, and with 1xx, 204 and 304 */
	/* Content-Length as it stands there, also when there is no body (HEAD, 304). */
	bool has_length;
	uint64_t content_length;
	size_t header_count;
	struct http1_header headers[HTTP1_ANSWER_HEADERS_MAX];
};

/* Parses the head of an answer to a request of that method, which decides about the body. As
 * http1_parse_head(); additionally refused are 1xx and 204 with a body announced. A status line may
 * lack the blank behind the status. */
ssize_t http1_parse_answer_head(const void *data, size_t len, size_t max_head,
	struct http1_view method, struct http1_answer *ret_answer, const char **ret_reason);

/* As http1_body_init(). */
void http1_body_init_answer(struct http1_body_reader *r, const struct http1_answer *answer);
