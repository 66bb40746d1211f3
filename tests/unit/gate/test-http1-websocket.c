#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/http1_websocket.h"
#include "wire/websocket.h"
#include "wire/ws_mask.h"

#define SECRET "s3cr3t/value+0123456789"
#define STARS "***********************"
#define SECRET_LEN (sizeof(SECRET) - 1)
#define PLACEHOLDER \
	PLACEHOLDER_PREFIX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define FIN 0x80
#define MUCH ((size_t)4 * 1024 * 1024)

struct fixture {
	struct vault *vault;
	struct scrub_set *set;
	struct websocket_scrub w;
	struct buf in;
	struct buf out;
	size_t taken; /* of it, by next_frame() */
};

static struct fixture f;

static int setup(void **state)
{
	static const char *const hosts[] = {"a.example"};

	f = (struct fixture){.vault = vault_new()};
	assert_int_equal(
		vault_add(f.vault, "KEY", PLACEHOLDER, SECRET, SECRET_LEN, hosts, 1, NULL), 0);
	f.set = scrub_set_new(f.vault, 1);
	websocket_scrub_init(&f.w, f.set);
	buf_init(&f.in, SIZE_MAX);
	buf_init(&f.out, MUCH);
	return 0;
}

static int teardown(void **state)
{
	websocket_scrub_done(&f.w);
	scrub_set_free(f.set);
	vault_free(f.vault);
	buf_done(&f.in);
	buf_done(&f.out);
	return 0;
}

static void again(void)
{
	teardown(NULL);
	setup(NULL);
}

/* --- frames ----------------------------------------------------------------------------------- */

static void put(struct buf *b, uint8_t first, const char *data, size_t len)
{
	uint8_t head[WS_HEADER_MAX];
	size_t n = ws_put_header(head, WS_OP_TEXT, len);

	head[0] = first;
	assert_int_equal(buf_append(b, head, n), 0);
	if (len > 0)
		assert_int_equal(buf_append(b, data, len), 0);
}

static void put_text(struct buf *b, uint8_t first, const char *text)
{
	put(b, first, text, strlen(text));
}

/* Gives f.in to the scrubber, step bytes more each time. */
static int feed(size_t step)
{
	size_t here = 0;

	while (here < f.in.len) {
		size_t used = 1;

		here = f.in.len - here < step ? f.in.len : here + step;
		while (used > 0) {
			/* Exactly these bytes, and ours to change. */
			auto_free uint8_t *exact = mem_dup(buf_data(&f.in), here);
			int r = websocket_scrub_read(&f.w, exact, here, &f.out, &used);

			if (r < 0)
				return r;
			assert_true(used <= here);
			buf_consume(&f.in, used);
			here -= used;
		}
	}
	return 0;
}

/* Reads a frame from f.out. */
static bool next_frame(uint8_t *ret_first, const char **ret_data, size_t *ret_len)
{
	const uint8_t *p;
	size_t header = 2;

	buf_consume(&f.out, f.taken);
	f.taken = 0;
	p = buf_data(&f.out);
	if (f.out.len == 0)
		return false;
	assert_true(f.out.len >= 2);
	*ret_first = p[0];
	*ret_len = p[1];
	if (p[1] == 126) {
		header = 4;
		*ret_len = (size_t)p[2] << 8 | p[3];
	} else if (p[1] == 127) {
		header = 10;
		*ret_len = (size_t)p[6] << 24 | (size_t)p[7] << 16 | (size_t)p[8] << 8 | p[9];
	}
	f.taken = header + *ret_len;
	assert_true(f.out.len >= f.taken);
	*ret_data = (const char *)p + header;
	return true;
}

/* Joins the frames of one message; control frames between them are an error here. */
static void check_message(uint8_t opcode, const char *wanted, size_t wanted_len)
{
	auto_buf struct buf message;
	uint8_t first = 0;
	const char *data = NULL;
	size_t len = 0;

	buf_init(&message, SIZE_MAX);
	do {
		assert_true(next_frame(&first, &data, &len));
		assert_int_equal(first & 0x7f, opcode);
		if (len > 0)
			buf_append(&message, data, len);
		opcode = WS_OP_CONTINUATION;
	} while (!(first & FIN));
	assert_int_equal(message.len, wanted_len);
	if (wanted_len > 0)
		assert_memory_equal(buf_data(&message), wanted, wanted_len);
}

static void check_frame(uint8_t first, const char *wanted)
{
	uint8_t got = 0;
	const char *data = NULL;
	size_t len = 0;

	assert_true(next_frame(&got, &data, &len));
	assert_int_equal(got, first);
	assert_int_equal(len, strlen(wanted));
	assert_memory_equal(data, wanted, len);
}

static void check_nothing(void)
{
	uint8_t first = 0;
	const char *data = NULL;
	size_t len = 0;

	assert_false(next_frame(&first, &data, &len));
}

/* --- from the host ---------------------------------------------------------------------------- */

