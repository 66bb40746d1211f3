/*
 * REST: the events of a sandbox, as a list or as server-sent events (text/event-stream).
 *
 * A stream reads from the store: first what is there, then what has come whenever the sandbox's
 * watch says so. While the client is slow nothing is read; one that takes nothing for a while is
 * cut off, and can go on after the last number it has seen.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/json.h"
#include "server/rest.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 1000
#define LIST_TEXT_MAX ((size_t)256 * 1024 * 1024)
#define STREAM_BATCH 200
#define STREAM_TEXT_MAX ((size_t)64 * 1024 * 1024)
#define KEEPALIVE_NS (15 * CLOCK_SEC)
#define SLOW_LIMIT_NS (30 * CLOCK_SEC)

struct event_query {
	int64_t after;
	unsigned limit;
	char type[STORE_EVENT_TYPE_SIZE]; /* "": all */
};

/* --- the question ------------------------------------------------------------------------ */

static int bad(struct error *err, const char *field, const char *text)
{
	return error_set_field(err, -EINVAL, "MALFORMED_REQUEST", field, "%s: %s", field, text);
}

static int parse_number(const char *text, const char *field, int64_t min, int64_t max, int64_t *ret,
	struct error *err)
{
	size_t len = strlen(text);
	int64_t n = len > 0 && len <= 18 ? strtoll(text, NULL, 10) : -1;

	if (strspn(text, "0123456789") != len || n < min || n > max)
		return error_set_field(err, -EINVAL, "MALFORMED_REQUEST", field,
			"%s: must be a number from %lld to %lld", field, (long long)min,
			(long long)max);
	*ret = n;
	return 0;
}

static int parse_type(const char *text, struct event_query *q, struct error *err)
{
	static const char *const types[] = {"created", "started", "flow", "denied", "placeholder",
		"scrubbed", "dropped", "policy", "gate-ended", "ended"};

	for (size_t i = 0; i < array_len(types); i++) {
		if (strcmp(types[i], text) != 0)
			continue;
		memcpy(q->type, text, strlen(text) + 1);
		return 0;
	}
	return bad(err, "type",
		"must be one of created, started, flow, denied, placeholder, scrubbed, dropped, "
		"policy, gate-ended, ended");
}

static int parse_pair(
	const struct http1_view *key, const char *text, struct event_query *q, struct error *err)
{
	int64_t limit = q->limit;
	int r = 0;

	if (http1_view_eq(key, "after"))
		return parse_number(text, "after", 0, INT64_MAX, &q->after, err);
	if (http1_view_eq(key, "type"))
		return parse_type(text, q, err);
	if (http1_view_eq(key, "limit"))
		r = parse_number(text, "limit", 1, LIMIT_MAX, &limit, err);
	q->limit = (unsigned)limit;
	return r;
}

static int parse_query(const struct conn *conn, struct event_query *q, struct error *err)
{
	const struct http1_view *last = http1_header(&conn->http, "last-event-id");
	struct http1_view key, value;
	size_t at = 0;
	int r = 0;

	q->limit = LIMIT_DEFAULT;
	while (r == 0 && http1_query_next(&conn->http.query, &at, &key, &value)) {
		auto_free char *text = NULL;

		if (http1_percent_decode(&value, true, &text) < 0)
			return error_set(err, -EINVAL, "MALFORMED_REQUEST",
				"%.*s: is not well encoded", (int)(key.len < 80 ? key.len : 80),
				key.data);
		r = parse_pair(&key, text, q, err);
	}
	/* A browser that connects again repeats the URL and says here how far it was. */
	if (r == 0 && last != NULL && last->len > 0) {
		auto_free char *text = mem_strndup(last->data, last->len);

		r = parse_number(text, "Last-Event-ID", 0, INT64_MAX, &q->after, err);
	}
	return r;
}

/* --- text -------------------------------------------------------------------------------- */

