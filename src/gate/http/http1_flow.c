/*
 * One exchange at a time: the request goes HEAD -> BODY -> DONE (or HEAD -> SKIP -> DONE when the
 * gate refuses it), its answer NONE -> HEAD -> BODY -> DONE, side by side. When both are DONE the
 * next request is read, or the connection ends. A 101 makes a tunnel of it.
 *
 * Everything that happens to a leg sets at most a flag and calls advance(), which takes steps as
 * long as there is something to do; it alone then decides about pausing, timers and whether the
 * flow is lost. Legs are read only as far as what comes can be used: the client not while its
 * request is being answered (what it has pipelined waits in its socket, and a client that has ended
 * its side still gets its answer), each side not while the other is congested.
 */
#include "gate/http/http1_flow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gate/http/http1_flow_priv.h"

#define IDLE_NS (75 * CLOCK_SEC)
#define HEAD_NS (30 * CLOCK_SEC)
/* Body of a refused request that is read to keep the connection. */
#define SKIP_MAX ((uint64_t)64 * 1024)
#define REFUSAL_MAX 8192

static struct http1_flow *flow_of(struct exchange *x)
{
	return container_of(x, struct http1_flow, x);
}

/* --- writing ---------------------------------------------------------------------------------- */

void http1_flow_send_up(struct http1_flow *f, const void *data, size_t len)
{
	if (len > 0 && !f->upstream_closed && leg_write(f->upstream, data, len) == 0)
		f->x.bytes_up += len;
}

void http1_flow_send_down(struct http1_flow *f, const void *data, size_t len)
{
	int r = 0;

	if (len == 0 || f->lost)
		return;
	r = f->client_closed ? -EPIPE : leg_write(f->client, data, len);
	if (r < 0)
		f->lost = r;
	else
		f->x.bytes_down += len;
}

/* --- ending ----------------------------------------------------------------------------------- */

static void on_over(struct loop_defer *defer)
{
	struct http1_flow *f = container_of(defer, struct http1_flow, over);

	f->x.params.ops->on_done(&f->x, f->err);
}

static void over(struct http1_flow *f)
{
	f->phase = HTTP1_OVER;
	loop_timer_cancel(&f->timer);
	loop_defer(f->x.params.loop, &f->over, on_over);
}

static void drop(struct leg **leg, bool abort)
{
	if (*leg && abort)
		leg_set_abort(*leg);
	leg_free(*leg);
	*leg = NULL;
}

static void on_slow_client(struct loop_timer *timer)
{
	http1_flow_abort(container_of(timer, struct http1_flow, timer), -ETIMEDOUT);
}

/* A closing leg does not wait long, so a client that is slow gets most of its answer before. */
static void close_client(struct http1_flow *f)
{
	if (leg_congested(f->client))
		loop_timer_set(f->x.params.loop, &f->timer, IDLE_NS, on_slow_client);
	else
		leg_close_after_flush(f->client);
}

void http1_flow_close(struct http1_flow *f, int err)
{
	/* A host that has not got all of a request must not take it for all. */
	bool cut = f->phase == HTTP1_EXCHANGING && f->request == HTTP1_REQUEST_BODY;

	f->phase = HTTP1_CLOSING;
	f->err = err;
	loop_timer_cancel(&f->timer);
	if (f->upstream_closed || cut)
		drop(&f->upstream, cut);
	else
		leg_close_after_flush(f->upstream);
	if (f->client_closed)
		drop(&f->client, false);
	else
		close_client(f);
	if (!f->client && !f->upstream)
		over(f);
}

void http1_flow_abort(struct http1_flow *f, int err)
{
	if (f->phase == HTTP1_OVER)
		return;
	f->err = err;
	drop(&f->client, true);
	drop(&f->upstream, true);
	over(f);
}

/* --- the gate's own answers ------------------------------------------------------------------- */

static void put_refusal(
	struct http1_flow *f, enum exchange_refusal what, const char *detail, bool bodyless)
{
	auto_buf struct buf body;
	auto_buf struct buf out;
	char length[24];

	buf_init(&body, REFUSAL_MAX);
	buf_init(&out, 2 * REFUSAL_MAX);
	exchange_refusal_body(&f->x.params, what, detail, &body);
	snprintf(length, sizeof(length), "%zu", body.len);
	http1_put_status(&out, exchange_refusal_status(what));
	http1_put_header(&out, "Content-Type", "application/json");
	http1_put_header(&out, "Content-Length", length);
	http1_put_header(&out, "Cache-Control", "no-store");
	if (!f->keep)
		http1_put_header(&out, "Connection", "close");
	else if (f->old)
		http1_put_header(&out, "Connection", "keep-alive");
	http1_put_end(&out);
	if (!bodyless)
		buf_append(&out, buf_data(&body), body.len);
	http1_flow_send_down(f, buf_data(&out), out.len);
}

/* The connection can go on only when it is clear where the next request starts. */
static bool skippable(const struct http1_request *req)
{
	if (req->body == HTTP1_BODY_NONE)
		return true;
	return req->body == HTTP1_BODY_LENGTH && req->content_length <= SKIP_MAX &&
	       !req->expect_continue;
}

