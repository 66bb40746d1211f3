#include "rpc_test.h"

#include <errno.h>

#define V "\"jsonrpc\":\"2.0\""

static const struct {
	const char *text;
	enum rpc_message_kind kind;
	const char *id, *method;
	bool params;
} messages[] = {
	{"{" V ",\"id\":0,\"method\":\"envSet\",\"params\":{\"key\":\"A\"}}", RPC_MESSAGE_REQUEST,
		"0", "envSet", true},
	{"{\"method\": \"stat\", \"params\": {}, \"id\": 1, \"jsonrpc\": \"2.0\"}",
		RPC_MESSAGE_REQUEST, "1", "stat", true},
	{"{" V ",\"id\":\"x/\\\"\\u0001\\u20ac\",\"method\":\"a\"}", RPC_MESSAGE_REQUEST,
		"\"x/\\\"\\u0001\xe2\x82\xac\"", "a", false},
	{"{" V ",\"id\":null,\"method\":\"a\",\"params\":null}", RPC_MESSAGE_REQUEST, "null", "a",
		false},
	{"{" V ",\"id\":-5,\"method\":\"a\",\"params\":[]}", RPC_MESSAGE_REQUEST, "-5", "a", true},
	{"{" V ",\"id\":1.50,\"method\":\"a\"}", RPC_MESSAGE_REQUEST, "1.50", "a", false},
	{"{" V ",\"id\":1e3,\"method\":\"a\"}", RPC_MESSAGE_REQUEST, "1e3", "a", false},
	{"{" V ",\"id\":9007199254740991,\"method\":\"\"}", RPC_MESSAGE_REQUEST, "9007199254740991",
		"", false},
	{"{" V ",\"method\":\"n\",\"params\":{}}", RPC_MESSAGE_NOTIFICATION, "null", "n", true},
	{"{" V ",\"id\":1,\"result\":null}", RPC_MESSAGE_RESPONSE, "1", NULL, false},
	{"{" V ",\"id\":\"s\",\"error\":{}}", RPC_MESSAGE_RESPONSE, "\"s\"", NULL, false},
};

static void test_messages(void **state)
{
	for (size_t i = 0; i < array_len(messages); i++) {
		struct rpc_message m;

		if (rpc_message_parse(messages[i].text, strlen(messages[i].text), &m) < 0)
			fail_msg("refused: %s", messages[i].text);
		auto_free char *id = rpc_message_id_text(&m);
		assert_int_equal(m.kind, messages[i].kind);
		assert_string_equal(id, messages[i].id);
		assert_int_equal(m.params != NULL, messages[i].params);
		if (messages[i].method != NULL) {
			assert_string_equal(m.method, messages[i].method);
			assert_int_equal(m.method_len, strlen(messages[i].method));
		} else {
			assert_null(m.method);
		}
		rpc_message_done(&m);
		rpc_message_done(&m);
	}
}

/* JSON that is no message, with the id that can be told back. */
static const struct {
	const char *text, *id;
} invalid[] = {
	{"null", "null"},
	{"true", "null"},
	{"5", "null"},
	{"\"ping\"", "null"},
	{"[]", "null"},
	{"[{" V ",\"id\":1,\"method\":\"a\"}]", "null"},
	{"{}", "null"},
	{"{\"id\":1}", "1"},
	{"{\"id\":1,\"method\":\"a\"}", "1"},
	{"{\"jsonrpc\":2.0,\"id\":1,\"method\":\"a\"}", "1"},
	{"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"a\"}", "1"},
	{"{\"jsonrpc\":\"2.00\",\"id\":1,\"method\":\"a\"}", "1"},
	{"{\"jsonrpc\":null,\"id\":\"q\",\"method\":\"a\"}", "\"q\""},
	{"{" V ",\"id\":1}", "1"},
	{"{" V "}", "null"},
	{"{" V ",\"result\":1}", "null"},
	{"{" V ",\"id\":1,\"method\":null}", "1"},
	{"{" V ",\"id\":1,\"method\":5}", "1"},
	{"{" V ",\"id\":1,\"method\":[\"a\"]}", "1"},
	{"{" V ",\"id\":true,\"method\":\"a\"}", "null"},
	{"{" V ",\"id\":[1],\"method\":\"a\"}", "null"},
	{"{" V ",\"id\":{},\"method\":\"a\"}", "null"},
	{"{" V ",\"id\":9007199254740992,\"method\":\"a\"}", "null"},
	{"{" V ",\"id\":-99999999999999999999,\"method\":\"a\"}", "null"},
	{"{" V ",\"id\":1e999,\"method\":\"a\"}", "null"},
};

