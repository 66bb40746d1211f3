#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/secrets/scrub.h"
#include "wire/base64.h"

#define OUT_MAX ((size_t)4 * 1024 * 1024)

static const char *const hosts[] = {"api.example"};

/* A vault with these values. */
static struct vault *vault_of(const char *const *values, size_t count)
{
	struct vault *v = vault_new();

	for (size_t i = 0; i < count; i++) {
		char placeholder[PLACEHOLDER_LEN + 1];

		snprintf(placeholder, sizeof(placeholder), "%s%064zx", PLACEHOLDER_PREFIX, i);
		assert_int_equal(vault_add(v, "NAME", placeholder, values[i], strlen(values[i]),
					 hosts, 1, NULL),
			0);
	}
	return v;
}

/* Feeds text in pieces of step bytes, each in a block of exactly its size. */
static uint64_t feed(
	const struct scrub_set *set, const uint8_t *text, size_t len, size_t step, struct buf *out)
{
	struct scrub *s = scrub_new(set);
	uint64_t found;

	for (size_t done = 0; done < len; done += step) {
		size_t n = len - done < step ? len - done : step;
		auto_free uint8_t *exact = mem_dup(text + done, n);

		assert_int_equal(scrub_feed(s, exact, n, out), 0);
		assert_true(out->len <= done + n);
	}
	assert_int_equal(scrub_finish(s, out), 0);
	found = scrub_found(s);
	scrub_free(s);
	return found;
}

/* However the text comes, wanted comes out. */
static void check_text(const struct scrub_set *set, const char *text, size_t len,
	const char *wanted, uint64_t wanted_found)
{
	auto_free uint8_t *whole = mem_dup(text, len);

	for (size_t step = 1; step <= len; step += step < 100 ? 1 : len) {
		struct buf out;

		buf_init(&out, OUT_MAX);
		assert_int_equal(feed(set, (const uint8_t *)text, len, step, &out), wanted_found);
		assert_int_equal(out.len, len);
		if (memcmp(buf_data(&out), wanted, len) != 0)
			fail_msg("\"%.*s\" became \"%.*s\" in pieces of %zu", (int)len, text,
				(int)len, (const char *)buf_data(&out), step);
		buf_done(&out);
	}
	assert_int_equal(scrub_text(set, whole, len), wanted_found);
	assert_memory_equal(whole, wanted, len);
}

/* --- one value -------------------------------------------------------------------------------- */

#define VALUE "s3cr3t/K\"y~9 z"

