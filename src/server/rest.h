/* Handlers of the routes (routes.c) and what they share. Private to the server room. */
#pragma once

#include "server/http.h"

typedef void (*rest_handler)(struct conn *conn);

void rest_health(struct conn *conn);
void rest_sandbox_create(struct conn *conn);  /* upgrade */
void rest_sandbox_connect(struct conn *conn); /* upgrade */
void rest_sandbox_list(struct conn *conn);
void rest_sandbox_get(struct conn *conn);
void rest_sandbox_kill(struct conn *conn);
void rest_sandbox_extend(struct conn *conn);
void rest_sandbox_events(struct conn *conn); /* a list, or a stream of events */
void rest_network_get(struct conn *conn);
void rest_network_put(struct conn *conn);
void rest_not_available(struct conn *conn);

/* 400 already terminated or 404 unknown, for the id in the path. */
void rest_answer_no_sandbox(struct conn *conn);
/* A session of that sandbox has been freed: a kill may be waiting for it. */
void rest_session_gone(struct server *server, const char *id);

/* Labels wanted by a list request: both clients' spellings. 0, or -EINVAL with the reason.
 * Free with label_filter_done(). */
#define LABEL_FILTER_MAX 16
struct label_filter {
	struct store_label labels[LABEL_FILTER_MAX];
	size_t count;
};
int label_filter_parse(
	const struct http1_view *query, struct label_filter *ret, struct error *ret_err);
void label_filter_done(struct label_filter *f);
