#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"
#include "gate/secrets/decode.h"

#define OUT_MAX ((size_t)64 * 1024 * 1024)

/* --- encoders --------------------------------------------------------------------------------- */

static void zlib_encode(struct buf *b, int window_bits)
{
	size_t max = compressBound(b->len) + 64;
	uint8_t *out = mem_zalloc(max);
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = buf_data(b);
	z.avail_in = (uInt)b->len;
	z.next_out = out;
	z.avail_out = (uInt)max;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	buf_clear(b);
	assert_int_equal(buf_append(b, out, z.total_out), 0);
	deflateEnd(&z);
	free(out);
}

static void gzip(struct buf *b)
{
	zlib_encode(b, 16 + MAX_WBITS);
}

static void deflate_zlib(struct buf *b)
{
	zlib_encode(b, MAX_WBITS);
}

static void deflate_raw(struct buf *b)
{
	zlib_encode(b, -MAX_WBITS);
}

static void br(struct buf *b)
{
	size_t len = BrotliEncoderMaxCompressedSize(b->len) + 64;
	uint8_t *out = mem_zalloc(len);

	assert_true(
		BrotliEncoderCompress(5, 22, BROTLI_MODE_GENERIC, b->len, buf_data(b), &len, out));
	buf_clear(b);
	assert_int_equal(buf_append(b, out, len), 0);
	free(out);
}

static void zstd_window(struct buf *b, int window_log)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	size_t max = ZSTD_compressBound(b->len) + 64;
	uint8_t *out = mem_zalloc(max);
	ZSTD_inBuffer in = {.src = buf_data(b), .size = b->len};
	ZSTD_outBuffer o = {.dst = out, .size = max};

	if (window_log > 0)
		ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window_log);
	/* Input that comes in a stream makes a frame that names its window, not its length. */
	assert_false(ZSTD_isError(ZSTD_compressStream2(c, &o, &in, ZSTD_e_continue)));
	assert_int_equal(ZSTD_compressStream2(c, &o, &in, ZSTD_e_end), 0);
	buf_clear(b);
	assert_int_equal(buf_append(b, out, o.pos), 0);
	free(out);
	ZSTD_freeCCtx(c);
}

static void zstd(struct buf *b)
{
	zstd_window(b, 0);
}

static void zstd_gzip_br(struct buf *b)
{
	zstd(b);
	gzip(b);
	br(b);
}

static void gzip_twice(struct buf *b)
{
	gzip(b);
	gzip(b);
}

static const struct {
	const char *value;
	void (*encode)(struct buf *b);
	bool many; /* two encodings one after the other are one body */
} kinds[] = {
	{"gzip", gzip, true},
	{"X-GZip", gzip, true},
	{"deflate", deflate_zlib, false},
	{"deflate", deflate_raw, false},
	{"br", br, false},
	{"zstd", zstd, true},
	{" identity,\tgzip , gzip,", gzip_twice, false},
	{"zstd, gzip, br", zstd_gzip_br, false},
};

/* --- reading ---------------------------------------------------------------------------------- */

struct outcome {
	int err;    /* of decode_feed() */
	int finish; /* of decode_finish() */
	struct buf out;
};

/* Feeds the data in pieces of step bytes, each in a block of exactly its size. */
static void run(const char *value, const uint8_t *data, size_t len, size_t step, size_t max_out,
	struct outcome *o)
{
	struct decode *d = NULL;
	size_t used = 0;

	*o = (struct outcome){0};
	buf_init(&o->out, OUT_MAX);
	assert_int_equal(decode_new(value, strlen(value), &d), 0);
	assert_non_null(d);
	for (size_t done = 0; done <= len && o->err == 0; done += used) {
		size_t n = len - done < step ? len - done : step;
		uint8_t *exact = mem_dup(data + done, n);
		size_t before = o->out.len;

		o->err = decode_feed(d, exact, n, max_out, &o->out, &used);
		free(exact);
		assert_true(o->out.len - before <= max_out);
		if (o->err == 0) {
			assert_true(used <= n);
			assert_true(used == n || o->out.len - before == max_out);
			if (n == 0 && o->out.len == before)
				break;
		}
	}
	o->finish = decode_finish(d);
	if (o->err < 0)
		assert_int_equal(decode_feed(d, data, len, max_out, &o->out, &used), o->err);
	decode_free(d);
}

/* Text that compresses, but not to nothing. */
static void fill(struct buf *b, size_t len)
{
	uint32_t x = 1;

	buf_init(b, OUT_MAX);
	while (b->len < len) {
		x = x * 1664525 + 1013904223;
		assert_int_equal(buf_printf(b, "{\"item\": %u}\n", x >> 16), 0);
	}
	b->len = len;
}

static void check_whole(const struct outcome *o, const struct buf *plain)
{
	assert_int_equal(o->err, 0);
	assert_int_equal(o->finish, 0);
	assert_int_equal(o->out.len, plain->len);
	if (plain->len > 0)
		assert_memory_equal(buf_data(&o->out), buf_data(plain), plain->len);
}

