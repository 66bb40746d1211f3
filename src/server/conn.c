#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "rpc/json.h"
#include "server/http.h"
#include "server/session.h"
#include "wire/websocket.h"

#define HEAD_LIMIT_NS (30 * CLOCK_SEC)
#define IDLE_LIMIT_NS (75 * CLOCK_SEC)
#define LINGER_NS (2 * CLOCK_SEC)
#define OUT_HIGH (1024 * 1024)
/* A whole-file answer (about 100 MiB of JSON) may stand in the queue on top of stream data. */
#define OUT_MAX (256 * 1024 * 1024)

static void free_request(struct conn *conn)
{
	if (conn->head != NULL) /* tokens, secrets */
		mem_wipe(conn->head, conn->head_len);
	free(take_ptr(conn->head));
	buf_done(&conn->body);
	for (size_t i = 0; i < HTTP_PARAMS_MAX; i++)
		free(take_ptr(conn->params[i]));
	conn->on_abandoned = NULL;
	conn->on_drained = NULL;
	conn->handler_data = NULL;
}

static void destroy_now(struct loop_defer *defer)
{
	struct conn *conn = container_of(defer, struct conn, destroy);

	free(conn);
}

void conn_destroy(struct conn *conn)
{
	struct server *server = conn->server;

	if (conn->on_abandoned != NULL) {
		void (*fn)(struct conn *, void *) = conn->on_abandoned;

		conn->on_abandoned = NULL;
		fn(conn, conn->handler_data);
	}
	if (conn->session != NULL)
		session_free(take_ptr(conn->session));
	loop_timer_cancel(&conn->timer);
	stream_done(&conn->stream);
	free_request(conn);
	list_del(&conn->node);
	server->conn_count--;
	loop_defer(server->params.loop, &conn->destroy, destroy_now);
}

static void on_time_limit(struct loop_timer *timer)
{
	struct conn *conn = container_of(timer, struct conn, timer);

	if (conn->state == HTTP_HEAD && conn->stream.in.len == 0) {
		conn_destroy(conn); /* idle */
		return;
	}
	conn->keep_alive = false;
	http_answer_error(conn, 408, "REQUEST_TIMEOUT", "the request did not arrive in time");
}

/* --- answers -------------------------------------------------------------------------------- */

static void after_answer(struct conn *conn)
{
	free_request(conn);
	if (!conn->keep_alive || conn->server->stopping) {
		conn->state = HTTP_CLOSING;
		stream_close_after_flush(&conn->stream, LINGER_NS);
		return;
	}
	conn->state = HTTP_HEAD;
	loop_timer_set(conn->server->params.loop, &conn->timer, IDLE_LIMIT_NS, on_time_limit);
	stream_resume(&conn->stream);
}

static void put_common(struct conn *conn, struct buf *b, int status)
{
	(void)http1_put_status(b, status);
	(void)http1_put_header(b, "x-deno-trace-id", conn->trace);
	(void)http1_put_header(b, "cache-control", "no-store");
	if (!conn->keep_alive)
		(void)http1_put_header(b, "connection", "close");
}

void http_answer_headers(
	struct conn *conn, int status, const char *headers, const char *json, size_t len)
{
	auto_buf struct buf b;
	int r;

	loop_timer_cancel(&conn->timer);
	buf_init(&b, SIZE_MAX / 2);
	put_common(conn, &b, status);
	(void)http1_put_header(&b, "content-type", "application/json");
	(void)buf_printf(&b, "content-length: %zu\r\n", len);
	if (headers != NULL)
		(void)buf_append_str(&b, headers);
	(void)http1_put_end(&b);
	if (!http1_view_eq(&conn->http.method, "HEAD"))
		(void)buf_append(&b, json, len);
	r = stream_write(&conn->stream, buf_data(&b), b.len);
	if (r < 0)
		conn->keep_alive = false;
	after_answer(conn);
}

