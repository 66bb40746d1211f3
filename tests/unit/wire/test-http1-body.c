#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/http1.h"

#define OUT_MAX 16384

struct outcome {
	int err;
	bool done;
	size_t used;
	size_t len;
	uint8_t payload[OUT_MAX];
};

/* Reads a body in pieces of `step` bytes; what is not used is given again with what follows. */
static void read_body(const struct http1_request *req, const char *text, size_t len, size_t step,
	struct outcome *o)
{
	struct http1_body_reader r;
	size_t here = 0;

	*o = (struct outcome){0};
	http1_body_init(&r, req);
	while (!r.done && o->err == 0 && here < len) {
		size_t used = 1;

		here = len - here < step ? len : here + step;
		while (!r.done && o->err == 0 && used > 0) {
			auto_free uint8_t *exact = mem_dup(text + o->used, here - o->used);
			const uint8_t *payload = NULL;
			size_t n = 0;

			o->err = http1_body_read(&r, exact, here - o->used, &used, &payload, &n);
			if (o->err)
				break;
			assert_true(used <= here - o->used && n <= used);
			assert_true(o->len + n <= OUT_MAX);
			if (n > 0)
				memcpy(o->payload + o->len, payload, n);
			o->len += n;
			o->used += used;
		}
	}
	o->done = r.done;
}

static void check_body(
	const struct http1_request *req, const char *text, size_t len, const struct outcome *wanted)
{
	static struct outcome o;

	for (size_t step = 1; step <= len + 1; step += step < 40 ? 1 : len) {
		read_body(req, text, len, step, &o);
		assert_int_equal(o.err, wanted->err);
		if (o.err)
			continue;
		assert_int_equal(o.done, wanted->done);
		assert_int_equal(o.used, wanted->used);
		assert_int_equal(o.len, wanted->len);
		assert_memory_equal(o.payload, wanted->payload, o.len);
	}
}