static void test_each_encoding(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 70000, 1000000};

	for (size_t i = 0; i < array_len(kinds); i++) {
		for (size_t j = 0; j < array_len(sizes); j++) {
			struct buf plain;
			struct buf packed;
			struct outcome o;

			fill(&plain, sizes[j]);
			fill(&packed, sizes[j]);
			kinds[i].encode(&packed);
			run(kinds[i].value, buf_data(&packed), packed.len, SIZE_MAX, SIZE_MAX, &o);
			check_whole(&o, &plain);
			buf_done(&o.out);
			run(kinds[i].value, buf_data(&packed), packed.len, 1000, 999, &o);
			check_whole(&o, &plain);
			buf_done(&o.out);
			buf_done(&plain);
			buf_done(&packed);
		}
	}
}

static void test_small_pieces(void **state)
{
	for (size_t i = 0; i < array_len(kinds); i++) {
		struct buf plain;
		struct buf packed;

		fill(&plain, 300);
		fill(&packed, 300);
		kinds[i].encode(&packed);
		for (size_t step = 1; step <= packed.len; step++) {
			for (size_t max_out = 1; max_out < 400; max_out = max_out * 2 + 1) {
				struct outcome o;

				run(kinds[i].value, buf_data(&packed), packed.len, step, max_out,
					&o);
				check_whole(&o, &plain);
				buf_done(&o.out);
			}
		}
		buf_done(&plain);
		buf_done(&packed);
	}
}

static void test_cut_off(void **state)
{
	for (size_t i = 0; i < array_len(kinds); i++) {
		struct buf packed;

		fill(&packed, 300);
		kinds[i].encode(&packed);
		for (size_t len = 0; len < packed.len; len++) {
			struct outcome o;

			run(kinds[i].value, buf_data(&packed), len, SIZE_MAX, SIZE_MAX, &o);
			assert_int_equal(o.err, 0);
			/* Nothing at all is an empty body. */
			assert_int_equal(o.finish, len == 0 ? 0 : -EBADMSG);
			buf_done(&o.out);
		}
		buf_done(&packed);
	}
}

static void test_parts_one_after_the_other(void **state)
{
	for (size_t i = 0; i < array_len(kinds); i++) {
		struct buf plain;
		struct buf packed;
		struct buf more;
		struct outcome o;
		size_t first;

		fill(&plain, 500);
		fill(&packed, 500);
		fill(&more, 500);
		kinds[i].encode(&packed);
		kinds[i].encode(&more);
		first = packed.len;
		assert_int_equal(buf_append(&packed, buf_data(&more), more.len), 0);
		run(kinds[i].value, buf_data(&packed), packed.len, 7, SIZE_MAX, &o);
		if (kinds[i].many) {
			auto_free uint8_t *once = mem_dup(buf_data(&plain), 500);

			assert_int_equal(buf_append(&plain, once, 500), 0);
			check_whole(&o, &plain);
			/* The second part is cut off right behind its first byte. */
			buf_done(&o.out);
			run(kinds[i].value, buf_data(&packed), first + 1, 7, SIZE_MAX, &o);
			assert_int_equal(o.finish, -EBADMSG);
		} else if (strchr(kinds[i].value, ',') == NULL) {
			assert_int_equal(o.err, -EBADMSG);
		}
		buf_done(&o.out);
		buf_done(&plain);
		buf_done(&packed);
		buf_done(&more);
	}
}

static void test_garbage(void **state)
{
	for (size_t i = 0; i < array_len(kinds); i++) {
		struct buf packed;
		struct outcome o;

		run(kinds[i].value, (const uint8_t *)"<html>not encoded</html>", 24, 3, SIZE_MAX,
			&o);
		assert_true(o.err == -EBADMSG || o.finish == -EBADMSG);
		buf_done(&o.out);

		/* Behind the end. */
		fill(&packed, 300);
		kinds[i].encode(&packed);
		assert_int_equal(buf_append(&packed, "garbage", 7), 0);
		run(kinds[i].value, buf_data(&packed), packed.len, SIZE_MAX, SIZE_MAX, &o);
		assert_true(o.err == -EBADMSG || o.finish == -EBADMSG);
		buf_done(&o.out);
		buf_done(&packed);
	}
}