void http_answer(struct conn *conn, int status, const char *json, size_t len)
{
	http_answer_headers(conn, status, NULL, json, len);
}

void http_begin_stream(struct conn *conn, const char *content_type)
{
	auto_buf struct buf b;

	loop_timer_cancel(&conn->timer);
	conn->keep_alive = false; /* the end of the connection is the end of the answer */
	buf_init(&b, 4096);
	put_common(conn, &b, 200);
	(void)http1_put_header(&b, "content-type", content_type);
	(void)http1_put_end(&b);
	(void)stream_write(&conn->stream, buf_data(&b), b.len);
	conn->state = HTTP_STREAMING;
	stream_resume(&conn->stream); /* to learn of its end */
}

void http_end_stream(struct conn *conn)
{
	after_answer(conn);
}

static void answer_error_headers(
	struct conn *conn, int status, const char *headers, const char *code, const char *message)
{
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)buf_append_str(&b, "{\"code\":");
	(void)rpc_json_put_string(&b, code, strlen(code));
	(void)buf_append_str(&b, ",\"message\":");
	(void)rpc_json_put_string(&b, message, strlen(message));
	(void)buf_append_str(&b, ",\"error\":{\"code\":");
	(void)rpc_json_put_string(&b, code, strlen(code));
	(void)buf_append_str(&b, ",\"message\":");
	(void)rpc_json_put_string(&b, message, strlen(message));
	(void)buf_append_str(&b, "}}");
	http_answer_headers(conn, status, headers, (const char *)buf_data(&b), b.len);
}

void http_answer_error(struct conn *conn, int status, const char *code, const char *fmt, ...)
{
	auto_free char *message = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&message, fmt, ap) < 0)
		abort();
	va_end(ap);
	answer_error_headers(conn, status, NULL, code, message);
}

void http_answer_failure(struct conn *conn, const struct error *err)
{
	static const struct {
		int err;
		int status;
		const char *code;
	} map[] = {
		{-EINVAL, 400, "MALFORMED_REQUEST"},
		{-ERANGE, 400, "MALFORMED_REQUEST"},
		{-E2BIG, 400, "MALFORMED_REQUEST"},
		{-ENOENT, 404, "NOT_FOUND"},
		{-EOPNOTSUPP, 501, "FEATURE_NOT_AVAILABLE"},
		{-EBUSY, 409, "BUSY"},
		{-EDQUOT, 429, "TOO_MANY_SANDBOXES"},
		{-ESHUTDOWN, 503, "SHUTTING_DOWN"},
	};

	for (size_t i = 0; i < array_len(map); i++) {
		if (map[i].err != err->err)
			continue;
		http_answer_error(conn, map[i].status,
			err->code[0] != '\0' ? err->code : map[i].code, "%s", err->message);
		return;
	}
	http_answer_error(
		conn, 500, err->code[0] != '\0' ? err->code : "INTERNAL_ERROR", "%s", err->message);
}

bool http_check_upgrade(struct conn *conn)
{
	const struct http1_view *key = http1_header(&conn->http, "sec-websocket-key");
	const struct http1_view *version = http1_header(&conn->http, "sec-websocket-version");
	char accept[WS_ACCEPT_SIZE];

	if (!conn->http.upgrade_websocket) {
		http_answer_error(conn, 426, "UPGRADE_REQUIRED",
			"this path speaks WebSocket: send an upgrade request over HTTP/1.1");
		return false;
	}
	if (version == NULL || !http1_view_eq(version, "13")) {
		/* RFC 6455 section 4.4: say which version would have done. */
		answer_error_headers(conn, 400, "sec-websocket-version: 13\r\n",
			"MALFORMED_REQUEST", "Sec-WebSocket-Version must be 13");
		return false;
	}
	if (key == NULL || ws_accept_key(key->data, key->len, accept) < 0) {
		http_answer_error(conn, 400, "MALFORMED_REQUEST",
			"Sec-WebSocket-Key must be 16 bytes in base64");
		return false;
	}
	return true;
}

