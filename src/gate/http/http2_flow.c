/*
 * The engine: two legs with a session each, and how a connection ends. It is open; then the host
 * takes no new streams (no_new: the program is told so by GOAWAY, what is open is finished); then
 * both sides are ending (closing: each session sends what it has to say, then its leg is closed);
 * then done. Each may be skipped.
 *
 * Every event feeds a session and then pumps: answers go on where there is room, both sessions send
 * until their legs are full, and settle() draws the conclusions. The legs bound what is queued: a
 * session is not asked for frames while its leg is congested, so its streams' data stays where it
 * is, no window is given back, and the other side stops.
 */
#include "gate/http/http2_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/http2_priv.h"

/* Frames are put together to this much before they are written. */
#define BATCH ((size_t)32 * 1024)

static void pump(struct http2_flow *f);

static void on_deferred(struct loop_defer *defer)
{
	struct http2_flow *f = container_of(defer, struct http2_flow, defer);

	f->x.params.ops->on_done(&f->x, f->err);
}

static void note_error(struct http2_flow *f, int err)
{
	if (f->err == 0 && !f->closing)
		f->err = err;
}

static void drop_session(struct http2_side *side)
{
	nghttp2_session_del(take_ptr(side->session));
}

static void drop_leg(struct http2_side *side, bool abort)
{
	if (side->leg != NULL && abort)
		leg_set_abort(side->leg);
	leg_free(take_ptr(side->leg));
}

static void finish(struct http2_flow *f)
{
	if (f->done)
		return;
	f->done = true;
	loop_timer_cancel(&f->timer);
	drop_session(&f->client);
	drop_session(&f->upstream);
	drop_leg(&f->client, true);
	drop_leg(&f->upstream, true);
	loop_defer(f->x.params.loop, &f->defer, on_deferred);
}

/* --- ends ----------------------------------------------------------------------------------- */

static void on_timer(struct loop_timer *timer)
{
	struct http2_flow *f = container_of(timer, struct http2_flow, timer);

	if (f->closing) {
		finish(f);
		return;
	}
	http2_flow_stop_new(f, NGHTTP2_NO_ERROR);
	pump(f);
}

void http2_flow_stop_new(struct http2_flow *f, uint32_t code)
{
	nghttp2_session *session = f->client.session;

	if (f->no_new)
		return;
	f->no_new = true;
	if (session != NULL)
		(void)nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
			nghttp2_session_get_last_proc_stream_id(session), code, NULL, 0);
}

static void close_soon(struct http2_flow *f)
{
	if (f->closing)
		return;
	f->closing = true;
	f->no_new = true;
	loop_timer_set(f->x.params.loop, &f->timer, HTTP2_LINGER_NS, on_timer);
}

/* A session that has been told to end resets no streams any more, so they go first. */
static void terminate(struct http2_flow *f)
{
	f->terminated = true;
	if (f->client.session != NULL)
		(void)nghttp2_session_terminate_session(f->client.session, NGHTTP2_NO_ERROR);
	if (f->upstream.session != NULL)
		(void)nghttp2_session_terminate_session(f->upstream.session, NGHTTP2_NO_ERROR);
}

/* Nobody is there to take answers: the host is told to stop. */
static void client_gone(struct http2_flow *f)
{
	struct list *pos;
	struct list *next;

	drop_session(&f->client);
	list_for_each_safe (pos, next, &f->streams) {
		struct http2_stream *s = container_of(pos, struct http2_stream, node);

		if (s->client_open)
			http2_stream_client_closed(s, NGHTTP2_CANCEL);
	}
	close_soon(f);
}

/* Streams whose answer is whole are still delivered. */
static void upstream_gone(struct http2_flow *f)
{
	struct list *pos;
	struct list *next;

	drop_session(&f->upstream);
	list_for_each_safe (pos, next, &f->streams) {
		struct http2_stream *s = container_of(pos, struct http2_stream, node);

		if (s->upstream_open)
			http2_stream_upstream_closed(s, NGHTTP2_INTERNAL_ERROR, true);
	}
	http2_flow_stop_new(f, NGHTTP2_NO_ERROR);
}

static void gone(struct http2_side *side)
{
	if (side == &side->flow->client)
		client_gone(side->flow);
	else
		upstream_gone(side->flow);
}

/* Its session has come to an end, in order or not. */
static bool settle_side(struct http2_side *side)
{
	if (side->failed) {
		side->failed = false;
		note_error(side->flow, -EPROTO);
		drop_leg(side, true);
	} else if (side->session != NULL && nghttp2_session_want_read(side->session) == 0 &&
		   nghttp2_session_want_write(side->session) == 0) {
		if (side->leg != NULL)
			leg_close_after_flush(side->leg);
	} else {
		return false;
	}
	gone(side);
	return true;
}

static void watch_idle(struct http2_flow *f)
{
	if (f->closing || f->done)
		return;
	if (f->stream_count > 0)
		loop_timer_cancel(&f->timer);
	else if (!loop_timer_armed(&f->timer))
		loop_timer_set(f->x.params.loop, &f->timer, HTTP2_IDLE_NS, on_timer);
}

