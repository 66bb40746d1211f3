/*
 * Request heads. The head is read line by line from its start at every call, with no state kept
 * between calls: a line is judged only when its CRLF is here, so the verdict does not depend on
 * how the bytes came in. What the fields mean together (framing of the body, Host, Connection) is
 * settled when the empty line has been seen.
 */
#include "wire/http1.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "wire/http1_priv.h"

#define METHOD_MAX 32

struct verdict {
	int err;
	const char *reason;
};

#define FINE ((struct verdict){0, NULL})
#define WRONG(text) ((struct verdict){-EBADMSG, text})

/* --- views ------------------------------------------------------------------------------------ */

static struct http1_view view(const char *start, const char *end)
{
	return (struct http1_view){start, (size_t)(end - start)};
}

bool http1_view_eq(const struct http1_view *v, const char *s)
{
	return strlen(s) == v->len && memcmp(v->data, s, v->len) == 0;
}

bool http1_view_caseeq(const struct http1_view *v, const char *s)
{
	return strlen(s) == v->len && strncasecmp(v->data, s, v->len) == 0;
}

static bool all_of(struct http1_view v, uint8_t class)
{
	for (size_t i = 0; i < v.len; i++)
		if (!http1_is((uint8_t)v.data[i], class))
			return false;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct http1_view trim(struct http1_view v)
{
	while (v.len > 0 && is_blank(v.data[0]))
		v.data++, v.len--;
	while (v.len > 0 && is_blank(v.data[v.len - 1]))
		v.len--;
	return v;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* --- lines ------------------------------------------------------------------------------------ */

/* METHOD SP target SP HTTP/d.d with exactly these two blanks. */
static struct verdict read_request_line(struct http1_view line, struct http1_request *req)
{
	const char *end = line.data + line.len;
	const char *first = memchr(line.data, ' ', line.len);
	const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
	const char *query;
	struct http1_view version;

	if (!second)
		return WRONG("request line is not 'METHOD target HTTP/1.1'");
	req->method = view(line.data, first);
	req->target = view(first + 1, second);
	version = view(second + 1, end);
	if (req->method.len == 0 || req->method.len > METHOD_MAX ||
		!all_of(req->method, HTTP1_TOKEN))
		return WRONG("method is not a token");
	if (version.len != 8 || memcmp(version.data, "HTTP/", 5) != 0 ||
		!is_digit(version.data[5]) || version.data[6] != '.' || !is_digit(version.data[7]))
		return WRONG("request line does not end in an HTTP version");
	if (version.data[5] != '1' || version.data[7] > '1')
		return (struct verdict){-EPROTONOSUPPORT, "only HTTP/1.0 and HTTP/1.1 are spoken"};
	req->minor = version.data[7] - '0';
	if (!all_of(req->target, HTTP1_TARGET))
		return WRONG("target holds a byte that must be percent-encoded");
	if (req->target.len == 0 ||
		(req->target.data[0] != '/' && !(http1_view_eq(&req->target, "*") &&
						       http1_view_eq(&req->method, "OPTIONS"))))
		return WRONG("target does not start with '/'");
	query = memchr(req->target.data, '?', req->target.len);
	req->path = view(req->target.data, query ? query : second);
	req->query = query ? view(query + 1, second) : view(second, second);
	return FINE;
}

static struct verdict read_field_line(struct http1_view line, struct http1_request *req)
{
	const char *end = line.data + line.len;
	const char *colon = memchr(line.data, ':', line.len);
	struct http1_header h;

	if (is_blank(line.data[0]))
		return WRONG("header line is folded");
	if (!colon)
		return WRONG("header line without a colon");
	if (req->header_count == HTTP1_HEADERS_MAX)
		return (struct verdict){-E2BIG, "too many headers"};
	h.name = view(line.data, colon);
	h.value = view(colon + 1, end);
	if (h.name.len == 0 || !all_of(h.name, HTTP1_TOKEN))
		return WRONG("header name is not a token");
	if (!all_of(h.value, HTTP1_VALUE))
		return WRONG("control byte in a header");
	h.value = trim(h.value);
	req->headers[req->header_count++] = h;
	return FINE;
}

/* --- what the fields say ---------------------------------------------------------------------- */

const struct http1_view *http1_header(const struct http1_request *req, const char *name)
{
	for (size_t i = 0; i < req->header_count; i++)
		if (http1_view_caseeq(&req->headers[i].name, name))
			return &req->headers[i].value;
	return NULL;
}

size_t http1_header_count(const struct http1_request *req, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < req->header_count; i++)
		count += http1_view_caseeq(&req->headers[i].name, name);
	return count;
}

/* Steps through a comma-separated list. */
static bool next_item(struct http1_view *list, struct http1_view *ret_item)
{
	const char *end;
	const char *comma;

	if (!list->data)
		return false;
	end = list->data + list->len;
	comma = memchr(list->data, ',', list->len);
	*ret_item = trim(view(list->data, comma ? comma : end));
	*list = comma ? view(comma + 1, end) : (struct http1_view){NULL, 0};
	return true;
}

bool http1_header_has_token(const struct http1_request *req, const char *name, const char *token)
{
	for (size_t i = 0; i < req->header_count; i++) {
		struct http1_view list = req->headers[i].value;
		struct http1_view item;

		if (!http1_view_caseeq(&req->headers[i].name, name))
			continue;
		while (next_item(&list, &item))
			if (http1_view_caseeq(&item, token))
				return true;
	}
	return false;
}

static struct verdict judge_length(const struct http1_view *v, struct http1_request *req)
{
	int64_t length = 0; /* callers may add to it */

	if (v->len == 0)
		return WRONG("Content-Length is empty");
	for (size_t i = 0; i < v->len; i++) {
		if (!is_digit(v->data[i]))
			return WRONG("Content-Length is not a number");
		if (__builtin_mul_overflow(length, 10, &length) ||
			__builtin_add_overflow(length, v->data[i] - '0', &length))
			return WRONG("Content-Length is too big");
	}
	req->body = HTTP1_BODY_LENGTH;
	req->content_length = (uint64_t)length;
	return FINE;
}

static struct verdict judge_encoding(const struct http1_view *v, struct http1_request *req)
{
	struct http1_view list = *v;
	struct http1_view item;
	bool chunked = false;

	if (http1_view_caseeq(v, "chunked")) {
		req->body = HTTP1_BODY_CHUNKED;
		return FINE;
	}
	while (next_item(&list, &item)) {
		if (item.len == 0 || chunked)
			return WRONG("Transfer-Encoding must end in chunked, named once");
		chunked = http1_view_caseeq(&item, "chunked");
	}
	return (struct verdict){-ENOSYS, "no transfer encoding but chunked is read"};
}

static struct verdict judge_body(struct http1_request *req)
{
	const struct http1_view *length = http1_header(req, "content-length");
	const struct http1_view *encoding = http1_header(req, "transfer-encoding");

	if (length && encoding)
		return WRONG("both Content-Length and Transfer-Encoding");
	if (length && http1_header_count(req, "content-length") > 1)
		return WRONG("several Content-Length headers");
	if (length)
		return judge_length(length, req);
	if (!encoding)
		return FINE;
	if (http1_header_count(req, "transfer-encoding") > 1)
		return WRONG("several Transfer-Encoding headers");
	if (req->minor == 0)
		return WRONG("Transfer-Encoding in HTTP/1.0");
	return judge_encoding(encoding, req);
}

static struct verdict judge_host(const struct http1_request *req)
{
	const struct http1_view *host = http1_header(req, "host");
	size_t count = http1_header_count(req, "host");

	if (count > 1)
		return WRONG("several Host headers");
	if (count == 0)
		return req->minor == 0 ? FINE : WRONG("no Host header");
	if (host->len == 0 || !all_of(*host, HTTP1_HOST))
		return WRONG("Host is not a host name");
	return FINE;
}

static struct verdict judge(struct http1_request *req)
{
	struct verdict v = judge_host(req);

	if (!v.err)
		v = judge_body(req);
	if (v.err)
		return v;
	req->keep_alive =
		req->minor == 1 || http1_header_has_token(req, "connection", "keep-alive");
	if (http1_header_has_token(req, "connection", "close"))
		req->keep_alive = false;
	req->upgrade_websocket = req->minor == 1 &&
				 http1_header_has_token(req, "connection", "upgrade") &&
				 http1_header_has_token(req, "upgrade", "websocket");
	req->expect_continue =
		req->minor == 1 && http1_header_has_token(req, "expect", "100-continue");
	return FINE;
}

/* --- the head --------------------------------------------------------------------------------- */

/* The line at p, without its CRLF: 1, 0 when it is not whole, or -EBADMSG. */
static int next_line(const char *p, const char *end, struct http1_view *ret_line)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));

	if (!lf)
		return 0;
	if (lf == p || lf[-1] != '\r')
		return -EBADMSG;
	*ret_line = view(p, lf - 1);
	return memchr(p, '\r', ret_line->len) ? -EBADMSG : 1;
}

