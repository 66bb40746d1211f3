/*
 * Streams from the agent to the client. Bytes go from the channel's receive buffer through the
 * base64 kernel straight into the connection's send queue. Backpressure: the credit of bytes that
 * wait in the send queue of a slow client is granted when the queue has drained, so the process in
 * the sandbox blocks on its pipe and nothing grows.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "rpc/pack.h"
#include "server/session_priv.h"

/* Raw bytes in one enqueue: its text stays below 64 KiB of base64. */
#define CHUNK_MAX (48 * 1024)

static void output_free(struct output *out)
{
	struct proc *proc = out->proc;

	if (out->ops != NULL)
		out->ops->on_gone(out);
	channel_stream_close(&out->cs);
	if (out->in_table)
		table_remove(&out->s->outputs, &out->entry);
	list_del(&out->congested);
	buf_done(&out->held);
	if (proc != NULL)
		proc_output_over(proc, out);
	free(out);
}

static void send_chunk(struct session *s, int64_t id, const uint8_t *data, size_t len)
{
	size_t text = rpc_stream_enqueue_size(id, len);
	uint8_t header[WS_HEADER_MAX];
	size_t n;
	uint8_t *out;

	if (s->state != SESSION_OPEN)
		return;
	n = ws_put_header(header, WS_OP_TEXT, text);
	out = stream_reserve(&s->conn->stream, n + text);
	if (out == NULL) {
		session_close(s, WS_CLOSE_POLICY, "the client does not read its streams");
		return;
	}
	memcpy(out, header, n);
	rpc_stream_put_enqueue((char *)out + n, id, data, len);
	(void)stream_commit(&s->conn->stream, n + text);
}

static void send_notification(struct session *s, enum rpc_stream_kind kind, int64_t id)
{
	auto_buf struct buf b;

	buf_init(&b, 4096);
	(void)rpc_stream_put(&b, kind, id);
	session_send_buf(s, &b);
}

static void send_data(struct output *out, const uint8_t *data, size_t len)
{
	struct session *s = out->s;

	for (size_t at = 0; at < len; at += CHUNK_MAX)
		send_chunk(s, out->id, data + at, len - at < CHUNK_MAX ? len - at : CHUNK_MAX);
	if (out->cs.channel == NULL)
		return;
	if (!stream_congested(&s->conn->stream)) {
		channel_consume(&out->cs, len);
		return;
	}
	out->unconsumed += (uint32_t)len;
	if (list_empty(&out->congested))
		list_push_back(&s->congested, &out->congested);
}

void outputs_resume(struct session *s)
{
	while (!list_empty(&s->congested) && !stream_congested(&s->conn->stream)) {
		struct output *out = list_first(&s->congested, struct output, congested);
		uint32_t n = out->unconsumed;

		list_del(&out->congested);
		out->unconsumed = 0;
		if (out->cs.channel != NULL)
			channel_consume(&out->cs, n);
	}
}

static void send_error(struct output *out, const struct rpc_failure *f)
{
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)rpc_stream_put_failure(&b, RPC_STREAM_ERROR, out->id, f);
	session_send_buf(out->s, &b);
}

void output_finish(struct output *out, const struct rpc_failure *f)
{
	if (f != NULL && !out->s->python)
		send_error(out, f);
	else
		send_notification(out->s, RPC_STREAM_END, out->id);
	channel_reset(&out->cs, NULL, 0);
	output_free(out);
}

static void on_data(struct channel_stream *cs, const uint8_t *data, size_t len)
{
	struct output *out = container_of(cs, struct output, cs);

	if (out->flowing) {
		send_data(out, data, len);
		return;
	}
	/* The window bounds it: nothing is consumed while held. */
	(void)buf_append(&out->held, data, len);
	if (out->ops != NULL)
		out->ops->on_held(out);
}

static void on_end(struct channel_stream *cs)
{
	struct output *out = container_of(cs, struct output, cs);

	out->ended = true;
	channel_stream_close(cs);
	if (out->ops != NULL)
		out->ops->on_end(out);
	else if (out->flowing)
		output_finish(out, NULL);
}

/* The agent gave the stream up: for the client it just ends (Python knows no other way). */
static void on_reset(struct channel_stream *cs, const uint8_t *data, size_t len)
{
	(void)data;
	(void)len;
	on_end(cs);
}

static const struct channel_stream_ops output_ops = {
	.on_data = on_data,
	.on_end = on_end,
	.on_reset = on_reset,
};

struct output *output_new(struct session *s)
{
	struct channel *ch = sandbox_channel(s->client.sb);
	struct output *out;

	if (s->outputs.count >= SESSION_STREAMS_MAX)
		return NULL;
	out = mem_new(struct output);
	out->s = s;
	list_init(&out->congested);
	buf_init(&out->held, CHANNEL_WINDOW + CHANNEL_PAYLOAD_MAX);
	/* JavaScript keeps the streams of all its sandboxes in one table: ids must never repeat. */
	do {
		out->id = (int64_t)random_below((uint64_t)RPC_STREAM_ID_MAX) + 1;
	} while (table_insert_u64(&s->outputs, &out->entry, (uint64_t)out->id) < 0);
	out->in_table = true;
	if (channel_open_recv(ch, &out->cs, channel_next_stream(ch), &output_ops) < 0) {
		output_free(out);
		return NULL;
	}
	return out;
}

void output_flow(struct output *out)
{
	if (out->flowing)
		return;
	out->flowing = true;
	send_notification(out->s, RPC_STREAM_START, out->id);
	if (out->held.len > 0)
		send_data(out, buf_data(&out->held), out->held.len);
	buf_done(&out->held);
	if (out->ended && out->ops == NULL)
		output_finish(out, NULL);
}

void output_skip(struct output *out, size_t len)
{
	buf_consume(&out->held, len);
	if (out->cs.channel != NULL)
		channel_consume(&out->cs, len);
}

void output_abandon(struct output *out)
{
	channel_reset(&out->cs, NULL, 0);
	output_free(out);
}

void output_forget(struct output *out)
{
	output_free(out);
}

void output_cancel(struct session *s, int64_t id)
{
	struct table_entry *e = table_find_u64(&s->outputs, (uint64_t)id);

	if (e != NULL)
		output_abandon(container_of(e, struct output, entry));
}

void outputs_send_end(struct session *s)
{
	struct table_entry *e = NULL;

	while ((e = table_next(&s->outputs, e)) != NULL)
		send_notification(s, RPC_STREAM_END, container_of(e, struct output, entry)->id);
}

void outputs_free(struct session *s)
{
	struct table_entry *e;

	while ((e = table_any(&s->outputs)) != NULL)
		output_abandon(container_of(e, struct output, entry));
}