void http_answer_upgrade(struct conn *conn, const char *sandbox_id, struct session *session)
{
	const struct http1_view *key = http1_header(&conn->http, "sec-websocket-key");
	char accept[WS_ACCEPT_SIZE];
	auto_buf struct buf b;

	loop_timer_cancel(&conn->timer);
	buf_init(&b, 4096);
	(void)ws_accept_key(key->data, key->len, accept);
	(void)http1_put_status(&b, 101);
	(void)http1_put_header(&b, "upgrade", "websocket");
	(void)http1_put_header(&b, "connection", "Upgrade");
	(void)http1_put_header(&b, "sec-websocket-accept", accept);
	(void)http1_put_header(&b, "x-deno-sandbox-id", sandbox_id);
	(void)http1_put_header(&b, "x-deno-trace-id", conn->trace);
	(void)http1_put_end(&b);
	(void)stream_write(&conn->stream, buf_data(&b), b.len);
	free_request(conn);
	conn->state = HTTP_SESSION;
	conn->session = session;
	conn->stream.in.wipe = false;
	/* The largest message, its frame header, and the start of the next one. */
	conn->stream.in.max = (size_t)conn->server->params.config->max_message + 256 * 1024;
	stream_resume(&conn->stream);
}

char *http_base_url(const struct conn *conn)
{
	const char *configured = conn->server->params.config->public_url;
	const struct http1_view *host = http1_header(&conn->http, "x-forwarded-host");
	const struct http1_view *proto = http1_header(&conn->http, "x-forwarded-proto");

	if (configured != NULL && configured[0] != '\0')
		return mem_strdup(configured);
	if (host == NULL)
		host = http1_header(&conn->http, "host");
	/* Clients cut the Link header at commas and semicolons. */
	if (host == NULL || memchr(host->data, ',', host->len) != NULL ||
		memchr(host->data, ';', host->len) != NULL)
		return mem_strdup("http://localhost");
	return mem_printf("%s://%.*s",
		proto != NULL && http1_view_eq(proto, "https") ? "https" : "http", (int)host->len,
		host->data);
}

/* --- requests -------------------------------------------------------------------------------- */

static void bad_request(struct conn *conn, int err, const char *reason)
{
	conn->keep_alive = false;
	if (err == -E2BIG)
		http_answer_error(conn, 431, "HEADERS_TOO_LARGE", "%s", reason);
	else if (err == -EPROTONOSUPPORT)
		http_answer_error(conn, 505, "HTTP_VERSION_NOT_SUPPORTED", "%s", reason);
	else if (err == -ENOSYS)
		http_answer_error(conn, 501, "TRANSFER_ENCODING_NOT_SUPPORTED", "%s", reason);
	else
		http_answer_error(conn, 400, "MALFORMED_REQUEST", "malformed request: %s", reason);
}