/* What stands between '<' and '>' has to go. */
static const char *const rows[] = {
	"<s3cr3t/K\"y~9 z>",
	"a<s3cr3t/K\"y~9 z>b",
	"<s3cr3t/K\"y~9 zs3cr3t/K\"y~9 z>",
	"s3cr<s3cr3t/K\"y~9 z>",
	"s3cr3t/K\"y~9",
	"S3CR3T/K\"Y~9 Z",
	"s3cr3t/K\"y~9  z",
	/* percent-encoded: some bytes, all of them, either case, blanks as '+' */
	"?k=<s3cr3t%2FK%22y~9%20z>&",
	"?k=<s3cr3t%2fK%22y%7e9+z>&",
	"<%73%33%63%72%33%74%2F%4B%22%79%7E%39%20%7A>",
	"%<s3cr3t/K%22y~9%20z>%",
	"%4<%73%33cr3t/K%22y~9%20z>%4",
	"s3cr3t%252FK%2522y~9%2520z",
	"s3cr3t%2K%22y~9%20z",
	/* JSON */
	"\"<s3cr3t/K\\\"y~9 z>\"",
	"\"<s3cr3t\\/K\\u0022y\\u007E9\\u0020z>\"",
	"<\\u0073\\u0033\\u0063\\u0072\\u0033\\u0074\\u002f\\u004b\\u0022\\u0079\\u007e9\\u0020z>",
	"\\<s3cr3t/K\\\"y~9 z>\\",
	"\\\\<s3cr3t/K\\\"y~9 z>\\u00",
	"\\n\\u<s3cr3t/K\\\"y~9 z>",
	"<\\x73\\x33cr3t/K\\\"y~9 z>",
	"s3cr3t/K\\\\\"y~9 z",
	"\\ud800<s3cr3t/K\\\"y~9 z>",
	"s3cr3t/K\\ud800\\\"y~9 z",
	/* hexadecimal, also mixed */
	"-<7333637233742f4b22797e39207a>-",
	"-<7333637233742F4B22797E39207A>-",
	"-<7333637233742f4b22797E39207A>-",
	"-7333637233742f4b22797e39207-",
	/* base64 at the three alignments: what depends on the neighbours stays */
	"<czNjcjN0L0sieX45IH>o=",
	"YX<MzY3IzdC9LInl+OSB6>",
	"YWF<zM2NyM3QvSyJ5fjkge>g==",
	"YWF<zM2NyM3QvSyJ5fjkge>mI=",
	"YX<MzY3IzdC9LInl-OSB6>",
	/* ... percent-encoded, JSON-escaped, in lines, also both */
	"YX<MzY3IzdC9LInl%2BOSB6>",
	"YX<MzY3IzdC9LInl%2bOSB%36>",
	"YX<MzY3IzdC9LInl\\u002bOSB6>",
	"YX<MzY3Iz\r\ndC9LInl+\r\nOSB6>\r\n",
	"YX<MzY3Iz\\ndC9LInl+\\nOSB6>\\n",
	"YX<MzY3Iz\\r\\ndC9LInl+%0D%0AOSB6>",
	"YXMzY3Iz\n\n\n\n\n\n\n\n\ndC9LInl+OSB6",
	"YXMzY3Iz dC9LInl+OSB6",
};

/* What is marked in row goes, however it comes. */
static void check_marked(const struct scrub_set *set, const char *row)
{
	char text[256];
	char wanted[256];
	size_t len = 0;
	bool inside = false;
	uint64_t found = 0;
	auto_free uint8_t *copy = NULL;

	for (const char *p = row; *p != '\0'; p++) {
		if (*p == '<' || *p == '>') {
			inside = *p == '<';
			continue;
		}
		text[len] = *p;
		wanted[len] = *p;
		if (inside)
			wanted[len] = '*';
		len++;
	}
	copy = mem_dup(text, len);
	found = scrub_text(set, copy, len);
	assert_int_equal(found != 0, strchr(row, '<') != NULL);
	check_text(set, text, len, wanted, found);
}

static void test_forms(void **state)
{
	static const char *const values[] = {VALUE};
	struct vault *v = vault_of(values, 1);
	struct scrub_set *set = scrub_set_new(v, 1);

	for (size_t i = 0; i < array_len(rows); i++)
		check_marked(set, rows[i]);
	scrub_set_free(set);
	vault_free(v);
}

/* What looks like the rest of an escape that somebody has put in front. */
static void test_escape_in_front(void **state)
{
	static const char *const values[] = {
		"ab/cd+efgh", "n\"quoted\" value", "4f4f/4f", "oats and beans"};
	static const char *const texts[] = {
		"%<ab%2Fcd%2Befgh>",
		"%4<ab%2Fcd%2Befgh>",
		"a%<ab%2Fcd%2Befgh>",
		"ab%2Fab%<ab%2Fcd%2Befgh>",
		"%61%<ab%2Fcd%2Befgh>",
		"%4%<%61b%2Fcd%2Befgh>",
		"%%%<4f4f%2F%34f>",
		"%<4f4f%2F%34f>",
		"4f4f%2F%<4f4f%2F%34f>",
		"\\<n\\\"quoted\\\" value>",
		"\\u004<ab\\/cd\\u002befgh>",
		"\\u0<4f4f\\/4f>",
		/* base64 */
		"%<b2F0cyBhbmQgYmVhbn>M=",
		"\\<b2F0cyBhbmQgYmVhbn>M=",
	};
	struct vault *v = vault_of(values, array_len(values));
	struct scrub_set *set = scrub_set_new(v, 15);

	for (size_t i = 0; i < array_len(texts); i++)
		check_marked(set, texts[i]);
	scrub_set_free(set);
	vault_free(v);
}

