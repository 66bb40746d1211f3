/*
 * What clients may send for each method, and what they are told when it is wrong: rows by hand for
 * what the clients really send, and for every field of every table each wrong type.
 */
#include "rpc_test.h"

#include <errno.h>

/* --- by hand ------------------------------------------------------------------------------- */

#define NO_ENV_OR_ARGS "\"args\":[],\"env\":{},\"clearEnv\":false"
#define DEFAULTS "\"options\":{\"append\":false,\"create\":true,\"createNew\":false,\"mode\":null}"

static const struct {
	const char *method, *params, *decoded;
} good[] = {
	{"spawn", "{\"command\":\"ls\"}",
		"{\"command\":\"ls\"," NO_ENV_OR_ARGS ",\"cwd\":null,\"stdinStreamId\":null,"
		"\"stdout\":\"piped\",\"stderr\":\"piped\"}"},
	/* JavaScript. */
	{"spawn",
		"{\"command\":\"cat\",\"args\":[\"-n\",\"\"],\"env\":{\"A\":\"1\",\"B_C\":\"\"},"
		"\"clearEnv\":true,\"cwd\":\"/tmp\",\"stdinStreamId\":0,\"stdout\":\"null\","
		"\"stderr\":\"piped\"}",
		"{\"command\":\"cat\",\"args\":[\"-n\",\"\"],\"env\":{\"A\":\"1\",\"B_C\":\"\"},"
		"\"clearEnv\":true,\"cwd\":\"/tmp\",\"stdinStreamId\":0,\"stdout\":\"null\","
		"\"stderr\":\"piped\"}"},
	/* Python: null for what is not given, keys of its own. */
	{"spawn",
		"{\"command\": \"ls\", \"args\": null, \"env\": null, \"clearEnv\": null, \"cwd\": "
		"null,"
		" \"stdinStreamId\": null, \"stdin\": \"piped\", \"stdout\": null, \"stderr\": "
		"\"inherit\", \"signal\": {}}",
		"{\"command\":\"ls\"," NO_ENV_OR_ARGS ",\"cwd\":null,\"stdinStreamId\":null,"
		"\"stdout\":\"piped\",\"stderr\":\"piped\"}"},
	{"spawn", "{\"command\":\"\",\"stdinStreamId\":9007199254740991}",
		"{\"command\":\"\"," NO_ENV_OR_ARGS ",\"cwd\":null,"
		"\"stdinStreamId\":9007199254740991,\"stdout\":\"piped\",\"stderr\":\"piped\"}"},
	/* The daemon's own fields cannot be set from outside. */
	{"spawn",
		"{\"command\":\"ls\",\"stdin_channel\":7,\"stdinChannel\":7,\"stdout_channel\":7}",
		"{\"command\":\"ls\"," NO_ENV_OR_ARGS ",\"cwd\":null,\"stdinStreamId\":null,"
		"\"stdout\":\"piped\",\"stderr\":\"piped\"}"},
	{"processWait", "{\"pid\":412}", "{\"pid\":412}"},
	{"processWait", "{\"pid\":412,\"vscode\":true}", "{\"pid\":412}"},
	{"processWait", "{\"pid\":5.0}", "{\"pid\":5}"},
	{"processWait", "{\"pid\":5e2}", "{\"pid\":500}"},
	/* Processes that cannot be: for the agent to answer. */
	{"processWait", "{\"pid\":0}", "{\"pid\":0}"},
	{"processWait", "{\"pid\":-1}", "{\"pid\":-1}"},
	{"processWait", "{\"pid\":99999999999}", "{\"pid\":99999999999}"},
	{"processKill", "{\"pid\":1}", "{\"pid\":1,\"signal\":null}"},
	{"processKill", "{\"pid\":1,\"signal\":null}", "{\"pid\":1,\"signal\":null}"},
	{"processKill", "{\"pid\":1,\"signal\":\"SIGKILL\",\"vscode\":null}",
		"{\"pid\":1,\"signal\":\"SIGKILL\"}"},
	{"processKill", "{\"pid\":1,\"signal\":\"nonsense\"}",
		"{\"pid\":1,\"signal\":\"nonsense\"}"},
	{"envGet", "{\"key\":\"PATH\"}", "{\"key\":\"PATH\"}"},
	/* A TypeError of the operation, not of the parameters. */
	{"envGet", "{\"key\":\"\"}", "{\"key\":\"\"}"},
	{"envSet", "{\"key\":\"A=B\",\"value\":\"\"}", "{\"key\":\"A=B\",\"value\":\"\"}"},
	{"envSet", "{\"key\":\"\\u00e9\",\"value\":\"\\ud83d\\ude00\"}",
		"{\"key\":\"\xc3\xa9\",\"value\":\"\xf0\x9f\x98\x80\"}"},
	{"envDelete", "{\"key\":\"A\"}", "{\"key\":\"A\"}"},
	{"readFile", "{\"path\":\"/x\"}", "{\"path\":\"/x\",\"abortId\":null}"},
	{"readFile", "{\"path\":\"\",\"abortId\":0}", "{\"path\":\"\",\"abortId\":0}"},
	{"readTextFile", "{\"path\":\"x\",\"abortId\":null,\"options\":{\"signal\":{}}}",
		"{\"path\":\"x\",\"abortId\":null}"},
	{"writeFile", "{\"path\":\"x\",\"content\":\"aGkK\"}",
		"{\"path\":\"x\",\"abortId\":null,\"content\":\"aGkK\",\"contentStreamId\":"
		"null," DEFAULTS "}"},
	{"writeFile", "{\"path\":\"x\",\"content\":\"\"}",
		"{\"path\":\"x\",\"abortId\":null,\"content\":\"\",\"contentStreamId\":"
		"null," DEFAULTS "}"},
	{"writeFile",
		"{\"path\":\"x\",\"abortId\":3,\"contentStreamId\":0,\"content\":null,\"options\":"
		"null}",
		"{\"path\":\"x\",\"abortId\":3,\"content\":null,\"contentStreamId\":0," DEFAULTS
		"}"},
	{"writeFile",
		"{\"path\":\"x\",\"contentStreamId\":1,\"options\":{\"append\":true,\"create\":"
		"false,"
		"\"createNew\":true,\"mode\":420,\"extra\":[]}}",
		"{\"path\":\"x\",\"abortId\":null,\"content\":null,\"contentStreamId\":1,"
		"\"options\":{"
		"\"append\":true,\"create\":false,\"createNew\":true,\"mode\":420}}"},
	{"writeFile",
		"{\"path\":\"x\",\"contentStreamId\":1,\"options\":{\"append\":null,\"create\":"
		"null,"
		"\"createNew\":null,\"mode\":null}}",
		"{\"path\":\"x\",\"abortId\":null,\"content\":null,\"contentStreamId\":1," DEFAULTS
		"}"},
	{"writeFile", "{\"path\":\"x\",\"contentStreamId\":1,\"options\":{\"mode\":33188}}",
		"{\"path\":\"x\",\"abortId\":null,\"content\":null,\"contentStreamId\":1,"
		"\"options\":{"
		"\"append\":false,\"create\":true,\"createNew\":false,\"mode\":33188}}"},
	{"writeTextFile", "{\"path\":\"x\",\"content\":\"a\\u0000b \\u20ac\\n\"}",
		"{\"path\":\"x\",\"abortId\":null,\"content\":\"a\\u0000b \xe2\x82\xac\\n\","
		"\"contentStreamId\":null," DEFAULTS "}"},
	{"writeTextFile", "{\"path\":\"x\",\"contentStreamId\":5,\"options\":{}}",
		"{\"path\":\"x\",\"abortId\":null,\"content\":null,\"contentStreamId\":5," DEFAULTS
		"}"},
	{"readDir", "{\"path\":\".\"}", "{\"path\":\".\"}"},
	{"stat", "{\"path\":\"/\xff\"}", NULL}, /* not JSON: see below */
	{"stat", "{\"path\":\"/\",\"path2\":1}", "{\"path\":\"/\"}"},
	{"lstat", "{\"path\":\"/\"}", "{\"path\":\"/\"}"},
	{"fetch", "{\"url\":\"http://x/\",\"headers\":[]}",
		"{\"url\":\"http://x/\",\"method\":null,\"headers\":[],\"redirect\":\"follow\","
		"\"abortId\":null,\"bodyStreamId\":null,\"pid\":null}"},
	{"fetch",
		"{\"url\":\"u\",\"method\":\"PUT\",\"headers\":[[\"b\",\"1\"],[\"a\",\"\"],[\"b\","
		"\"2\"]],"
		"\"redirect\":\"manual\",\"abortId\":4,\"bodyStreamId\":0,\"pid\":7}",
		"{\"url\":\"u\",\"method\":\"PUT\",\"headers\":[[\"b\",\"1\"],[\"a\",\"\"],[\"b\","
		"\"2\"]],"
		"\"redirect\":\"manual\",\"abortId\":4,\"bodyStreamId\":0,\"pid\":7}"},
	{"mkdir", "{\"path\":\"x\"}",
		"{\"path\":\"x\",\"options\":{\"recursive\":false,\"mode\":null}}"},
	{"mkdir", "{\"path\":\"x\",\"options\":{\"recursive\":true,\"mode\":448}}",
		"{\"path\":\"x\",\"options\":{\"recursive\":true,\"mode\":448}}"},
	{"remove", "{\"path\":\"x\",\"options\":null}",
		"{\"path\":\"x\",\"options\":{\"recursive\":false}}"},
	{"remove", "{\"path\":\"x\",\"options\":{\"recursive\":true}}",
		"{\"path\":\"x\",\"options\":{\"recursive\":true}}"},
	{"symlink", "{\"target\":\"a\",\"path\":\"b\"}",
		"{\"target\":\"a\",\"path\":\"b\",\"options\":{\"type\":null}}"},
	{"symlink", "{\"target\":\"\",\"path\":\"b\",\"options\":{\"type\":\"junction\"}}",
		"{\"target\":\"\",\"path\":\"b\",\"options\":{\"type\":\"junction\"}}"},
	{"abort", "{\"abortId\":0}", "{\"abortId\":0}"},
};

