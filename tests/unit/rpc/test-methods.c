#include "rpc_test.h"

static void test_every_number_has_a_method(void **state)
{
	for (unsigned id = 1; id < RPC_METHOD_COUNT; id++) {
		const struct rpc_method *m = rpc_method_by_id(id);

		assert_non_null(m);
		assert_int_equal(m->id, id);
		assert_non_null(m->name);
	}
	assert_null(rpc_method_by_id(0));
	assert_null(rpc_method_by_id(RPC_METHOD_COUNT));
	assert_null(rpc_method_by_id(UINT32_MAX));
}

static void test_every_client_method_is_found_by_name(void **state)
{
	for (unsigned id = 1; id < RPC_METHOD_COUNT; id++) {
		const struct rpc_method *m = rpc_method_by_id(id);
		const struct rpc_method *found = rpc_method_by_name(m->name, strlen(m->name));

		if ((m->flags & RPC_CLIENT) != 0)
			assert_ptr_equal(found, m);
		else
			assert_null(found);
	}
}

static void test_unknown_names(void **state)
{
	static const char *const names[] = {"", "a", "abor", "abort2", "Spawn", "spawn ",
		"spawnDeno", "zzz", "configure", "trust", "denial", "stat\xff", "readFil",
		"readFilf", "writeTextFiles"};

	for (size_t i = 0; i < array_len(names); i++)
		assert_null(rpc_method_by_name(names[i], strlen(names[i])));
	/* A NUL is part of the name. */
	assert_null(rpc_method_by_name("stat\0", 5));
	assert_null(rpc_method_by_name("stat\0x", 6));
	assert_non_null(rpc_method_by_name("statX", 4));
}

/* Numbers are part of the channel protocol: a change here breaks running sandboxes. */
static void test_numbers_are_fixed(void **state)
{
	static const char *const names[] = {NULL, "configure", "spawn", "processWait",
		"processKill", "envGet", "envSet", "envDelete", "envToObject", "readFile",
		"readTextFile", "writeFile", "writeTextFile", "readDir", "mkdir", "remove", "stat",
		"lstat", "symlink", "abort", "trust", "denial", "fetch"};

	assert_int_equal(array_len(names), RPC_METHOD_COUNT);
	for (unsigned id = 1; id < RPC_METHOD_COUNT; id++)
		assert_string_equal(rpc_method_by_id(id)->name, names[id]);
}

static void check_field(const struct rpc_schema *schema, const struct rpc_field *f, size_t size);

/* Rules that a row must keep for the codecs to be sound. */
static void check_schema(const struct rpc_schema *schema)
{
	static const size_t sizes[RPC_TYPE_COUNT] = {
		[RPC_BOOL] = sizeof(bool),
		[RPC_INT] = sizeof(int64_t),
		[RPC_STRING] = sizeof(char *),
		[RPC_ENUM] = sizeof(int64_t),
		[RPC_STRING_LIST] = sizeof(struct rpc_strings),
		[RPC_STRING_MAP] = sizeof(struct rpc_map),
		[RPC_PAIRS] = sizeof(struct rpc_map),
		[RPC_BYTES] = sizeof(struct rpc_bytes),
		[RPC_TIME] = sizeof(int64_t),
		[RPC_OBJECTS] = sizeof(struct rpc_objects),
	};

	assert_true(schema->count > 0);
	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];

		assert_in_range(f->type, 0, RPC_TYPE_COUNT - 1);
		check_field(schema, f, f->type == RPC_OBJECT ? f->sub->size : sizes[f->type]);
	}
}

static void check_field(const struct rpc_schema *schema, const struct rpc_field *f, size_t size)
{
	bool limited = f->type == RPC_STRING || f->type == RPC_STRING_LIST ||
		       f->type == RPC_STRING_MAP || f->type == RPC_PAIRS || f->type == RPC_BYTES;
	bool counted = f->type == RPC_STRING_LIST || f->type == RPC_STRING_MAP ||
		       f->type == RPC_PAIRS || f->type == RPC_OBJECTS;

	assert_non_null(f->name);
	assert_true(f->offset + size <= schema->size);
	if (limited && f->max <= 0)
		fail_msg("%s.%s has no longest string", schema->name, f->name);
	if (counted && f->count_max <= 0)
		fail_msg("%s.%s has no most elements", schema->name, f->name);
	if (f->type == RPC_INT && f->min >= f->max)
		fail_msg("%s.%s has no range", schema->name, f->name);
	if (f->type == RPC_ENUM)
		assert_non_null(f->names);
	/* What the client counts must not pass 2^53. */
	if (f->type == RPC_INT && (f->flags & RPC_UNPACKED) != 0)
		assert_true(f->max <= RPC_STREAM_ID_MAX);
	if (f->type == RPC_OBJECT || f->type == RPC_OBJECTS)
		check_schema(f->sub);
}

static void test_tables_keep_their_rules(void **state)
{
	for (unsigned id = 1; id < RPC_METHOD_COUNT; id++) {
		const struct rpc_method *m = rpc_method_by_id(id);

		if (m->params != NULL)
			check_schema(m->params);
		if (m->result != NULL)
			check_schema(m->result);
		assert_int_equal((m->flags & RPC_VOID) != 0,
			m->result == NULL && (m->flags & RPC_GIVES_CONTENT) == 0);
		if ((m->flags & RPC_BARE) != 0)
			assert_int_equal(m->result->count, 1);
		assert_true((m->flags & (RPC_CLIENT | RPC_AGENT)) != 0);
	}
	check_schema(&rpc_failure_schema);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_number_has_a_method),
		cmocka_unit_test(test_every_client_method_is_found_by_name),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_numbers_are_fixed),
		cmocka_unit_test(test_tables_keep_their_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