/* A message in one frame stays one, however its bytes come. */
static void test_whole(void **state)
{
	for (size_t step = 1; step < 300; step += 17) {
		put_text(&f.in, 0x81, "hello");
		put_text(&f.in, 0x82, "<" SECRET ">");
		put_text(&f.in, 0x81, "");
		put_text(&f.in, 0x89, "ping " SECRET);
		put_text(&f.in, 0x8a, "");
		put_text(&f.in, 0x88, "\x03\xe8" SECRET);
		assert_int_equal(feed(step), 0);
		check_frame(0x81, "hello");
		check_frame(0x82, "<" STARS ">");
		check_frame(0x81, "");
		check_frame(0x89, "ping " STARS);
		check_frame(0x8a, "");
		check_frame(0x88, "\x03\xe8" STARS);
		check_nothing();
		assert_int_equal(websocket_scrub_found(&f.w), 1);
		again();
	}
}

/* A value that is cut in three by frames, with a ping in between. */
static void test_split(void **state)
{
	for (size_t i = 0; i <= SECRET_LEN; i++) {
		for (size_t j = i; j <= SECRET_LEN; j++) {
			put(&f.in, 0x01, SECRET, i);
			put(&f.in, 0x00, SECRET + i, j - i);
			put(&f.in, 0x80, SECRET + j, SECRET_LEN - j);
			put_text(&f.in, 0x81, "next");
			assert_int_equal(feed(SIZE_MAX), 0);
			check_message(WS_OP_TEXT, STARS, SECRET_LEN);
			check_frame(0x81, "next");
			check_nothing();
			again();
		}
	}
}

static void test_ping_between(void **state)
{
	put_text(&f.in, 0x02, "ab" SECRET "s3c");
	put_text(&f.in, 0x89, "");
	put_text(&f.in, 0x00, "r3t/");
	put_text(&f.in, 0x80, "value");
	assert_int_equal(feed(3), 0);
	/* What may be the beginning of a value waits, and nothing else. */
	check_frame(0x02, "ab" STARS);
	check_frame(0x89, "");
	check_frame(0x80, "s3cr3t/value");
	check_nothing();
}

/* The end of a message is the end of what may be a value. */
static void test_two_messages(void **state)
{
	put_text(&f.in, 0x81, "s3cr3t/val");
	assert_int_equal(feed(SIZE_MAX), 0);
	check_frame(0x81, "s3cr3t/val");
	put_text(&f.in, 0x81, "ue+0123456789");
	assert_int_equal(feed(SIZE_MAX), 0);
	check_frame(0x81, "ue+0123456789");
}

/* Large frames leave in pieces, which nothing collects. */
static void test_large(void **state)
{
	static char text[200000];
	static char wanted[sizeof(text)];
	static const size_t steps[] = {1000, 65536, 150000, SIZE_MAX};

	memset(text, '-', sizeof(text));
	for (size_t at = 50; at + SECRET_LEN < sizeof(text); at += 1001)
		memcpy(text + at, SECRET, SECRET_LEN);
	memcpy(text + sizeof(text) - SECRET_LEN, SECRET, SECRET_LEN);
	memcpy(wanted, text, sizeof(text));
	for (size_t at = 0; at + SECRET_LEN <= sizeof(text); at++)
		if (memcmp(text + at, SECRET, SECRET_LEN) == 0)
			memcpy(wanted + at, STARS, SECRET_LEN);
	for (size_t i = 0; i < array_len(steps); i++) {
		put(&f.in, 0x82, text, sizeof(text));
		put(&f.in, 0x01, text, 70000);
		put(&f.in, 0x00, text + 70000, 10000);
		put(&f.in, 0x80, text + 80000, sizeof(text) - 80000);
		put(&f.in, 0x82, text, 65535);
		assert_int_equal(feed(steps[i]), 0);
		assert_true(f.out.len > 2 * sizeof(text) + 65535);
		check_message(WS_OP_BINARY, wanted, sizeof(text));
		check_message(WS_OP_TEXT, wanted, sizeof(text));
		check_message(WS_OP_BINARY, wanted, 65535);
		again();
	}
}

/* A large frame is passed on before it is whole. */
static void test_large_at_once(void **state)
{
	static const uint8_t head[] = {0x82, 127, 0, 0, 0, 0, 0xff, 0, 0, 0};
	uint8_t bytes[] = "sixteen bytes of";
	size_t used;
	uint8_t first = 0;
	const char *data = NULL;
	size_t len = 0;

	buf_append(&f.in, head, sizeof(head));
	assert_int_equal(feed(1), 0);
	assert_int_equal(websocket_scrub_read(&f.w, bytes, 16, &f.out, &used), 0);
	assert_int_equal(used, 16);
	assert_true(next_frame(&first, &data, &len));
	assert_int_equal(first, 0x02);
	assert_int_equal(len, 16);
}