static void test_good(void **state)
{
	for (size_t i = 0; i < array_len(good); i++) {
		const struct rpc_schema *schema = params_of(good[i].method);
		auto_free void *object = mem_zalloc(schema->size);
		struct rpc_issue issue;

		if (good[i].decoded == NULL) {
			assert_null(rpc_json_parse(good[i].params, strlen(good[i].params), NULL));
			continue;
		}
		auto_json struct json_object *json = parse(good[i].params);
		if (rpc_json_decode(json, schema, object, &issue) < 0)
			fail_msg("%s: %s %s", good[i].params, issue.path, issue.message);
		auto_free char *text = encode(schema, object, false);
		assert_string_equal(text, good[i].decoded);

		/* What was written reads as the same, if null is the same as absent. */
		rpc_clear(schema, object);
		auto_json struct json_object *again = parse(text);
		assert_int_equal(rpc_json_decode(again, schema, object, NULL), 0);
		auto_free char *second = encode(schema, object, false);
		assert_string_equal(second, text);
		rpc_clear(schema, object);
	}
}

static const struct {
	const char *method, *params, *path, *expected, *code;
} bad[] = {
	{"spawn", "{}", "command", "string", "invalid_type"},
	{"spawn", "[]", "", "object", "invalid_type"},
	{"spawn", "\"x\"", "", "object", "invalid_type"},
	{"spawn", "{\"command\":\"x\",\"args\":[\"a\",null]}", "args.1", "string", "invalid_type"},
	{"spawn", "{\"command\":\"x\",\"args\":[1]}", "args.0", "string", "invalid_type"},
	{"spawn", "{\"command\":\"x\",\"args\":[\"a\\u0000\"]}", "args.0", "string",
		"invalid_format"},
	{"spawn", "{\"command\":\"x\",\"env\":{\"A\":null}}", "env.A", "string", "invalid_type"},
	{"spawn", "{\"command\":\"x\",\"env\":{\"A\":1}}", "env.A", "string", "invalid_type"},
	{"spawn", "{\"command\":\"x\",\"env\":{\"A\":\"\\u0000\"}}", "env.A", "string",
		"invalid_format"},
	{"spawn", "{\"command\":\"x\",\"env\":{\"\":\"1\"}}", "env", "string", "too_small"},
	{"spawn", "{\"command\":\"x\",\"env\":{\"A=B\":\"1\"}}", "env", "string", "invalid_format"},
	{"spawn", "{\"command\":\"x\",\"env\":{\"A\\u0000B\":\"1\"}}", "env", "string",
		"invalid_format"},
	{"spawn", "{\"command\":\"x\",\"env\":{\"a.b\":1}}", "env", "string", "invalid_type"},
	{"spawn", "{\"command\":\"x\",\"stdout\":\"pipe\"}", "stdout", "\"piped\"|\"null\"",
		"invalid_value"},
	{"spawn", "{\"command\":\"x\",\"stderr\":\"piped\\u0000\"}", "stderr", "\"piped\"|\"null\"",
		"invalid_value"},
	{"spawn", "{\"command\":\"x\",\"stdout\":\"\"}", "stdout", "\"piped\"|\"null\"",
		"invalid_value"},
	{"spawn", "{\"command\":\"x\",\"stdinStreamId\":-1}", "stdinStreamId", "int", "too_small"},
	{"spawn", "{\"command\":\"x\",\"stdinStreamId\":9007199254740992}", "stdinStreamId", "int",
		"too_big"},
	{"processWait", "{\"pid\":1.5}", "pid", "int", "invalid_type"},
	{"processWait", "{\"pid\":\"1\"}", "pid", "int", "invalid_type"},
	{"processWait", "{\"pid\":1e400}", "pid", "int", "invalid_type"},
	{"processWait", "{\"pid\":1e300}", "pid", "int", "too_big"},
	{"processWait", "{\"pid\":-1e300}", "pid", "int", "too_small"},
	{"processWait", "{\"pid\":99999999999999999999}", "pid", "int", "too_big"},
	{"processWait", "{\"pid\":-99999999999999999999}", "pid", "int", "too_small"},
	{"processWait", "{\"pid\":9223372036854775808}", "pid", "int", "too_big"},
	{"processWait", "{\"pid\":null}", "pid", "int", "invalid_type"},
	{"writeFile", "{\"path\":\"x\"}", "content", "string", "invalid_type"},
	{"writeFile", "{\"path\":\"x\",\"content\":null,\"contentStreamId\":null}", "content",
		"string", "invalid_type"},
	{"writeFile", "{\"path\":\"x\",\"content\":\"\",\"contentStreamId\":1}", "contentStreamId",
		"undefined", "invalid_value"},
	{"writeFile", "{\"path\":\"x\",\"content\":\"a\"}", "content", "string", "invalid_format"},
	{"writeFile", "{\"path\":\"x\",\"content\":\"aGk\"}", "content", "string",
		"invalid_format"},
	{"writeFile", "{\"path\":\"x\",\"content\":\"aGl=\"}", "content", "string",
		"invalid_format"},
	{"writeFile", "{\"path\":\"x\",\"content\":\"a\\u0000==\"}", "content", "string",
		"invalid_format"},
	{"writeTextFile", "{\"path\":\"x\"}", "content", "string", "invalid_type"},
	{"writeTextFile", "{\"path\":\"x\",\"content\":1}", "content", "string", "invalid_type"},
	{"writeFile", "{\"path\":\"x\",\"contentStreamId\":1,\"options\":{\"mode\":\"644\"}}",
		"options.mode", "int", "invalid_type"},
	{"writeFile", "{\"path\":\"x\",\"contentStreamId\":1,\"options\":{\"mode\":-1}}",
		"options.mode", "int", "too_small"},
	{"writeFile", "{\"path\":\"x\",\"contentStreamId\":1,\"options\":{\"mode\":65536}}",
		"options.mode", "int", "too_big"},
	{"writeFile", "{\"path\":\"x\",\"contentStreamId\":1,\"options\":[]}", "options", "object",
		"invalid_type"},
	{"symlink", "{\"target\":\"a\",\"path\":\"b\",\"options\":{\"type\":\"hard\"}}",
		"options.type", "\"file\"|\"dir\"|\"junction\"", "invalid_value"},
	{"abort", "{}", "abortId", "int", "invalid_type"},
	{"abort", "{\"abortId\":-1}", "abortId", "int", "too_small"},
	{"stat", "{\"path\\u0000\":\"/\"}", "path", "string", "invalid_type"},
};

