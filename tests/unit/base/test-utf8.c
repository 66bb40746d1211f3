#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/utf8.h"

#define R "\xef\xbf\xbd"

static void check_lossy(const char *in, size_t len, const char *expected)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	assert_int_equal(utf8_append_lossy(&b, in, len), 0);
	assert_int_equal(b.len, strlen(expected));
	if (b.len > 0)
		assert_memory_equal(buf_data(&b), expected, b.len);
}

#define check(in, expected) check_lossy(in, sizeof(in) - 1, expected)
#define valid(in) utf8_valid(in, sizeof(in) - 1)

static void test_valid(void **state)
{
	assert_true(utf8_valid(NULL, 0));
	assert_true(valid("plain ascii, longer than one machine word"));
	assert_true(valid("with\0nul"));
	assert_true(valid("\xc2\x80\xdf\xbf"));
	assert_true(valid("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"));
	assert_true(valid("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
	assert_true(valid("1234567\xc3\xa9"
			  "12345678\xf0\x9f\x98\x80"));
}

static void test_invalid(void **state)
{
	assert_false(valid("\x80"));
	assert_false(valid("\xbf"));
	assert_false(valid("\xc0\x80"));
	assert_false(valid("\xc1\xbf"));
	assert_false(valid("\xe0\x9f\xbf"));
	assert_false(valid("\xed\xa0\x80"));
	assert_false(valid("\xed\xbf\xbf"));
	assert_false(valid("\xf0\x8f\xbf\xbf"));
	assert_false(valid("\xf4\x90\x80\x80"));
	assert_false(valid("\xf5\x80\x80\x80"));
	assert_false(valid("\xff"));
	assert_false(valid("abcdefgh\xe2\x82"));
	assert_false(valid("\xf0\x9f\x98"));
	assert_false(valid("\xc3"));
}

/* The examples of the WHATWG Encoding Standard and of Unicode, table 3-8 and following. */
static void test_maximal_subparts(void **state)
{
	check("", "");
	check("abc", "abc");
	check("\xff", R);
	check("\xc0\x80", R R);
	check("\xe0\x80\x80", R R R);
	check("\xed\xa0\x80", R R R);
	check("\xf4\x90\x80\x80", R R R R);
	check("\xf0\x80\x80\x80", R R R R);
	check("\xf0\x80\x80\x41", R R R "A");
	check("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", "a" R R R "b" R "c" R R "d");
	check("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A");
	check("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", R R R R R R R R "A");
	check("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", R R R R R "A" R R "B");
	check("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A");
}

static void test_truncated_end(void **state)
{
	check("a\xf0", "a" R);
	check("a\xf0\x9f", "a" R);
	check("a\xf0\x9f\x98", "a" R);
	check("a\xe2\x82", "a" R);
	check("a\xe2", "a" R);
	check("a\xc3", "a" R);
	/* e0 cannot be followed by 80: that is no truncated sequence but two errors. */
	check("a\xe0\x80", "a" R R);
}

static void test_bom_and_nul_stay(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 10);
	assert_int_equal(utf8_append_lossy(&b, "\xef\xbb\xbf\0x", 5), 0);
	assert_int_equal(b.len, 5);
	assert_memory_equal(buf_data(&b), "\xef\xbb\xbf\0x", 5);
}

static void test_refusal_leaves_queue_unchanged(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 8);
	assert_int_equal(buf_append_str(&b, "12"), 0);
	assert_int_equal(utf8_append_lossy(&b, "ab\xff\xff\xff", 5), -ENOBUFS);
	assert_int_equal(b.len, 2);
	assert_int_equal(utf8_append_lossy(&b, "\xff\xff", 2), 0);
	assert_int_equal(b.len, 8);
	assert_memory_equal(buf_data(&b), "12" R R, 8);
}

/* Whatever comes in, what comes out is valid, and valid text is unchanged. */
static void test_output_is_always_valid(void **state)
{
	uint8_t in[3];
	auto_buf struct buf b;

	buf_init(&b, 100);
	for (unsigned lead = 0x80; lead < 0x100; lead++) {
		for (unsigned rest = 0; rest < 0x10000; rest += 37) {
			in[0] = (uint8_t)lead;
			in[1] = (uint8_t)(rest >> 8);
			in[2] = (uint8_t)rest;
			buf_clear(&b);
			assert_int_equal(utf8_append_lossy(&b, in, 3), 0);
			assert_true(utf8_valid(buf_data(&b), b.len));
			if (utf8_valid(in, 3))
				assert_memory_equal(buf_data(&b), in, 3);
			else
				assert_true(b.len >= 3);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_maximal_subparts),
		cmocka_unit_test(test_truncated_end),
		cmocka_unit_test(test_bom_and_nul_stay),
		cmocka_unit_test(test_refusal_leaves_queue_unchanged),
		cmocka_unit_test(test_output_is_always_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