/* True when something has changed that the sessions may have to say. */
static bool settle(struct http2_flow *f)
{
	bool changed = settle_side(&f->client);

	changed = settle_side(&f->upstream) || changed;
	if (f->no_new && !f->terminated && f->stream_count == 0) {
		close_soon(f);
		terminate(f);
		changed = true;
	}
	watch_idle(f);
	if (f->client.leg == NULL && f->upstream.leg == NULL)
		finish(f);
	return changed && !f->done;
}

/* --- sending -------------------------------------------------------------------------------- */

static void put(struct http2_side *side, const uint8_t *data, size_t len)
{
	struct exchange *x = &side->flow->x;

	if (len == 0)
		return;
	if (leg_write(side->leg, data, len) < 0)
		side->mute = true;
	else if (side == &side->flow->upstream)
		x->bytes_up += len;
	else
		x->bytes_down += len;
}

/* Writes what the session has to send, as far as the leg takes it. Whether there was anything. */
static bool flush(struct http2_side *side)
{
	uint8_t batch[BATCH];
	size_t len = 0;
	size_t most = 0;
	bool any = false;

	while (side->session != NULL && side->leg != NULL && !side->failed && !side->mute &&
		!leg_congested(side->leg)) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(side->session, &data);

		if (n < 0)
			side->failed = true;
		if (n <= 0)
			break;
		any = true;
		if ((size_t)n > sizeof(batch) - len) {
			put(side, batch, len);
			len = 0;
		}
		if ((size_t)n > sizeof(batch)) {
			put(side, data, (size_t)n);
			continue;
		}
		memcpy(batch + len, data, (size_t)n);
		len += (size_t)n;
		most = len > most ? len : most;
	}
	if (side->leg != NULL && !side->mute)
		put(side, batch, len);
	if (side == &side->flow->upstream)
		mem_wipe(batch, most);
	return any;
}

static bool advance_answers(struct http2_flow *f)
{
	bool any = false;

	while (!list_empty(&f->work)) {
		struct http2_stream *s = list_first(&f->work, struct http2_stream, work);

		list_del(&s->work);
		http2_answer_advance(s);
		any = true;
	}
	return any;
}

static void pump(struct http2_flow *f)
{
	bool more = !f->done;

	while (more) {
		more = advance_answers(f);
		more = flush(&f->client) || more;
		more = flush(&f->upstream) || more;
		more = settle(f) || (more && !f->done);
	}
}

/* --- the legs' events ----------------------------------------------------------------------- */

/* A peer that makes us say things and does not listen. */
static void check_queue(struct http2_side *side)
{
	if (side->session != NULL && side->leg != NULL && leg_congested(side->leg) &&
		nghttp2_session_get_outbound_queue_size(side->session) > HTTP2_QUEUE_MAX)
		side->failed = true;
}

static void on_data(struct leg *l, void *data)
{
	struct http2_side *side = data;
	struct buf *in = leg_in(l);

	if (side->session != NULL && !side->failed) {
		ssize_t n = nghttp2_session_mem_recv(side->session, buf_data(in), in->len);

		if (n < 0)
			side->failed = true;
	}
	buf_clear(in);
	check_queue(&side->flow->client);
	check_queue(&side->flow->upstream);
	pump(side->flow);
}

static void on_drain(struct leg *l, void *data)
{
	struct http2_side *side = data;

	(void)l;
	pump(side->flow);
}

static void on_close(struct leg *l, int err, void *data)
{
	struct http2_side *side = data;

	(void)l;
	note_error(side->flow, err);
	drop_leg(side, false);
	if (side->session != NULL)
		gone(side);
	pump(side->flow);
}

static const struct leg_ops leg_ops = {
	.on_data = on_data,
	.on_drain = on_drain,
	.on_close = on_close,
};

/* --- life ----------------------------------------------------------------------------------- */

static void side_init(struct http2_side *side, struct http2_flow *f, struct leg *leg)
{
	side->flow = f;
	side->leg = leg;
	http2_fields_init(&side->fields, HTTP2_FIELDS_MAX);
	leg_set_owner(leg, &leg_ops, side);
	if (http2_session_new(side) < 0)
		side->failed = true;
}

struct exchange *http2_flow_new(
	const struct exchange_params *params, struct leg *client, struct leg *upstream)
{
	struct http2_flow *f = mem_new(struct http2_flow);

	f->x.params = *params;
	list_init(&f->streams);
	list_init(&f->work);
	side_init(&f->client, f, client);
	side_init(&f->upstream, f, upstream);
	leg_resume(client);
	leg_resume(upstream);
	pump(f);
	return &f->x;
}

void http2_flow_free(struct exchange *x)
{
	struct http2_flow *f = x != NULL ? container_of(x, struct http2_flow, x) : NULL;

	if (f == NULL)
		return;
	drop_session(&f->client);
	drop_session(&f->upstream);
	while (!list_empty(&f->streams))
		http2_stream_free(list_first(&f->streams, struct http2_stream, node));
	drop_leg(&f->client, true);
	drop_leg(&f->upstream, true);
	http2_fields_done(&f->client.fields);
	http2_fields_done(&f->upstream.fields);
	loop_timer_cancel(&f->timer);
	loop_defer_cancel(&f->defer);
	free(f);
}