static void test_bad(void **state)
{
	for (size_t i = 0; i < array_len(bad); i++) {
		const struct rpc_schema *schema = params_of(bad[i].method);
		auto_free void *object = mem_zalloc(schema->size);
		auto_free char *before = NULL, *after = NULL;
		auto_json struct json_object *json = parse(bad[i].params);
		struct rpc_issue issue;

		if (rpc_json_decode(json, schema, object, &issue) != -EINVAL)
			fail_msg("accepted: %s", bad[i].params);
		print_message("%s: %s\n", issue.path, issue.message);
		assert_string_equal(issue.path, bad[i].path);
		assert_string_equal(issue.expected, bad[i].expected);
		assert_string_equal(issue.code, bad[i].code);
		assert_true(strlen(issue.message) > 10);
		assert_int_equal(rpc_json_decode(json, schema, object, NULL), -EINVAL);
		after = encode(schema, object, false);
		rpc_reset(schema, object);
		before = encode(schema, object, false);
		assert_string_equal(after, before);
	}
}

/* --- every field --------------------------------------------------------------------------- */

/* Parameters that each method takes, with a value for every required field. */
static const struct {
	const char *method, *params;
} bases[] = {
	{"spawn", "{\"command\":\"x\"}"},
	{"processWait", "{\"pid\":1}"},
	{"processKill", "{\"pid\":1}"},
	{"envGet", "{\"key\":\"k\"}"},
	{"envSet", "{\"key\":\"k\",\"value\":\"v\"}"},
	{"envDelete", "{\"key\":\"k\"}"},
	{"readFile", "{\"path\":\"x\"}"},
	{"readTextFile", "{\"path\":\"x\"}"},
	{"writeFile", "{\"path\":\"x\",\"contentStreamId\":1}"},
	{"writeTextFile", "{\"path\":\"x\",\"contentStreamId\":1}"},
	{"readDir", "{\"path\":\"x\"}"},
	{"mkdir", "{\"path\":\"x\"}"},
	{"remove", "{\"path\":\"x\"}"},
	{"stat", "{\"path\":\"x\"}"},
	{"lstat", "{\"path\":\"x\"}"},
	{"symlink", "{\"target\":\"t\",\"path\":\"x\"}"},
	{"abort", "{\"abortId\":1}"},
	{"fetch", "{\"url\":\"http://x/\"}"},
};