/* Base64 of text with the value at every place: of the value, only what a neighbour shares is
 * left. */
static void test_base64_anywhere(void **state)
{
	static const char *const values[] = {"correct horse battery staple"};
	struct vault *v = vault_of(values, 1);
	struct scrub_set *set = scrub_set_new(v, 1);

	for (size_t before = 0; before < 9; before++) {
		for (size_t after = 0; after < 4; after++) {
			char plain[64] = {0};
			char text[96] = {0};
			char wanted[96] = {0};
			size_t n = before + strlen(values[0]) + after;
			size_t first = (before * 8 + 5) / 6;
			size_t last = (before + strlen(values[0])) * 8 / 6;

			memset(plain, 'x', n);
			memcpy(plain + before, values[0], strlen(values[0]));
			size_t len = base64_encode(text, plain, n);
			memcpy(wanted, text, len);
			memset(wanted + first, '*', last - first);
			check_text(set, text, len, wanted, 1);
		}
	}
	scrub_set_free(set);
	vault_free(v);
}

/* --- several values --------------------------------------------------------------------------- */

static void test_overlaps(void **state)
{
	static const char *const values[] = {"abcdefgh", "defg", "ghijkl", "aaaa", "abab"};
	struct vault *v = vault_of(values, array_len(values));
	struct scrub_set *set = scrub_set_new(v, 31);

	check_text(set, "-abcdefgh-", 10, "-********-", 3);
	check_text(set, "-defg-", 6, "-****-", 2);
	check_text(set, "-abcdefghijkl-", 14, "-************-", 7);
	check_text(set, "-abcdefxghijkl-", 15, "-abcdefx******-", 4);
	check_text(set, "-aaaaaaa-", 9, "-*******-", 8);
	check_text(set, "-ababab-", 8, "-******-", 16);
	check_text(set, "-aaabab-", 8, "-aa****-", 16);
	check_text(set, "%61b%63\\u0064efg", 16, "%61b%63*********", 2);
	/* The set that is asked for, and no other. */
	scrub_set_free(set);
	set = scrub_set_new(v, 4);
	check_text(set, "-abcdefghijkl-", 14, "-abcdef******-", 4);
	scrub_set_free(set);
	vault_free(v);
}

static void test_short_values(void **state)
{
	static const char *const values[] = {"#", "qz", "QZX", "1234", "12345"};
	struct vault *v = vault_of(values, array_len(values));
	struct scrub_set *set = scrub_set_new(v, 31);

	check_text(set, "a#b", 3, "a*b", 1);
	check_text(set, "##", 2, "**", 1);
	check_text(set, "%23 \\u0023 23", 13, "%23 \\u0023 23", 0);
	check_text(set, "qqzz", 4, "q**z", 2);
	check_text(set, "QQZX 515a58", 11, "Q*** 515a58", 4);
	check_text(set, "-%31234 31323334", 16, "-****** ********", 8);
	check_text(set, "MTIzNA== MTIzNDU=", 17, "MTIzNA== ******U=", 16);
	scrub_set_free(set);
	vault_free(v);
}

static void test_utf8_in_json(void **state)
{
	static const char *const values[] = {"p\xc3\xa4ss\xe2\x82\xacw\xf0\x9f\x98\x80rd"};
	struct vault *v = vault_of(values, 1);
	struct scrub_set *set = scrub_set_new(v, 1);
	static const char text[] = "p\\u00e4ss\\u20ACw\\ud83d\\uDE00rd";
	static const char cut[] = "p\\u00e4ss\\u20ACw\\ud83d\\u0041rd";

	check_text(set, text, sizeof(text) - 1, "******************************", 1);
	check_text(set, cut, sizeof(cut) - 1, cut, 0);
	check_text(set, "p%C3%A4ss%E2%82%ACw%F0%9F%98%80rd", 33,
		"*********************************", 1);
	scrub_set_free(set);
	vault_free(v);
}

