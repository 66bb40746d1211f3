/* Requests to the agent, and what the channel reports. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "rpc/pack.h"
#include "sandbox/sandbox_priv.h"

int sandbox_call(struct sandbox *sb, struct sandbox_call *call, const struct rpc_method *method,
	const void *params, sandbox_call_fn fn)
{
	struct buf packed;
	int r = 0;

	if (!sb->channel_open)
		return -EPIPE;
	buf_init(&packed, CHANNEL_MESSAGE_MAX);
	if (params != NULL && method->params != NULL)
		r = rpc_pack(&packed, method->params, params);
	if (r < 0)
		r = -E2BIG;
	else
		r = channel_request(&sb->channel, (uint16_t)method->id, buf_data(&packed),
			packed.len, &call->request);
	buf_done(&packed);
	if (r < 0)
		return r;
	call->sb = sb;
	call->fn = fn;
	r = table_insert_u64(&sb->calls, &call->entry, call->request);
	if (r < 0) {
		call->sb = NULL;
		return r;
	}
	return 0;
}

void sandbox_call_cancel(struct sandbox_call *call)
{
	if (call->sb != NULL)
		(void)channel_cancel(&call->sb->channel, call->request);
}

void sandbox_call_drop(struct sandbox_call *call)
{
	if (call->sb == NULL)
		return;
	table_remove(&call->sb->calls, &call->entry);
	call->sb = NULL;
}

void sandbox_calls_drop_all(struct sandbox *sb)
{
	struct table_entry *e;

	while ((e = table_any(&sb->calls)) != NULL)
		sandbox_call_drop(container_of(e, struct sandbox_call, entry));
}

static void on_hello(struct channel *ch, uint32_t version)
{
	(void)version; /* the channel has refused others */
	sandbox_booted(container_of(ch, struct sandbox, channel));
}

static void on_response(
	struct channel *ch, uint32_t id, bool failed, const uint8_t *data, size_t len)
{
	struct sandbox *sb = container_of(ch, struct sandbox, channel);
	struct table_entry *e = table_find_u64(&sb->calls, id);
	struct sandbox_call *call;

	if (e == NULL) /* dropped meanwhile */
		return;
	call = container_of(e, struct sandbox_call, entry);
	sandbox_call_drop(call);
	call->fn(call, failed, data, len);
}

static void on_close(struct channel *ch, int err)
{
	struct sandbox *sb = container_of(ch, struct sandbox, channel);
	struct error e = {0};

	if (sb->state == SANDBOX_RUNNING) {
		/* An agent that ends closes its channel and exits at nearly the same time; the exit
		 * status tells more, so leave the machine's own report a moment. */
		if (err == 0 || err == -ECONNRESET || err == -EPIPE) {
			sb->channel_open = false;
			channel_done(&sb->channel);
			loop_timer_set(sb->all->params.loop, &sb->boot_timer, 200 * 1000 * 1000,
				sb->boot_timer.fn);
			return;
		}
		log_error("sandbox %s: its agent broke the channel: %s", sb->record.id,
			strerror(-err));
		sandbox_end(sb, STORE_END_CRASHED, "its agent broke the channel");
		return;
	}
	if (err == -EPROTONOSUPPORT)
		error_set(&e, err, "SANDBOX_WEBSOCKET_HANDSHAKE_ERROR",
			"the agent speaks another version of the channel than %d", CHANNEL_VERSION);
	else
		error_set(&e, -EIO, "SANDBOX_WEBSOCKET_HANDSHAKE_ERROR",
			"the agent ended while the sandbox was starting: %s",
			err == 0 ? "end of channel" : strerror(-err));
	sandbox_start_failed(sb, &e);
}

const struct channel_ops sandbox_channel_ops = {
	.on_hello = on_hello,
	.on_response = on_response,
	.on_close = on_close,
};
