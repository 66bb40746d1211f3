/*
 * Request heads. What the fields mean together (framing of the body, Host, Connection) is settled
 * when the empty line has been seen.
 */
#include "wire/http1.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "wire/http1_priv.h"

#define METHOD_MAX 32

/* --- lines ------------------------------------------------------------------------------------ */

/* METHOD SP target SP HTTP/d.d with exactly these two blanks. */
static struct verdict read_request_line(struct http1_view line, void *data)
{
	struct http1_request *req = data;
	const char *end = line.data + line.len;
	const char *first = memchr(line.data, ' ', line.len);
	const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
	struct verdict v;

	if (!second)
		return WRONG("request line is not 'METHOD target HTTP/1.1'");
	req->method = http1_view_between(line.data, first);
	req->target = http1_view_between(first + 1, second);
	if (req->method.len == 0 || req->method.len > METHOD_MAX ||
		!http1_view_all_of(req->method, HTTP1_TOKEN))
		return WRONG("method is not a token");
	v = http1_read_version(http1_view_between(second + 1, end), &req->minor);
	if (v.err)
		return v;
	if (!http1_view_all_of(req->target, HTTP1_TARGET))
		return WRONG("target holds a byte that must be percent-encoded");
	return FINE;
}

/* Takes "http://authority/path" apart: the target is left as "/path". */
static void split_absolute(struct http1_request *req)
{
	static const char *const schemes[] = {"http", "https"};
	const char *end = req->target.data + req->target.len;
	const char *colon = memchr(req->target.data, ':', req->target.len);
	const char *slash;

	if (!colon || end - colon < 3 || memcmp(colon, "://", 3) != 0)
		return;
	slash = memchr(colon + 3, '/', (size_t)(end - colon - 3));
	/* "http://host" and "http://host?query" have a path only by convention. */
	if (!slash || slash == colon + 3)
		return;
	req->scheme = http1_view_between(req->target.data, colon);
	for (size_t i = 0; i < array_len(schemes); i++) {
		if (!http1_view_caseeq(&req->scheme, schemes[i]))
			continue;
		req->authority = http1_view_between(colon + 3, slash);
		req->target = http1_view_between(slash, end);
	}
}

static struct verdict judge_target(struct http1_request *req, bool proxy)
{
	const char *end = req->target.data + req->target.len;
	const char *query;

	if (proxy && http1_view_eq(&req->method, "CONNECT"))
		req->authority = req->target;
	else if (proxy && req->target.len > 0 && req->target.data[0] != '/')
		split_absolute(req);
	if (req->authority.len > 0 && !http1_view_all_of(req->authority, HTTP1_HOST))
		return WRONG("target does not name a host");
	if (req->target.len == 0)
		return WRONG("target is empty");
	if (req->target.data[0] != '/' && req->target.data != req->authority.data &&
		!(http1_view_eq(&req->target, "*") && http1_view_eq(&req->method, "OPTIONS")))
		return WRONG("target does not start with '/'");
	query = memchr(req->target.data, '?', req->target.len);
	req->path = http1_view_between(req->target.data, query ? query : end);
	req->query = http1_view_between(query ? query + 1 : end, end);
	return FINE;
}

/* --- what the fields say ---------------------------------------------------------------------- */

static struct verdict judge_host(const struct http1_request *req)
{
	const struct http1_view *host = http1_header(req, "host");
	size_t count = http1_header_count(req, "host");

	if (count > 1)
		return WRONG("several Host headers");
	if (count == 0)
		return req->minor == 0 ? FINE : WRONG("no Host header");
	if (host->len == 0 || !http1_view_all_of(*host, HTTP1_HOST))
		return WRONG("Host is not a host name");
	return FINE;
}

static struct verdict judge(struct http1_request *req, bool proxy)
{
	struct http1_fields f = {req->headers, req->header_count};
	struct verdict v = judge_target(req, proxy);

	if (!v.err)
		v = judge_host(req);
	if (!v.err)
		v = http1_judge_body(f, req->minor, &req->body, &req->content_length);
	if (v.err)
		return v;
	req->keep_alive = http1_judge_keep_alive(f, req->minor);
	req->upgrade_websocket = req->minor == 1 &&
				 http1_field_has_token(f, "connection", "upgrade") &&
				 http1_field_has_token(f, "upgrade", "websocket");
	req->expect_continue =
		req->minor == 1 && http1_field_has_token(f, "expect", "100-continue");
	return FINE;
}

/* --- the head --------------------------------------------------------------------------------- */

static ssize_t parse(const void *data, size_t len, size_t max_head, bool proxy,
	struct http1_request *ret_request, const char **ret_reason)
{
	struct http1_request *req = ret_request;
	struct http1_head head = {
		.first_line = read_request_line,
		.data = req,
		.headers = req->headers,
		.max = HTTP1_HEADERS_MAX,
	};
	size_t used = 0;
	struct verdict v;

	/* The array behind the count needs no clearing. */
	memset(req, 0, offsetof(struct http1_request, headers));
	v = http1_read_head(&head, data, len, max_head, &used);
	req->header_count = head.count;
	if (!v.err)
		v = judge(req, proxy);
	if (!v.err)
		return (ssize_t)used;
	if (v.reason)
		*ret_reason = v.reason;
	return v.err;
}

ssize_t http1_parse_head(const void *data, size_t len, size_t max_head,
	struct http1_request *ret_request, const char **ret_reason)
{
	return parse(data, len, max_head, false, ret_request, ret_reason);
}

ssize_t http1_parse_proxy_head(const void *data, size_t len, size_t max_head,
	struct http1_request *ret_request, const char **ret_reason)
{
	return parse(data, len, max_head, true, ret_request, ret_reason);
}

/* --- fields of a request ---------------------------------------------------------------------- */

const struct http1_view *http1_header(const struct http1_request *req, const char *name)
{
	return http1_field((struct http1_fields){req->headers, req->header_count}, name);
}

size_t http1_header_count(const struct http1_request *req, const char *name)
{
	return http1_field_count((struct http1_fields){req->headers, req->header_count}, name);
}

bool http1_header_has_token(const struct http1_request *req, const char *name, const char *token)
{
	return http1_field_has_token(
		(struct http1_fields){req->headers, req->header_count}, name, token);
}
