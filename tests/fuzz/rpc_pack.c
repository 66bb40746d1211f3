/*
 * The binary form of messages: the first byte chooses the message, the rest is what a peer on the
 * agent channel sent. Whatever is accepted packs to the same bytes and is JSON that can be read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/json.h"
#include "rpc/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Parameters (even) or result (odd) of a method; the failure for all other numbers. */
static const struct rpc_schema *choose(uint8_t number)
{
	const struct rpc_method *m = rpc_method_by_id(number / 2);
	const struct rpc_schema *schema = NULL;

	if (m != NULL)
		schema = number % 2 == 0 ? m->params : m->result;
	return schema != NULL ? schema : &rpc_failure_schema;
}

static void expect(bool good)
{
	if (!good)
		abort();
}

static void check_json(const struct rpc_schema *schema, const void *object)
{
	auto_buf struct buf b = {0};
	struct json_object *json;

	buf_init(&b, 256 << 20);
	expect(rpc_json_encode(&b, schema, object, false) == 0);
	json = rpc_json_parse((const char *)buf_data(&b), b.len, NULL);
	expect(json != NULL);
	json_object_put(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct buf again = {0};

	if (size == 0)
		return 0;
	const struct rpc_schema *schema = choose(data[0]);
	auto_free void *object = mem_zalloc(schema->size);
	if (rpc_unpack(data + 1, size - 1, schema, object) == 0) {
		buf_init(&again, size);
		expect(rpc_pack(&again, schema, object) == 0);
		expect(again.len == size - 1);
		expect(size == 1 || memcmp(buf_data(&again), data + 1, size - 1) == 0);
		check_json(schema, object);
	}
	rpc_clear(schema, object);
	return 0;
}
