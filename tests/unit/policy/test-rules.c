#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "policy/rules.h"

static struct rules parse(const char *const *texts, size_t count)
{
	struct rules r = {0};
	struct error err = {0};

	if (rules_parse(texts, count, "allowNet", &r, &err) != 0)
		fail_msg("%s", err.message);
	return r;
}

/* --- names ------------------------------------------------------------------------------------ */

static void test_names(void **state)
{
	static const struct {
		const char *text;
		const char *name; /* NULL: refused */
	} cases[] = {
		{"example.com", "example.com"},
		{"EXAMPLE.Com.", "example.com"},
		{"localhost", "localhost"},
		{"a", "a"},
		{"_dmarc.example.com", "_dmarc.example.com"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"1.example", "1.example"},
		{"1a", "1a"},
		{"0x1.g", "0x1.g"},
		{"a.0xg", "a.0xg"},
		{"-a-.b", "-a-.b"},
		{"", NULL},
		{".", NULL},
		{"..", NULL},
		{".example.com", NULL},
		{"example..com", NULL},
		{"example.com..", NULL},
		{"exa mple.com", NULL},
		{"example.com\n", NULL},
		{"b\xc3\xbc"
		 "cher.example",
			NULL},
		{"*.example.com", NULL},
		{"example.com:443", NULL},
		{"a/b", NULL},
		{"a@b", NULL},
		{"a\\b", NULL},
		/* Whatever inet_aton() takes for an address. */
		{"192.0.2.1", NULL},
		{"192.0.2.1.", NULL},
		{"3221225985", NULL},
		{"0xc0000201", NULL},
		{"0XC0000201", NULL},
		{"0300.0.2.1", NULL},
		{"192.0.513", NULL},
		{"1.0x", NULL},
		{"example.1", NULL},
		{"example.0x7f", NULL},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		char name[HOST_NAME_SIZE];
		char again[HOST_NAME_SIZE];
		int r = host_name_normalise(cases[i].text, strlen(cases[i].text), name);

		print_message("# %s\n", cases[i].text);
		assert_int_equal(r, cases[i].name ? 0 : -EINVAL);
		if (r < 0)
			continue;
		assert_string_equal(name, cases[i].name);
		assert_int_equal(host_name_normalise(name, strlen(name), again), 0);
		assert_string_equal(again, name);
	}
}

static void test_name_lengths(void **state)
{
	char text[300];
	char name[HOST_NAME_SIZE];

	memset(text, 'a', sizeof(text));
	assert_int_equal(host_name_normalise(text, 63, name), 0);
	assert_int_equal(host_name_normalise(text, 64, name), -EINVAL);
	for (size_t i = 63; i < sizeof(text); i += 64)
		text[i] = '.';
	assert_int_equal(host_name_normalise(text, 253, name), 0);
	assert_int_equal(strlen(name), 253);
	assert_int_equal(host_name_normalise(text, 254, name), -EINVAL);
	text[253] = '.';
	assert_int_equal(host_name_normalise(text, 254, name), 0);
	assert_int_equal(strlen(name), 253);
	assert_int_equal(host_name_normalise("a\0b", 3, name), -EINVAL);
}

/* --- texts ------------------------------------------------------------------------------------ */

