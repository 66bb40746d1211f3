/* What the tests of this room share. */
#pragma once

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "rpc/json.h"
#include "rpc/methods.h"
#include "rpc/pack.h"

/* The text of a queue as a heap string. */
static inline char *buf_text(const struct buf *b)
{
	return b->len > 0 ? mem_strndup((const char *)buf_data(b), b->len) : mem_strdup("");
}

/* Parses text that must be JSON. */
static inline struct json_object *parse(const char *text)
{
	struct error err = {0};
	struct json_object *json = rpc_json_parse(text, strlen(text), &err);

	if (json == NULL)
		fail_msg("%s: %s", text, err.message);
	return json;
}

/* The JSON text of an object (heap). */
static inline char *encode(const struct rpc_schema *schema, const void *object, bool bare)
{
	auto_buf struct buf b;

	buf_init(&b, 64 << 20);
	assert_int_equal(rpc_json_encode(&b, schema, object, bare), 0);
	return buf_text(&b);
}

/* The schema of a client's method by its name. */
static inline const struct rpc_schema *params_of(const char *method)
{
	const struct rpc_method *m = rpc_method_by_name(method, strlen(method));

	if (m == NULL || m->params == NULL)
		fail_msg("%s has no parameters", method);
	return m->params;
}

#define auto_json __attribute__((cleanup(json_put_ptr)))
static inline void json_put_ptr(struct json_object **json)
{
	json_object_put(*json);
}