static void test_invalid(void **state)
{
	for (size_t i = 0; i < array_len(invalid); i++) {
		struct rpc_message m;

		if (rpc_message_parse(invalid[i].text, strlen(invalid[i].text), &m) != -EINVAL)
			fail_msg("wrong answer to: %s", invalid[i].text);
		auto_free char *id = rpc_message_id_text(&m);
		assert_string_equal(id, invalid[i].id);
		rpc_message_done(&m);
	}
}

static void test_not_json(void **state)
{
	static const char *const texts[] = {"", "ping", "{", "{" V ",\"id\":1,\"method\":\"a\"",
		"{" V ",\"id\":NaN,\"method\":\"a\"}", "{" V ",\"id\":01,\"method\":\"a\"}",
		"{" V ",\"method\":\"\xff\"}"};

	for (size_t i = 0; i < array_len(texts); i++) {
		struct rpc_message m;

		assert_int_equal(rpc_message_parse(texts[i], strlen(texts[i]), &m), -EBADMSG);
		rpc_message_done(&m);
	}
}

static void test_long_id(void **state)
{
	for (size_t len = RPC_ID_MAX; len <= RPC_ID_MAX + 1; len++) {
		auto_free char *id = mem_zalloc(len + 1);
		struct rpc_message m;

		memset(id, 'i', len);
		auto_free char *text = mem_printf("{" V ",\"id\":\"%s\",\"method\":\"a\"}", id);
		assert_int_equal(
			rpc_message_parse(text, strlen(text), &m), len > RPC_ID_MAX ? -EINVAL : 0);
		assert_int_equal(m.id != NULL, len <= RPC_ID_MAX);
		rpc_message_done(&m);
	}
}

static void test_method_with_nul(void **state)
{
	static const char text[] = "{" V ",\"id\":1,\"method\":\"stat\\u0000\"}";
	struct rpc_message m;

	assert_int_equal(rpc_message_parse(text, strlen(text), &m), 0);
	assert_int_equal(m.method_len, 5);
	assert_null(rpc_method_by_name(m.method, m.method_len));
	rpc_message_done(&m);
}

/* --- answers ------------------------------------------------------------------------------- */

static void expect(struct buf *b, const char *expected)
{
	auto_free char *text = buf_text(b);
	auto_json struct json_object *json = parse(text);

	assert_non_null(json);
	assert_string_equal(text, expected);
	buf_clear(b);
}

static void test_answers(void **state)
{
	auto_buf struct buf b;
	struct rpc_failure failure = {ENOENT, (char *)"readfile '/x'", NULL};

	buf_init(&b, 4096);
	assert_int_equal(rpc_put_ok_begin(&b, "5"), 0);
	assert_int_equal(buf_append_str(&b, "null"), 0);
	assert_int_equal(rpc_put_ok_end(&b), 0);
	expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{\"ok\":null}}");

	assert_int_equal(
		rpc_put_protocol_error(&b, "\"a\"", RPC_ERR_METHOD, "Method not found"), 0);
	expect(&b,
		"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"error\":{\"code\":-32601,\"message\":\"Method "
		"not found\"}}");
	assert_int_equal(rpc_put_protocol_error(&b, NULL, RPC_ERR_REQUEST, "Invalid Request"), 0);
	expect(&b,
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32600,\"message\":\"Invalid "
		"Request\"}}");

	assert_int_equal(rpc_put_failure(&b, "0", &failure), 0);
	expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"error\":{\"constructorName\":"
		   "\"NotFound\",\"message\":\"No such file or directory (os error 2): readfile "
		   "'/x'\",\"code\":\"ENOENT\"}}}");

	assert_int_equal(rpc_put_abort_error(&b, "1"), 0);
	expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"error\":{\"constructorName\":"
		   "\"DOMException\",\"name\":\"AbortError\",\"message\":\"The signal has been "
		   "aborted\",\"code\":null}}}");
}

