#include "rpc_test.h"

#include <errno.h>

static const char *const good[] = {
	"{}",
	"[]",
	" { } ",
	"[ ]",
	"\t\r\n[1 , 2]\n",
	"\"\"",
	"\"a\"",
	"true",
	"false",
	"0",
	"-0",
	"10",
	"-10",
	"0.5",
	"1.25",
	"1e5",
	"1E5",
	"1e+5",
	"1e-5",
	"0e0",
	"123456789012345678901",
	"{\"a\":{\"b\":[{}]}}",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
	"\"\\u0041\\uABCD\\uabcd\"",
	"\"\\ud83d\\ude00\"",
	"\"\\ud800\"",
	"\"\\u0000\"",
	"\"\x7f\"",
	"\"\xc3\xa9\xe2\x82\xac\"",
	"{\"a\":1,\"a\":2}",
	"[null]",
	"\"12345678\"",
	"\"1234567\\n\"",
	"{\"\":0}",
};

static const char *const bad[] = {
	"",
	" ",
	"{",
	"}",
	"[",
	"]",
	"[1",
	"[1,",
	"[1,]",
	"[,1]",
	"[1 2]",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"{,}",
	"{a:1}",
	"{'a':1}",
	"{1:1}",
	"{\"a\" 1}",
	"[}",
	"{]",
	"nul",
	"nulll",
	"True",
	"TRUE",
	"NaN",
	"nan",
	"[NaN]",
	"Infinity",
	"-Infinity",
	"[Infinity]",
	"01",
	"-01",
	"00",
	"1.",
	"[1.]",
	".5",
	"-",
	"[-]",
	"+1",
	"1e",
	"1e+",
	"[1.e3]",
	"0x10",
	"1_0",
	"1 2",
	"{}{}",
	"{} x",
	"[]]",
	"\"",
	"\"a",
	"\"\\",
	"\"\\\"",
	"\"\\x41\"",
	"\"\\u12\"",
	"\"\\u12g4\"",
	"\"\\U0041\"",
	"\"\\'\"",
	"'a'",
	"\"\n\"",
	"\"\t\"",
	"\"\x01\"",
	"\"1234567\x1f\"",
	"\"12345678\x1f\"",
	"/*x*/1",
	"1//x",
	"\xef\xbb\xbf{}",
	"\v1",
	"\xa0",
	"\"\xff\"",
	"\"\xc0\xaf\"",
	"\"\xed\xa0\x80\"",
	"\"\xe2\x82\"",
	"{\"\xff\":1}",
	"null",
};

static void test_good(void **state)
{
	for (size_t i = 0; i < array_len(good); i++) {
		auto_json struct json_object *json = parse(good[i]);

		assert_non_null(json);
	}
}

static void test_bad(void **state)
{
	for (size_t i = 0; i < array_len(bad); i++) {
		struct error err = {0};
		struct json_object *json = rpc_json_parse(bad[i], strlen(bad[i]), &err);

		if (json != NULL)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.err, -EBADMSG);
		assert_true(err.message[0] != '\0');
	}
}

static void test_nul_bytes(void **state)
{
	assert_null(rpc_json_parse("{}\0", 3, NULL));
	assert_null(rpc_json_parse("\0{}", 3, NULL));
	assert_null(rpc_json_parse("\"a\0b\"", 5, NULL));
	assert_null(rpc_json_parse("1\0", 2, NULL));
}

/* The text need not end in a NUL: what stands behind it is not read. */
static void test_length_counts(void **state)
{
	char *text = mem_dup("123456", 3); /* a block of three bytes */
	struct json_object *json = rpc_json_parse(text, 3, NULL);

	assert_int_equal(json_object_get_int64(json), 123);
	json_object_put(json);
	free(text);
}

static char *nested(char open, char close, size_t depth)
{
	char *text = mem_zalloc(2 * depth + 1);

	memset(text, open, depth);
	memset(text + depth, close, depth);
	return text;
}

static void test_depth(void **state)
{
	auto_free char *deepest = nested('[', ']', 32);
	auto_free char *deeper = nested('[', ']', 33);
	auto_free char *abyss = nested('[', ']', 100000);
	auto_json struct json_object *json = parse(deepest);
	auto_json struct json_object *full = parse("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{\"a\":1}]]]]]"
						   "]]]]]]]]]]]]]]]]]]]]]]]]]]");

	assert_non_null(json);
	assert_non_null(full);
	assert_null(rpc_json_parse(deeper, strlen(deeper), NULL));
	assert_null(rpc_json_parse(abyss, strlen(abyss), NULL));
	assert_null(rpc_json_parse(abyss, 100000, NULL));
}

/* A list of so many items. */
static char *list_of(const char *item, size_t count)
{
	auto_buf struct buf b;

	buf_init(&b, 16 << 20);
	buf_append_byte(&b, '[');
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_append_byte(&b, ',');
		buf_append_str(&b, item);
	}
	buf_append_byte(&b, ']');
	return buf_text(&b);
}

/* What a small message can make json-c allocate is bounded. */
static void test_number_of_values(void **state)
{
	static const struct {
		const char *item;
		size_t most;
	} rows[] = {{"1", 262143}, {"{}", 32767}, {"[]", 32767}, {"{\"\":0}", 32767}};

	for (size_t i = 0; i < array_len(rows); i++) {
		auto_free char *most = list_of(rows[i].item, rows[i].most);
		auto_free char *more = list_of(rows[i].item, rows[i].most + 1);
		auto_json struct json_object *json = parse(most);

		assert_int_equal(json_object_array_length(json), rows[i].most);
		assert_null(rpc_json_parse(more, strlen(more), NULL));
	}
}

/* json-c ends keys at a NUL; such a key must not pass for another one. */
static void test_nul_in_key(void **state)
{
	auto_json struct json_object *json =
		parse("{\"path\\u0000x\":\"evil\",\"path\":\"a\\u0000b\"}");
	struct json_object *value;

	assert_int_equal(json_object_object_length(json), 2);
	assert_true(json_object_object_get_ex(json, "path\xef\xbf\xbfx", &value));
	assert_string_equal(json_object_get_string(value), "evil");
	assert_true(json_object_object_get_ex(json, "path", &value));
	assert_int_equal(json_object_get_string_len(value), 3);
	assert_memory_equal(json_object_get_string(value), "a\0b", 3);
}

static void test_strings(void **state)
{
	auto_json struct json_object *json = parse("\"\\ud83d\\ude00 \\ud800 \\udc00x\"");

	assert_string_equal(
		json_object_get_string(json), "\xf0\x9f\x98\x80 \xef\xbf\xbd \xef\xbf\xbdx");
}

/* Every byte at every place of a word, for the scan that takes eight at a time. */
static void test_control_bytes_at_every_place(void **state)
{
	for (unsigned c = 1; c < 0x80; c++) {
		for (size_t at = 1; at < 18; at++) {
			char text[20];
			bool plain = c >= 0x20 && c != '"' && c != '\\';

			memset(text, 'x', sizeof(text));
			text[0] = text[19] = '"';
			text[at] = (char)c;
			auto_json struct json_object *json =
				rpc_json_parse(text, sizeof(text), NULL);
			if ((json != NULL) != plain)
				fail_msg("byte %u at %zu", c, at);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_nul_bytes),
		cmocka_unit_test(test_length_counts),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_number_of_values),
		cmocka_unit_test(test_nul_in_key),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_control_bytes_at_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
