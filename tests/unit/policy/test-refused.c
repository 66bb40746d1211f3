#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "policy/refused.h"

static const char *why(const char *text, const struct address_range *opened, size_t count)
{
	struct address a;

	if (address_parse(text, strlen(text), &a) != 0)
		fail_msg("%s is no address", text);
	return refused_address(&a, opened, count);
}

/* The first and the last address of each range, and its neighbours. */
static const struct {
	const char *address;
	const char *why; /* NULL: not refused */
} edges[] = {
	{"0.0.0.0", "unspecified address"},
	{"0.0.0.1", "this network"},
	{"0.255.255.255", "this network"},
	{"1.0.0.0", NULL},
	{"9.255.255.255", NULL},
	{"10.0.0.0", "private network"},
	{"10.255.255.255", "private network"},
	{"11.0.0.0", NULL},
	{"100.63.255.255", NULL},
	{"100.64.0.0", "shared address space"},
	{"100.127.255.255", "shared address space"},
	{"100.128.0.0", NULL},
	{"100.100.100.200", "metadata service of the cloud"},
	{"126.255.255.255", NULL},
	{"127.0.0.0", "loopback"},
	{"127.255.255.255", "loopback"},
	{"128.0.0.0", NULL},
	{"168.63.129.15", NULL},
	{"168.63.129.16", "metadata service of the cloud"},
	{"169.253.255.255", NULL},
	{"169.254.0.0", "link-local"},
	{"169.254.169.253", "link-local"},
	{"169.254.169.254", "metadata service of the cloud"},
	{"169.254.255.255", "link-local"},
	{"169.255.0.0", NULL},
	{"172.15.255.255", NULL},
	{"172.16.0.0", "private network"},
	{"172.31.255.255", "private network"},
	{"172.32.0.0", NULL},
	{"192.0.0.0", "protocol assignments"},
	{"192.0.0.255", "protocol assignments"},
	{"192.0.1.0", NULL},
	{"192.88.98.255", NULL},
	{"192.88.99.0", "6to4 relay"},
	{"192.88.99.255", "6to4 relay"},
	{"192.88.100.0", NULL},
	{"192.167.255.255", NULL},
	{"192.168.0.0", "private network"},
	{"192.168.255.255", "private network"},
	{"192.169.0.0", NULL},
	{"198.17.255.255", NULL},
	{"198.18.0.0", "benchmarking"},
	{"198.19.255.255", "benchmarking"},
	{"198.20.0.0", NULL},
	{"223.255.255.255", NULL},
	{"224.0.0.0", "multicast"},
	{"239.255.255.255", "multicast"},
	{"240.0.0.0", "reserved"},
	{"255.255.255.254", "reserved"},
	{"255.255.255.255", "broadcast"},
	{"::", "unspecified address"},
	{"::1", "loopback"},
	{"::2", "IPv4-compatible address"},
	{"::127.0.0.1", "IPv4-compatible address"},
	{"::1:0:0", NULL},
	{"::ffff:0:127.0.0.1", "IPv4-translated address"},
	{"64:ff9a:ffff::", NULL},
	{"64:ff9b::7f00:1", "NAT64"},
	{"64:ff9b::1:0:0", NULL},
	{"64:ff9b:1::", "NAT64"},
	{"64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "NAT64"},
	{"64:ff9b:2::", NULL},
	{"100::", "discard only"},
	{"100::ffff:ffff:ffff:ffff", "discard only"},
	{"100:0:0:1::", NULL},
	{"2001::", "Teredo"},
	{"2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"},
	{"2001:1::", NULL},
	{"2001:2::1", "benchmarking"},
	{"2001:2:1::", NULL},
	{"2001:f:ffff::", NULL},
	{"2001:10::", "ORCHID"},
	{"2001:2f:ffff::", "ORCHID"},
	{"2001:30::", NULL},
	{"2001:ffff::", NULL},
	{"2002::", "6to4"},
	{"2002:7f00:1::", "6to4"},
	{"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"},
	{"2003::", NULL},
	{"fbff::", NULL},
	{"fc00::", "private network"},
	{"fd00:ec2::253", "private network"},
	{"fd00:ec2::254", "metadata service of the cloud"},
	{"fdff::", "private network"},
	{"fe00::", NULL},
	{"fe7f::", NULL},
	{"fe80::", "link-local"},
	{"febf::", "link-local"},
	{"fec0::", "site-local"},
	{"feff::", "site-local"},
	{"ff00::", "multicast"},
	{"ff02::1", "multicast"},
	{"ffff::", "multicast"},
	/* The other notation of the same addresses. */
	{"::ffff:10.0.0.1", "private network"},
	{"::ffff:7f00:1", "loopback"},
	{"::ffff:8.8.8.8", NULL},
	/* For documentation, and for mirrors in closed networks. */
	{"192.0.2.1", NULL},
	{"198.51.100.1", NULL},
	{"203.0.113.1", NULL},
	{"2001:db8::1", NULL},
	{"3fff::1", NULL},
};

static void test_edges(void **state)
{
	for (size_t i = 0; i < array_len(edges); i++) {
		const char *got = why(edges[i].address, NULL, 0);

		print_message("# %s\n", edges[i].address);
		if (edges[i].why) {
			assert_non_null(got);
			assert_string_equal(got, edges[i].why);
		} else {
			assert_null(got);
		}
	}
}

static void test_opened(void **state)
{
	static const char *const texts[] = {"10.1.0.0/16", "127.0.0.1", "169.254.169.254",
		"fd00:1::/32", "0.0.0.0/8", "224.0.0.0/3", "::/64", "ff00::/8"};
	static const struct {
		const char *address;
		bool refused;
	} cases[] = {
		{"10.1.2.3", false},
		{"::ffff:10.1.2.3", false},
		{"10.2.0.0", true},
		{"127.0.0.1", false},
		{"127.0.0.2", true},
		{"169.254.169.254", false},
		{"169.254.169.253", true},
		{"fd00:1::5", false},
		{"fd00:2::5", true},
		{"0.1.2.3", false},
		{"240.0.0.1", false},
		{"::1", false},
		{"::2", false},
		{"192.168.1.1", true},
		/* Whatever is opened. */
		{"0.0.0.0", true},
		{"::", true},
		{"255.255.255.255", true},
		{"224.0.0.1", true},
		{"ff02::1", true},
		/* Opening an address does not open the addresses that hide it. */
		{"::ffff:0:10.1.2.3", false}, /* in ::/64 */
		{"64:ff9b::10.1.2.3", true},
		{"2002:a01:203::", true},
	};
	struct address_range opened[array_len(texts)];

	for (size_t i = 0; i < array_len(texts); i++)
		assert_int_equal(address_range_parse(texts[i], strlen(texts[i]), &opened[i]), 0);
	for (size_t i = 0; i < array_len(cases); i++) {
		print_message("# %s\n", cases[i].address);
		assert_int_equal(
			why(cases[i].address, opened, array_len(opened)) != NULL, cases[i].refused);
	}
}

/* The rows are texts: each must be one that is understood, and must be reached. */
static void test_rows(void **state)
{
	size_t count = 0;

	for (const struct refused_range *row = refused_ranges; row->range; row++, count++) {
		struct address_range range;
		const char *got;

		print_message("# %s\n", row->range);
		assert_int_equal(address_range_parse(row->range, strlen(row->range), &range), 0);
		range.base.bytes[15] |= range.bits < 128 ? 2 : 0;
		got = refused_address(&range.base, NULL, 0);
		assert_non_null(got);
		assert_string_equal(got, row->why);
	}
	assert_true(count > 30);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_opened),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