/* Returns whether a whole head has been taken from the buffer. */
static bool read_head(struct conn *conn)
{
	struct buf *in = &conn->stream.in;
	const char *reason = "";
	ssize_t n;

	if (in->len == 0)
		return false;
	random_hex(conn->trace, 16);
	n = http1_parse_head(buf_data(in), in->len, HTTP_HEAD_MAX, &conn->http, &reason);
	if (n == -EAGAIN) {
		if (conn->timer.loop == NULL ||
			conn->timer.deadline > loop_now(conn->server->params.loop) + HEAD_LIMIT_NS)
			loop_timer_set(conn->server->params.loop, &conn->timer, HEAD_LIMIT_NS,
				on_time_limit);
		return false;
	}
	if (n < 0) {
		memset(&conn->http, 0, sizeof(conn->http));
		bad_request(conn, (int)n, reason);
		return false;
	}
	/* The buffer moves when more bytes come: the request needs bytes of its own. */
	conn->head = mem_dup(buf_data(in), (size_t)n);
	conn->head_len = (size_t)n;
	(void)http1_parse_head(conn->head, (size_t)n, HTTP_HEAD_MAX, &conn->http, &reason);
	buf_consume(in, (size_t)n);
	conn->keep_alive = conn->http.keep_alive;
	http1_body_init(&conn->body_reader, &conn->http);
	buf_init(&conn->body, HTTP_BODY_MAX);
	if (conn->http.body == HTTP1_BODY_LENGTH && conn->http.content_length > HTTP_BODY_MAX) {
		conn->keep_alive = false;
		http_answer_error(conn, 413, "BODY_TOO_LARGE", "the body is limited to %d bytes",
			HTTP_BODY_MAX);
		return false;
	}
	conn->state = HTTP_BODY;
	loop_timer_set(conn->server->params.loop, &conn->timer, HEAD_LIMIT_NS, on_time_limit);
	if (conn->http.expect_continue)
		(void)stream_write(&conn->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	return true;
}

/* Returns whether the body is complete. */
static bool read_body(struct conn *conn)
{
	struct buf *in = &conn->stream.in;

	while (!conn->body_reader.done) {
		const uint8_t *payload = NULL;
		size_t used = 0, len = 0;
		int r = http1_body_read(
			&conn->body_reader, buf_data(in), in->len, &used, &payload, &len);

		if (r < 0) {
			bad_request(conn, r, "the body is not framed as announced");
			return false;
		}
		if (len > 0 && buf_append(&conn->body, payload, len) < 0) {
			conn->keep_alive = false;
			http_answer_error(conn, 413, "BODY_TOO_LARGE",
				"the body is limited to %d bytes", HTTP_BODY_MAX);
			return false;
		}
		buf_consume(in, used);
		if (used == 0 && !conn->body_reader.done)
			return false;
	}
	return true;
}

static void read_requests(struct conn *conn)
{
	if (conn->state == HTTP_HEAD && !read_head(conn))
		return;
	if (conn->state != HTTP_BODY || !read_body(conn))
		return;
	loop_timer_cancel(&conn->timer);
	conn->state = HTTP_HANDLING;
	stream_pause(&conn->stream);
	http_route(conn);
}

static void on_data(struct stream *s)
{
	struct conn *conn = container_of(s, struct conn, stream);

	switch (conn->state) {
	case HTTP_HEAD:
	case HTTP_BODY:
		read_requests(conn);
		break;
	case HTTP_SESSION:
		session_on_data(conn->session);
		break;
	case HTTP_HANDLING:
		break;
	case HTTP_STREAMING:
	case HTTP_CLOSING:
		buf_clear(&s->in);
		break;
	}
}

static void on_drain(struct stream *s)
{
	struct conn *conn = container_of(s, struct conn, stream);

	if (conn->state == HTTP_SESSION)
		session_on_drain(conn->session);
	else if (conn->on_drained != NULL)
		conn->on_drained(conn, conn->handler_data);
}

static void on_close(struct stream *s, int err)
{
	struct conn *conn = container_of(s, struct conn, stream);

	(void)err;
	conn_destroy(conn);
}

static const struct stream_ops conn_stream_ops = {
	.on_data = on_data,
	.on_drain = on_drain,
	.on_close = on_close,
};

void conn_new(struct server *server, int fd)
{
	struct conn *conn = mem_new(struct conn);
	int r;

	conn->server = server;
	conn->state = HTTP_HEAD;
	conn->keep_alive = true;
	r = stream_init(&conn->stream, server->params.loop, fd, &conn_stream_ops,
		HTTP_HEAD_MAX + 64 * 1024, OUT_HIGH, OUT_MAX);
	if (r < 0) {
		log_error("cannot take a connection: %s", strerror(-r));
		free(conn);
		return;
	}
	/* Secrets come in a header of the request. */
	conn->stream.in.wipe = true;
	list_push_back(&server->conns, &conn->node);
	server->conn_count++;
	loop_timer_set(server->params.loop, &conn->timer, HEAD_LIMIT_NS, on_time_limit);
}
