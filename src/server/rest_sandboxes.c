/* REST: list, get, kill, extend. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/json.h"
#include "server/rest.h"
#include "server/session.h"
#include "wire/base64.h"

#define LIST_LIMIT_DEFAULT 30
#define LIST_LIMIT_MAX 100
#define KILL_WAIT_NS (1 * CLOCK_SEC)
#define LIST_TEXT_MAX (64 * 1024 * 1024)

void rest_health(struct conn *conn)
{
	http_answer(conn, 200, "{\"status\":\"ok\"}", 15);
}

void rest_not_available(struct conn *conn)
{
	http_answer_error(
		conn, 501, "FEATURE_NOT_AVAILABLE", "this part of the API is not built in yet");
}

/* Nobody runs it: did it ever exist? */
void rest_answer_no_sandbox(struct conn *conn)
{
	struct store_sandbox rec = {0};
	int r = store_sandbox_find(
		conn->server->params.store, conn->params[0], conn->token.org_id, &rec);

	if (r == 0 && rec.status == STORE_STOPPED)
		http_answer_error(conn, 400, "SANDBOX_ALREADY_TERMINATED",
			"The requested sandbox has already been terminated (end reason: %s)",
			store_end_reason_name(rec.end_reason));
	else
		http_answer_error(
			conn, 404, "SANDBOX_NOT_FOUND", "There is no sandbox with this id");
	store_sandbox_done(&rec);
}

/* --- metadata ---------------------------------------------------------------------------- */

static void put_time(struct buf *b, const char *key, int64_t ms)
{
	char text[CLOCK_ISO_SIZE];

	if (ms == 0) {
		(void)buf_printf(b, ",\"%s\":null", key);
		return;
	}
	clock_format_iso(ms, text);
	(void)buf_printf(b, ",\"%s\":\"%s\"", key, text);
}

static void put_string(struct buf *b, const char *key, const char *value)
{
	(void)buf_printf(b, ",\"%s\":", key);
	(void)rpc_json_put_string(b, value, strlen(value));
}

static void put_sandbox(struct buf *b, const struct store_sandbox *rec)
{
	bool stopped = rec->status == STORE_STOPPED;

	(void)buf_append_str(b, "{\"id\":");
	(void)rpc_json_put_string(b, rec->id, strlen(rec->id));
	put_time(b, "createdAt", rec->created_ms);
	put_time(b, "stoppedAt", rec->stopped_ms);
	put_string(b, "region", rec->region);
	put_string(b, "status", stopped ? "stopped" : "running");
	(void)buf_append_str(b, ",\"labels\":{");
	for (size_t i = 0; i < rec->label_count; i++) {
		if (i > 0)
			(void)buf_append_byte(b, ',');
		(void)rpc_json_put_string(b, rec->labels[i].key, strlen(rec->labels[i].key));
		(void)buf_append_byte(b, ':');
		(void)rpc_json_put_string(b, rec->labels[i].value, strlen(rec->labels[i].value));
	}
	(void)buf_append_byte(b, '}');
	put_string(b, "isolation", rec->level);
	(void)buf_printf(b, ",\"memoryMb\":%u,\"timeout\":\"%s\"", rec->memory_mb,
		rec->session ? "session" : "duration");
	put_time(b, "stopAt", rec->stop_at_ms);
	if (stopped) {
		put_string(b, "endReason", store_end_reason_name(rec->end_reason));
		put_string(b, "endDetail", rec->end_detail);
	}
	(void)buf_append_byte(b, '}');
}

void rest_sandbox_get(struct conn *conn)
{
	struct store_sandbox rec = {0};
	auto_buf struct buf b = {0};

	if (store_sandbox_find(
		    conn->server->params.store, conn->params[0], conn->token.org_id, &rec) < 0) {
		http_answer_error(
			conn, 404, "SANDBOX_NOT_FOUND", "There is no sandbox with this id");
		return;
	}
	buf_init(&b, 65536);
	put_sandbox(&b, &rec);
	store_sandbox_done(&rec);
	http_answer(conn, 200, (const char *)buf_data(&b), b.len);
}

/* --- list -------------------------------------------------------------------------------- */

struct list_query {
	struct label_filter filter;
	unsigned limit; /* 0: all */
	int64_t before_ms;
	char before_id[STORE_ID_SIZE];
};

struct list_output {
	struct buf b;
	unsigned count;
	unsigned limit;
	bool more;
	int64_t last_ms;
	char last_id[STORE_ID_SIZE];
};

/* A cursor is "<created>.<id>"; Python sends back the whole URL of the next page, and takes its
 * cursor from there (protocol.md section 3). */