/* Each byte of a gzip body that counts is checked in the end: by its form or by its checksum. */
static void test_changed_byte(void **state)
{
	struct buf packed;

	fill(&packed, 300);
	gzip(&packed);
	for (size_t i = 10; i < packed.len; i++) {
		struct outcome o;

		buf_data(&packed)[i] ^= 0x10;
		run("gzip", buf_data(&packed), packed.len, SIZE_MAX, SIZE_MAX, &o);
		assert_true(o.err == -EBADMSG || o.finish == -EBADMSG);
		buf_done(&o.out);
		buf_data(&packed)[i] ^= 0x10;
	}
	buf_done(&packed);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void zeros(struct buf *b, size_t len)
{
	buf_init(b, OUT_MAX);
	assert_non_null(buf_reserve(b, len, NULL));
	memset(buf_data(b), 0, len);
	buf_commit(b, len);
}

static void test_bomb(void **state)
{
	static const struct {
		const char *value;
		void (*encode)(struct buf *b);
	} bombs[] = {{"br", br}, {"zstd", zstd}, {"gzip, gzip", gzip_twice}};

	for (size_t i = 0; i < array_len(bombs); i++) {
		struct buf packed;
		struct outcome o;

		zeros(&packed, 48 * 1024 * 1024);
		bombs[i].encode(&packed);
		assert_true(packed.len < 48 * 1024 * 1024 / DECODE_RATIO_MAX);
		run(bombs[i].value, buf_data(&packed), packed.len, SIZE_MAX, 100000, &o);
		assert_int_equal(o.err, -E2BIG);
		assert_true(o.out.len >= DECODE_FREE_BYTES - 100000);
		assert_true(o.out.len < DECODE_FREE_BYTES + packed.len * DECODE_RATIO_MAX);
		buf_done(&o.out);
		buf_done(&packed);
	}
}

/* Up to DECODE_FREE_BYTES any ratio is fine. */
static void test_free_bytes(void **state)
{
	struct buf plain;
	struct buf packed;
	struct outcome o;

	zeros(&plain, DECODE_FREE_BYTES);
	zeros(&packed, DECODE_FREE_BYTES);
	br(&packed);
	run("br", buf_data(&packed), packed.len, SIZE_MAX, SIZE_MAX, &o);
	check_whole(&o, &plain);
	buf_done(&o.out);
	buf_done(&plain);
	buf_done(&packed);
}

/* A layer in between that blows up counts, even when the last one makes nothing of it: 20 bytes of
 * an empty gzip member, again and again. */
static void test_inner_bomb(void **state)
{
	struct buf packed;
	struct buf member;
	struct outcome o;

	buf_init(&member, OUT_MAX);
	gzip(&member);
	buf_init(&packed, OUT_MAX);
	while (packed.len < 32 * 1024 * 1024)
		assert_int_equal(buf_append(&packed, buf_data(&member), member.len), 0);
	br(&packed);
	run("gzip, br", buf_data(&packed), packed.len, SIZE_MAX, SIZE_MAX, &o);
	assert_int_equal(o.err, -E2BIG);
	assert_int_equal(o.out.len, 0);
	buf_done(&o.out);
	buf_done(&packed);
	buf_done(&member);
}

static void test_zstd_window(void **state)
{
	struct buf plain;
	struct buf packed;
	struct outcome o;

	for (int window_log = 22; window_log <= 25; window_log++) {
		fill(&plain, 40 * 1024 * 1024);
		fill(&packed, 40 * 1024 * 1024);
		zstd_window(&packed, window_log);
		run("zstd", buf_data(&packed), packed.len, SIZE_MAX, SIZE_MAX, &o);
		if (window_log <= 23)
			check_whole(&o, &plain);
		else
			assert_int_equal(o.err, -EBADMSG);
		buf_done(&o.out);
		buf_done(&plain);
		buf_done(&packed);
	}
}

static void test_out_full(void **state)
{
	struct decode *d = NULL;
	struct buf packed;
	struct buf out;
	size_t used = 99;

	fill(&packed, 300);
	gzip(&packed);
	buf_init(&out, 100);
	assert_int_equal(decode_new("gzip", 4, &d), 0);
	assert_int_equal(decode_feed(d, buf_data(&packed), packed.len, SIZE_MAX, &out, &used), 0);
	assert_int_equal(out.len, 100);
	assert_int_equal(
		decode_feed(d, buf_data(&packed) + used, packed.len - used, 50, &out, &used),
		-ENOBUFS);
	assert_int_equal(decode_finish(d), -EBADMSG);
	decode_free(d);
	buf_done(&out);
	buf_done(&packed);
}

static void test_names(void **state)
{
	static const char *const plain[] = {"", "identity", " Identity ,, identity", ","};
	static const char *const unknown[] = {"compress", "gzip, snappy", "gzi", "gzipx", "gzip br",
		"gzip;q=1", "*", "gzip,gzip,gzip,gzip", "\"gzip\""};
	struct decode *d = (struct decode *)&d;

	assert_int_equal(decode_new(NULL, 0, &d), 0);
	assert_null(d);
	for (size_t i = 0; i < array_len(plain); i++) {
		d = (struct decode *)&d;
		assert_int_equal(decode_new(plain[i], strlen(plain[i]), &d), 0);
		assert_null(d);
	}
	for (size_t i = 0; i < array_len(unknown); i++)
		assert_int_equal(decode_new(unknown[i], strlen(unknown[i]), &d), -ENOTSUP);
	assert_null(d);
	assert_int_equal(decode_new("gzip,identity,br,identity,zstd", 30, &d), 0);
	assert_non_null(d);
	decode_free(d);
	decode_free(NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_encoding),
		cmocka_unit_test(test_small_pieces),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_parts_one_after_the_other),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_changed_byte),
		cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_free_bytes),
		cmocka_unit_test(test_inner_bomb),
		cmocka_unit_test(test_zstd_window),
		cmocka_unit_test(test_out_full),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
