#include "gate/net/proxy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"
#include "wire/base64.h"
#include "wire/http1.h"

#define SCHEME "http://"

static void proxy_free(struct proxy *p)
{
	if (p == NULL)
		return;
	if (p->authorization != NULL)
		mem_wipe(p->authorization, strlen(p->authorization));
	free(p->authorization);
	free(p->host);
	free(p);
}

static int set_authorization(struct proxy *p, const char *userinfo, size_t len)
{
	struct http1_view view = {userinfo, len};
	char *plain = NULL;
	int r = http1_percent_decode(&view, false, &plain);

	if (r < 0)
		return r;
	size_t n = strlen(plain);
	char *text = mem_zalloc(sizeof("Basic ") + (n + 2) / 3 * 4 + 4);
	memcpy(text, "Basic ", 6);
	(void)base64_encode(text + 6, (const uint8_t *)plain, n);
	mem_wipe(plain, n);
	free(plain);
	p->authorization = text;
	return 0;
}

static int set_host(struct proxy *p, const char *host, size_t len)
{
	char name[HOST_NAME_SIZE];

	if (len > 2 && host[0] == '[' && host[len - 1] == ']')
		return address_parse(host + 1, len - 2, &p->address);
	if (address_parse(host, len, &p->address) == 0)
		return 0;
	if (host_name_normalise(host, len, name) < 0)
		return -EINVAL;
	p->host = mem_strdup(name);
	return 0;
}

static int set_port(struct proxy *p, const char *text, size_t len)
{
	unsigned port = 0;

	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	if (port == 0 || port > 65535)
		return -EINVAL;
	p->port = (uint16_t)port;
	return 0;
}

static int fill(struct proxy *p, const char *text)
{
	const char *rest = text;
	const char *at, *colon;
	size_t len;
	int r = 0;

	if (strncasecmp(rest, SCHEME, strlen(SCHEME)) == 0)
		rest += strlen(SCHEME);
	else if (strstr(rest, "://") != NULL)
		return -EINVAL;
	len = strcspn(rest, "/");
	if (rest[len] != '\0' && rest[len + 1] != '\0')
		return -EINVAL;
	at = memrchr(rest, '@', len);
	if (at != NULL) {
		r = set_authorization(p, rest, (size_t)(at - rest));
		len -= (size_t)(at + 1 - rest);
		rest = at + 1;
	}
	colon = memrchr(rest, ':', len);
	if (colon == NULL)
		return -EINVAL;
	if (r == 0)
		r = set_port(p, colon + 1, len - (size_t)(colon + 1 - rest));
	return r < 0 ? r : set_host(p, rest, (size_t)(colon - rest));
}

static int parse(struct proxy **ret, const char *text, const char *what, struct error *ret_err)
{
	struct proxy *p;
	int r;

	if (text == NULL || text[0] == '\0')
		return 0;
	p = mem_new(struct proxy);
	r = fill(p, text);
	if (r < 0) {
		proxy_free(p);
		return error_set_field(ret_err, r, "MALFORMED_REQUEST", what,
			"%s: expected http://[user:password@]host:port", what);
	}
	*ret = p;
	return 0;
}

int proxies_parse(struct proxies *p, const char *http, const char *https, const char *no_proxy,
	struct error *ret_err)
{
	int r;

	*p = (struct proxies){0};
	r = parse(&p->http, http, "http_proxy", ret_err);
	if (r == 0)
		r = parse(&p->https, https, "https_proxy", ret_err);
	if (r < 0) {
		proxies_done(p);
		return r;
	}
	p->no_proxy = mem_strdup(no_proxy);
	return 0;
}

void proxies_done(struct proxies *p)
{
	proxy_free(p->http);
	proxy_free(p->https);
	free(p->no_proxy);
	*p = (struct proxies){0};
}

/* --- choice --------------------------------------------------------------------------------- */

/* "example.com" and ".example.com" stand for the name and those below it. */
static bool covers(const char *item, size_t len, const char *name)
{
	size_t n = strlen(name);

	if (len == 1 && item[0] == '*')
		return true;
	while (len > 0 && (item[0] == '.' || item[0] == '*')) {
		item++;
		len--;
	}
	if (len == 0 || len > n || strncasecmp(name + n - len, item, len) != 0)
		return false;
	return len == n || name[n - len - 1] == '.';
}

static bool is_exempt(const struct proxies *p, const char *name)
{
	const char *text = p->no_proxy;

	while (text != NULL && *text != '\0') {
		size_t skip = strspn(text, ", \t");
		size_t len = strcspn(text + skip, ", \t");
		const char *item = text + skip;
		const char *colon = memchr(item, ':', len); /* a port: taken for all ports */

		if (covers(item, colon != NULL ? (size_t)(colon - item) : len, name))
			return true;
		text = item + len;
	}
	return strcmp(name, "localhost") == 0;
}

const struct proxy *proxies_for(const struct proxies *p, const char *name, bool https)
{
	const struct proxy *proxy = https ? p->https : p->http;

	return proxy == NULL || is_exempt(p, name) ? NULL : proxy;
}
