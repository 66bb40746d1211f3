#include "policy/refused.h"

#include <assert.h>
#include <string.h>

/* Single addresses before the ranges that they lie in. */
const struct refused_range refused_ranges[] = {
	/* Nobody, or everybody. Linux takes a connection to 0.0.0.0 or :: for one to itself. */
	{"0.0.0.0", "unspecified address", true},
	{"::", "unspecified address", true},
	{"255.255.255.255", "broadcast", true},
	{"224.0.0.0/4", "multicast", true},
	{"ff00::/8", "multicast", true},
	/* Services of clouds that hand the host's credentials to whoever asks. */
	{"169.254.169.254", "metadata service of the cloud", false},
	{"fd00:ec2::254", "metadata service of the cloud", false},
	{"fd20:ce::254", "metadata service of the cloud", false},
	{"100.100.100.200", "metadata service of the cloud", false},
	{"168.63.129.16", "metadata service of the cloud", false},
	/* This host. */
	{"127.0.0.0/8", "loopback", false},
	{"::1", "loopback", false},
	{"0.0.0.0/8", "this network", false},
	/* Its networks. */
	{"10.0.0.0/8", "private network", false},
	{"172.16.0.0/12", "private network", false},
	{"192.168.0.0/16", "private network", false},
	{"fc00::/7", "private network", false},
	{"100.64.0.0/10", "shared address space", false},
	{"169.254.0.0/16", "link-local", false},
	{"fe80::/10", "link-local", false},
	{"fec0::/10", "site-local", false},
	/* Addresses that hide an IPv4 address, which a relay would take out again. */
	{"192.88.99.0/24", "6to4 relay", false},
	{"2002::/16", "6to4", false},
	{"2001::/32", "Teredo", false},
	{"64:ff9b::/96", "NAT64", false},
	{"64:ff9b:1::/48", "NAT64", false},
	{"::/96", "IPv4-compatible address", false},
	{"::ffff:0:0:0/96", "IPv4-translated address", false},
	/* No hosts. Addresses of 198.18.0.0/15 stand for names inside of a sandbox. */
	{"192.0.0.0/24", "protocol assignments", false},
	{"198.18.0.0/15", "benchmarking", false},
	{"2001:2::/48", "benchmarking", false},
	{"240.0.0.0/4", "reserved", false},
	{"100::/64", "discard only", false},
	{"2001:10::/28", "ORCHID", false},
	{"2001:20::/28", "ORCHID", false},
	{NULL, NULL, false},
};

/* Reads the text each time: some microseconds for a connection, and no state. */
static bool row_has(const struct refused_range *row, const struct address *a)
{
	struct address_range range;
	int r = address_range_parse(row->range, strlen(row->range), &range);

	assert(r == 0);
	return r < 0 || address_range_has(&range, a);
}

const char *refused_address(
	const struct address *a, const struct address_range *opened, size_t opened_count)
{
	const struct refused_range *row = refused_ranges;

	while (row->range && !row_has(row, a))
		row++;
	if (!row->range || row->always)
		return row->why;
	for (size_t i = 0; i < opened_count; i++) {
		if (address_range_has(&opened[i], a))
			return NULL;
	}
	return row->why;
}
