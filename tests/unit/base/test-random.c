#include "unit.h"

#include <string.h>

#include "base/random.h"

static void test_bytes(void **state)
{
	uint8_t a[600] = {0};
	uint8_t b[600] = {0};

	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(random_u64() != random_u64());
	random_bytes(NULL, 0);
}

static void test_below(void **state)
{
	unsigned seen[7] = {0};

	for (int i = 0; i < 7000; i++) {
		uint64_t v = random_below(7);

		assert_true(v < 7);
		seen[v]++;
	}
	/* 1000 expected; 15 standard deviations. */
	for (int i = 0; i < 7; i++)
		assert_in_range(seen[i], 560, 1440);
	assert_int_equal(random_below(1), 0);
	assert_true(random_below(UINT64_MAX) < UINT64_MAX);
	assert_true(random_below(UINT64_C(1) << 63) < UINT64_C(1) << 63);
}

static void test_text(void **state)
{
	char text[101];

	memset(text, '!', sizeof(text));
	random_text(text, 100, "ab");
	assert_int_equal(strlen(text), 100);
	assert_int_equal(strspn(text, "ab"), 100);
	assert_non_null(strchr(text, 'a'));
	assert_non_null(strchr(text, 'b'));
	random_text(text, 0, "ab");
	assert_string_equal(text, "");
}

static void test_hex(void **state)
{
	char text[201];

	random_hex(text, 100);
	assert_int_equal(strlen(text), 200);
	assert_int_equal(strspn(text, "0123456789abcdef"), 200);
	/* The blocks it is made of differ. */
	assert_memory_not_equal(text, text + 64, 64);
	random_hex(text, 0);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_below),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
