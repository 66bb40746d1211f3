#include "rpc_test.h"

enum color { RED, GREEN };
static const char *const color_names[] = {"red", "green", NULL};

struct inner {
	bool on;
	char *name;
};

struct outer {
	bool flag;
	int64_t number, color, when;
	char *text;
	struct rpc_strings list;
	struct rpc_map map, pairs;
	struct rpc_bytes bytes;
	struct inner inner;
	struct rpc_objects objects;
};

RPC_SCHEMA(inner_schema, struct inner,
	{.name = "on", .type = RPC_BOOL, .offset = offsetof(struct inner, on), .absent = true},
	{.name = "name", .type = RPC_STRING, .offset = offsetof(struct inner, name), .max = 100});

RPC_SCHEMA(outer_schema, struct outer,
	{.name = "flag", .type = RPC_BOOL, .offset = offsetof(struct outer, flag)},
	{.name = "number", .type = RPC_INT, .offset = offsetof(struct outer, number), .absent = -1},
	{.name = "color",
		.type = RPC_ENUM,
		.offset = offsetof(struct outer, color),
		.names = color_names,
		.absent = GREEN},
	{.name = "when", .type = RPC_TIME, .offset = offsetof(struct outer, when), .absent = 7},
	{.name = "text", .type = RPC_STRING, .offset = offsetof(struct outer, text), .max = 100},
	{.name = "list", .type = RPC_STRING_LIST, .offset = offsetof(struct outer, list)},
	{.name = "map", .type = RPC_STRING_MAP, .offset = offsetof(struct outer, map)},
	{.name = "pairs", .type = RPC_PAIRS, .offset = offsetof(struct outer, pairs)},
	{.name = "bytes", .type = RPC_BYTES, .offset = offsetof(struct outer, bytes)},
	{.name = "inner",
		.type = RPC_OBJECT,
		.offset = offsetof(struct outer, inner),
		.sub = &inner_schema},
	{.name = "objects",
		.type = RPC_OBJECTS,
		.offset = offsetof(struct outer, objects),
		.sub = &inner_schema});

static void expect_absent(const struct outer *o)
{
	assert_false(o->flag);
	assert_int_equal(o->number, -1);
	assert_int_equal(o->color, GREEN);
	assert_int_equal(o->when, 7);
	assert_null(o->text);
	assert_null(o->list.items);
	assert_int_equal(o->list.count, 0);
	assert_null(o->map.items);
	assert_int_equal(o->map.count, 0);
	assert_null(o->pairs.items);
	assert_int_equal(o->pairs.count, 0);
	assert_null(o->bytes.data);
	assert_int_equal(o->bytes.len, 0);
	assert_true(o->inner.on);
	assert_null(o->inner.name);
	assert_null(o->objects.items);
	assert_int_equal(o->objects.count, 0);
}

static void test_reset_sets_absent_values(void **state)
{
	struct outer o;

	memset(&o, 0xff, sizeof(o));
	rpc_reset(&outer_schema, &o);
	expect_absent(&o);
}

static void fill(struct outer *o)
{
	struct inner *items = mem_zalloc_array(2, sizeof(*items));

	o->flag = true;
	o->number = 5;
	o->color = RED;
	o->when = 8;
	o->text = mem_strdup("text");
	o->list.items = mem_zalloc_array(2, sizeof(char *));
	o->list.items[0] = mem_strdup("a");
	o->list.count = 2; /* the second one NULL, as a failed decoder leaves it */
	o->map.items = mem_zalloc_array(2, sizeof(struct rpc_pair));
	o->map.items[0] = (struct rpc_pair){mem_strdup("k"), mem_strdup("v")};
	o->map.items[1].key = mem_strdup("only the key");
	o->map.count = 2;
	o->pairs.items = mem_zalloc_array(2, sizeof(struct rpc_pair));
	o->pairs.items[0] = (struct rpc_pair){mem_strdup("k"), mem_strdup("v")};
	o->pairs.items[1].key = mem_strdup("only the key");
	o->pairs.count = 2;
	o->bytes = (struct rpc_bytes){mem_dup("xyz", 3), 3};
	o->inner = (struct inner){false, mem_strdup("inside")};
	items[1].name = mem_strdup("listed");
	o->objects = (struct rpc_objects){items, 2};
}

/* That everything is freed is the sanitizer's finding. */
static void test_clear_frees_and_resets(void **state)
{
	struct outer o;

	rpc_reset(&outer_schema, &o);
	fill(&o);
	rpc_clear(&outer_schema, &o);
	expect_absent(&o);
	rpc_clear(&outer_schema, &o);
	expect_absent(&o);
}

static void test_clear_takes_zeroed(void **state)
{
	struct outer o = {0};

	rpc_clear(&outer_schema, &o);
	expect_absent(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reset_sets_absent_values),
		cmocka_unit_test(test_clear_frees_and_resets),
		cmocka_unit_test(test_clear_takes_zeroed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