/* {"id":1,"time":"...","type":"...", and the details' own fields behind them. */
static void put_event(struct buf *b, const struct store_event *event)
{
	char time[CLOCK_ISO_SIZE];
	bool bare = strcmp(event->details, "{}") == 0;

	clock_format_iso(event->time_ms, time);
	(void)buf_printf(b, "{\"id\":%lld,\"time\":\"%s\",\"type\":\"%s\"%s%s",
		(long long)event->id, time, event->type, bare ? "" : ",", event->details + 1);
}

/* --- list -------------------------------------------------------------------------------- */

struct list_output {
	struct buf b;
	unsigned count, limit;
	bool more;
	int64_t last;
};

static int on_listed(const struct store_event *event, void *data)
{
	struct list_output *out = data;

	if (out->count == out->limit) {
		out->more = true;
		return 1;
	}
	if (out->count++ > 0)
		(void)buf_append_byte(&out->b, ',');
	put_event(&out->b, event);
	out->last = event->id;
	return 0;
}

static void answer_list(struct conn *conn, const struct event_query *q)
{
	struct list_output out = {.limit = q->limit};
	struct store_event_query wanted = {
		.sandbox_id = conn->params[0],
		.org_id = conn->token.org_id,
		.after_id = q->after,
		.type = q->type[0] != '\0' ? q->type : NULL,
		.limit = q->limit + 1,
	};
	auto_free char *link = NULL;
	int r;

	buf_init(&out.b, LIST_TEXT_MAX);
	(void)buf_append_byte(&out.b, '[');
	r = store_event_list(conn->server->params.store, &wanted, on_listed, &out);
	(void)buf_append_byte(&out.b, ']');
	if (out.more) {
		auto_free char *base = http_base_url(conn);

		link = mem_printf("link: <%s%.*s?after=%lld&limit=%u%s%s>; rel=\"next\"\r\n", base,
			(int)conn->http.path.len, conn->http.path.data, (long long)out.last,
			q->limit, q->type[0] != '\0' ? "&type=" : "", q->type);
	}
	if (r < 0)
		http_answer_error(
			conn, 500, "INTERNAL_ERROR", "the events cannot be read: %s", strerror(-r));
	else
		http_answer_headers(conn, 200, link, (const char *)buf_data(&out.b), out.b.len);
	buf_done(&out.b);
}

/* --- stream ------------------------------------------------------------------------------ */

struct event_stream {
	struct conn *conn;
	struct sandbox_watch watch;
	struct loop_timer keepalive;
	struct loop_timer slow; /* armed while the client must take something first */
	struct loop_timer more; /* the next part of a long backlog */
	struct event_query query;
	bool ended; /* the sandbox has: nothing comes any more */
};

struct stream_output {
	struct buf b;
	int64_t last;
	unsigned count;
};

static void pump(struct event_stream *s);

static void free_stream(struct event_stream *s)
{
	sandbox_watch_drop(&s->watch);
	loop_timer_cancel(&s->keepalive);
	loop_timer_cancel(&s->slow);
	loop_timer_cancel(&s->more);
	free(s);
}

static void on_gone(struct conn *conn, void *data)
{
	(void)conn;
	free_stream(data);
}

/* Ends it from our side. */
static void finish(struct event_stream *s)
{
	struct conn *conn = s->conn;

	conn->on_abandoned = NULL;
	free_stream(s);
	http_end_stream(conn);
}

static void on_slow(struct loop_timer *timer)
{
	struct event_stream *s = container_of(timer, struct event_stream, slow);

	conn_destroy(s->conn); /* what is queued would not arrive; calls on_gone() */
}

static void on_keepalive(struct loop_timer *timer)
{
	struct event_stream *s = container_of(timer, struct event_stream, keepalive);

	if (!stream_congested(&s->conn->stream))
		(void)stream_write(&s->conn->stream, ":\n\n", 3);
	loop_timer_set(s->conn->server->params.loop, timer, KEEPALIVE_NS, on_keepalive);
}

