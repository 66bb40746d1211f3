#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "gate/net/proxy.h"

static void test_parse(void **state)
{
	struct proxies p;
	struct error err = {0};
	const struct proxy *found;

	assert_int_equal(proxies_parse(&p, "http://us%65r:p%40ss@Proxy.Example:3128/",
				 "192.0.2.1:8080", "localhost,.internal", &err),
		0);
	found = proxies_for(&p, "a.example", false);
	assert_string_equal(found->host, "proxy.example");
	assert_int_equal(found->port, 3128);
	assert_string_equal(found->authorization, "Basic dXNlcjpwQHNz");
	found = proxies_for(&p, "a.example", true);
	assert_null(found->host);
	assert_null(found->authorization);
	assert_int_equal(found->port, 8080);
	proxies_done(&p);
	assert_int_equal(proxies_parse(&p, NULL, "", NULL, &err), 0);
	assert_null(proxies_for(&p, "a.example", true));
	proxies_done(&p);
}

static void test_refused(void **state)
{
	static const char *const texts[] = {"proxy", "http://proxy", "http://:3128",
		"https://proxy:1", "http://proxy:0", "http://proxy:65536", "http://proxy:1x",
		"http://pro xy:1", "http://proxy:1/path", "http://[::1:1", "socks5://proxy:1"};

	for (size_t i = 0; i < array_len(texts); i++) {
		struct proxies p;
		struct error err = {0};

		assert_int_equal(proxies_parse(&p, texts[i], NULL, NULL, &err), -EINVAL);
		assert_string_equal(err.field, "http_proxy");
	}
}

static void test_password_is_not_in_the_error(void **state)
{
	struct proxies p;
	struct error err = {0};

	assert_int_equal(proxies_parse(&p, "http://u:geheim@proxy", NULL, NULL, &err), -EINVAL);
	assert_null(strstr(err.message, "geheim"));
}

static void test_exempt(void **state)
{
	static const struct {
		const char *list;
		const char *name;
		bool direct;
	} rows[] = {
		{"example.com", "example.com", true},
		{"example.com", "a.example.com", true},
		{"example.com", "badexample.com", false},
		{".example.com", "a.example.com", true},
		{"*.example.com", "a.example.com", true},
		{"a.test, b.test:80 c.test", "b.test", true},
		{"a.test, b.test:80 c.test", "c.test", true},
		{"a.test,,", "d.test", false},
		{"EXAMPLE.com", "example.com", true},
		{"*", "anything.test", true},
		{NULL, "localhost", true},
		{NULL, "example.com", false},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct proxies p;

		assert_int_equal(
			proxies_parse(&p, "http://proxy.test:1", NULL, rows[i].list, NULL), 0);
		assert_int_equal(proxies_for(&p, rows[i].name, false) == NULL, rows[i].direct);
		proxies_done(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_password_is_not_in_the_error),
		cmocka_unit_test(test_exempt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
