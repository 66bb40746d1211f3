#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "server/create_options.h"
#include "wire/base64.h"

#define NOW INT64_C(1700000000000)

static const struct config config = {
	.regions = (char *)"ord,ams",
	.max_lifetime_ms = 3600000,
	.region_list = {"ord", "ams"},
	.region_count = 2,
};

static int parse(const char *json, struct sandbox_options *o, struct error *err)
{
	size_t len = strlen(json);
	auto_free char *text = mem_zalloc(base64_encoded_len(len) + 1);

	memset(o, 0, sizeof(*o));
	memset(err, 0, sizeof(*err));
	return create_options_parse(text, base64_encode(text, json, len), &config, "", NOW, o, err);
}

static void test_defaults(void **state)
{
	struct sandbox_options o;
	struct error err = {0};

	(void)state;
	assert_int_equal(create_options_parse(NULL, 0, &config, "", NOW, &o, &err), 0);
	assert_int_equal(o.memory_mb, 1280);
	assert_true(o.session);
	assert_string_equal(o.region, "ord");
	sandbox_options_done(&o);
	assert_int_equal(create_options_parse(NULL, 0, &config, "ams", NOW, &o, &err), 0);
	assert_string_equal(o.region, "ams");
	sandbox_options_done(&o);
}

static void test_both_dialects(void **state)
{
	struct sandbox_options o;
	struct error err;

	(void)state;
	assert_int_equal(parse("{\"memory_mb\":2048,\"stop_at_ms\":1700000600000,\"volumes\":[],"
			       "\"labels\":{\"team\":\"x\"},\"allow_net\":[],\"new\":1}",
				 &o, &err),
		0);
	assert_int_equal(o.memory_mb, 2048);
	assert_false(o.session);
	assert_int_equal(o.stop_at_ms, NOW + 600000);
	assert_int_equal(o.label_count, 1);
	assert_string_equal(o.labels[0].key, "team");
	sandbox_options_done(&o);

	assert_int_equal(parse("{\"memory_mb\":1280,\"timeout\":\"2m\",\"region\":\"ams\","
			       "\"env\":{\"A\":\"1\"},\"volumes\":{},\"debug\":false,"
			       "\"ssh\":false,\"port\":null}",
				 &o, &err),
		0);
	assert_int_equal(o.stop_at_ms, NOW + 120000);
	assert_string_equal(o.region, "ams");
	assert_int_equal(o.env.count, 1);
	assert_string_equal(o.env.items[0].value, "1");
	sandbox_options_done(&o);
}