/* The issue is JSON inside a JSON string, its path a list of strings. */
static void expect_issue(const struct rpc_issue *issue, const char *expected)
{
	struct json_object *error, *data, *message;
	auto_buf struct buf b;

	buf_init(&b, 8192);
	assert_int_equal(rpc_put_params_error(&b, "7", issue), 0);
	auto_free char *text = buf_text(&b);
	auto_json struct json_object *json = parse(text);
	assert_true(json_object_object_get_ex(json, "error", &error));
	assert_true(json_object_object_get_ex(error, "code", &data));
	assert_int_equal(json_object_get_int(data), -32602);
	assert_true(json_object_object_get_ex(error, "message", &data));
	assert_string_equal(json_object_get_string(data), "Invalid params");
	assert_true(json_object_object_get_ex(error, "data", &data));
	assert_true(json_object_object_get_ex(data, "constructorName", &message));
	assert_string_equal(json_object_get_string(message), "ZodError");
	assert_true(json_object_object_get_ex(data, "message", &message));
	assert_string_equal(json_object_get_string(message), expected);
	auto_json struct json_object *inner = parse(json_object_get_string(message));
	assert_true(json_object_is_type(inner, json_type_array));
}

static void test_params_error(void **state)
{
	static const struct {
		struct rpc_issue issue;
		const char *text;
	} rows[] = {
		{{"options.mode", "int", "invalid_type", "Invalid input"},
			"[{\"expected\":\"int\",\"code\":\"invalid_type\",\"path\":[\"options\","
			"\"mode\"],\"message\":\"Invalid input\"}]"},
		{{"args.3", "string", "too_big", "Too big"},
			"[{\"expected\":\"string\",\"code\":\"too_big\",\"path\":[\"args\",\"3\"],"
			"\"message\":\"Too big\"}]"},
		{{"path", "string", "invalid_type", "x"},
			"[{\"expected\":\"string\",\"code\":\"invalid_type\",\"path\":[\"path\"],"
			"\"message\":\"x\"}]"},
		{{"", "object", "invalid_type", "x"},
			"[{\"expected\":\"object\",\"code\":\"invalid_type\",\"path\":[],"
			"\"message\":\"x\"}]"},
		{{"stdout", "\"piped\"|\"null\"", "invalid_value", "one of \"piped\""},
			"[{\"expected\":\"\\\"piped\\\"|\\\"null\\\"\",\"code\":\"invalid_value\","
			"\"path\":[\"stdout\"],\"message\":\"one of \\\"piped\\\"\"}]"},
	};

	for (size_t i = 0; i < array_len(rows); i++)
		expect_issue(&rows[i].issue, rows[i].text);
}

static void test_exact_text(void **state)
{
	struct rpc_issue issue = {"path", "string", "invalid_type", "m"};
	auto_buf struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(rpc_put_params_error(&b, "2", &issue), 0);
	expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-32602,\"message\":\"Invalid "
		   "params\",\"data\":{\"constructorName\":\"ZodError\",\"message\":\"[{"
		   "\\\"expected\\\":"
		   "\\\"string\\\",\\\"code\\\":\\\"invalid_type\\\",\\\"path\\\":[\\\"path\\\"],"
		   "\\\"message\\\":\\\"m\\\"}]\"}}}");
}

static void test_all_or_nothing(void **state)
{
	struct rpc_issue issue = {"path", "string", "invalid_type", "m"};
	struct rpc_failure failure = {ENOENT, (char *)"x", NULL};

	for (size_t max = 1; max < 200; max++) {
		for (int what = 0; what < 6; what++) {
			auto_buf struct buf b;
			int r;

			buf_init(&b, max);
			buf_append_byte(&b, '!');
			r = what == 0   ? rpc_put_ok_begin(&b, "1")
			    : what == 1 ? rpc_put_ok_end(&b)
			    : what == 2 ? rpc_put_protocol_error(&b, "1", -1, "text")
			    : what == 3 ? rpc_put_params_error(&b, "1", &issue)
			    : what == 4 ? rpc_put_failure(&b, "1", &failure)
					: rpc_put_abort_error(&b, "1");
			assert_true(r == 0 || r == -ENOBUFS);
			assert_int_equal(r == -ENOBUFS, b.len == 1);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_invalid),
		cmocka_unit_test(test_not_json),
		cmocka_unit_test(test_long_id),
		cmocka_unit_test(test_method_with_nul),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_params_error),
		cmocka_unit_test(test_exact_text),
		cmocka_unit_test(test_all_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
