/*
 * Streams from the client to the agent. The clients' protocol has no flow control, and the socket
 * must be read on (pings, and calls that free the very process that does not read its input), so
 * bytes the agent cannot take yet go to a spool: some memory, then an unlinked file.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rpc/pack.h"
#include "server/session_priv.h"

#define SPOOL_MEMORY (1024 * 1024)
/* Before bytes go to a file, the client is made to wait: while the agent takes bytes of them, the
 * socket is not read. Only that long, since the next call behind the data may be the one that makes
 * the program read on, or a ping. */
#define BRAKE_HIGH (768 * 1024)
#define BRAKE_LOW (256 * 1024)
#define BRAKE_NS (100 * CLOCK_MS)

/* --- the brake ------------------------------------------------------------------------------ */

static void brake_release(struct session *s)
{
	if (!s->braked)
		return;
	s->braked = false;
	loop_timer_cancel(&s->brake);
	stream_resume(&s->conn->stream);
}

static void on_brake_limit(struct loop_timer *timer)
{
	struct session *s = container_of(timer, struct session, brake);

	if (s->spooled < s->brake_mark) {
		s->brake_mark = s->spooled;
		loop_timer_set(s->loop, timer, BRAKE_NS, on_brake_limit);
		return;
	}
	s->brake_off = true;
	brake_release(s);
}

/* Bytes for a stream that the agent is taking have been put aside. */
static void brake(struct session *s)
{
	if (s->braked || s->brake_off || s->spooled < BRAKE_HIGH)
		return;
	s->braked = true;
	s->brake_mark = s->spooled;
	stream_pause(&s->conn->stream);
	loop_timer_set(s->loop, &s->brake, BRAKE_NS, on_brake_limit);
}

static void unspooled(struct session *s, uint64_t len)
{
	s->spooled -= len;
	if (s->spooled < BRAKE_LOW)
		brake_release(s);
	if (s->spooled == 0)
		s->brake_off = false;
}

static void drop_spool(struct input *in)
{
	uint64_t len = spool_len(&in->spool);

	spool_done(&in->spool);
	unspooled(in->s, len);
}

/* --- one stream ----------------------------------------------------------------------------- */

static void input_free(struct input *in)
{
	struct session *s = in->s;

	channel_stream_close(&in->cs);
	drop_spool(in);
	free(in->fixed_own);
	free(in->error);
	free(in->error_class);
	if (in->in_table)
		table_remove(&s->inputs, &in->entry);
	if (in->proc != NULL)
		proc_input_over(in->proc, in);
	if (in->call != NULL)
		in->call->input = NULL;
	free(in);
}

static void send_cancel(struct session *s, int64_t id, const struct rpc_failure *f)
{
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)rpc_stream_put_failure(&b, RPC_STREAM_CANCEL, id, f);
	session_send_buf(s, &b);
}

/* The agent takes no more: tell the client, swallow what is still on its way. */
static void cancel_to_client(struct input *in, const uint8_t *data, size_t len)
{
	struct rpc_failure f = {0};
	bool known = len > 0 && rpc_unpack(data, len, &rpc_failure_schema, &f) == 0;

	if (in->in_table && !in->ended)
		send_cancel(in->s, in->id, known ? &f : NULL);
	if (known)
		rpc_clear(&rpc_failure_schema, &f);
	in->cancelled = true;
	drop_spool(in);
	if (in->proc != NULL)
		proc_input_over(in->proc, in);
	in->proc = NULL;
	if (in->ended || !in->in_table)
		input_free(in);
}

static struct input *input_new(struct session *s)
{
	struct input *in = mem_new(struct input);

	in->s = s;
	in->id = -1;
	spool_init(&in->spool, s->conn->server->params.spool_fd, SPOOL_MEMORY,
		(uint64_t)s->conn->server->params.config->spool_max);
	return in;
}

static struct input *input_start(struct session *s, int64_t id)
{
	struct input *in;