/* Decodes base with the member at field (of parent, or NULL) replaced by value; takes value. */
static int decode_with(const char *method, const char *base, const char *parent,
	const struct rpc_field *field, struct json_object *value, struct rpc_issue *issue)
{
	const struct rpc_schema *schema = params_of(method);
	auto_free void *object = mem_zalloc(schema->size);
	auto_json struct json_object *json = parse(base);
	struct json_object *place = json;
	int r;

	if (parent != NULL) {
		place = json_object_new_object();
		json_object_object_add(json, parent, place);
	}
	json_object_object_add(place, field->name, value);
	memset(issue, 0, sizeof(*issue));
	r = rpc_json_decode(json, schema, object, issue);
	rpc_clear(schema, object);
	return r;
}

struct field_case {
	const char *method, *base, *parent;
	const struct rpc_field *field;
};

static void expect_issue(
	const struct field_case *c, struct json_object *value, const char *code, const char *below)
{
	struct rpc_issue issue;
	auto_free char *text = mem_strdup(json_object_to_json_string(value));
	auto_free char *path = mem_printf("%s%s%s%s", c->parent != NULL ? c->parent : "",
		c->parent != NULL ? "." : "", c->field->name, below);

	if (decode_with(c->method, c->base, c->parent, c->field, value, &issue) != -EINVAL)
		fail_msg("%s accepted %s = %.60s", c->method, path, text);
	assert_string_equal(issue.path, path);
	assert_string_equal(issue.code, code);
	assert_true(issue.expected[0] != '\0');
	assert_true(issue.message[0] != '\0');
}

