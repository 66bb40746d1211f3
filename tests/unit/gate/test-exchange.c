#include "unit.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/exchange.h"

/* --- hosts ------------------------------------------------------------------------------------ */

static const struct {
	const char *host;
	const char *text;
	uint16_t port;
	bool tls;
	bool ok;
} hosts[] = {
	{"a.example", "a.example", 443, true, true},
	{"a.example", "A.eXample", 443, true, true},
	{"a.example", "a.example.", 443, true, true},
	{"a.example", "a.example:443", 443, true, true},
	{"a.example", "A.EXAMPLE.:443", 443, true, true},
	{"a.example", "a.example", 80, false, true},
	{"a.example", "a.example:80", 80, false, true},
	{"a.example", "a.example:8443", 8443, true, true},
	{"a.example", "a.example:443", 443, false, true},
	{"192.0.2.1", "192.0.2.1", 80, false, true},
	{"192.0.2.1", "192.0.2.1:81", 81, false, true},
	{"2001:db8::1", "[2001:db8::1]", 80, false, true},
	{"2001:db8::1", "[2001:DB8:0::1]:80", 80, false, true},

	{"a.example", "", 443, true, false},
	{"a.example", ".", 443, true, false},
	{"a.example", ":443", 443, true, false},
	{"a.example", "b.example", 443, true, false},
	{"a.example", "a.example.b", 443, true, false},
	{"a.example", "b.a.example", 443, true, false},
	{"a.example", "a.example..", 443, true, false},
	{"a.example", " a.example", 443, true, false},
	{"a.example", "a.example:80", 443, true, false},
	{"a.example", "a.example:", 443, true, false},
	{"a.example", "a.example:0443", 443, true, false},
	{"a.example", "a.example:443:443", 443, true, false},
	{"a.example", "a.example:65979", 443, true, false}, /* 443 + 2^16 */
	{"a.example", "a.example:+443", 443, true, false},
	{"a.example", "a.example:443 ", 443, true, false},
	{"a.example", "u@a.example", 443, true, false},
	{"a.example", "[a.example]", 443, true, false},
	{"a.example", "a.example", 443, false, false},
	{"a.example", "a.example", 8443, true, false},
	{"a.example", "192.0.2.1", 80, false, false},
	{"192.0.2.1", "192.0.2.2", 80, false, false},
	{"192.0.2.1", "192.0.2.01", 80, false, false},
	{"192.0.2.1", "a.example", 80, false, false},
	{"192.0.2.1", "[192.0.2.1]", 80, false, false},
	{"2001:db8::1", "2001:db8::1", 80, false, false},
	{"2001:db8::1", "[2001:db8::1", 80, false, false},
	{"2001:db8::1", "[2001:db8::1]x", 80, false, false},
	{"2001:db8::1", "[]", 80, false, false},
	{"2001:db8::1", "[", 80, false, false},
	{"2001:db8::1", "]", 80, false, false},
};

static void test_hosts(void **state)
{
	for (size_t i = 0; i < array_len(hosts); i++) {
		struct exchange_params p = {
			.host = hosts[i].host, .port = hosts[i].port, .tls = hosts[i].tls};
		size_t len = strlen(hosts[i].text);
		/* The text ends where it ends. */
		auto_free char *exact = mem_dup(hosts[i].text, len);

		if (exchange_host_ok(&p, exact, len) != hosts[i].ok)
			fail_msg("%s:%u and \"%s\"", p.host, p.port, hosts[i].text);
	}
}

static void test_authority(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
		bool tls;
		const char *text;
	} cases[] = {
		{"a.example", 443, true, "a.example"},
		{"a.example", 80, false, "a.example"},
		{"a.example", 80, true, "a.example:80"},
		{"a.example", 65535, false, "a.example:65535"},
		{"2001:db8::1", 443, true, "[2001:db8::1]"},
		{"2001:db8::1", 8080, true, "[2001:db8::1]:8080"},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct exchange_params p = {
			.host = cases[i].host, .port = cases[i].port, .tls = cases[i].tls};
		auto_buf struct buf out;

		buf_init(&out, 100);
		assert_int_equal(exchange_put_authority(&p, &out), 0);
		assert_int_equal(out.len, strlen(cases[i].text));
		assert_memory_equal(buf_data(&out), cases[i].text, out.len);
		assert_true(exchange_host_ok(&p, (char *)buf_data(&out), out.len));
	}
}

/* --- refusals --------------------------------------------------------------------------------- */

static const char *text_of(struct json_object *body, const char *key)
{
	return json_object_get_string(json_object_object_get(body, key));
}

static void test_refusal_bodies(void **state)
{
	struct exchange_params p = {.host = "a.example", .port = 8443, .tls = true};

	for (int what = 0; what < EXCHANGE_REFUSAL_COUNT; what++) {
		auto_buf struct buf out;
		struct json_object *body;
		int status = exchange_refusal_status((enum exchange_refusal)what);

		buf_init(&out, 4096);
		exchange_refusal_body(
			&p, (enum exchange_refusal)what, "Host is \"b\"\r\n\x01\xff", &out);
		assert_int_equal(buf_append_byte(&out, 0), 0);
		body = json_tokener_parse((char *)buf_data(&out));
		assert_non_null(body);
		assert_string_equal(
			text_of(body, "code"), exchange_refusal_code((enum exchange_refusal)what));
		assert_string_equal(text_of(body, "host"), "a.example");
		assert_int_equal(json_object_get_int(json_object_object_get(body, "port")), 8443);
		assert_string_equal(text_of(body, "message"), "Host is \"b\"\r\n\x01\xef\xbf\xbd");
		assert_string_equal(
			text_of(body, "error"), status == 502 ? "EGRESS_FAILED" : "EGRESS_DENIED");
		json_object_put(body);
	}
	assert_string_equal(exchange_refusal_code(EXCHANGE_HOST_MISMATCH), "host-mismatch");
	assert_int_equal(exchange_refusal_status(EXCHANGE_HOST_MISMATCH), 403);
	assert_int_equal(exchange_refusal_status(EXCHANGE_MALFORMED), 400);
	assert_int_equal(exchange_refusal_status(EXCHANGE_BAD_ANSWER), 502);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_authority),
		cmocka_unit_test(test_refusal_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