static void test_accepted(void **state)
{
	static const struct {
		const char *text;
		enum rule_kind kind;
		const char *name; /* or the address */
		unsigned bits;
		uint16_t port_min, port_max;
	} cases[] = {
		{"*", RULE_ALL, NULL, 0, 0, 65535},
		{"*:443", RULE_ALL, NULL, 0, 443, 443},
		{"example.com", RULE_NAME, "example.com", 0, 0, 65535},
		{"Example.COM.", RULE_NAME, "example.com", 0, 0, 65535},
		{"example.com:443", RULE_NAME, "example.com", 0, 443, 443},
		{"example.com.:443", RULE_NAME, "example.com", 0, 443, 443},
		{"example.com:1-65535", RULE_NAME, "example.com", 0, 1, 65535},
		{"example.com:8000-8999", RULE_NAME, "example.com", 0, 8000, 8999},
		{"example.com:80-80", RULE_NAME, "example.com", 0, 80, 80},
		{"localhost:3000", RULE_NAME, "localhost", 0, 3000, 3000},
		{"*.Example.com.", RULE_BELOW, "example.com", 0, 0, 65535},
		{"*.com:443", RULE_BELOW, "com", 0, 443, 443},
		{"192.0.2.1", RULE_RANGE, "192.0.2.1", 128, 0, 65535},
		{"192.0.2.1:443", RULE_RANGE, "192.0.2.1", 128, 443, 443},
		{"192.0.2.0/24", RULE_RANGE, "192.0.2.0", 120, 0, 65535},
		{"192.0.2.0/24:80-90", RULE_RANGE, "192.0.2.0", 120, 80, 90},
		{"[2001:DB8::1]", RULE_RANGE, "2001:db8::1", 128, 0, 65535},
		{"[2001:db8::1]:443", RULE_RANGE, "2001:db8::1", 128, 443, 443},
		{"[2001:db8::/32]", RULE_RANGE, "2001:db8::", 32, 0, 65535},
		{"[2001:db8::/32]:1-9", RULE_RANGE, "2001:db8::", 32, 1, 9},
		{"[::ffff:192.0.2.1]:443", RULE_RANGE, "192.0.2.1", 128, 443, 443},
		{"2001:db8::1", RULE_RANGE, "2001:db8::1", 128, 0, 65535},
		{"2001:db8::/32", RULE_RANGE, "2001:db8::", 32, 0, 65535},
		{"2001:db8::1:abcd", RULE_RANGE, "2001:db8::1:abcd", 128, 0, 65535},
		{"1:2:3:4:5:6:7:8", RULE_RANGE, "1:2:3:4:5:6:7:8", 128, 0, 65535},
		{"::1", RULE_RANGE, "::1", 128, 0, 65535},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct rules r = parse(&cases[i].text, 1);
		const struct rule *rule = &r.items[0];

		print_message("# %s\n", cases[i].text);
		assert_int_equal(r.count, 1);
		assert_int_equal(rule->kind, cases[i].kind);
		assert_string_equal(rule->text, cases[i].text);
		assert_int_equal(rule->port_min, cases[i].port_min);
		assert_int_equal(rule->port_max, cases[i].port_max);
		if (rule->kind == RULE_NAME || rule->kind == RULE_BELOW)
			assert_string_equal(rule->name, cases[i].name);
		else
			assert_null(rule->name);
		if (rule->kind == RULE_RANGE) {
			char text[ADDRESS_TEXT_SIZE];

			address_format(&rule->range.base, text);
			assert_string_equal(text, cases[i].name);
			assert_int_equal(rule->range.bits, cases[i].bits);
		}
		rules_done(&r);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		const char *hint; /* part of the sentence */
	} cases[] = {
		{"", "is empty"},
		{"*.*", "*.example.com"},
		{"*foo.com", "*.example.com"},
		{"foo.*", "*.example.com"},
		{"a.*.com", "*.example.com"},
		{"**", "*.example.com"},
		{"*.", "*.example.com"},
		{"*.*.example.com", "*.example.com"},
		{"*.192.0.2.1", "ends in a number"},
		{"foo..com", "empty label"},
		{".foo.com", "empty label"},
		{"*..foo.com", "empty label"},
		{"foo.com..", "empty label"},
		{"user@example.com", "user name"},
		{"https://example.com", "has a scheme"},
		{"example.com/", "has a path"},
		{"example.com/path", "has a path"},
		{"example.com:443/path", "has a path"},
		{"example.com/path:443", "has a path"},
		{"example.com?q", "has a query"},
		{"b\xc3\xbc"
		 "cher.example",
			"punycode"},
		{"exa mple.com", "blank"},
		{"example.com\n", "blank or a control"},
		{"a.com,b.com", "comma"},
		{"example.com:", "1 to 65535"},
		{"example.com:0", "1 to 65535"},
		{"example.com:0-9", "1 to 65535"},
		{"example.com:00443", "1 to 65535"},
		{"example.com:65536", "1 to 65535"},
		{"example.com:4294967739", "1 to 65535"},
		{"example.com:https", "1 to 65535"},
		{"example.com:*", "1 to 65535"},
		{"example.com:-9", "1 to 65535"},
		{"example.com:9-", "1 to 65535"},
		{"example.com:1-2-3", "1 to 65535"},
		{"example.com:+1", "1 to 65535"},
		{"example.com:9-1", "backwards"},
		{"example.com:80:443", "more than one colon"},
		{":443", "has no host"},
		{"[192.0.2.1]", "brackets around an IPv4 address"},
		{"[192.0.2.1]:80", "brackets around an IPv4 address"},
		{"[192.0.2.0/24]", "brackets around an IPv4 address"},
		{"[example.com]", "only that needs them"},
		{"[]", "only that needs them"},
		{"[2001:db8::1", "no closing bracket"},
		{"[2001:db8::g]", "is no IPv6 address"},
		{"[fe80::1%eth0]", "zones"},
		{"[2001:db8::]/32", "inside, as in [2001:db8::/32]"},
		{"[2001:db8::1]443", "behind the bracket"},
		{"[2001:db8::1]:", "1 to 65535"},
		{"[2001:db8::1/32]", "must be 0 behind the prefix"},
		{"2001:db8::1:443", "[2001:db8::1]:443"},
		{"2001:db8::1:8000-8999", "[2001:db8::1]:443"},
		{"1:2:3:4:5:6:7:8:443", "[2001:db8::1]:443"},
		{"2001:db8::/32:443", "[2001:db8::1]:443"},
		{"::ffff:192.0.2.1:443", "[2001:db8::1]:443"},
		{"1::2::3", "is no IPv6 address"},
		{"192.0.2.1/24", "must be 0 behind the prefix"},
		{"192.0.2.0/33", "is no range"},
		{"192.0.2.0/", "is no range"},
		{"192.0.2", "ends in a number"},
		{"192.0.2.01", "ends in a number"},
		{"192.0.2.1.", "ends in a number"},
		{"0x7f000001", "ends in a number"},
		{"2130706433", "ends in a number"},
		{"exa$mple.com", "letters, digits"},
		{"*.exa$mple.com", "letters, digits"},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		const char *texts[] = {"example.com", cases[i].text};
		struct rules r = {0};
		struct error err = {0};

		print_message("# %s\n", cases[i].text);
		assert_int_equal(rules_parse(texts, 2, "allowNet", &r, &err), -EINVAL);
		print_message("# -> %s\n", err.message);
		assert_null(r.items);
		assert_string_equal(err.field, "allowNet");
		assert_non_null(strstr(err.message, "allowNet: rule 2, \""));
		assert_non_null(strstr(err.message, cases[i].hint));
		for (const char *p = err.message; *p; p++)
			assert_true(*p >= 0x20 && *p < 0x7f);
	}
}