static void expect_fine(const struct field_case *c, struct json_object *value)
{
	struct rpc_issue issue;

	if (decode_with(c->method, c->base, c->parent, c->field, value, &issue) < 0)
		fail_msg("%s.%s: %s", c->method, issue.path, issue.message);
}

static void check_types(const struct field_case *c)
{
	static const struct {
		const char *text;
		unsigned fine; /* bits of the types it is one of */
	} values[] = {
		{"true", 1u << RPC_BOOL},
		{"5", 1u << RPC_INT},
		{"5.5", 0},
		{"[]", 1u << RPC_STRING_LIST | 1u << RPC_PAIRS | 1u << RPC_OBJECTS},
		{"{}", 1u << RPC_STRING_MAP | 1u << RPC_OBJECT},
		{"\"aaaa\"", 1u << RPC_STRING | 1u << RPC_ENUM | 1u << RPC_BYTES | 1u << RPC_TIME},
	};

	for (size_t i = 0; i < array_len(values); i++) {
		if ((values[i].fine & 1u << c->field->type) == 0)
			expect_issue(c, parse(values[i].text),
				c->field->type == RPC_ENUM ? "invalid_value" : "invalid_type", "");
	}
}

static void check_null(const struct field_case *c)
{
	/* contentStreamId is what the base gives of the two contents. */
	if ((c->field->flags & RPC_REQUIRED) != 0)
		expect_issue(c, NULL, "invalid_type", "");
	else if ((c->field->flags & RPC_ONE_OF) == 0 || c->field->type == RPC_BYTES)
		expect_fine(c, NULL);
}

