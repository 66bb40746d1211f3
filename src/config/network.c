/* Values about the network of sandboxes: ranges and proxies. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "config/config_priv.h"
#include "policy/address.h"

#define PROXY_MAX 1000
#define HOST_MAX 253

int config_check_egress_default(struct config *c, const char *text, struct error *ret_err)
{
	bool allow = strcmp(text, "allow") == 0;

	if (!allow && strcmp(text, "deny") != 0)
		return error_set(ret_err, -EINVAL, "", "must be one of deny|allow");
	c->egress_allow = allow;
	return 0;
}

int config_check_private(struct config *c, const char *text, struct error *ret_err)
{
	unsigned count = 0;

	(void)c;
	for (const char *p = text; *text != '\0'; p++) {
		size_t len = strcspn(p, ",");
		struct address_range range;

		if (address_range_parse(p, len, &range) < 0)
			return error_set(ret_err, -EINVAL, "",
				"'%.*s' is no range of addresses; want a list such as "
				"10.1.0.0/16,fd00:1::/32, with 0 behind the prefix",
				(int)(len > 60 ? 60 : len), p);
		if (++count > CONFIG_PRIVATE_RANGES_MAX)
			return error_set(ret_err, -EINVAL, "", "more than %d ranges",
				CONFIG_PRIVATE_RANGES_MAX);
		p += len;
		if (*p == '\0')
			break;
	}
	return 0;
}

/* --- proxies ----------------------------------------------------------------------------- */

static bool is_port(const char *text)
{
	size_t len = strspn(text, "0123456789");
	unsigned long port = len > 0 && len <= 5 ? strtoul(text, NULL, 10) : 0;

	return text[len] == '\0' && port > 0 && port <= 65535;
}

/* "host:port" without anything behind it. */
static bool is_authority(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct address address;
	size_t len;

	if (colon == NULL || !is_port(colon + 1))
		return false;
	len = (size_t)(colon - text);
	if (len > 2 && text[0] == '[' && colon[-1] == ']')
		return address_parse(text + 1, len - 2, &address) == 0 && !address_is_v4(&address);
	return len > 0 && len <= HOST_MAX &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
		       len;
}

/* The messages leave the text out: it may hold a password. */
int config_check_proxy(struct config *c, const char *text, struct error *ret_err)
{
	const char *rest;
	const char *at;

	(void)c;
	if (*text == '\0')
		return 0;
	if (strncmp(text, "http://", 7) != 0)
		return error_set(ret_err, -EINVAL, "",
			"must be http://[user:password@]host:port; other kinds of proxies are not "
			"supported");
	if (strlen(text) > PROXY_MAX)
		return error_set(ret_err, -EINVAL, "", "is longer than %d bytes", PROXY_MAX);
	rest = text + 7;
	at = strrchr(rest, '@');
	if (at != NULL) {
		if (at == rest || strcspn(rest, "@/?#\\ ") != (size_t)(at - rest))
			return error_set(ret_err, -EINVAL, "",
				"has a user or password with a character that must be written in "
				"percent form (@ is %%40)");
		rest = at + 1;
	}
	if (!is_authority(rest))
		return error_set(ret_err, -EINVAL, "",
			"must end in host:port, a name or an address and a number from 1 to 65535");
	return 0;
}

int config_check_no_proxy(struct config *c, const char *text, struct error *ret_err)
{
	(void)c;
	if (strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			 "-_.:*,/[] ") != strlen(text))
		return error_set(ret_err, -EINVAL, "",
			"must be names, addresses and ranges, separated by commas");
	return 0;
}

void config_write_proxy(const char *url, FILE *out)
{
	const char *at = strrchr(url, '@');
	const char *user = strstr(url, "://");
	const char *colon = user != NULL ? strchr(user + 3, ':') : NULL;

	if (at != NULL && colon != NULL && colon < at)
		fprintf(out, "%.*s:***%s", (int)(colon - url), url, at);
	else
		fputs(url, out);
}
