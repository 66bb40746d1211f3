#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "gate/net/names.h"

static struct address of(const uint8_t v4[4])
{
	struct address a = {.bytes = {[10] = 0xff, [11] = 0xff}};

	memcpy(a.bytes + 12, v4, 4);
	return a;
}

static void test_a_name_keeps_its_address(void **state)
{
	struct names *n = names_new();
	uint8_t first[4], again[4], other[4];
	struct address a;

	names_address(n, "a.example", true, first);
	names_address(n, "b.example", true, other);
	names_address(n, "a.example", true, again);
	assert_memory_equal(first, again, 4);
	assert_memory_not_equal(first, other, 4);
	a = of(first);
	assert_string_equal(names_find(n, &a), "a.example");
	a = of(other);
	assert_string_equal(names_find(n, &a), "b.example");
	names_free(n);
}

static void test_halves(void **state)
{
	struct names *n = names_new();
	uint8_t known[4], unknown[4];
	struct address a;

	names_address(n, "x.example", true, known);
	names_address(n, "x.example", false, unknown);
	assert_int_equal(known[1], 18);
	assert_int_equal(unknown[1], 19);
	a = of(known);
	assert_true(names_is_ours(&a));
	assert_string_equal(names_find(n, &a), "x.example");
	a = of(unknown);
	assert_string_equal(names_find(n, &a), "x.example");
	names_free(n);
}

/* Asking for many unknown names pushes out the oldest of them, and none that is known. */
static void test_bounded(void **state)
{
	struct names *n = names_new();
	uint8_t known[4], first[4], v4[4];
	struct address a;
	char name[32];

	names_address(n, "known.example", true, known);
	names_address(n, "n0.example", false, first);
	for (int i = 1; i < NAMES_OTHER_MAX + 1; i++) {
		snprintf(name, sizeof(name), "n%d.example", i);
		names_address(n, name, false, v4);
		a = of(v4);
		assert_string_equal(names_find(n, &a), name);
		assert_true(v4[3] != 0 && v4[3] != 255);
	}
	a = of(first);
	snprintf(name, sizeof(name), "n%d.example", NAMES_OTHER_MAX);
	assert_string_equal(names_find(n, &a), name);
	a = of(known);
	assert_string_equal(names_find(n, &a), "known.example");
	names_free(n);
}

static void test_addresses_without_a_name(void **state)
{
	static const uint8_t others[][4] = {{198, 18, 0, 1}, {198, 18, 0, 0}, {198, 18, 0, 255},
		{198, 19, 255, 254}, {198, 20, 0, 1}, {127, 0, 0, 1}};
	struct names *n = names_new();
	struct address a = {.bytes = {[15] = 1}};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct address o = of(others[i]);

		assert_null(names_find(n, &o));
	}
	assert_null(names_find(n, &a));
	assert_false(names_is_ours(&a));
	names_free(n);
	names_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_name_keeps_its_address),
		cmocka_unit_test(test_halves),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_addresses_without_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