static void test_limits(void **state)
{
	static const char *texts[RULES_MAX + 1];
	char text[RULE_TEXT_MAX + 2];
	const char *one = text;
	struct rules r = {0};
	struct error err = {0};

	for (size_t i = 0; i < array_len(texts); i++)
		texts[i] = "example.com";
	assert_int_equal(rules_parse(texts, RULES_MAX + 1, "allowNet", &r, &err), -E2BIG);
	assert_int_equal(rules_parse(texts, RULES_MAX + 1, "allowNet", &r, NULL), -E2BIG);
	assert_null(r.items);
	assert_int_equal(rules_parse(texts, RULES_MAX, "allowNet", &r, &err), 0);
	assert_int_equal(r.count, RULES_MAX);
	rules_done(&r);
	assert_int_equal(r.count, 0);
	memset(text, 'a', RULE_TEXT_MAX + 1);
	text[RULE_TEXT_MAX + 1] = '\0';
	assert_int_equal(rules_parse(&one, 1, "allowNet", &r, &err), -EINVAL);
	assert_non_null(strstr(err.message, "longer than 300"));
	text[RULE_TEXT_MAX] = '\0';
	assert_int_equal(rules_parse(&one, 1, "allowNet", &r, &err), -EINVAL);
	assert_non_null(strstr(err.message, "253"));
}

/* --- matches ---------------------------------------------------------------------------------- */

