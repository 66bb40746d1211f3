/*
 * A text message from a client: the envelope, the parameters by the table of methods, and the
 * answer with the client's id. Parameters that are accepted read back from their own JSON and cross
 * the agent channel; every answer is JSON.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/json.h"
#include "rpc/pack.h"

#define OUTPUT_MAX (64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good)
{
	if (!good)
		abort();
}

static void expect_json(const struct buf *b)
{
	struct json_object *json = rpc_json_parse((const char *)buf_data(b), b->len, NULL);

	expect(json != NULL);
	json_object_put(json);
}

static void check_reads_back(const struct rpc_schema *schema, const void *object)
{
	auto_buf struct buf first = {0}, second = {0};
	auto_free void *again = mem_zalloc(schema->size);
	struct json_object *json;

	buf_init(&first, OUTPUT_MAX);
	buf_init(&second, OUTPUT_MAX);
	expect(rpc_json_encode(&first, schema, object, false) == 0);
	json = rpc_json_parse((const char *)buf_data(&first), first.len, NULL);
	expect(json != NULL);
	expect(rpc_json_decode(json, schema, again, NULL) == 0);
	json_object_put(json);
	expect(rpc_json_encode(&second, schema, again, false) == 0);
	expect(first.len == second.len);
	expect(memcmp(buf_data(&first), buf_data(&second), first.len) == 0);
	rpc_clear(schema, again);
}

static void check_crosses(const struct rpc_schema *schema, const void *object)
{
	auto_buf struct buf packed = {0};
	auto_free void *far = mem_zalloc(schema->size);

	buf_init(&packed, OUTPUT_MAX);
	expect(rpc_pack(&packed, schema, object) == 0);
	expect(rpc_unpack(buf_data(&packed), packed.len, schema, far) == 0);
	rpc_clear(schema, far);
}

static void check_params(const struct rpc_message *m, const char *id)
{
	const struct rpc_method *method = rpc_method_by_name(m->method, m->method_len);
	auto_buf struct buf answer = {0};
	struct rpc_issue issue;

	if (method == NULL || method->params == NULL)
		return;
	auto_free void *object = mem_zalloc(method->params->size);
	if (rpc_json_decode(m->params, method->params, object, &issue) == 0) {
		check_reads_back(method->params, object);
		check_crosses(method->params, object);
	} else {
		buf_init(&answer, OUTPUT_MAX);
		expect(rpc_put_params_error(&answer, id, &issue) == 0);
		expect_json(&answer);
	}
	rpc_clear(method->params, object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct buf answer = {0};
	struct rpc_message m;
	int r = rpc_message_parse((const char *)data, size, &m);

	expect(r == 0 || r == -EBADMSG || r == -EINVAL);
	if (r != -EBADMSG) {
		auto_free char *id = rpc_message_id_text(&m);

		buf_init(&answer, OUTPUT_MAX);
		expect(rpc_put_protocol_error(&answer, id, RPC_ERR_REQUEST, "Invalid Request") ==
			0);
		expect_json(&answer);
		if (r == 0 && m.kind == RPC_MESSAGE_REQUEST)
			check_params(&m, id);
	}
	rpc_message_done(&m);
	return 0;
}
