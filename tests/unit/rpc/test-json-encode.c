#include "rpc_test.h"

#include <errno.h>

static void expect_text(const void *data, size_t len, const char *expected)
{
	auto_buf struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(rpc_json_put_string(&b, data, len), 0);
	auto_free char *text = buf_text(&b);
	assert_string_equal(text, expected);
}

static void test_strings(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
	} rows[] = {
		{"", 0, "\"\""},
		{"plain", 5, "\"plain\""},
		{"12345678", 8, "\"12345678\""},
		{"1234567\"", 8, "\"1234567\\\"\""},
		{"a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\""},
		{"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
		{"\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\""},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
			"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", 9, "\"\\u2028\\u2029\xe2\x80\xaa\""},
		{"\xff", 1, "\"\xef\xbf\xbd\""},
		{"a\xe2\x80", 3, "\"a\xef\xbf\xbd\""},
		{"\xe2\x80\xa8\xff\n", 5, "\"\\u2028\xef\xbf\xbd\\n\""},
		{"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
	};

	for (size_t i = 0; i < array_len(rows); i++)
		expect_text(rows[i].in, rows[i].len, rows[i].out);
}

/* What is written reads back as it was, for every pair of bytes that is text. */
static void test_strings_read_back(void **state)
{
	for (unsigned a = 0; a < 0x80; a++) {
		for (unsigned c = 0; c < 0x80; c++) {
			char in[] = {'1', '2', '3', (char)a, (char)c, '6', '7', '8', '9', (char)a};
			auto_buf struct buf b;

			buf_init(&b, 100);
			assert_int_equal(rpc_json_put_string(&b, in, sizeof(in)), 0);
			auto_json struct json_object *json =
				rpc_json_parse((const char *)buf_data(&b), b.len, NULL);
			assert_non_null(json);
			assert_int_equal(json_object_get_string_len(json), sizeof(in));
			assert_memory_equal(json_object_get_string(json), in, sizeof(in));
		}
	}
}

static void test_room(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 10);
	buf_append_str(&b, "12");
	assert_int_equal(rpc_json_put_string(&b, "abcdef", 6), 0);
	buf_clear(&b);
	buf_append_str(&b, "12");
	assert_int_equal(rpc_json_put_string(&b, "abcdefg", 7), -ENOBUFS);
	assert_int_equal(rpc_json_put_string(&b, "\x01\x01", 2), -ENOBUFS);
	assert_int_equal(rpc_json_put_string(&b, "\xff\xff\xff", 3), -ENOBUFS);
	assert_int_equal(b.len, 2);
}

static void expect_json(const char *method, const void *result, const char *expected)
{
	const struct rpc_method *m = rpc_method_by_name(method, strlen(method));
	auto_free char *text = encode(m->result, result, (m->flags & RPC_BARE) != 0);

	assert_string_equal(text, expected);
}

static void test_results(void **state)
{
	struct rpc_spawned spawned = {412};
	struct rpc_process_status exited = {.success = true};
	struct rpc_process_status killed = {
		.code = 137, .signal = (char *)"SIGKILL", .oom = (char *)"high-confidence"};
	struct rpc_text text = {(char *)"value"}, unset = {NULL};
	struct rpc_pair pairs[] = {{(char *)"A", (char *)"1"}, {(char *)"B\xff", (char *)""}};
	struct rpc_env env = {{pairs, 2}}, empty = {{NULL, 0}};
	struct rpc_dir_entry items[] = {
		{(char *)"a", true, false, false}, {(char *)"\xfe\n", false, false, true}};
	struct rpc_dir_entries entries = {{items, 2}}, none = {{NULL, 0}};

	expect_json("spawn", &spawned, "{\"pid\":412}");
	expect_json("processWait", &exited,
		"{\"success\":true,\"code\":0,\"signal\":null,\"oom\":null}");
	expect_json("processWait", &killed,
		"{\"success\":false,\"code\":137,\"signal\":\"SIGKILL\",\"oom\":\"high-"
		"confidence\"}");
	expect_json("envGet", &text, "\"value\"");
	expect_json("envGet", &unset, "null");
	expect_json("envToObject", &env, "{\"A\":\"1\",\"B\xef\xbf\xbd\":\"\"}");
	expect_json("envToObject", &empty, "{}");
	expect_json("readDir", &entries,
		"[{\"name\":\"a\",\"isFile\":true,\"isDirectory\":false,\"isSymlink\":false},"
		"{\"name\":\"\xef\xbf\xbd\\n\",\"isFile\":false,\"isDirectory\":false,"
		"\"isSymlink\":true}]");
	expect_json("readDir", &none, "[]");
}

