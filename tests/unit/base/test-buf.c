#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static void test_empty(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 10);
	assert_int_equal(b.len, 0);
	assert_null(b.base);
	buf_consume(&b, 0);
	buf_clear(&b);
	assert_int_equal(buf_append(&b, NULL, 0), 0);
	assert_null(b.base);
}

static void test_zeroed_done(void **state)
{
	struct buf b = {0};

	buf_done(&b);
	assert_int_equal(buf_append(&b, "x", 1), -ENOBUFS);
	buf_done(&b);
}

static void test_maximum_is_exact(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 5);
	assert_int_equal(buf_append(&b, "abcde", 5), 0);
	assert_int_equal(buf_append(&b, "f", 1), -ENOBUFS);
	assert_int_equal(b.len, 5);
	assert_memory_equal(buf_data(&b), "abcde", 5);
	buf_consume(&b, 2);
	assert_int_equal(buf_append(&b, "fgh", 3), -ENOBUFS);
	assert_int_equal(buf_append(&b, "fg", 2), 0);
	assert_memory_equal(buf_data(&b), "cdefg", 5);
	assert_null(buf_reserve(&b, 1, NULL));
	assert_non_null(buf_reserve(&b, 0, NULL));
}

static void test_reserve_reports_room_within_maximum(void **state)
{
	auto_buf struct buf b;
	size_t room = 0;

	buf_init(&b, 300);
	assert_non_null(buf_reserve(&b, 1, &room));
	assert_true(room >= 1 && room <= 300);
	uint8_t *p = buf_reserve(&b, 300, &room);
	assert_non_null(p);
	assert_int_equal(room, 300);
	memset(p, 'x', 300);
	buf_commit(&b, 300);
	assert_null(buf_reserve(&b, 1, &room));
}

static void test_huge_requests_do_not_wrap(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, SIZE_MAX);
	assert_int_equal(buf_append(&b, "abc", 3), 0);
	assert_null(buf_reserve(&b, SIZE_MAX, NULL));
	assert_null(buf_reserve(&b, SIZE_MAX - 3, NULL));
	assert_null(buf_reserve(&b, SIZE_MAX / 2 + 2, NULL));
	assert_memory_equal(buf_data(&b), "abc", 3);
}

/* Against a plain array as the model. */
static void test_random_operations(void **state)
{
	enum { MAX = 200000 };
	auto_buf struct buf b;
	uint8_t *model = mem_zalloc(MAX);
	uint8_t *chunk = mem_zalloc(MAX);
	size_t len = 0;
	uint8_t next = 0;

	buf_init(&b, MAX);
	srand(7);
	for (int i = 0; i < 4000; i++) {
		size_t n = (size_t)rand() % (i % 100 == 0 ? 150000 : 3000);

		if (rand() % 2 == 0) {
			for (size_t k = 0; k < n; k++)
				chunk[k] = next++;
			int r = buf_append(&b, chunk, n);
			assert_int_equal(r, len + n <= MAX ? 0 : -ENOBUFS);
			if (r == 0) {
				memcpy(model + len, chunk, n);
				len += n;
			}
		} else {
			n = n < len ? n : len;
			buf_consume(&b, n);
			memmove(model, model + n, len - n);
			len -= n;
		}
		assert_int_equal(b.len, len);
		if (len > 0)
			assert_memory_equal(buf_data(&b), model, len);
		assert_true(b.cap <= 4 * (size_t)MAX);
	}
	free(model);
	free(chunk);
}

/* A queue that always holds a little must not creep through ever more memory. */
static void test_steady_queue_stays_small(void **state)
{
	auto_buf struct buf b;
	char data[100] = {0};

	buf_init(&b, 1 << 20);
	assert_int_equal(buf_append(&b, data, 50), 0);
	for (int i = 0; i < 100000; i++) {
		assert_int_equal(buf_append(&b, data, 100), 0);
		buf_consume(&b, 100);
	}
	assert_int_equal(b.len, 50);
	assert_true(b.cap <= 1024);
}

static void test_empty_queue_keeps_little(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1 << 24);
	assert_non_null(buf_reserve(&b, 1 << 20, NULL));
	buf_commit(&b, 1 << 20);
	buf_consume(&b, 1 << 20);
	assert_true(b.cap <= 4096);
	assert_int_equal(buf_append(&b, "x", 1), 0);
	buf_clear(&b);
	assert_int_equal(b.len, 0);
}

/* Blocks kept for reuse are handed out whole, and trimming in between changes nothing. */
static void test_blocks_are_reused(void **state)
{
	auto_buf struct buf a, b;

	buf_init(&a, 1 << 24);
	buf_init(&b, 1 << 24);
	for (int i = 0; i < 200; i++) {
		size_t n = (size_t)16384 << (i % 9);
		uint8_t *p = buf_reserve(&a, n, NULL);
		uint8_t *q = buf_reserve(&b, n, NULL);

		assert_non_null(p);
		assert_non_null(q);
		memset(p, 'a', n);
		memset(q, 'b', n);
		buf_commit(&a, n);
		buf_commit(&b, n);
		assert_int_equal(buf_data(&a)[0], 'a');
		assert_int_equal(buf_data(&a)[n - 1], 'a');
		buf_clear(&a);
		buf_clear(&b);
		if (i % 7 == 0)
			buf_trim();
	}
	buf_trim();
	buf_trim();
}

