/* Whole-file reads and writes: content travels as a stream on the channel, and the client sees one
 * answer. */
#include <string.h>

#include "base/mem.h"
#include "rpc/pack.h"
#include "server/session_priv.h"
#include "wire/base64.h"

/* --- reading ---------------------------------------------------------------------------------- */

static void content_data(struct channel_stream *cs, const uint8_t *data, size_t len)
{
	struct call *call = container_of(cs, struct call, content);
	struct session *s = call->s;

	if (!call->too_large && (s->collecting + len > SESSION_COLLECT_MAX ||
					buf_append(&call->collected, data, len) < 0)) {
		/* Let the rest go by; the agent stops when it sees the cancel. */
		call->too_large = true;
		sandbox_call_cancel(&call->rpc);
	}
	if (!call->too_large)
		s->collecting += len;
	channel_consume(cs, len);
}

static void content_end(struct channel_stream *cs)
{
	channel_stream_close(cs);
}

static void content_reset(struct channel_stream *cs, const uint8_t *data, size_t len)
{
	/* The failed answer to the request follows and has the reason. */
	(void)cs;
	(void)data;
	(void)len;
}

static const struct channel_stream_ops content_ops = {
	.on_data = content_data,
	.on_end = content_end,
	.on_reset = content_reset,
};

static void read_done(struct call *call)
{
	channel_reset(&call->content, NULL, 0);
	call->s->collecting -= call->collected.len;
	buf_done(&call->collected);
}

static void answer_too_large(struct call *call, const char *path)
{
	auto_free char *text =
		mem_printf("%s: the file is larger than this client takes in one "
			   "message (%zu bytes); read it in parts with open and read",
			path, session_message_max(call->s));
	struct rpc_failure f = {.context = text, .constructor = (char *)"RangeError"};

	call_answer_failure(call, &f);
}

static void answer_bytes(struct call *call)
{
	size_t len = base64_encoded_len(call->collected.len);
	auto_buf struct buf b;
	uint8_t *out;

	buf_init(&b, len + 65536);
	(void)rpc_put_ok_begin(&b, call->id);
	(void)buf_append_byte(&b, '"');
	out = buf_reserve(&b, len, NULL);
	if (out == NULL) {
		call_answer_error(call, RPC_ERR_INTERNAL, "Internal error");
		return;
	}
	buf_commit(&b, base64_encode((char *)out, buf_data(&call->collected), call->collected.len));
	(void)buf_append_byte(&b, '"');
	(void)rpc_put_ok_end(&b);
	call_answer_ok(call, &b);
}

static void answer_text(struct call *call)
{
	auto_buf struct buf b;

	/* Six characters for every byte at the worst. */
	buf_init(&b, call->collected.len * 6 + 65536);
	(void)rpc_put_ok_begin(&b, call->id);
	(void)rpc_json_put_string(&b, buf_data(&call->collected), call->collected.len);
	(void)rpc_put_ok_end(&b);
	call_answer_ok(call, &b);
}

static void finish_read(struct call *call, bool failed, const uint8_t *data, size_t len)
{
	if (call->too_large)
		answer_too_large(call, call->method->name);
	else if (failed)
		call_answer_packed_failure(call, data, len);
	else if (call->method->id == RPC_READ_FILE)
		answer_bytes(call);
	else
		answer_text(call);
	call_free(call);
}

void handle_read_file(struct call *call, void *params)
{
	struct rpc_read_file *p = params;
	struct session *s = call->s;
	struct channel *ch = sandbox_channel(s->client.sb);

	if (!call_set_abort(call, p->abort_id))
		return;
	/* Base64 makes four characters of three bytes; the envelope needs a few. */
	buf_init(&call->collected, session_message_max(s) / 4 * 3);
	if (call->method->id == RPC_READ_TEXT_FILE)
		buf_init(&call->collected, session_message_max(s));
	p->channel = channel_next_stream(ch);
	if (channel_open_recv(ch, &call->content, (uint32_t)p->channel, &content_ops) < 0) {
		call_answer_error(call, RPC_ERR_INTERNAL, "Internal error");
		call_free(call);
		return;
	}
	call->done = read_done;
	(void)call_send(call, p, finish_read);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_done(struct call *call)
{
	if (call->input != NULL) {
		struct input *in = take_ptr(call->input);

		in->call = NULL;
		channel_reset(&in->cs, NULL, 0);
		input_release(in);
	}
}

static void finish_write(struct call *call, bool failed, const uint8_t *data, size_t len)
{
	if (failed)
		call_answer_packed_failure(call, data, len);
	else
		call_answer_null(call);
	call_free(call);
}

static struct input *content_of(struct call *call, struct rpc_write_file *p)
{
	struct session *s = call->s;
	struct input *in;

	if (p->content_stream_id >= 0) {
		in = input_find_unbound(s, p->content_stream_id);
		if (in == NULL)
			call_answer_issue(call, "contentStreamId", "open stream", "custom",
				"no stream with this id has been started, or it is in use");
		return in;
	}
	if (p->content.data != NULL)
		return input_from_bytes(s, take_ptr(p->content.data), p->content.len);
	call_answer_issue(call, "content",
		call->method->id == RPC_WRITE_FILE ? "base64 string" : "string", "invalid_type",
		"content or contentStreamId is required");
	return NULL;
}

void handle_write_file(struct call *call, void *params)
{
	struct rpc_write_file *p = params;
	struct session *s = call->s;
	uint32_t id = channel_next_stream(sandbox_channel(s->client.sb));
	struct input *in;

	if (!call_set_abort(call, p->abort_id))
		return;
	in = content_of(call, p);
	if (in == NULL) {
		call_free(call);
		return;
	}
	call->input = in;
	in->call = call;
	call->done = write_done;
	if (input_bind(in, id) < 0) {
		call_answer_error(call, RPC_ERR_INTERNAL, "Internal error");
		call_free(call);
		return;
	}
	p->channel = id;
	/* The request goes before the first byte of its content. */
	if (call_send(call, p, finish_write))
		input_pump(in);
}