void http1_flow_refuse(struct http1_flow *f, const struct http1_request *req,
	enum exchange_refusal what, const char *detail)
{
	f->x.params.ops->on_refused(&f->x, what, detail);
	if (f->begun) {
		http1_flow_abort(f, -EBADMSG);
		return;
	}
	f->keep = req && req->keep_alive && skippable(req);
	put_refusal(f, what, detail, req && http1_view_eq(&req->method, "HEAD"));
	if (!f->keep) {
		http1_flow_close(f, 0);
		return;
	}
	http1_body_init(&f->up, req);
	f->request = HTTP1_REQUEST_SKIP;
	f->answer = HTTP1_ANSWER_DONE;
}

void http1_flow_fail(struct http1_flow *f, enum exchange_refusal what, const char *detail)
{
	f->x.params.ops->on_refused(&f->x, what, detail);
	if (f->begun) {
		http1_flow_abort(f, -EBADMSG);
		return;
	}
	f->keep = false;
	put_refusal(f, what, detail, strcmp(f->method, "HEAD") == 0);
	/* The host is not listened to any more. */
	drop(&f->upstream, true);
	f->upstream_closed = true;
	http1_flow_close(f, 0);
}

/* --- shared by requests and answers ----------------------------------------------------------- */

void http1_flow_stray(struct http1_flow *f, uint64_t secrets, const char *where)
{
	secrets &= ~f->stray;
	f->stray |= secrets;
	if (secrets)
		f->x.params.ops->on_stray(&f->x, secrets, where);
}

void http1_flow_scrubbed(struct http1_flow *f, uint64_t secrets)
{
	secrets &= ~f->scrubbed;
	f->scrubbed |= secrets;
	if (secrets)
		f->x.params.ops->on_scrubbed(&f->x, secrets);
}

static bool same_name(struct http1_view a, struct http1_view b)
{
	return a.len == b.len && strncasecmp(a.data, b.data, a.len) == 0;
}

bool http1_flow_hop_header(struct http1_fields fields, struct http1_view name)
{
	static const char *const names[] = {
		"connection",
		"content-length", /* written anew, as the framing is */
		"http2-settings",
		"keep-alive",
		"proxy-connection",
		"te",
		"trailer",
		"transfer-encoding",
		"upgrade",
	};

	for (size_t i = 0; i < array_len(names); i++)
		if (http1_view_caseeq(&name, names[i]))
			return true;
	for (size_t i = 0; i < fields.count; i++) {
		struct http1_view list = fields.items[i].value;
		struct http1_view item;

		if (!http1_view_caseeq(&fields.items[i].name, "connection"))
			continue;
		while (http1_next_item(&list, &item))
			if (same_name(item, name))
				return true;
	}
	return false;
}

bool http1_flow_head_grew(const struct buf *in, size_t *seen, size_t max)
{
	size_t from = *seen;

	*seen = in->len;
	return from == 0 || in->len >= max ||
	       memchr(buf_data(in) + from, '\n', in->len - from) != NULL;
}

/* --- moving ----------------------------------------------------------------------------------- */

/* Both halves are done: the next request, or the end. */
static bool next_exchange(struct http1_flow *f)
{
	if (f->answer != HTTP1_ANSWER_DONE)
		return false;
	/* An answer that ends the connection does not wait for the rest of its request. */
	if (!f->keep) {
		http1_flow_close(f, 0);
		return true;
	}
	if (f->request != HTTP1_REQUEST_DONE)
		return false;
	f->request = HTTP1_REQUEST_HEAD;
	f->answer = HTTP1_ANSWER_NONE;
	f->request_seen = 0;
	f->begun = false;
	return true;
}

static bool step(struct http1_flow *f)
{
	bool done = false;

	if (f->phase == HTTP1_TUNNEL)
		return http1_tunnel_step(f);
	/* What the host has said comes before what the client says next. */
	if (f->phase == HTTP1_EXCHANGING)
		done = http1_answer_step(f);
	if (f->phase == HTTP1_EXCHANGING)
		done |= http1_request_step(f);
	if (f->phase == HTTP1_EXCHANGING)
		done |= next_exchange(f);
	return done;
}

static void set_paused(struct leg *leg, bool *state, bool paused)
{
	if (*state == paused)
		return;
	*state = paused;
	if (paused)
		leg_pause(leg);
	else
		leg_resume(leg);
}

static void regulate(struct http1_flow *f)
{
	bool waits = f->phase == HTTP1_EXCHANGING && f->request == HTTP1_REQUEST_DONE;
	bool uploads = f->phase == HTTP1_TUNNEL || f->request == HTTP1_REQUEST_BODY;

	if (!f->client_closed)
		set_paused(f->client, &f->client_paused,
			waits || (uploads && leg_congested(f->upstream)));
	if (!f->upstream_closed)
		set_paused(f->upstream, &f->upstream_paused, leg_congested(f->client));
}