	if (s->inputs.count >= SESSION_STREAMS_MAX)
		return NULL;
	in = input_new(s);
	in->id = id;
	if (table_insert_u64(&s->inputs, &in->entry, (uint64_t)id) < 0) {
		input_free(in);
		return NULL;
	}
	in->in_table = true;
	return in;
}

/* --- towards the agent ----------------------------------------------------------------------- */

static void send_failure(struct input *in)
{
	struct rpc_failure f = {
		.context = in->error != NULL ? in->error : (char *)"the source of the data failed",
		.constructor = in->error_class != NULL ? in->error_class : (char *)"Error",
	};
	auto_buf struct buf b;

	buf_init(&b, 65536);
	if (rpc_pack(&b, &rpc_failure_schema, &f) == 0)
		channel_reset(&in->cs, buf_data(&b), b.len);
	else
		channel_reset(&in->cs, NULL, 0);
}

/* Everything has been handed over: end it as the client ended it. */
static void finish(struct input *in)
{
	if (in->failed && in->on_end != NULL) {
		in->on_end(in);
		return;
	}
	/* A program whose input breaks off sees its end; a file that breaks off is a failed call.
	 */
	if (in->failed && in->proc == NULL)
		send_failure(in);
	else
		channel_send_end(&in->cs);
	input_free(in);
}

static bool pump_fixed(struct input *in)
{
	while (in->fixed_left > 0) {
		size_t room = channel_send_room(&in->cs);
		size_t n = in->fixed_left < room ? in->fixed_left : room;

		if (n == 0)
			return false;
		if (n > CHANNEL_PAYLOAD_MAX)
			n = CHANNEL_PAYLOAD_MAX;
		if (channel_send(&in->cs, in->fixed, n) < 0)
			return false;
		in->fixed += n;
		in->fixed_left -= n;
	}
	return true;
}

static bool pump_spool(struct input *in)
{
	while (spool_len(&in->spool) > 0) {
		const uint8_t *data = NULL;
		ssize_t n = spool_peek(&in->spool, &data);
		size_t room = channel_send_room(&in->cs);

		if (n < 0) {
			in->failed = in->ended = true;
			drop_spool(in);
			break;
		}
		if (room == 0)
			return false;
		if ((size_t)n > room)
			n = (ssize_t)room;
		if (n > CHANNEL_PAYLOAD_MAX)
			n = CHANNEL_PAYLOAD_MAX;
		if (channel_send(&in->cs, data, (size_t)n) < 0)
			return false;
		spool_consume(&in->spool, (size_t)n);
		unspooled(in->s, (uint64_t)n);
	}
	return true;
}

void input_pump(struct input *in)
{
	if (!in->bound || in->cs.channel == NULL)
		return;
	if (pump_fixed(in) && pump_spool(in) && in->ended)
		finish(in);
}

static void on_writable(struct channel_stream *cs)
{
	input_pump(container_of(cs, struct input, cs));
}

static void on_reset(struct channel_stream *cs, const uint8_t *data, size_t len)
{
	cancel_to_client(container_of(cs, struct input, cs), data, len);
}

static const struct channel_stream_ops input_ops = {
	.on_writable = on_writable,
	.on_reset = on_reset,
};

int input_bind(struct input *in, uint32_t channel_id)
{
	int r = channel_open_send(
		sandbox_channel(in->s->client.sb), &in->cs, channel_id, &input_ops);

	if (r < 0)
		return r;
	in->bound = true;
	return 0;
}

void input_release(struct input *in)
{
	channel_stream_close(&in->cs);
	in->call = NULL;
	in->proc = NULL;
	in->on_end = NULL;
	in->cancelled = true;
	drop_spool(in);
	if (in->ended || !in->in_table)
		input_free(in);
}

/* --- from the client --------------------------------------------------------------------- */

/* What the client sent could not be kept. It is told by a cancel; the process or call sees the
 * stream break off. */
