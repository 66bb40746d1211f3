#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/base64.h"
#include "wire/base64_kernel.h"

#ifdef __x86_64__
extern const struct base64_kernel base64_vbmi_on_model;
#endif

#define LEN_MAX 2048
#define TEXT_MAX (LEN_MAX / 3 * 4 + 8)

/* --- fixed cases ------------------------------------------------------------------------------ */

static const char *const kernel_names[] = {"scalar", "avx2", "avx512vbmi"};

static const struct {
	const char *plain;
	const char *text;
} pairs[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
	{"\xff\xff\xff", "////"},
	{"\xfb\xef\xbe", "++++"},
	{"\xff\xfe", "//4="},
};

/* Refused when alone and, with valid groups in front, at the end of a long text. */
static const char *const bad_texts[] = {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "=AAA",
	"Z=g=", "Zg=A", "Zm9v\n", "Zm9v ", " Zm9v", "Zm9\n", "Zm 9", "Zm-v", "Zm_v",
	"Zm9v=", "Zm9v==", "Zm9v====", "Zg==Zg==", "Zm8=Zm8=", "Zm9\x80", "\xff\xff\xff\xff",
	"Zg=\xbd",
	"A\xc1"
	"AA"};

static void check_pairs(void)
{
	for (size_t i = 0; i < array_len(pairs); i++) {
		char text[16] = {0};
		uint8_t plain[16] = {0};
		size_t len = strlen(pairs[i].plain);
		size_t text_len = strlen(pairs[i].text);

		assert_int_equal(base64_encode(text, pairs[i].plain, len), text_len);
		assert_string_equal(text, pairs[i].text);
		assert_int_equal(base64_decode(plain, text, text_len), len);
		assert_memory_equal(plain, pairs[i].plain, len);
	}
}

static void check_bad(void)
{
	char text[256 + 16];
	uint8_t plain[256 + 16];

	for (size_t i = 0; i < array_len(bad_texts); i++) {
		for (size_t front = 0; front <= 256; front += 4) {
			size_t len = strlen(bad_texts[i]);

			memset(text, 'A', front);
			memcpy(text + front, bad_texts[i], len);
			assert_int_equal(base64_decode(plain, text, front + len), -EINVAL);
		}
	}
}

static void for_each_kernel(void (*check)(void))
{
	for (size_t i = 0; i < array_len(kernel_names); i++) {
		int r = base64_select(kernel_names[i]);

		if (r == -ENOTSUP)
			print_message("# %s: not on this machine\n", kernel_names[i]);
		else
			assert_int_equal(r, 0);
		if (r == 0)
			check();
	}
}

static void test_pairs(void **state)
{
	for_each_kernel(check_pairs);
}

static void test_bad(void **state)
{
	for_each_kernel(check_bad);
}

static void test_select(void **state)
{
	assert_int_equal(base64_select("neon"), -EINVAL);
	assert_int_equal(base64_select(""), -EINVAL);
	assert_int_equal(base64_select("scalar"), 0);
}

/* --- kernels against the scalar code ---------------------------------------------------------- */

/* Memory that ends, and one that begins, at a page nobody may touch. */
struct guarded {
	uint8_t *map;
	size_t size;
	uint8_t *start;
	uint8_t *end;
};

static struct guarded guarded_new(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t inner = (size + page - 1) / page * page;
	struct guarded g = {.size = inner + 2 * page};

	g.map = mmap(NULL, g.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(g.map, MAP_FAILED);
	g.start = g.map + page;
	g.end = g.start + inner;
	assert_int_equal(mprotect(g.map, page, PROT_NONE), 0);
	assert_int_equal(mprotect(g.end, page, PROT_NONE), 0);
	return g;
}

static void guarded_free(struct guarded *g)
{
	munmap(g->map, g->size);
}

/* The pieces a kernel is tested with: the whole codec with the kernel chosen, or a kernel that
 * this machine may be unable to choose, with the scalar code behind it. */
struct codec {
	const char *name;
	const struct base64_kernel *kernel;
};

static size_t codec_encode(const struct codec *c, char *out, const uint8_t *in, size_t len)
{
	size_t done = 0;

	if (c->kernel)
		done = c->kernel->encode(out, in, len);
	assert_int_equal(done % 3, 0);
	assert_true(done <= len);
	return done / 3 * 4 + base64_encode(out + done / 3 * 4, in + done, len - done);
}

static ssize_t codec_decode(const struct codec *c, uint8_t *out, const char *in, size_t len)
{
	size_t done = 0;
	ssize_t n;

	if (c->kernel && len % 4 == 0 && len > 0)
		done = c->kernel->decode(out, in, len);
	assert_int_equal(done % 4, 0);
	assert_true(done < len || done == 0);
	n = base64_decode(out + done / 4 * 3, in + done, len - done);
	return n < 0 ? n : (ssize_t)(done / 4 * 3) + n;
}

static uint32_t seed = 1;

static uint32_t next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void fill_random(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)next_random();
}