/* Reads lines up to the empty one. *ret_len is the head's length when verdict.err is 0; err is
 * -EAGAIN when the empty line is not there. */
static struct verdict read_lines(
	const char *p, size_t len, struct http1_request *req, size_t *ret_len)
{
	const char *start = p;
	const char *end = p + len;
	struct http1_view line;
	struct verdict v;
	int r;

	/* TLS, or blanks and empty lines in front of a request: do not wait for a line end. */
	if (len > 0 && !http1_is((uint8_t)*p, HTTP1_TOKEN))
		return WRONG("this is not HTTP");
	while ((r = next_line(p, end, &line)) > 0) {
		if (line.len == 0) {
			*ret_len = (size_t)(p + 2 - start);
			return FINE;
		}
		v = p == start ? read_request_line(line, req) : read_field_line(line, req);
		if (v.err)
			return v;
		p = line.data + line.len + 2;
	}
	if (r < 0)
		return WRONG("bare CR or LF");
	return (struct verdict){-EAGAIN, NULL};
}

ssize_t http1_parse_head(const void *data, size_t len, size_t max_head,
	struct http1_request *ret_request, const char **ret_reason)
{
	struct http1_request *req = ret_request;
	size_t used = 0;
	struct verdict v;

	/* The array behind the count needs no clearing. */
	memset(req, 0, offsetof(struct http1_request, headers));
	v = read_lines(data, len < max_head ? len : max_head, req, &used);
	if (v.err == -EAGAIN && len >= max_head)
		v = (struct verdict){-E2BIG, "request head is too long"};
	if (!v.err)
		v = judge(req);
	if (!v.err)
		return (ssize_t)used;
	if (v.reason)
		*ret_reason = v.reason;
	return v.err;
}
