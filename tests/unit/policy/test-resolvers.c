#include "unit.h"

#include <string.h>

#include "policy/resolvers.h"

static void test_names(void **state)
{
	assert_true(resolvers_has_name("dns.google"));
	assert_true(resolvers_has_name("abc123.dns.nextdns.io"));
	assert_true(resolvers_has_name("one.one.one.one"));
	assert_false(resolvers_has_name("google"));
	assert_false(resolvers_has_name("notdns.google"));
	assert_false(resolvers_has_name("dns.google.example"));
	assert_false(resolvers_has_name(""));
}

static void test_addresses(void **state)
{
	static const char *const known[] = {"8.8.8.8", "::ffff:1.1.1.1", "2606:4700:4700::1111"};
	struct address a;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		assert_int_equal(address_parse(known[i], strlen(known[i]), &a), 0);
		assert_true(resolvers_has_address(&a));
	}
	assert_int_equal(address_parse("8.8.8.9", 7, &a), 0);
	assert_false(resolvers_has_address(&a));
}

static void test_ports(void **state)
{
	assert_true(resolvers_port(443) && resolvers_port(853));
	assert_false(resolvers_port(80) || resolvers_port(53));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