static void test_binary_value(void **state)
{
	static const uint8_t value[] = {0, 255, 10, 13, 0, 128};
	static const uint8_t text[] = {1, 0, 255, 10, 13, 0, 128, 2};
	struct vault *v = vault_new();
	struct scrub_set *set;

	assert_int_equal(vault_add(v, "BINARY",
				 PLACEHOLDER_PREFIX "0123456789abcdef0123456789abcdef"
						    "0123456789abcdef0123456789abcdef",
				 value, sizeof(value), hosts, 1, NULL),
		0);
	set = scrub_set_new(v, 1);
	check_text(set, (const char *)text, sizeof(text), "\1******\2", 1);
	check_text(set, "%00%FF%0A%0D%00%80", 18, "******************", 1);
	check_text(set, "00ff0A0d0080", 12, "************", 1);
	scrub_set_free(set);
	vault_free(v);
}

/* --- what is held back ------------------------------------------------------------------------ */

static void test_held_back(void **state)
{
	static const char *const values[] = {"token-12345"};
	static const struct {
		const char *piece;
		const char *out; /* what came out with this piece */
	} steps[] = {
		{"hello", "hello"},
		{" to", " "},
		{"ken", ""},
		{"-1", ""},
		{"x", "token-1x"},
		{"a\\u0074", "a"},
		{"o", ""},
		{"!", "\\u0074o!"},
		{"199%", "199"},
		{"7", ""},
		{" ", "%7 "},
		{"token-12345", "***********"},
		{"token-1234", ""},
	};
	struct vault *v = vault_of(values, 1);
	struct scrub_set *set = scrub_set_new(v, 1);
	struct scrub *s = scrub_new(set);
	struct buf out;

	buf_init(&out, OUT_MAX);
	for (size_t i = 0; i < array_len(steps); i++) {
		assert_int_equal(scrub_feed(s, (const uint8_t *)steps[i].piece,
					 strlen(steps[i].piece), &out),
			0);
		assert_int_equal(out.len, strlen(steps[i].out));
		if (out.len > 0)
			assert_memory_equal(buf_data(&out), steps[i].out, out.len);
		buf_clear(&out);
	}
	assert_int_equal(scrub_finish(s, &out), 0);
	assert_int_equal(out.len, 10);
	assert_memory_equal(buf_data(&out), "token-1234", 10);
	buf_clear(&out);
	/* As new: what was at the end before is no beginning. */
	assert_int_equal(scrub_feed(s, (const uint8_t *)"5", 1, &out), 0);
	assert_int_equal(out.len, 1);
	assert_int_equal(buf_data(&out)[0], '5');
	buf_done(&out);
	scrub_free(s);
	scrub_set_free(set);
	vault_free(v);
}

static void test_out_full(void **state)
{
	static const char *const values[] = {"token-12345"};
	struct vault *v = vault_of(values, 1);
	struct scrub_set *set = scrub_set_new(v, 1);
	struct scrub *s = scrub_new(set);
	struct buf out;

	buf_init(&out, 11);
	assert_int_equal(scrub_feed(s, (const uint8_t *)"token", 5, &out), 0);
	assert_int_equal(scrub_feed(s, (const uint8_t *)"-12345!", 7, &out), -ENOBUFS);
	assert_int_equal(out.len, 0);
	assert_int_equal(scrub_feed(s, (const uint8_t *)"-12345", 6, &out), 0);
	assert_int_equal(out.len, 11);
	assert_memory_equal(buf_data(&out), "***********", 11);
	assert_int_equal(scrub_feed(s, (const uint8_t *)"t", 1, &out), -ENOBUFS);
	buf_clear(&out);
	assert_int_equal(scrub_feed(s, (const uint8_t *)"t", 1, &out), 0);
	assert_int_equal(buf_append(&out, "0123456789a", 11), 0);
	assert_int_equal(scrub_finish(s, &out), -ENOBUFS);
	buf_clear(&out);
	assert_int_equal(scrub_finish(s, &out), 0);
	assert_int_equal(out.len, 1);
	buf_done(&out);
	scrub_free(s);
	scrub_set_free(set);
	vault_free(v);
}

