/*
 * One HTTP/1.1 connection and the request it carries. Private to the server room.
 *
 * A connection reads a head, then a body, then waits for the handler's answer; after that it
 * reads the next request or closes. A handler answers with one http_answer*() call, now or later,
 * or begins a stream that goes on until it or the client ends it. When the client goes away first,
 * on_abandoned (if the handler set it) comes instead and the request must not be used any more. An
 * upgrade hands the connection's stream to a session.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "loop/stream.h"
#include "server/server.h"
#include "wire/http1.h"

#define HTTP_HEAD_MAX (128 * 1024)
#define HTTP_BODY_MAX (1024 * 1024)
#define HTTP_PARAMS_MAX 2
#define HTTP_TRACE_SIZE 33

struct server {
	struct server_params params;
	int listen_fd;
	struct loop_io accept_io;
	struct loop_timer accept_timer; /* out of descriptors: try again later */
	struct list conns;
	unsigned conn_count;
	struct list kill_waits; /* rest_sandboxes.c */
	bool stopping;
};

enum http_state { HTTP_HEAD, HTTP_BODY, HTTP_HANDLING, HTTP_STREAMING, HTTP_SESSION, HTTP_CLOSING };

struct session;

struct conn {
	struct list node;
	struct server *server;
	struct stream stream;
	enum http_state state;
	struct loop_timer timer; /* bounds the wait for a head or body */
	struct loop_defer destroy;
	struct session *session; /* HTTP_SESSION */

	/* the request */
	char *head; /* copy of its bytes, wiped when freed; http points into it */
	size_t head_len;
	struct http1_request http;
	struct http1_body_reader body_reader;
	struct buf body;
	char trace[HTTP_TRACE_SIZE];
	struct store_token token;      /* of authenticated routes */
	char *params[HTTP_PARAMS_MAX]; /* captured path segments, decoded */
	bool keep_alive;
	void (*on_abandoned)(struct conn *conn, void *data);
	void (*on_drained)(struct conn *conn, void *data); /* HTTP_STREAMING: there is room again */
	void *handler_data;
};

/* Takes fd over. */
void conn_new(struct server *server, int fd);
/* Frees at the end of the turn. */
void conn_destroy(struct conn *conn);

/* Answers with a JSON text. */
void http_answer(struct conn *conn, int status, const char *json, size_t len);
/* With extra header lines ("Link: ...\r\n") or NULL. */
void http_answer_headers(
	struct conn *conn, int status, const char *headers, const char *json, size_t len);
/* The error body every client understands: code and message, flat and nested. */
void http_answer_error(struct conn *conn, int status, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Status by errno of err: -EINVAL 400, -ENOENT 404, ... */
void http_answer_failure(struct conn *conn, const struct error *err);
/* The 101 of a checked WebSocket request; then the connection belongs to session. */
void http_answer_upgrade(struct conn *conn, const char *sandbox_id, struct session *session);
/* Whether the request is a proper WebSocket upgrade; answers 400/426 itself when not. */
bool http_check_upgrade(struct conn *conn);
/* Begins an answer without end, which the handler goes on writing to conn->stream; the client's
 * going away is on_abandoned. */
void http_begin_stream(struct conn *conn, const char *content_type);
/* Sends what is queued and closes. on_abandoned does not come any more. */
void http_end_stream(struct conn *conn);
/* Base of absolute links: configured, or from Host. Heap. */
char *http_base_url(const struct conn *conn);

/* Finds the route and runs it (routes.c). */
void http_route(struct conn *conn);