static void on_more(struct loop_timer *timer)
{
	pump(container_of(timer, struct event_stream, more));
}

static int on_streamed(const struct store_event *event, void *data)
{
	struct stream_output *out = data;

	(void)buf_printf(&out->b, "id: %lld\nevent: %s\ndata: ", (long long)event->id, event->type);
	put_event(&out->b, event);
	(void)buf_append_str(&out->b, "\n\n");
	out->last = event->id;
	out->count++;
	return 0;
}

/* Sends the next part of what the store has. */
static void pump(struct event_stream *s)
{
	const struct server_params *params = &s->conn->server->params;
	struct stream_output out = {.last = s->query.after};
	struct store_event_query wanted = {
		.sandbox_id = s->conn->params[0],
		.org_id = s->conn->token.org_id,
		.after_id = s->query.after,
		.type = s->query.type[0] != '\0' ? s->query.type : NULL,
		.limit = STREAM_BATCH,
	};
	int r;

	if (loop_timer_armed(&s->slow) || loop_timer_armed(&s->more))
		return;
	buf_init(&out.b, STREAM_TEXT_MAX);
	r = store_event_list(params->store, &wanted, on_streamed, &out);
	if (r == 0 && out.b.len > 0)
		r = stream_write(&s->conn->stream, buf_data(&out.b), out.b.len);
	buf_done(&out.b);
	s->query.after = out.last;
	if (r < 0 || (s->ended && out.count < STREAM_BATCH))
		finish(s);
	else if (stream_congested(&s->conn->stream))
		loop_timer_set(params->loop, &s->slow, SLOW_LIMIT_NS, on_slow);
	else if (out.count == STREAM_BATCH)
		loop_timer_set(params->loop, &s->more, 0, on_more);
}

static void on_drained(struct conn *conn, void *data)
{
	struct event_stream *s = data;

	(void)conn;
	loop_timer_cancel(&s->slow);
	pump(s);
}

static void on_events(struct sandbox_watch *watch, bool ended)
{
	struct event_stream *s = container_of(watch, struct event_stream, watch);

	s->ended = s->ended || ended;
	pump(s);
}

static void begin_stream(struct conn *conn, const struct event_query *q)
{
	const struct server_params *params = &conn->server->params;
	struct sandbox *sb = sandbox_find(params->sandboxes, conn->params[0], conn->token.org_id);
	struct event_stream *s = mem_new(struct event_stream);

	s->conn = conn;
	s->query = *q;
	conn->on_abandoned = on_gone;
	conn->on_drained = on_drained;
	conn->handler_data = s;
	http_begin_stream(conn, "text/event-stream");
	if (sb != NULL)
		sandbox_watch_events(sb, &s->watch, on_events);
	else
		s->ended = true;
	loop_timer_set(params->loop, &s->keepalive, KEEPALIVE_NS, on_keepalive);
	pump(s);
}

void rest_sandbox_events(struct conn *conn)
{
	const struct server_params *params = &conn->server->params;
	const struct http1_view *accept = http1_header(&conn->http, "accept");
	struct store_sandbox rec = {0};
	struct event_query q = {0};
	struct error err = {0};

	if (store_sandbox_find(params->store, conn->params[0], conn->token.org_id, &rec) < 0) {
		http_answer_error(
			conn, 404, "SANDBOX_NOT_FOUND", "There is no sandbox with this id");
		return;
	}
	store_sandbox_done(&rec);
	if (parse_query(conn, &q, &err) < 0) {
		http_answer_failure(conn, &err);
		return;
	}
	sandbox_events_flush(params->sandboxes);
	if (accept != NULL && memmem(accept->data, accept->len, "text/event-stream", 17) != NULL)
		begin_stream(conn, &q);
	else
		answer_list(conn, &q);
}