static void test_match_name(void **state)
{
	static const char *const texts[] = {"example.com:443", "*.example.com", "db.example:5432",
		"db.example:8000-8999", "192.0.2.1", "0.0.0.0/0"};
	static const struct {
		const char *name;
		unsigned port;
		int rule; /* -1: none */
		bool known;
	} cases[] = {
		{"example.com", 443, 0, true},
		{"example.com", 442, -1, true},
		{"example.com", 444, -1, true},
		{"www.example.com", 80, 1, true},
		{"a.b.example.com", 1, 1, true},
		{"evilexample.com", 443, -1, false},
		{"example.com.evil", 443, -1, false},
		{"com", 443, -1, false},
		{".example.com", 443, -1, false},
		{"db.example", 5432, 2, true},
		{"db.example", 7999, -1, true},
		{"db.example", 8000, 3, true},
		{"db.example", 8999, 3, true},
		{"db.example", 9000, -1, true},
		/* A rule for an address is not one for a name. */
		{"192.0.2.1", 443, -1, false},
	};
	struct rules r = parse(texts, array_len(texts));

	for (size_t i = 0; i < array_len(cases); i++) {
		const struct rule *rule =
			rules_match_name(&r, cases[i].name, (uint16_t)cases[i].port);

		print_message("# %s %u\n", cases[i].name, cases[i].port);
		if (cases[i].rule < 0)
			assert_null(rule);
		else
			assert_ptr_equal(rule, &r.items[cases[i].rule]);
		assert_int_equal(rules_know_name(&r, cases[i].name), cases[i].known);
	}
	rules_done(&r);
}

static void test_match_address(void **state)
{
	static const char *const texts[] = {"example.com", "192.0.2.1:443", "192.0.2.0/24:80",
		"[2001:db8::/32]", "[::ffff:203.0.113.1]"};
	static const struct {
		const char *address;
		uint16_t port;
		int rule;
	} cases[] = {
		{"192.0.2.1", 443, 1},
		{"::ffff:192.0.2.1", 443, 1},
		{"192.0.2.1", 80, 2},
		{"192.0.2.1", 8080, -1},
		{"192.0.2.255", 80, 2},
		{"192.0.3.0", 80, -1},
		{"::192.0.2.1", 443, -1},
		{"2001:db8:1::1", 1, 3},
		{"2001:db9::1", 1, -1},
		{"203.0.113.1", 22, 4},
	};
	struct rules r = parse(texts, array_len(texts));

	for (size_t i = 0; i < array_len(cases); i++) {
		struct address a;
		const struct rule *rule;

		print_message("# %s %u\n", cases[i].address, cases[i].port);
		assert_int_equal(address_parse(cases[i].address, strlen(cases[i].address), &a), 0);
		rule = rules_match_address(&r, &a, cases[i].port);
		if (cases[i].rule < 0)
			assert_null(rule);
		else
			assert_ptr_equal(rule, &r.items[cases[i].rule]);
	}
	rules_done(&r);
}

static void test_all_and_nothing(void **state)
{
	static const char *const all[] = {"*"};
	static const char *const https[] = {"*:443"};
	struct rules nothing = {0};
	struct rules r = parse(all, 1);
	struct address a;

	assert_int_equal(address_parse("192.0.2.1", 9, &a), 0);
	assert_ptr_equal(rules_match_name(&r, "example.com", 1), &r.items[0]);
	assert_ptr_equal(rules_match_address(&r, &a, 65535), &r.items[0]);
	assert_true(rules_know_name(&r, "example.com"));
	rules_done(&r);
	r = parse(https, 1);
	assert_non_null(rules_match_name(&r, "example.com", 443));
	assert_null(rules_match_name(&r, "example.com", 80));
	assert_null(rules_match_address(&r, &a, 80));
	rules_done(&r);
	assert_null(rules_match_name(&nothing, "example.com", 443));
	assert_null(rules_match_address(&nothing, &a, 443));
	assert_false(rules_know_name(&nothing, "example.com"));
	rules_done(&nothing);
	r = parse(NULL, 0);
	assert_int_equal(r.count, 0);
	assert_null(rules_match_name(&r, "example.com", 443));
	rules_done(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_name_lengths),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_match_name),
		cmocka_unit_test(test_match_address),
		cmocka_unit_test(test_all_and_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
