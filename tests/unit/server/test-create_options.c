#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
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
		{"{\"allow_net\":[\"example.com\"]}", -EOPNOTSUPP, "allow_net"},
		{"{\"secrets\":{\"K\":{\"value\":\"v\"}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"v\",\"hosts\":[]}}}", -EINVAL, "secrets"},
		{"{\"secrets\":{\"K\":{\"value\":\"v\",\"hosts\":[\"a\"]}}}", -EOPNOTSUPP,
			"secrets"},
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_both_dialects),
		cmocka_unit_test(test_latin1),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_no_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
