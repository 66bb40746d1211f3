#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "guest/environment.h"
#include "rpc/methods.h"

static int setup(void **state)
{
	struct environment *env = mem_new(struct environment);

	environment_init(env);
	*state = env;
	return 0;
}

static int teardown(void **state)
{
	environment_done(*state);
	free(*state);
	return 0;
}

static void test_set_and_get(void **state)
{
	struct environment *env = *state;

	assert_null(environment_get(env, "A"));
	assert_int_equal(environment_set(env, "A", "1"), 0);
	assert_int_equal(environment_set(env, "B", ""), 0);
	assert_string_equal(environment_get(env, "A"), "1");
	assert_string_equal(environment_get(env, "B"), "");
	assert_int_equal(environment_set(env, "A", "a=b"), 0);
	assert_string_equal(environment_get(env, "A"), "a=b");
	assert_int_equal(environment_delete(env, "A"), 0);
	assert_int_equal(environment_delete(env, "A"), 0);
	assert_null(environment_get(env, "A"));
	environment_clear(env);
	assert_null(environment_get(env, "B"));
	assert_int_equal(env->bytes, 0);
}

static void test_bad_names(void **state)
{
	struct environment *env = *state;

	assert_int_equal(environment_set(env, "", "x"), -EINVAL);
	assert_int_equal(environment_set(env, "A=B", "x"), -EINVAL);
	assert_int_equal(environment_set(env, "=", "x"), -EINVAL);
	assert_int_equal(environment_set(env, NULL, "x"), -EINVAL);
	assert_int_equal(environment_set(env, "A", NULL), -EINVAL);
	assert_int_equal(environment_delete(env, ""), -EINVAL);
	assert_int_equal(environment_delete(env, "A=B"), -EINVAL);
	assert_null(environment_get(env, ""));
	assert_int_equal(env->bytes, 0);
}

static void test_size_limit(void **state)
{
	struct environment *env = *state;
	auto_free char *big = mem_zalloc(ENVIRONMENT_MAX);

	memset(big, 'x', ENVIRONMENT_MAX / 2);
	assert_int_equal(environment_set(env, "A", big), 0);
	assert_int_equal(environment_set(env, "B", big), -E2BIG);
	assert_null(environment_get(env, "B"));
	/* A value that replaces another does not count twice. */
	assert_int_equal(environment_set(env, "A", big), 0);
	assert_int_equal(environment_set(env, "A", "small"), 0);
	assert_int_equal(environment_set(env, "B", big), 0);
}

static void test_count_limit(void **state)
{
	struct environment *env = *state;
	char name[16];

	for (int i = 0; i < RPC_LIST_MAX; i++) {
		snprintf(name, sizeof(name), "V%d", i);
		assert_int_equal(environment_set(env, name, ""), 0);
	}
	assert_int_equal(environment_set(env, "MORE", ""), -E2BIG);
	assert_int_equal(environment_set(env, "V7", "x"), 0);
	assert_int_equal(environment_delete(env, "V8"), 0);
	assert_int_equal(environment_set(env, "MORE", ""), 0);
}

static void test_vector_and_map(void **state)
{
	struct environment *env = *state;
	struct rpc_pair pairs[] = {{"B", "2"}, {"A", "1"}, {"B", "3"}};
	struct rpc_map map = {pairs, array_len(pairs)};
	struct environment copy;
	char **vector;

	assert_int_equal(environment_add_map(env, &map), 0);
	environment_init(&copy);
	assert_int_equal(environment_set(&copy, "A", "old"), 0);
	assert_int_equal(environment_add(&copy, env), 0);
	vector = environment_vector(&copy);
	assert_string_equal(vector[0], "A=1");
	assert_string_equal(vector[1], "B=3");
	assert_null(vector[2]);
	free(vector);
	map = environment_map(&copy);
	assert_int_equal(map.count, 2);
	assert_string_equal(map.items[1].key, "B");
	assert_string_equal(map.items[1].value, "3");
	free(map.items);
	environment_done(&copy);
}

static void test_map_error(void **state)
{
	struct environment *env = *state;
	struct rpc_pair pairs[] = {{"A", "1"}, {"", "2"}, {"C", "3"}};
	const struct rpc_map map = {pairs, array_len(pairs)};

	assert_int_equal(environment_add_map(env, &map), -EINVAL);
}

static void test_defaults(void **state)
{
	struct environment *env = *state;

	assert_int_equal(environment_add_defaults(env, "/home/app"), 0);
	assert_string_equal(environment_get(env, "HOME"), "/home/app");
	assert_string_equal(environment_get(env, "USER"), "app");
	assert_string_equal(environment_get(env, "LOGNAME"), "app");
	assert_string_equal(environment_get(env, "SHELL"), "/bin/bash");
	assert_string_equal(environment_get(env, "LANG"), "C.UTF-8");
	assert_string_equal(environment_get(env, "DENO_NO_UPDATE_CHECK"), "1");
	assert_string_equal(environment_get(env, "PATH"),
		"/home/app/.local/bin:/home/app/.deno/bin:/usr/local/sbin:/usr/local/bin:"
		"/usr/sbin:/usr/bin:/sbin:/bin");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_set_and_get),
		TEST(test_bad_names),
		TEST(test_size_limit),
		TEST(test_count_limit),
		TEST(test_vector_and_map),
		TEST(test_map_error),
		TEST(test_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