static struct json_object *long_string(size_t len)
{
	auto_free char *text = mem_zalloc(len + 1);

	memset(text, 'x', len);
	return json_object_new_string_len(text, (int)len);
}

static void check_string(const struct field_case *c)
{
	size_t max = (size_t)c->field->max;

	expect_issue(c, json_object_new_string_len("a\0b", 3), "invalid_format", "");
	expect_issue(c, json_object_new_string_len("\0", 1), "invalid_format", "");
	expect_issue(c, long_string(max + 1), "too_big", "");
	expect_fine(c, long_string(max));
}

static void check_int(const struct field_case *c)
{
	const struct rpc_field *f = c->field;

	expect_issue(c, json_object_new_int64(f->max + 1), "too_big", "");
	expect_issue(c, json_object_new_int64(f->min - 1), "too_small", "");
	expect_fine(c, json_object_new_int64(f->max));
	expect_fine(c, json_object_new_int64(f->min));
}

static void check_enum(const struct field_case *c)
{
	expect_issue(c, json_object_new_string("nonsense"), "invalid_value", "");
	expect_issue(c, json_object_new_int(0), "invalid_value", "");
	for (const char *const *name = c->field->names; *name != NULL; name++)
		expect_fine(c, json_object_new_string(*name));
}

static struct json_object *filled_list(size_t count)
{
	struct json_object *list = json_object_new_array();

	while (count-- > 0)
		json_object_array_add(list, json_object_new_string("x"));
	return list;
}

static void check_list(const struct field_case *c)
{
	struct json_object *list = filled_list(3);

	json_object_array_add(list, long_string((size_t)c->field->max + 1));
	expect_issue(c, list, "too_big", ".3");
	expect_issue(c, filled_list((size_t)c->field->count_max + 1), "too_big", "");
	expect_fine(c, filled_list((size_t)c->field->count_max));
}

static struct json_object *filled_map(size_t count)
{
	struct json_object *map = json_object_new_object();
	char key[32];

	while (count-- > 0) {
		snprintf(key, sizeof(key), "k%zu", count);
		json_object_object_add(map, key, json_object_new_string("x"));
	}
	return map;
}

static void check_map(const struct field_case *c)
{
	struct json_object *map = filled_map(2);

	json_object_object_add(map, "long", long_string((size_t)c->field->max + 1));
	expect_issue(c, map, "too_big", ".long");
	expect_issue(c, filled_map((size_t)c->field->count_max + 1), "too_big", "");
	expect_fine(c, filled_map((size_t)c->field->count_max));
}

/* A pair of anything but NULL. */
static struct json_object *couple(struct json_object *key, struct json_object *value)
{
	struct json_object *pair = json_object_new_array();

	if (key)
		json_object_array_add(pair, key);
	if (value)
		json_object_array_add(pair, value);
	return pair;
}

static struct json_object *filled_pairs(size_t count, struct json_object *last)
{
	struct json_object *pairs = json_object_new_array();

	while (count-- > 0)
		json_object_array_add(
			pairs, couple(json_object_new_string("k"), json_object_new_string("")));
	if (last)
		json_object_array_add(pairs, last);
	return pairs;
}