static const struct {
	const char *name;
	const char *bytes;
	size_t len;
} bad[] = {
#define BAD(name, bytes) \
	{ \
		name, bytes, sizeof(bytes) - 1 \
	}
	BAD("reserved bit 1", "\xc1\x00"),
	BAD("reserved bit 2", "\xa1\x00"),
	BAD("reserved bit 3", "\x91\x00"),
	BAD("opcode 3", "\x83\x00"),
	BAD("opcode 7", "\x87\x00"),
	BAD("opcode 11", "\x8b\x00"),
	BAD("opcode 15", "\x8f\x00"),
	BAD("masked", "\x81\x80"),
	BAD("masked ping", "\x89\x80"),
	BAD("continuation of nothing", "\x80\x00"),
	BAD("continuation behind a whole message", "\x81\x00\x80\x00"),
	BAD("message in a message", "\x01\x00\x81\x00"),
	BAD("fragmented ping", "\x09\x00"),
	BAD("long ping", "\x89\x7e\x00\x7e"),
	BAD("length of 16 bits below 126", "\x81\x7e\x00\x7d"),
	BAD("length of 64 bits below 2^16", "\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff"),
	BAD("length of 2^63", "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00"),
};

static void test_bad(void **state)
{
	for (size_t i = 0; i < array_len(bad); i++) {
		for (size_t step = 1; step < 20; step += 18) {
			buf_append(&f.in, bad[i].bytes, bad[i].len);
			if (feed(step) != -EBADMSG)
				fail_msg("%s", bad[i].name);
			again();
		}
	}
}

static void test_full(void **state)
{
	buf_done(&f.out);
	buf_init(&f.out, 6);
	put_text(&f.in, 0x81, "hello");
	assert_int_equal(feed(SIZE_MAX), -ENOBUFS);
	assert_int_equal(f.out.len, 0);
}

/* --- to the host ------------------------------------------------------------------------------ */

static void put_masked(struct buf *b, uint8_t first, const char *data, size_t len)
{
	static const uint8_t mask[4] = {0x11, 0x22, 0x33, 0x44};
	uint8_t head[WS_HEADER_MAX];
	size_t n = ws_put_header(head, WS_OP_TEXT, len);
	auto_free uint8_t *copy = mem_dup(data, len);

	head[0] = first;
	head[1] |= 0x80;
	ws_unmask(copy, len, mask);
	buf_append(b, head, n);
	buf_append(b, mask, sizeof(mask));
	if (len > 0)
		buf_append(b, copy, len);
}

static void test_watch(void **state)
{
	static char text[70000];

	memset(text, '-', sizeof(text));
	memcpy(text + 4090, PLACEHOLDER, PLACEHOLDER_LEN);
	for (size_t step = 1; step < 100000; step *= 9) {
		struct websocket_watch w = {0};
		uint64_t found = 0;

		put_masked(&f.in, 0x81, "hello", 5);
		put_masked(&f.in, 0x89, "", 0);
		put_masked(&f.in, 0x82, "DENO", 4);
		for (size_t at = 0; at < f.in.len; at += step) {
			size_t n = f.in.len - at < step ? f.in.len - at : step;

			found |= websocket_watch(&w, f.vault, buf_data(&f.in) + at, n);
		}
		assert_int_equal(found, 0);
		buf_clear(&f.in);
		put_masked(&f.in, 0x82, text, sizeof(text));
		for (size_t at = 0; at < f.in.len; at += step) {
			size_t n = f.in.len - at < step ? f.in.len - at : step;

			found |= websocket_watch(&w, f.vault, buf_data(&f.in) + at, n);
		}
		assert_int_equal(found, 1);
		again();
	}
}

/* In two frames of one message, and unmasked, as no client should send it. */
static void test_watch_frames(void **state)
{
	struct websocket_watch w = {0};
	struct websocket_watch plain = {0};

	put_masked(&f.in, 0x01, PLACEHOLDER, 40);
	put_masked(&f.in, 0x80, PLACEHOLDER + 40, PLACEHOLDER_LEN - 40);
	assert_int_equal(websocket_watch(&w, f.vault, buf_data(&f.in), f.in.len), 1);
	buf_clear(&f.in);
	put_text(&f.in, 0x81, PLACEHOLDER);
	assert_int_equal(websocket_watch(&plain, f.vault, buf_data(&f.in), f.in.len), 1);
}

static void test_watch_lost(void **state)
{
	struct websocket_watch w = {0};

	buf_append(&f.in, "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10);
	put_text(&f.in, 0x81, PLACEHOLDER);
	assert_int_equal(websocket_watch(&w, f.vault, buf_data(&f.in), f.in.len), 0);
	assert_true(w.lost);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(whole),
		TEST(split),
		TEST(ping_between),
		TEST(two_messages),
		TEST(large),
		TEST(large_at_once),
		TEST(bad),
		TEST(full),
		TEST(watch),
		TEST(watch_frames),
		TEST(watch_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