static void slow_encode(char *out, const uint8_t *in, size_t len)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < base64_encoded_len(len); i++) {
		size_t bit = i * 6;
		size_t byte = bit / 8;
		unsigned pair = byte < len ? in[byte] << 8u : 0;

		pair |= byte + 1 < len ? in[byte + 1] : 0u;
		out[i] = byte < len ? alphabet[pair >> (10 - bit % 8) & 63] : '=';
	}
}

/* Encodes and decodes len bytes with input and output against a guard page on either side. */
static void check_length(const struct codec *c, struct guarded *a, struct guarded *b, size_t len)
{
	static char expected[TEXT_MAX];
	static uint8_t plain[LEN_MAX];
	size_t text_len = base64_encoded_len(len);

	fill_random(plain, len);
	slow_encode(expected, plain, len);
	for (int at_end = 0; at_end < 2; at_end++) {
		uint8_t *in = at_end ? a->end - len : a->start;
		char *text = (char *)(at_end ? b->end - text_len : b->start);
		uint8_t *out = at_end ? a->end - len : a->start;

		memcpy(in, plain, len);
		assert_int_equal(codec_encode(c, text, in, len), text_len);
		assert_memory_equal(text, expected, text_len);
		memset(out, 0x55, len);
		assert_int_equal(codec_decode(c, out, text, text_len), len);
		assert_memory_equal(out, plain, len);
		/* In place. */
		assert_int_equal(codec_decode(c, (uint8_t *)text, text, text_len), len);
		assert_memory_equal(text, plain, len);
	}
}

/* Decoding writes what it decodes and not one byte more, wherever the text ends. */
static void check_no_overrun(const struct codec *c)
{
	static uint8_t plain[LEN_MAX];
	static uint8_t out[LEN_MAX + 64];
	static char text[TEXT_MAX];

	for (size_t len = 0; len <= 300; len++) {
		size_t text_len;

		fill_random(plain, len);
		text_len = codec_encode(c, text, plain, len);
		memset(out, 0xaa, sizeof(out));
		assert_int_equal(codec_decode(c, out, text, text_len), len);
		for (size_t i = 0; i < 64; i++)
			assert_int_equal(out[len + i], 0xaa);
	}
}

/* Every byte value at every place of a block: the same verdict and bytes as the scalar code. */
static void check_each_byte(const struct codec *c, const struct codec *reference)
{
	static char text[192];
	static uint8_t out[2][192];

	for (size_t at = 0; at < sizeof(text); at++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			ssize_t n;

			memset(text, 'b', sizeof(text));
			text[at] = (char)byte;
			n = codec_decode(reference, out[0], text, sizeof(text));
			assert_int_equal(codec_decode(c, out[1], text, sizeof(text)), n);
			if (n > 0)
				assert_memory_equal(out[0], out[1], (size_t)n);
		}
	}
}

static void check_codec(const struct codec *c, const struct codec *reference)
{
	struct guarded a = guarded_new(LEN_MAX);
	struct guarded b = guarded_new(TEXT_MAX);

	for (size_t len = 0; len <= 300; len++)
		check_length(c, &a, &b, len);
	for (int i = 0; i < 300; i++)
		check_length(c, &a, &b, next_random() % LEN_MAX);
	guarded_free(&a);
	guarded_free(&b);
	check_no_overrun(c);
	check_each_byte(c, reference);
}

static void test_kernels(void **state)
{
	static const struct codec chosen = {.name = "chosen"};
#ifdef __x86_64__
	static const struct codec avx2 = {"avx2", &base64_avx2};
	static const struct codec model = {"avx512vbmi on a model", &base64_vbmi_on_model};
#endif

	/* From here on the scalar code is behind each kernel, and the reference. */
	for (size_t i = 1; i < array_len(kernel_names); i++)
		if (base64_select(kernel_names[i]) == 0)
			check_codec(&chosen, &chosen);
	assert_int_equal(base64_select("scalar"), 0);
	check_codec(&chosen, &chosen);
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		check_codec(&avx2, &chosen);
	check_codec(&model, &chosen);
#endif
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_kernels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