static int parse_cursor(const char *text, struct list_query *q, struct error *err)
{
	char *end = NULL;

	if (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0) {
		const char *query = strchr(text, '?');
		struct http1_view v = {
			query != NULL ? query + 1 : "", query != NULL ? strlen(query + 1) : 0};
		struct http1_view key, value;
		size_t at = 0;

		while (http1_query_next(&v, &at, &key, &value)) {
			auto_free char *inner = NULL;

			if (http1_view_eq(&key, "cursor") &&
				http1_percent_decode(&value, true, &inner) == 0 &&
				strncmp(inner, "http", 4) != 0)
				return parse_cursor(inner, q, err);
		}
		return error_set_field(err, -EINVAL, "MALFORMED_REQUEST", "cursor",
			"cursor: the URL holds no cursor");
	}
	q->before_ms = strtoll(text, &end, 10);
	if (end == text || *end != '.' || q->before_ms <= 0 ||
		strlen(end + 1) >= sizeof(q->before_id))
		return error_set_field(err, -EINVAL, "MALFORMED_REQUEST", "cursor",
			"cursor: is none of this server's");
	snprintf(q->before_id, sizeof(q->before_id), "%s", end + 1);
	return 0;
}

static int parse_list_query(
	const struct http1_view *query, bool paged, struct list_query *q, struct error *err)
{
	struct http1_view key, value;
	auto_free char *cursor = NULL;
	size_t at = 0;
	int r = label_filter_parse(query, &q->filter, err);

	q->limit = paged ? LIST_LIMIT_DEFAULT : 0;
	while (r == 0 && paged && http1_query_next(query, &at, &key, &value)) {
		auto_free char *text = NULL;

		if (!http1_view_eq(&key, "limit") && !http1_view_eq(&key, "cursor"))
			continue;
		if (http1_percent_decode(&value, true, &text) < 0)
			return error_set(err, -EINVAL, "MALFORMED_REQUEST",
				"%.*s: is not well encoded", (int)key.len, key.data);
		if (http1_view_eq(&key, "cursor")) { /* of several the last one counts */
			free(cursor);
			cursor = take_ptr(text);
			continue;
		}
		q->limit = (unsigned)strtoul(text, NULL, 10);
		if (strspn(text, "0123456789") != strlen(text) || q->limit < 1 ||
			q->limit > LIST_LIMIT_MAX)
			return error_set_field(err, -EINVAL, "MALFORMED_REQUEST", "limit",
				"limit: must be between 1 and 100");
	}
	return r == 0 && cursor != NULL ? parse_cursor(cursor, q, err) : r;
}

static int on_record(const struct store_sandbox *rec, void *data)
{
	struct list_output *out = data;

	if (out->limit != 0 && out->count == out->limit) {
		out->more = true;
		return 1;
	}
	if (out->count++ > 0)
		(void)buf_append_byte(&out->b, ',');
	put_sandbox(&out->b, rec);
	out->last_ms = rec->created_ms;
	memcpy(out->last_id, rec->id, sizeof(out->last_id));
	return 0;
}

static char *next_link(struct conn *conn, const struct list_output *out)
{
	auto_free char *base = http_base_url(conn);

	return mem_printf("link: <%s%.*s?cursor=%lld.%s&limit=%u>; rel=\"next\"\r\n", base,
		(int)conn->http.path.len, conn->http.path.data, (long long)out->last_ms,
		out->last_id, out->limit);
}

void rest_sandbox_list(struct conn *conn)
{
	const struct server_params *params = &conn->server->params;
	bool paged = memmem(conn->http.path.data, conn->http.path.len, "/v3/", 4) != NULL;
	struct list_query q = {0};
	struct list_output out = {0};
	struct error err = {0};
	int64_t since = clock_real_ms() - params->config->stopped_retention_ms;
	int r = parse_list_query(&conn->http.query, paged, &q, &err);

	if (r < 0) {
		label_filter_done(&q.filter);
		http_answer_failure(conn, &err);
		return;
	}
	buf_init(&out.b, LIST_TEXT_MAX);
	out.limit = q.limit;
	(void)buf_append_byte(&out.b, '[');
	r = store_sandbox_list(params->store, conn->token.org_id, q.filter.labels, q.filter.count,
		since, q.before_ms, q.before_ms != 0 ? q.before_id : NULL,
		q.limit != 0 ? q.limit + 1 : 0, on_record, &out);
	(void)buf_append_byte(&out.b, ']');
	label_filter_done(&q.filter);
	if (r < 0) {
		http_answer_error(conn, 500, "INTERNAL_ERROR", "the records cannot be read: %s",
			strerror(-r));
	} else {
		auto_free char *link = out.more ? next_link(conn, &out) : NULL;

		http_answer_headers(conn, 200, link, (const char *)buf_data(&out.b), out.b.len);
	}
	buf_done(&out.b);
}

