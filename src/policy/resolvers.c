#include "policy/resolvers.h"

#include <string.h>

#include "base/mem.h"

static const char *const names[] = {
	"adguard-dns.com",
	"chrome.cloudflare-dns.com",
	"cloudflare-dns.com",
	"dns.adguard.com",
	"dns.alidns.com",
	"dns.google",
	"dns.google.com",
	"dns.mullvad.net",
	"dns.nextdns.io",
	"dns.quad9.net",
	"dns.sb",
	"doh.cleanbrowsing.org",
	"doh.dns.sb",
	"doh.opendns.com",
	"doh.pub",
	"doh.xfinity.com",
	"freedns.controld.com",
	"mozilla.cloudflare-dns.com",
	"one.one.one.one",
};

static const char *const addresses[] = {
	"1.0.0.1",
	"1.1.1.1",
	"8.8.4.4",
	"8.8.8.8",
	"9.9.9.9",
	"94.140.14.14",
	"149.112.112.112",
	"208.67.220.220",
	"208.67.222.222",
	"2001:4860:4860::8844",
	"2001:4860:4860::8888",
	"2606:4700:4700::1001",
	"2606:4700:4700::1111",
	"2620:fe::fe",
};

bool resolvers_has_name(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < array_len(names); i++) {
		size_t n = strlen(names[i]);

		if (len >= n && strcmp(name + len - n, names[i]) == 0 &&
			(len == n || name[len - n - 1] == '.'))
			return true;
	}
	return false;
}

bool resolvers_has_address(const struct address *a)
{
	for (size_t i = 0; i < array_len(addresses); i++) {
		struct address one;

		if (address_parse(addresses[i], strlen(addresses[i]), &one) == 0 &&
			address_equal(&one, a))
			return true;
	}
	return false;
}

bool resolvers_port(uint16_t port)
{
	return port == 443 || port == 853;
}
