#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"
#include "policy/address.h"

static struct address address(const char *text)
{
	struct address a;

	if (address_parse(text, strlen(text), &a) != 0)
		fail_msg("%s is refused", text);
	return a;
}

static void test_spellings(void **state)
{
	static const struct {
		const char *text;
		const char *canonical; /* NULL: refused */
	} cases[] = {
		{"192.0.2.1", "192.0.2.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"::ffff:c000:201", "192.0.2.1"},
		{"0:0:0:0:0:FFFF:192.0.2.1", "192.0.2.1"},
		{"2001:DB8::1", "2001:db8::1"},
		{"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
		{"::", "::"},
		{"::1", "::1"},
		{"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
		{"", NULL},
		{"192.0.2", NULL},
		{"192.0.2.1.1", NULL},
		{"192.0.2.01", NULL},
		{"192.0.2.256", NULL},
		{"192.0.2.-1", NULL},
		{"192.0.2.1 ", NULL},
		{" 192.0.2.1", NULL},
		{"0xc0.0.2.1", NULL},
		{"3221225985", NULL},
		{"[::1]", NULL},
		{"fe80::1%eth0", NULL},
		{":::", NULL},
		{"1::2::3", NULL},
		{"1:2:3:4:5:6:7", NULL},
		{"1:2:3:4:5:6:7:8:9", NULL},
		{"1:2:3:4::5:6:7:8", NULL},
		{"12345::", NULL},
		{"::ffff:192.0.2.01", NULL},
		{"example.com", NULL},
		{"0000:0000:0000:0000:0000:ffff:255.255.255.2555", NULL},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct address a;
		char text[ADDRESS_TEXT_SIZE];
		int r = address_parse(cases[i].text, strlen(cases[i].text), &a);

		print_message("# %s\n", cases[i].text);
		assert_int_equal(r, cases[i].canonical ? 0 : -EINVAL);
		if (r < 0)
			continue;
		address_format(&a, text);
		assert_string_equal(text, cases[i].canonical);
	}
}

/* len decides, not a NUL; and a NUL is no part of an address. */
static void test_text_end(void **state)
{
	struct address a;
	struct address wanted = address("192.0.2.1");

	assert_int_equal(address_parse("192.0.2.123", 9, &a), 0);
	assert_true(address_equal(&a, &wanted));
	assert_int_equal(address_parse("192.0.2.1\0x", 11, &a), -EINVAL);
	assert_int_equal(address_parse("192.0.2.1", 10, &a), -EINVAL);
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = {"192.0.2.1", "2001:db8::1", "::"};

	for (size_t i = 0; i < array_len(texts); i++) {
		struct address a = address(texts[i]);
		struct address back;
		struct sockaddr_storage sa;
		uint16_t port;
		socklen_t len = address_to_sockaddr(&a, 443, &sa);

		assert_int_equal(sa.ss_family, i == 0 ? AF_INET : AF_INET6);
		assert_int_equal(
			len, i == 0 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		assert_int_equal(address_from_sockaddr((struct sockaddr *)&sa, &back, &port), 0);
		assert_true(address_equal(&a, &back));
		assert_int_equal(port, 443);
	}
}

/* A socket for both families shows IPv4 peers in the notation of IPv6. */
static void test_mapped_sockaddr(void **state)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct address wanted = address("192.0.2.1");
	struct address a;
	uint16_t port;

	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &in6.sin6_addr), 1);
	assert_int_equal(address_from_sockaddr((struct sockaddr *)&in6, &a, &port), 0);
	assert_true(address_is_v4(&a));
	assert_true(address_equal(&a, &wanted));
	assert_int_equal(address_from_sockaddr((struct sockaddr *)&un, &a, &port), -EAFNOSUPPORT);
}

static void test_range_texts(void **state)
{
	static const struct {
		const char *text;
		int bits; /* -1: refused */
	} cases[] = {
		{"10.0.0.0/8", 104},
		{"0.0.0.0/0", 96},
		{"192.0.2.1/32", 128},
		{"192.0.2.1", 128},
		{"2001:db8::/32", 32},
		{"::/0", 0},
		{"2001:db8::1/128", 128},
		{"2001:db8::1", 128},
		{"::ffff:10.0.0.0/104", 104},
		{"172.16.0.0/12", 108},
		{"192.0.2.1/31", -1},
		{"192.0.2.1/24", -1},
		{"128.0.0.0/0", -1},
		{"2001:db8::1/127", -1},
		{"::ffff:10.0.0.0/8", -1},
		{"10.0.0.0/33", -1},
		{"::/129", -1},
		{"10.0.0.0/", -1},
		{"10.0.0.0/08", -1},
		{"10.0.0.0/ 8", -1},
		{"10.0.0.0/+8", -1},
		{"10.0.0.0/8/8", -1},
		{"10.0.0.0/0000000000000000000000000000000000008", -1},
		{"10.0.0.0/4294967304", -1},
		{"/8", -1},
		{"10/8", -1},
		{"", -1},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct address_range range;
		int r = address_range_parse(cases[i].text, strlen(cases[i].text), &range);

		print_message("# %s\n", cases[i].text);
		assert_int_equal(r, cases[i].bits < 0 ? -EINVAL : 0);
		if (r == 0)
			assert_int_equal(range.bits, cases[i].bits);
	}
}

static void test_range_has(void **state)
{
	static const struct {
		const char *range;
		const char *address;
		bool has;
	} cases[] = {
		{"10.0.0.0/8", "10.0.0.0", true},
		{"10.0.0.0/8", "10.255.255.255", true},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.0.0.0/8", "9.255.255.255", false},
		{"10.0.0.0/8", "::10.1.2.3", false},
		{"172.16.0.0/12", "172.31.255.255", true},
		{"172.16.0.0/12", "172.32.0.0", false},
		{"172.16.0.0/12", "172.15.255.255", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.0", false},
		{"0.0.0.0/0", "203.0.113.9", true},
		{"0.0.0.0/0", "::1", false},
		{"2001:db8::/33", "2001:db8:7fff::1", true},
		{"2001:db8::/33", "2001:db8:8000::", false},
		/* All of IPv6 is not all of IPv4 as well, although the 128 bits would fit. */
		{"::/0", "2001:db8::1", true},
		{"::/0", "192.0.2.1", false},
		{"::/80", "::1", true},
		{"::/80", "192.0.2.1", false},
		{"::ffff:0:0/96", "192.0.2.1", true},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct address_range range;
		struct address a = address(cases[i].address);

		print_message("# %s %s\n", cases[i].range, cases[i].address);
		assert_int_equal(
			address_range_parse(cases[i].range, strlen(cases[i].range), &range), 0);
		assert_int_equal(address_range_has(&range, &a), cases[i].has);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_text_end),
		cmocka_unit_test(test_sockaddr),
		cmocka_unit_test(test_mapped_sockaddr),
		cmocka_unit_test(test_range_texts),
		cmocka_unit_test(test_range_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
