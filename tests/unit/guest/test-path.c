#include "unit.h"

#include "base/mem.h"
#include "guest/path.h"

static void check_resolve(const char *given, const char *expected)
{
	auto_free char *path = path_resolve("/home/app", given);

	assert_string_equal(path, expected);
}

static void test_resolve(void **state)
{
	check_resolve("/x", "/x");
	check_resolve("/", "/");
	check_resolve("x", "/home/app/x");
	check_resolve(".", "/home/app/.");
	check_resolve("../up", "/home/app/../up");
	check_resolve("a//b/", "/home/app/a//b/");
	check_resolve("", "");
}

static void check_strip(const char *given, const char *expected)
{
	auto_free char *path = mem_strdup(given);

	path_strip(path);
	assert_string_equal(path, expected);
}

static void test_strip(void **state)
{
	check_strip("/a/b", "/a/b");
	check_strip("/a/b///", "/a/b");
	check_strip("/", "/");
	check_strip("///", "/");
	check_strip("a/", "a");
	check_strip("", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_strip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