/* --- kill -------------------------------------------------------------------------------- */

/* A kill answers when the sandbox's sockets have been closed, or a second later: clients wait for
 * their own socket to close and count on it (protocol.md 6.1). */
struct kill_wait {
	struct list node;
	struct conn *conn;
	struct loop_timer timer;
	char id[STORE_ID_SIZE];
};

static void kill_answer(struct kill_wait *w)
{
	struct conn *conn = w->conn;

	list_del(&w->node);
	loop_timer_cancel(&w->timer);
	free(w);
	conn->on_abandoned = NULL;
	http_answer(conn, 200, "{}", 2);
}

static void on_kill_limit(struct loop_timer *timer)
{
	kill_answer(container_of(timer, struct kill_wait, timer));
}

static void on_kill_abandoned(struct conn *conn, void *data)
{
	struct kill_wait *w = data;

	(void)conn;
	list_del(&w->node);
	loop_timer_cancel(&w->timer);
	free(w);
}

static bool has_session(const struct server *server, const char *id)
{
	struct list *pos;

	list_for_each (pos, &server->conns) {
		const struct conn *conn = container_of(pos, struct conn, node);

		if (conn->session != NULL && strcmp(session_sandbox_id(conn->session), id) == 0)
			return true;
	}
	return false;
}

void rest_session_gone(struct server *server, const char *id)
{
	struct list *pos, *tmp;

	if (list_empty(&server->kill_waits) || has_session(server, id))
		return;
	list_for_each_safe (pos, tmp, &server->kill_waits) {
		struct kill_wait *w = container_of(pos, struct kill_wait, node);

		if (strcmp(w->id, id) == 0)
			kill_answer(w);
	}
}

void rest_sandbox_kill(struct conn *conn)
{
	struct server *server = conn->server;
	struct sandbox *sb =
		sandbox_find(server->params.sandboxes, conn->params[0], conn->token.org_id);
	struct store_sandbox rec = {0};
	struct kill_wait *w;

	if (sb == NULL) {
		/* Killing one that has ended already is no error. */
		if (store_sandbox_find(
			    server->params.store, conn->params[0], conn->token.org_id, &rec) == 0)
			http_answer(conn, 200, "{}", 2);
		else
			http_answer_error(
				conn, 404, "SANDBOX_NOT_FOUND", "There is no sandbox with this id");
		store_sandbox_done(&rec);
		return;
	}
	w = mem_new(struct kill_wait);
	w->conn = conn;
	snprintf(w->id, sizeof(w->id), "%s", conn->params[0]);
	list_push_back(&server->kill_waits, &w->node);
	conn->on_abandoned = on_kill_abandoned;
	conn->handler_data = w;
	loop_timer_set(server->params.loop, &w->timer, KILL_WAIT_NS, on_kill_limit);
	sandbox_end(sb, STORE_END_KILLED, conn->token.name);
	rest_session_gone(server, w->id);
}

/* --- extend ------------------------------------------------------------------------------ */

void rest_sandbox_extend(struct conn *conn)
{
	struct sandbox *sb =
		sandbox_find(conn->server->params.sandboxes, conn->params[0], conn->token.org_id);
	struct json_object *root, *v = NULL;
	struct error err = {0};
	int64_t stop_at = 0;
	char text[64];

	if (sb == NULL) {
		rest_answer_no_sandbox(conn);
		return;
	}
	root = rpc_json_parse((const char *)buf_data(&conn->body), conn->body.len, &err);
	if (root == NULL) {
		http_answer_error(conn, 400, "MALFORMED_REQUEST", "the body is not JSON");
		return;
	}
	if (!json_object_is_type(root, json_type_object) ||
		!json_object_object_get_ex(root, "stop_at_ms", &v) ||
		!json_object_is_type(v, json_type_int)) {
		http_answer_error(conn, 400, "MALFORMED_REQUEST",
			"stop_at_ms: expected an integer (milliseconds since 1970)");
	} else if (sandbox_extend(sb, json_object_get_int64(v), &stop_at) < 0) {
		http_answer_error(conn, 400, "MALFORMED_REQUEST", "stop_at_ms: lies in the past");
	} else {
		int n = snprintf(text, sizeof(text), "{\"stop_at_ms\":%lld}", (long long)stop_at);

		http_answer(conn, 200, text, (size_t)n);
	}
	json_object_put(root);
}