static void test_numbers(void **state)
{
	static const uint8_t expected[] = {
		0x7f, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89, 8, 7, 6, 5, 4, 3, 2, 1};
	auto_buf struct buf b;

	buf_init(&b, 100);
	assert_int_equal(buf_append_byte(&b, 0x7f), 0);
	assert_int_equal(buf_append_u16le(&b, 0x1234), 0);
	assert_int_equal(buf_append_u32le(&b, 0x89abcdef), 0);
	assert_int_equal(buf_append_u64le(&b, UINT64_C(0x0102030405060708)), 0);
	assert_int_equal(b.len, sizeof(expected));
	assert_memory_equal(buf_data(&b), expected, sizeof(expected));
	assert_int_equal(load_u16le(buf_data(&b) + 1), 0x1234);
	assert_int_equal(load_u32le(buf_data(&b) + 3), 0x89abcdef);
	assert_true(load_u64le(buf_data(&b) + 7) == UINT64_C(0x0102030405060708));
}

static void test_numbers_are_whole_or_absent(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 3);
	assert_int_equal(buf_append_u32le(&b, 1), -ENOBUFS);
	assert_int_equal(buf_append_u64le(&b, 1), -ENOBUFS);
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_append_u16le(&b, 1), 0);
	assert_int_equal(buf_append_u16le(&b, 1), -ENOBUFS);
	assert_int_equal(b.len, 2);
}

static void test_printf(void **state)
{
	auto_buf struct buf b;
	char wide[600];

	memset(wide, 'w', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	buf_init(&b, 610);
	assert_int_equal(buf_printf(&b, "%d-%s", 42, "x"), 0);
	assert_int_equal(buf_append_str(&b, "|"), 0);
	assert_int_equal(buf_printf(&b, "%s", wide), 0);
	assert_int_equal(b.len, 5 + 599);
	assert_memory_equal(buf_data(&b), "42-x|www", 8);
	assert_int_equal(buf_printf(&b, "%s", wide), -ENOBUFS);
	assert_int_equal(buf_printf(&b, "1234567"), -ENOBUFS);
	assert_int_equal(b.len, 604);
	/* To the last byte: no room for a NUL is needed. */
	assert_int_equal(buf_printf(&b, "123456"), 0);
	assert_int_equal(b.len, 610);
}

static void test_printf_long_text_to_the_last_byte(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 500);
	assert_int_equal(buf_printf(&b, "%500d", 1), 0);
	assert_int_equal(b.len, 500);
	assert_int_equal(buf_data(&b)[499], '1');
}

static bool holds(const void *data, size_t len, const char *text)
{
	return memmem(data, len, text, strlen(text)) != NULL;
}

static void test_wiped_when_consumed(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 4096);
	b.wipe = true;
	assert_int_equal(buf_append_str(&b, "hunter2-hunter2-rest"), 0);
	buf_consume(&b, 16);
	assert_false(holds(b.base, b.cap, "hunter2"));
	assert_memory_equal(buf_data(&b), "rest", 4);
	/* What moves to the front leaves nothing behind. */
	while (b.cap - b.start - b.len > 0)
		assert_int_equal(buf_append_byte(&b, 'x'), 0);
	buf_consume(&b, b.len - 7);
	memcpy(buf_data(&b), "hunter2", 7);

	uint8_t *old = buf_data(&b);

	assert_non_null(buf_reserve(&b, 64, NULL));
	assert_ptr_equal(buf_data(&b), b.base);
	assert_memory_equal(buf_data(&b), "hunter2", 7);
	assert_true(old >= b.base + 7 && old + 7 <= b.base + b.cap);
	assert_false(holds(old, 7, "hunter2"));
}

/* Blocks of 16 KiB are kept for reuse, so what is in them after the end can be looked at. */
static void test_wiped_when_freed(void **state)
{
	struct buf b;
	uint8_t *p;
	size_t room = 0;

	for (int grown = 0; grown < 2; grown++) {
		buf_trim();
		buf_init(&b, 1 << 20);
		b.wipe = true;
		assert_non_null(buf_reserve(&b, 16384, NULL));
		assert_int_equal(buf_append_str(&b, "hunter2"), 0);
		if (grown)
			assert_non_null(buf_reserve(&b, 20000, NULL));
		else
			buf_done(&b);
		assert_true(b.wipe);

		struct buf next;

		buf_init(&next, 16384);
		p = buf_reserve(&next, 16384, &room);
		assert_non_null(p);
		assert_memory_not_equal(p, "hunter2", 7);
		buf_done(&next);
		buf_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_zeroed_done),
		cmocka_unit_test(test_maximum_is_exact),
		cmocka_unit_test(test_reserve_reports_room_within_maximum),
		cmocka_unit_test(test_huge_requests_do_not_wrap),
		cmocka_unit_test(test_random_operations),
		cmocka_unit_test(test_steady_queue_stays_small),
		cmocka_unit_test(test_empty_queue_keeps_little),
		cmocka_unit_test(test_blocks_are_reused),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_numbers_are_whole_or_absent),
		cmocka_unit_test(test_printf),
		cmocka_unit_test(test_printf_long_text_to_the_last_byte),
		cmocka_unit_test(test_wiped_when_consumed),
		cmocka_unit_test(test_wiped_when_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