static void check_pairs(const struct field_case *c)
{
	size_t most = (size_t)c->field->count_max;
	size_t longest = (size_t)c->field->max;
	struct json_object *three = couple(json_object_new_string("a"), parse("\"b\""));

	json_object_array_add(three, json_object_new_string("c"));
	expect_issue(c, filled_pairs(1, three), "invalid_value", ".1");
	expect_issue(c, filled_pairs(2, couple(parse("\"a\""), NULL)), "invalid_value", ".2");
	expect_issue(c, filled_pairs(1, parse("\"ab\"")), "invalid_type", ".1");
	expect_issue(
		c, filled_pairs(0, couple(parse("5"), parse("\"b\""))), "invalid_type", ".0.0");
	expect_issue(
		c, filled_pairs(0, couple(parse("\"a\""), parse("[]"))), "invalid_type", ".0.1");
	expect_issue(c, filled_pairs(1, couple(long_string(longest + 1), parse("\"b\""))),
		"too_big", ".1.0");
	expect_issue(c, filled_pairs(1, couple(parse("\"a\""), long_string(longest + 1))),
		"too_big", ".1.1");
	expect_issue(c, filled_pairs(most + 1, NULL), "too_big", "");
	expect_fine(c, filled_pairs(most, NULL));
}

static void check_field(const struct field_case *c)
{
	check_types(c);
	check_null(c);
	if (c->field->type == RPC_STRING)
		check_string(c);
	else if (c->field->type == RPC_INT)
		check_int(c);
	else if (c->field->type == RPC_ENUM)
		check_enum(c);
	else if (c->field->type == RPC_STRING_LIST)
		check_list(c);
	else if (c->field->type == RPC_STRING_MAP)
		check_map(c);
	else if (c->field->type == RPC_PAIRS)
		check_pairs(c);
}

static size_t check_schema(
	const struct rpc_schema *schema, const char *method, const char *base, const char *parent)
{
	size_t checked = 0;

	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];
		struct field_case c = {method, base, parent, f};

		if ((f->flags & RPC_INTERNAL) != 0)
			continue;
		check_field(&c);
		checked++;
		if (f->type == RPC_OBJECT)
			checked += check_schema(f->sub, method, base, f->name);
	}
	return checked;
}

static void test_every_field(void **state)
{
	size_t with_params = 0;

	for (size_t i = 0; i < array_len(bases); i++)
		assert_true(check_schema(params_of(bases[i].method), bases[i].method,
				    bases[i].params, NULL) > 0);
	for (unsigned id = 1; id < RPC_METHOD_COUNT; id++) {
		const struct rpc_method *m = rpc_method_by_id(id);

		with_params += (m->flags & RPC_CLIENT) != 0 && m->params != NULL;
	}
	assert_int_equal(array_len(bases), with_params);
}

/* --- the rest ------------------------------------------------------------------------------ */

static void test_absent_params(void **state)
{
	struct rpc_abort abort_params;
	struct rpc_remove_options options = {.recursive = true};
	struct rpc_issue issue;

	assert_int_equal(rpc_json_decode(NULL, &rpc_abort_schema, &abort_params, &issue), -EINVAL);
	assert_string_equal(issue.path, "abortId");
	assert_string_equal(issue.message, "Invalid input: expected int, received undefined");
	assert_int_equal(rpc_json_decode(NULL, &rpc_remove_options_schema, &options, &issue), 0);
	assert_false(options.recursive);
}