static void give_up(struct input *in, int err)
{
	struct rpc_failure f = {
		.err = err == -ENOBUFS ? 0 : -err,
		.context =
			err == -ENOBUFS
				? (char *)"more input is waiting than the server keeps (spool-max)"
				: (char *)"keeping input for the sandbox",
		.constructor = err == -ENOBUFS ? (char *)"RangeError" : NULL,
	};
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)rpc_pack(&b, &rpc_failure_schema, &f);
	in->failed = true;
	if (in->on_end != NULL) {
		in->error = mem_strdup(f.context);
		in->error_class = mem_strdup(f.constructor);
		send_cancel(in->s, in->id, &f);
		in->on_end(in);
		return;
	}
	channel_reset(&in->cs, buf_data(&b), b.len);
	cancel_to_client(in, buf_data(&b), b.len);
}

static void push(struct input *in, const uint8_t *data, size_t len)
{
	struct session *s = in->s;
	uint64_t limit = (uint64_t)s->conn->server->params.config->spool_max;
	int r;

	if (in->bound && in->cs.channel != NULL && spool_len(&in->spool) == 0 &&
		in->fixed_left == 0) {
		while (len > 0) {
			size_t n = channel_send_room(&in->cs);

			if (n > len)
				n = len;
			if (n > CHANNEL_PAYLOAD_MAX)
				n = CHANNEL_PAYLOAD_MAX;
			if (n == 0 || channel_send(&in->cs, data, n) < 0)
				break;
			data += n;
			len -= n;
		}
	}
	if (len == 0)
		return;
	r = s->spooled + len > limit ? -ENOBUFS : spool_push(&in->spool, data, len);
	if (r == 0) {
		s->spooled += len;
		if (in->bound && in->cs.channel != NULL)
			brake(s);
		return;
	}
	give_up(in, r);
}

void input_message(struct session *s, struct rpc_stream_message *m)
{
	struct table_entry *e = table_find_u64(&s->inputs, (uint64_t)m->stream_id);
	struct input *in = e != NULL ? container_of(e, struct input, entry) : NULL;

	if (m->kind == RPC_STREAM_START) {
		if (in == NULL && input_start(s, m->stream_id) == NULL)
			session_close(s, WS_CLOSE_POLICY, "too many open streams");
		return;
	}
	if (in == NULL || in->ended)
		return;
	if (m->kind == RPC_STREAM_ENQUEUE) {
		if (m->len > 0 && !in->cancelled)
			push(in, m->data, m->len);
		return;
	}
	in->ended = true;
	if (m->kind == RPC_STREAM_ERROR) {
		in->failed = true;
		in->error = take_ptr(m->error);
		in->error_class = take_ptr(m->error_class);
	}
	if (in->cancelled)
		input_free(in);
	else if (in->on_end != NULL)
		in->on_end(in);
	else
		input_pump(in);
}

struct input *input_find_unbound(struct session *s, int64_t id)
{
	struct table_entry *e = table_find_u64(&s->inputs, (uint64_t)id);
	struct input *in = e != NULL ? container_of(e, struct input, entry) : NULL;

	return in != NULL && !in->bound && !in->cancelled && in->call == NULL ? in : NULL;
}

struct input *input_from_bytes(struct session *s, uint8_t *data, size_t len)
{
	struct input *in = input_new(s);

	in->fixed_own = data;
	in->fixed = data;
	in->fixed_left = len;
	in->ended = true;
	return in;
}

void inputs_free(struct session *s)
{
	struct table_entry *e;

	while ((e = table_any(&s->inputs)) != NULL) {
		struct input *in = container_of(e, struct input, entry);

		/* A program whose client has gone sees the end of its input. */
		if (in->proc != NULL)
			channel_send_end(&in->cs);
		else
			channel_reset(&in->cs, NULL, 0);
		input_free(in);
	}
}
