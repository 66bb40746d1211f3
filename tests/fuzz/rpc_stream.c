/*
 * A text message from a client, read as a stream notification both ways: what the short way
 * recognises is what the ordinary parser reads, and text that it does not recognise is left alone.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good)
{
	if (!good)
		abort();
}

static int ordinary(const char *text, size_t len, struct rpc_stream_message *ret)
{
	struct rpc_message m;
	int r = rpc_message_parse(text, len, &m);

	*ret = (struct rpc_stream_message){0};
	if (r == 0)
		r = rpc_stream_decode(&m, ret, NULL);
	rpc_message_done(&m);
	return r;
}

/* What goes out again is recognised as the same. */
static void check_written(const struct rpc_stream_message *m)
{
	size_t size = rpc_stream_enqueue_size(m->stream_id, m->len);
	auto_free char *text = mem_zalloc(size);
	struct rpc_stream_message back;

	expect(rpc_stream_put_enqueue(text, m->stream_id, m->data, m->len) == size);
	expect(rpc_stream_recognise(text, size, &back));
	expect(back.stream_id == m->stream_id && back.len == m->len);
	expect(m->len == 0 || memcmp(back.data, m->data, m->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *copy = mem_dup(data, size);
	struct rpc_stream_message quick, slow;
	bool taken = rpc_stream_recognise(copy, size, &quick);
	int r = ordinary((const char *)data, size, &slow);

	if (taken) {
		expect(r == 0 && slow.kind == RPC_STREAM_ENQUEUE);
		expect(quick.kind == slow.kind && quick.stream_id == slow.stream_id);
		expect(quick.len == slow.len);
		expect(slow.len == 0 || memcmp(quick.data, slow.data, slow.len) == 0);
	} else {
		expect(size == 0 || memcmp(copy, data, size) == 0);
	}
	if (r == 0 && slow.kind == RPC_STREAM_ENQUEUE)
		check_written(&slow);
	rpc_stream_message_done(&slow);
	return 0;
}