static void test_latin1(void **state)
{
	struct sandbox_options o = {0};
	struct error err = {0};
	char text[128];
	size_t n = base64_encode(text, "{\"labels\":{\"k\":\"\xe9\"}}", 20);

	(void)state;
	assert_int_equal(create_options_parse(text, n, &config, "", NOW, &o, &err), 0);
	assert_string_equal(o.labels[0].value, "\xc3\xa9");
	sandbox_options_done(&o);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *json;
		int err;
		const char *field;
	} rows[] = {
		{"[]", -EINVAL, "x-deno-sandbox-config"},
		{"{", -EINVAL, "x-deno-sandbox-config"},
		{"{\"memory_mb\":\"1280\"}", -EINVAL, "memory_mb"},
		{"{\"memory_mb\":767}", -EINVAL, "memory_mb"},
		{"{\"memory_mb\":4097}", -EINVAL, "memory_mb"},
		{"{\"memory_mb\":1280.5}", -EINVAL, "memory_mb"},
		{"{\"stop_at_ms\":1}", -EINVAL, "stop_at_ms"},
		{"{\"stop_at_ms\":1700099999999}", -EINVAL, "stop_at_ms"},
		{"{\"stop_at_ms\":\"x\"}", -EINVAL, "stop_at_ms"},
		{"{\"timeout\":\"5\"}", -EINVAL, "timeout"},
		{"{\"timeout\":\"5d\"}", -EINVAL, "timeout"},
		{"{\"timeout\":\"5m \"}", -EINVAL, "timeout"},
		{"{\"timeout\":\"0s\"}", -EINVAL, "timeout"},
		{"{\"timeout\":\"99999999999999999999s\"}", -EINVAL, "timeout"},
		{"{\"timeout\":60}", -EINVAL, "timeout"},
		{"{\"timeout\":\"5m\",\"stop_at_ms\":1700000600000}", -EINVAL, "timeout"},
		{"{\"labels\":[]}", -EINVAL, "labels"},
		{"{\"labels\":{\"a\":1}}", -EINVAL, "labels"},
		{"{\"labels\":{\"\":\"1\"}}", -EINVAL, "labels"},
		{"{\"labels\":{\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":\"\",\"6\":\"\"}}",
			-EINVAL, "labels"},
		{"{\"env\":{\"A=B\":\"1\"}}", -EINVAL, "env"},
		{"{\"env\":{\"A\":\"x\\u0000y\"}}", -EINVAL, "env"},
		{"{\"region\":\"sjc\"}", -EINVAL, "region"},
		{"{\"region\":\"ams1\"}", -EINVAL, "region"},
		{"{\"root\":1}", -EINVAL, "root"},
		{"{\"root\":{\"volume\":\"v\"}}", -EOPNOTSUPP, "root"},
		{"{\"volumes\":[1]}", -EINVAL, "volumes"},
		{"{\"volumes\":[{\"volume\":\"v\",\"path\":\"/d\"}]}", -EOPNOTSUPP, "volumes"},
		{"{\"volumes\":{\"/d\":\"v\"}}", -EOPNOTSUPP, "volumes"},
		{"{\"allow_net\":\"x\"}", -EINVAL, "allow_net"},
		{"{\"allow_net\":[1]}", -EINVAL, "allow_net"},
		{"{\"allow_net\":[\"a.example\",\"\"]}", -EINVAL, "allow_net"},
		{"{\"allow_net\":[\"a.example\",\"http://b\"]}", -EINVAL, "allow_net"},
		{"{\"allow_net\":[\"a\\u0000b\"]}", -EINVAL, "allow_net"},
		{"{\"allow_net\":[null]}", -EINVAL, "allow_net"},
		{"{\"secrets\":[]}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":null}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"v\"}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"v\",\"hosts\":[]}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"v\",\"hosts\":[\"a:x\"]}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"\",\"hosts\":[\"a\"]}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":{\"value\":1,\"hosts\":[\"a\"]}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"a\\nb\",\"hosts\":[\"a\"]}}}", -EINVAL,
			"secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"a\\rb\",\"hosts\":[\"a\"]}}}", -EINVAL,
			"secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"a\\u0000b\",\"hosts\":[\"a\"]}}}", -EINVAL,
			"secrets"},
		{"{\"secrets\":{\"K=\":{\"value\":\"v\",\"hosts\":[\"a\"]}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"\":{\"value\":\"v\",\"hosts\":[\"a\"]}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\\u0000\":{\"value\":\"v\",\"hosts\":[\"a\"]}}}", -EINVAL,
			"secrets"},
		{"{\"env\":{\"K\":\"\"},\"secrets\":{\"K\":{\"value\":\"v\",\"hosts\":[\"a\"]}}}",
			-EINVAL, "secrets"},
		{"{\"port\":0}", -EINVAL, "port"},
		{"{\"port\":80}", -EOPNOTSUPP, "port"},
		{"{\"ssh\":1}", -EINVAL, "ssh"},
		{"{\"ssh\":true}", -EOPNOTSUPP, "ssh"},
	};

	(void)state;
	for (size_t i = 0; i < array_len(rows); i++) {
		struct sandbox_options o;
		struct error err;
		int r = parse(rows[i].json, &o, &err);

		if (r != rows[i].err || strcmp(err.field, rows[i].field) != 0)
			fail_msg("%s: got %d, field %s, message %s", rows[i].json, r, err.field,
				err.message);
	}
}

static void test_no_base64(void **state)
{
	struct sandbox_options o = {0};
	struct error err = {0};

	(void)state;
	assert_int_equal(create_options_parse("a!b=", 4, &config, "", NOW, &o, &err), -EINVAL);
	assert_string_equal(err.field, "x-deno-sandbox-config");
}

static void test_allow_net(void **state)
{
	struct sandbox_options o;
	struct error err;

	assert_int_equal(parse("{}", &o, &err), 0);
	assert_false(o.net_given);
	sandbox_options_done(&o);
	assert_int_equal(parse("{\"allow_net\":null}", &o, &err), 0);
	assert_false(o.net_given);
	sandbox_options_done(&o);
	assert_int_equal(parse("{\"allow_net\":[]}", &o, &err), 0);
	assert_true(o.net_given);
	assert_int_equal(o.net.count, 0);
	sandbox_options_done(&o);
	assert_int_equal(parse("{\"allow_net\":[\"a.example:443\",\"*.b.example\"]}", &o, &err), 0);
	assert_true(o.net_given);
	assert_int_equal(o.net.count, 2);
	assert_string_equal(o.net.items[1], "*.b.example");
	sandbox_options_done(&o);
	/* The message holds the rule that is wrong. */
	assert_int_equal(parse("{\"allow_net\":[\"a.example\",\"b:99999\"]}", &o, &err), -EINVAL);
	assert_non_null(strstr(err.message, "b:99999"));
}