/* --- chunked bodies --------------------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *text;
	size_t len;
	const char *payload; /* NULL: refused */
	bool open;           /* not at its end */
} chunked[] = {
#define BODY(name, text, payload) \
	{ \
		name, text, sizeof(text) - 1, payload, false \
	}
#define OPEN(name, text, payload) \
	{ \
		name, text, sizeof(text) - 1, payload, true \
	}
#define BAD(name, text) \
	{ \
		name, text, sizeof(text) - 1, NULL, false \
	}
	BODY("empty", "0\r\n\r\n", ""),
	BODY("one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"),
	BODY("two chunks", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!"),
	BODY("hex in both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
		"01234567890123456789"),
	BODY("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"),
	BODY("line ends inside", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
	BODY("extension", "5;a=b;c\r\nhello\r\n0;d\r\n\r\n", "hello"),
	BODY("extension in quotes", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", "hello"),
	BODY("trailers", "1\r\nx\r\n0\r\nA: b\r\nContent-Length: 7\r\n\r\n", "x"),
	BODY("empty trailer", "0\r\nA:\r\n\r\n", ""),
	OPEN("nothing yet", "", ""),
	OPEN("half a size", "5", ""),
	OPEN("half a chunk", "5\r\nhel", "hel"),
	OPEN("whole chunk", "5\r\nhello", "hello"),
	OPEN("before the last line end", "0\r\n\r", ""),
	OPEN("in a trailer", "0\r\nA: b\r\n", ""),
	BAD("no size", "\r\nhello"),
	BAD("no size after a chunk", "1\r\nx\r\n\r\n"),
	BAD("blank before size", " 5\r\nhello\r\n"),
	BAD("blank after size", "5 \r\nhello\r\n"),
	BAD("blank before extension", "5 ;a\r\nhello\r\n"),
	BAD("plus", "+5\r\nhello\r\n"),
	BAD("minus", "-5\r\nhello\r\n"),
	BAD("0x", "0x5\r\nhello\r\n"),
	BAD("underscore", "1_0\r\nhello\r\n"),
	BAD("other letter", "g\r\n"),
	BAD("size of 16 digits", "0000000000000001\r\nx\r\n"),
	BAD("size 2^64 + 1", "10000000000000001\r\nx\r\n"),
	BAD("bare LF after size", "5\nhello\r\n"),
	BAD("bare CR after size", "5\rhello\r\n"),
	BAD("bare LF in extension", "5;a\nhello\r\n"),
	BAD("bare CR in extension", "5;a\rb\r\nhello\r\n"),
	BAD("bare LF in a quoted extension", "5;a=\"\n\"\r\nhello\r\n"),
	BAD("NUL in extension", "5;a\0\r\nhello\r\n"),
	BAD("chunk too long", "5\r\nhello!\r\n0\r\n\r\n"),
	BAD("chunk too short", "5\r\nhell\r\n0\r\n\r\n"),
	BAD("bare LF after chunk", "5\r\nhello\n0\r\n\r\n"),
	BAD("bare CR after chunk", "5\r\nhello\r0\r\n\r\n"),
	BAD("bare LF at the end", "0\r\n\n"),
	BAD("bare CR at the end", "0\r\n\rX"),
	BAD("bare LF in trailer", "0\r\nA: b\nB: c\r\n\r\n"),
	BAD("folded trailer", "0\r\nA: b\r\n c\r\n\r\n"),
	BAD("trailer without a name", "0\r\n: b\r\n\r\n"),
	BAD("trailer without a colon", "0\r\nGET / HTTP/1.1\r\n\r\n"),
	BAD("blank in trailer's name", "0\r\nA : b\r\n\r\n"),
};

static void test_chunked(void **state)
{
	static const struct http1_request req = {.body = HTTP1_BODY_CHUNKED};

	for (size_t i = 0; i < array_len(chunked); i++) {
		static struct outcome wanted;
		static char text[512];

		wanted = (struct outcome){
			.err = chunked[i].payload ? 0 : -EBADMSG,
			.done = !chunked[i].open,
			.used = chunked[i].len,
			.len = chunked[i].payload ? strlen(chunked[i].payload) : 0,
		};
		print_message("# %s\n", chunked[i].name);
		memcpy(wanted.payload, chunked[i].payload ? chunked[i].payload : "", wanted.len);
		memcpy(text, chunked[i].text, chunked[i].len);
		check_body(&req, text, chunked[i].len, &wanted);
		if (!wanted.done || wanted.err)
			continue;
		/* The next request is not touched. */
		memcpy(text + chunked[i].len, "GET / HTTP", 10);
		check_body(&req, text, chunked[i].len + 10, &wanted);
	}
}

static void test_limits(void **state)
{
	static const struct http1_request req = {.body = HTTP1_BODY_CHUNKED};
	static const struct {
		const char *before;
		int fits;
		const char *after;
	} cases[] = {
		/* One size line of 256 bytes. */
		{"1;", 256 - 4, "\r\nx\r\n0\r\n\r\n"},
		{"0;", 256 - 4, "\r\n\r\n"},
		/* Trailers of 8192 bytes, the empty line counted. */
		{"1\r\nx\r\n0\r\na:", 8192 - 6, "\r\n\r\n"},
		{"0\r\na:b\r\nc:", 8192 - 6 - 5, "\r\n\r\n"},
	};
	static char filler[16384];
	static char text[OUT_MAX];
	static struct outcome o;

	memset(filler, 'e', sizeof(filler));
	for (size_t i = 0; i < array_len(cases); i++) {
		for (int over = 0; over < 2; over++) {
			int len = snprintf(text, sizeof(text), "%s%.*s%s", cases[i].before,
				cases[i].fits + over, filler, cases[i].after);

			for (size_t step = 1; step < 40000; step *= 199) {
				read_body(&req, text, (size_t)len, step, &o);
				assert_int_equal(o.err, over ? -EBADMSG : 0);
				assert_int_equal(o.done, !over);
			}
		}
	}
}

/* Each size line has its own limit: a long body with an extension in every chunk is read. */
static void test_many_extensions(void **state)
{
	static const struct http1_request req = {.body = HTTP1_BODY_CHUNKED};
	auto_buf struct buf text = {.max = OUT_MAX};
	static struct outcome o;

	for (int i = 0; i < 200; i++)
		assert_int_equal(
			buf_append_str(&text, "3;some=extension;and=another\r\nabc\r\n"), 0);
	assert_int_equal(buf_append_str(&text, "0\r\n\r\n"), 0);
	read_body(&req, (const char *)buf_data(&text), text.len, text.len, &o);
	assert_int_equal(o.err, 0);
	assert_true(o.done);
	assert_int_equal(o.len, 600);
}

/* --- bodies of known length ------------------------------------------------------------------- */

static void test_length(void **state)
{
	static const struct {
		enum http1_body kind;
		uint64_t length;
		struct outcome wanted;
	} cases[] = {
		{HTTP1_BODY_NONE, 0, {.done = true}},
		{HTTP1_BODY_LENGTH, 0, {.done = true}},
		{HTTP1_BODY_LENGTH, 5, {.done = true, .used = 5, .len = 5, .payload = "hello"}},
		{HTTP1_BODY_LENGTH, 11,
			{.done = true, .used = 11, .len = 11, .payload = "hello world"}},
		{HTTP1_BODY_LENGTH, 12,
			{.done = false, .used = 11, .len = 11, .payload = "hello world"}},
		{HTTP1_BODY_LENGTH, INT64_MAX,
			{.done = false, .used = 11, .len = 11, .payload = "hello world"}},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct http1_request req = {
			.body = cases[i].kind, .content_length = cases[i].length};

		check_body(&req, "hello world", 11, &cases[i].wanted);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunked),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_many_extensions),
		cmocka_unit_test(test_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