static void test_without_secrets(void **state)
{
	static const char *const values[] = {"token-12345"};
	struct vault *v = vault_of(values, 1);
	uint8_t text[] = "token-12345";
	struct scrub *s;
	struct buf out;

	assert_null(scrub_set_new(v, 0));
	assert_int_equal(scrub_text(NULL, text, sizeof(text)), 0);
	s = scrub_new(NULL);
	buf_init(&out, OUT_MAX);
	assert_int_equal(scrub_feed(s, text, 11, &out), 0);
	assert_int_equal(scrub_feed(s, text, 0, &out), 0);
	assert_int_equal(scrub_finish(s, &out), 0);
	assert_int_equal(out.len, 11);
	assert_memory_equal(buf_data(&out), "token-12345", 11);
	assert_int_equal(scrub_found(s), 0);
	buf_done(&out);
	scrub_free(s);
	scrub_free(NULL);
	scrub_set_free(NULL);
	vault_free(v);
}

/* The longest values, as many as there can be, of which each contains its own beginning. */
static void test_largest(void **state)
{
	struct vault *v = vault_new();
	auto_free uint8_t *value = mem_zalloc(VAULT_VALUE_MAX);
	size_t len = base64_encoded_len(VAULT_VALUE_MAX + 1);
	auto_free char *text = mem_zalloc(len);
	struct scrub_set *set;
	struct buf out;

	for (unsigned i = 0; i < VAULT_SECRETS_MAX; i++) {
		char placeholder[PLACEHOLDER_LEN + 1];

		snprintf(placeholder, sizeof(placeholder), "%s%064x", PLACEHOLDER_PREFIX, i);
		memset(value, 'a', VAULT_VALUE_MAX);
		value[VAULT_VALUE_MAX - 1] = (uint8_t)(i + 1);
		assert_int_equal(
			vault_add(v, "LARGE", placeholder, value, VAULT_VALUE_MAX, hosts, 1, NULL),
			0);
	}
	set = scrub_set_new(v, UINT64_MAX);
	buf_init(&out, OUT_MAX);
	assert_int_equal(feed(set, value, VAULT_VALUE_MAX, 5000, &out), UINT64_C(1) << 63);
	assert_int_equal(out.len, VAULT_VALUE_MAX);
	for (size_t i = 0; i < out.len; i++)
		assert_int_equal(buf_data(&out)[i], '*');
	buf_clear(&out);
	/* Two a's in front, then the value: only the last 16384 bytes are it. */
	auto_free uint8_t *more = mem_zalloc(VAULT_VALUE_MAX + 1);
	memset(more, 'a', VAULT_VALUE_MAX);
	more[VAULT_VALUE_MAX] = 64;
	assert_int_equal(base64_encode(text, more, VAULT_VALUE_MAX + 1), len);
	assert_int_equal(feed(set, (const uint8_t *)text, len, 7000, &out) >> 63, 1);
	assert_int_equal(out.len, len);
	for (size_t i = 2; i < len - 4; i++)
		assert_int_equal(buf_data(&out)[i], '*');
	buf_done(&out);
	scrub_set_free(set);
	vault_free(v);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_escape_in_front),
		cmocka_unit_test(test_base64_anywhere),
		cmocka_unit_test(test_overlaps),
		cmocka_unit_test(test_short_values),
		cmocka_unit_test(test_utf8_in_json),
		cmocka_unit_test(test_binary_value),
		cmocka_unit_test(test_held_back),
		cmocka_unit_test(test_out_full),
		cmocka_unit_test(test_without_secrets),
		cmocka_unit_test(test_largest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