static void test_secrets(void **state)
{
	struct sandbox_options o;
	struct error err;

	assert_int_equal(
		parse("{\"secrets\":{\"KEY\":{\"hosts\":[\"a.example\",\"b.example:443\"],"
		      "\"value\":\"top\\\"secret\"},\"B\":{\"value\":\"x\",\"hosts\":[\"c\"]}},"
		      "\"env\":{\"OTHER\":\"1\"}}",
			&o, &err),
		0);
	assert_int_equal(o.secret_count, 2);
	assert_string_equal(o.secrets[0].name, "KEY");
	assert_string_equal(o.secrets[0].value, "top\"secret");
	assert_int_equal(o.secrets[0].hosts.count, 2);
	assert_string_equal(o.secrets[0].hosts.items[1], "b.example:443");
	sandbox_options_done(&o);
	/* Whose value is missing is said. */
	assert_int_equal(
		parse("{\"secrets\":{\"OPENAI_KEY\":{\"hosts\":[\"a\"]}}}", &o, &err), -EINVAL);
	assert_non_null(strstr(err.message, "OPENAI_KEY: has no value"));
	assert_int_equal(parse("{\"secrets\":{\"OPENAI_KEY\":{\"hosts\":[\"a\"],\"value\":null}}}",
				 &o, &err),
		-EINVAL);
	assert_non_null(strstr(err.message, "OPENAI_KEY: has no value"));
	/* And what it is, is not. */
	assert_int_equal(parse("{\"secrets\":{\"K\":{\"hosts\":[\"a:b\"],\"value\":\"hunter2\"}}}",
				 &o, &err),
		-EINVAL);
	assert_null(strstr(err.message, "hunter2"));
	assert_non_null(strstr(err.message, "a:b"));
}

/* n secrets with values of len bytes. */
static int parse_many(int n, int len, struct sandbox_options *o, struct error *err)
{
	struct buf b;
	int r;

	buf_init(&b, 1 << 20);
	(void)buf_append_str(&b, "{\"secrets\":{");
	for (int i = 0; i < n; i++)
		(void)buf_printf(&b, "%s\"K%d\":{\"hosts\":[\"a\"],\"value\":\"%0*d\"}",
			i ? "," : "", i, len, 0);
	(void)buf_append(&b, "}}", 3);
	r = parse((const char *)buf_data(&b), o, err);
	buf_done(&b);
	return r;
}

static void test_secret_limits(void **state)
{
	struct sandbox_options o;
	struct error err;

	assert_int_equal(parse_many(64, 1, &o, &err), 0);
	assert_int_equal(o.secret_count, 64);
	sandbox_options_done(&o);
	assert_int_equal(parse_many(65, 1, &o, &err), -EINVAL);
	assert_int_equal(parse_many(1, 16384, &o, &err), 0);
	sandbox_options_done(&o);
	assert_int_equal(parse_many(1, 16385, &o, &err), -EINVAL);
	assert_non_null(strstr(err.message, "16384"));
}

#ifndef __SANITIZE_ADDRESS__ /* whose shadow is too large to be searched */

#define NEEDLE_LEN 40
#define MASK 0x55

/* How often the needle, each byte of which is kept with bits turned, stands in this process's
 * memory. */
static unsigned count_in_memory(const uint8_t masked[NEEDLE_LEN])
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned found = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		unsigned long from, to;
		char rights[5];

		if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) != 3 || rights[1] != 'w' ||
			strstr(line, "[v") != NULL)
			continue;
		for (const uint8_t *p = (const uint8_t *)from; p + NEEDLE_LEN <= (uint8_t *)to;
			p++) {
			size_t n = 0;

			while (n < NEEDLE_LEN && (p[n] ^ MASK) == masked[n])
				n++;
			found += n == NEEDLE_LEN;
		}
	}
	fclose(maps);
	return found;
}

/* A secret's value is nowhere once the options are given back; neither when they are refused. */
static void test_nothing_left_behind(void **state)
{
	static const struct {
		const char *before, *behind;
	} forms[] = {
		{"{\"secrets\":{\"K\":{\"hosts\":[\"a\"],\"value\":\"", "\"}}}"},
		/* Longer strings behind it make a tokener's buffer grow; NUL in a key makes a copy.
		 */
		{"{\"x\\u0000\":1,\"secrets\":{\"K\":{\"value\":\"",
			"\",\"hosts\":["
			"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."
			"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"]}}}"},
		{"{\"secrets\":{\"K\":{\"value\":\"", "\",\"hosts\":[\"a:x\"]}}}"},
		{"{\"secrets\":{\"K\":{\"value\":\"", "\",\"hosts\":[\"\xe9\"]}}}"}, /* Latin-1 */
	};
	uint8_t masked[NEEDLE_LEN];
	struct sandbox_options o;
	struct error err;

	for (size_t i = 0; i < array_len(forms); i++) {
		char value[NEEDLE_LEN + 1];
		char json[512];
		char text[1024];
		size_t len;

		random_hex(value, NEEDLE_LEN / 2);
		for (size_t k = 0; k < NEEDLE_LEN; k++)
			masked[k] = (uint8_t)(value[k] ^ MASK);
		len = (size_t)snprintf(
			json, sizeof(json), "%s%s%s", forms[i].before, value, forms[i].behind);
		len = base64_encode(text, json, len);
		assert_true(count_in_memory(masked) > 0);
		mem_wipe(value, sizeof(value));
		mem_wipe(json, sizeof(json));
		memset(&o, 0, sizeof(o));
		memset(&err, 0, sizeof(err));
		if (create_options_parse(text, len, &config, "", NOW, &o, &err) == 0) {
			assert_int_equal(count_in_memory(masked), 1);
			sandbox_options_done(&o);
		}
		assert_int_equal(count_in_memory(masked), 0);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_both_dialects),
		cmocka_unit_test(test_latin1),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_no_base64),
		cmocka_unit_test(test_allow_net),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_secret_limits),
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test(test_nothing_left_behind),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