#define SECOND INT64_C(1000000000)

static void test_file_info(void **state)
{
	struct rpc_file_info info = {
		.is_file = true,
		.size = INT64_C(9007199254740993),
		.mtime = INT64_C(1795449324) * SECOND + 123999999,
		.atime = 0,
		.birthtime = -1,
		.ctime = -SECOND * 86400 - 1000000,
		.mode = 0100644,
		.dev = 2049,
		.ino = INT64_MAX,
		.nlink = 1,
		.uid = 1000,
		.gid = 1001,
		.blksize = 4096,
		.blocks = 8,
	};

	expect_json("stat", &info,
		"{\"isFile\":true,\"isDirectory\":false,\"isSymlink\":false,"
		"\"size\":9007199254740993,"
		"\"mtime\":\"2026-11-23T15:55:24.123Z\",\"atime\":\"1970-01-01T00:00:00.000Z\","
		"\"birthtime\":\"1969-12-31T23:59:59.999Z\","
		"\"ctime\":\"1969-12-30T23:59:59.999Z\","
		"\"mode\":33188,\"dev\":2049,\"ino\":9223372036854775807,\"nlink\":1,\"uid\":1000,"
		"\"gid\":1001,\"rdev\":0,\"blksize\":4096,\"blocks\":8,\"isBlockDevice\":false,"
		"\"isCharDevice\":false,\"isFifo\":false,\"isSocket\":false}");
}

static void test_file_info_reads_back(void **state)
{
	const struct rpc_file_info info = {
		.is_symlink = true,
		.size = INT64_MAX,
		.mtime = INT64_C(1795449324123) * 1000000,
		.atime = INT64_C(-1) * 1000000,
		.birthtime = INT64_MIN / 1000000 * 1000000,
		.ctime = INT64_MAX / 1000000 * 1000000,
		.dev = INT64_MIN,
		.ino = INT64_MAX,
		.is_socket = true,
	};
	struct rpc_file_info back;
	auto_free char *text = encode(&rpc_file_info_schema, &info, false);
	auto_json struct json_object *json = parse(text);
	struct rpc_issue issue;

	if (rpc_json_decode(json, &rpc_file_info_schema, &back, &issue) < 0)
		fail_msg("%s: %s", issue.path, issue.message);
	auto_free char *again = encode(&rpc_file_info_schema, &back, false);
	assert_string_equal(text, again);
	assert_int_equal(back.mtime, info.mtime);
	assert_int_equal(back.birthtime, info.birthtime);
	assert_int_equal(back.ctime, info.ctime);
}

static void test_bytes(void **state)
{
	struct rpc_write_file w = {.path = (char *)"/x",
		.abort_id = -1,
		.content = {(uint8_t *)"\0\xffhi", 4},
		.content_stream_id = -1,
		.options = {.mode = -1}};
	auto_free char *base64 = encode(&rpc_write_file_schema, &w, false);
	auto_free char *text = encode(&rpc_write_text_file_schema, &w, false);

	assert_string_equal(base64,
		"{\"path\":\"/"
		"x\",\"abortId\":null,\"content\":\"AP9oaQ==\",\"contentStreamId\":null,"
		"\"options\":{\"append\":false,\"create\":false,\"createNew\":false,\"mode\":null}"
		"}");
	assert_string_equal(text,
		"{\"path\":\"/x\",\"abortId\":null,\"content\":\"\\u0000\xef\xbf\xbdhi\","
		"\"contentStreamId\":null,"
		"\"options\":{\"append\":false,\"create\":false,\"createNew\":false,\"mode\":null}"
		"}");
}

/* Whatever the maximum is: all or nothing. */
static void test_all_or_nothing(void **state)
{
	struct rpc_dir_entry items[] = {
		{(char *)"name", true, false, false}, {(char *)"\n\xff", false, false, true}};
	struct rpc_dir_entries entries = {{items, 2}};
	auto_free char *whole = encode(&rpc_dir_entries_schema, &entries, false);

	for (size_t max = 1; max < strlen(whole) + 10; max++) {
		auto_buf struct buf b;

		buf_init(&b, max);
		buf_append_byte(&b, '!');
		int r = rpc_json_encode(&b, &rpc_dir_entries_schema, &entries, false);
		bool fits = max >= strlen(whole) + 1;
		assert_int_equal(r, fits ? 0 : -ENOBUFS);
		assert_int_equal(b.len, fits ? strlen(whole) + 1 : 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_strings_read_back),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_file_info),
		cmocka_unit_test(test_file_info_reads_back),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_all_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