static void test_content(void **state)
{
	struct rpc_write_file w;
	auto_json struct json_object *bytes = parse("{\"path\":\"x\",\"content\":\"AP9oaQ==\"}");
	auto_json struct json_object *empty = parse("{\"path\":\"x\",\"content\":\"\"}");
	auto_json struct json_object *text = parse("{\"path\":\"x\",\"content\":\"a\\u0000b\"}");

	assert_int_equal(rpc_json_decode(bytes, &rpc_write_file_schema, &w, NULL), 0);
	assert_int_equal(w.content.len, 4);
	assert_memory_equal(w.content.data, "\0\xffhi", 4);
	assert_int_equal(w.content_stream_id, -1);
	rpc_clear(&rpc_write_file_schema, &w);

	/* Empty content is content. */
	assert_int_equal(rpc_json_decode(empty, &rpc_write_file_schema, &w, NULL), 0);
	assert_non_null(w.content.data);
	assert_int_equal(w.content.len, 0);
	rpc_clear(&rpc_write_file_schema, &w);
	assert_int_equal(rpc_json_decode(empty, &rpc_write_text_file_schema, &w, NULL), 0);
	assert_non_null(w.content.data);
	rpc_clear(&rpc_write_text_file_schema, &w);

	assert_int_equal(rpc_json_decode(text, &rpc_write_text_file_schema, &w, NULL), 0);
	assert_int_equal(w.content.len, 3);
	assert_memory_equal(w.content.data, "a\0b", 3);
	rpc_clear(&rpc_write_text_file_schema, &w);
}

static void test_alias(void **state)
{
	struct sized {
		int64_t size;
	} s;
	const struct rpc_field field = {.name = "len",
		.alias = "size",
		.type = RPC_INT,
		.max = 100,
		.absent = -1,
		.offset = offsetof(struct sized, size)};
	const struct rpc_schema schema = {"sized", &field, 1, sizeof(struct sized)};
	static const struct {
		const char *text;
		int64_t size;
	} rows[] = {{"{\"len\":1}", 1}, {"{\"size\":2}", 2}, {"{\"len\":1,\"size\":2}", 1},
		{"{\"len\":null,\"size\":2}", 2}, {"{\"len\":null,\"size\":null}", -1}, {"{}", -1}};

	for (size_t i = 0; i < array_len(rows); i++) {
		auto_json struct json_object *json = parse(rows[i].text);

		assert_int_equal(rpc_json_decode(json, &schema, &s, NULL), 0);
		assert_int_equal(s.size, rows[i].size);
	}
}

static void test_objects(void **state)
{
	struct rpc_dir_entries e;
	struct rpc_issue issue;
	auto_json struct json_object *fine =
		parse("{\"entries\":[{\"name\":\"a\",\"isFile\":true},{\"name\":\"b\"}]}");
	auto_json struct json_object *wrong =
		parse("{\"entries\":[{\"name\":\"a\"},{\"name\":\"\"}]}");
	auto_json struct json_object *hole = parse("{\"entries\":[{\"name\":\"a\"},null]}");

	assert_int_equal(rpc_json_decode(fine, &rpc_dir_entries_schema, &e, &issue), 0);
	assert_int_equal(e.entries.count, 2);
	assert_string_equal(((struct rpc_dir_entry *)e.entries.items)[1].name, "b");
	rpc_clear(&rpc_dir_entries_schema, &e);
	assert_int_equal(rpc_json_decode(wrong, &rpc_dir_entries_schema, &e, &issue), -EINVAL);
	assert_string_equal(issue.path, "entries.1.name");
	assert_string_equal(issue.code, "too_small");
	assert_int_equal(rpc_json_decode(hole, &rpc_dir_entries_schema, &e, &issue), -EINVAL);
	assert_string_equal(issue.path, "entries.1");
	assert_string_equal(issue.message, "Invalid input: expected object, received null");
}

static void test_times(void **state)
{
	static const char *const wrong[] = {"\"yesterday\"", "\"\"", "5", "\"2026-11-23\\u0000\"",
		"\"9999-12-31T23:59:59.999Z\"" /* more than 64 bits of nanoseconds */};
	struct rpc_file_info info;
	auto_json struct json_object *json = parse("{\"mtime\":\"2026-11-23T15:55:24.123Z\"}");

	assert_int_equal(rpc_json_decode(json, &rpc_file_info_schema, &info, NULL), 0);
	assert_true(info.mtime == INT64_C(1795449324123000000));
	for (size_t i = 0; i < array_len(wrong); i++) {
		struct rpc_issue issue;
		auto_free char *text = mem_printf("{\"mtime\":%s}", wrong[i]);
		auto_json struct json_object *bad_json = parse(text);

		assert_int_equal(
			rpc_json_decode(bad_json, &rpc_file_info_schema, &info, &issue), -EINVAL);
		assert_string_equal(issue.path, "mtime");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_every_field),
		cmocka_unit_test(test_absent_params),
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_alias),
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