static void on_timer(struct loop_timer *timer)
{
	struct http1_flow *f = container_of(timer, struct http1_flow, timer);

	if (f->timing == HTTP1_TIMER_HEAD && f->request == HTTP1_REQUEST_HEAD)
		http1_flow_refuse(
			f, NULL, EXCHANGE_MALFORMED, "the request's head did not come in time");
	else
		http1_flow_close(f, 0);
}

/* How long the client may take is bounded as long as it owes something. */
static void time_client(struct http1_flow *f)
{
	enum http1_timer wanted = HTTP1_TIMER_OFF;

	if (f->phase == HTTP1_EXCHANGING && f->request == HTTP1_REQUEST_HEAD)
		wanted = leg_in(f->client)->len > 0 ? HTTP1_TIMER_HEAD : HTTP1_TIMER_IDLE;
	else if (f->phase == HTTP1_EXCHANGING && f->request == HTTP1_REQUEST_SKIP)
		wanted = HTTP1_TIMER_HEAD;
	if (wanted == f->timing)
		return;
	f->timing = wanted;
	if (wanted == HTTP1_TIMER_OFF)
		loop_timer_cancel(&f->timer);
	else
		loop_timer_set(f->x.params.loop, &f->timer,
			wanted == HTTP1_TIMER_IDLE ? IDLE_NS : HEAD_NS, on_timer);
}

static bool running(const struct http1_flow *f)
{
	return f->phase == HTTP1_EXCHANGING || f->phase == HTTP1_TUNNEL;
}

static void advance(struct http1_flow *f)
{
	while (running(f) && !f->lost && step(f))
		;
	if (running(f) && f->lost)
		http1_flow_abort(f, f->lost);
	if (!running(f))
		return;
	time_client(f);
	regulate(f);
}

/* --- the legs' events ------------------------------------------------------------------------- */

static void on_open(struct leg *l, void *data)
{
	(void)l;
	(void)data;
}

static void on_event(struct leg *l, void *data)
{
	struct http1_flow *f = data;

	if (f->phase != HTTP1_CLOSING) {
		advance(f);
	} else if (l == f->client && !leg_congested(l)) {
		loop_timer_cancel(&f->timer);
		leg_close_after_flush(l);
	} else {
		/* What comes behind the end is of no use. */
		buf_clear(leg_in(l));
	}
}

/* True when the flow is closing anyway. */
static bool close_goes_on(struct http1_flow *f, struct leg **leg)
{
	if (f->phase != HTTP1_CLOSING)
		return false;
	drop(leg, false);
	if (!f->client && !f->upstream)
		over(f);
	return true;
}

static void on_client_close(struct leg *l, int err, void *data)
{
	struct http1_flow *f = data;

	(void)l;
	f->client_closed = true;
	if (close_goes_on(f, &f->client))
		return;
	/* Then there is nothing that could be cut off, however it went. */
	bool idle = f->phase == HTTP1_EXCHANGING && f->request == HTTP1_REQUEST_HEAD &&
		    leg_in(f->client)->len == 0;

	if (idle || (f->phase == HTTP1_TUNNEL && err == 0))
		http1_flow_close(f, 0);
	else
		http1_flow_abort(f, err < 0 ? err : -ECONNABORTED);
}

static void on_upstream_close(struct leg *l, int err, void *data)
{
	struct http1_flow *f = data;

	(void)l;
	f->upstream_closed = true;
	f->upstream_err = err;
	if (!close_goes_on(f, &f->upstream))
		advance(f);
}

static const struct leg_ops client_ops = {
	.on_open = on_open,
	.on_data = on_event,
	.on_drain = on_event,
	.on_close = on_client_close,
};

static const struct leg_ops upstream_ops = {
	.on_open = on_open,
	.on_data = on_event,
	.on_drain = on_event,
	.on_close = on_upstream_close,
};

/* --- life ------------------------------------------------------------------------------------- */

struct exchange *http1_flow_new(
	const struct exchange_params *params, struct leg *client, struct leg *upstream)
{
	struct http1_flow *f = mem_new(struct http1_flow);

	f->x.params = *params;
	f->client = client;
	f->upstream = upstream;
	buf_init(&f->encoded, HTTP1_PIECE);
	/* A piece, and what a scrubber may have held of those before it. */
	buf_init(&f->work, (size_t)2 * 1024 * 1024);
	buf_init(&f->chunk, (size_t)2 * 1024 * 1024 + 64);
	leg_set_owner(client, &client_ops, f);
	leg_set_owner(upstream, &upstream_ops, f);
	leg_resume(client);
	leg_resume(upstream);
	time_client(f);
	return &f->x;
}

void http1_flow_free(struct exchange *x)
{
	struct http1_flow *f;

	if (!x)
		return;
	f = flow_of(x);
	drop(&f->client, true);
	drop(&f->upstream, true);
	loop_timer_cancel(&f->timer);
	loop_defer_cancel(&f->over);
	http1_answer_clear(f);
	websocket_scrub_done(&f->frames);
	buf_done(&f->encoded);
	buf_done(&f->work);
	buf_done(&f->chunk);
	free(f);
}
