/* The parts of HTTP that are only text: targets taken apart, answers put together. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "wire/http1.h"
#include "wire/http1_priv.h"

/* --- targets ---------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)((at - digits) & 15) : -1;
}

int http1_percent_decode(const struct http1_view *v, bool form, char **ret_text)
{
	auto_free char *text = mem_zalloc(v->len + 1);
	size_t len = 0;

	for (size_t i = 0; i < v->len; i++) {
		char c = v->data[i];

		if (c == '%') {
			int high = v->len - i > 2 ? hex_digit(v->data[i + 1]) : -1;
			int low = v->len - i > 2 ? hex_digit(v->data[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EINVAL;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && form) {
			c = ' ';
		}
		if (c == '\0')
			return -EINVAL;
		text[len++] = c;
	}
	*ret_text = take_ptr(text);
	return 0;
}

bool http1_query_next(const struct http1_view *query, size_t *cursor, struct http1_view *ret_key,
	struct http1_view *ret_value)
{
	const char *equals;
	const char *amp;
	const char *p;
	size_t len;

	/* Nothing stands between two ampersands. */
	while (*cursor < query->len && query->data[*cursor] == '&')
		++*cursor;
	if (*cursor >= query->len)
		return false;
	p = query->data + *cursor;
	amp = memchr(p, '&', query->len - *cursor);
	len = amp ? (size_t)(amp - p) : query->len - *cursor;
	equals = memchr(p, '=', len);
	ret_key->data = p;
	ret_key->len = equals ? (size_t)(equals - p) : len;
	ret_value->data = equals ? equals + 1 : p + len;
	ret_value->len = equals ? len - ret_key->len - 1 : 0;
	*cursor += len;
	return true;
}

/* --- writing ---------------------------------------------------------------------------------- */

static const struct {
	int status;
	const char *text;
} statuses[] = {
	{100, "Continue"},
	{101, "Switching Protocols"},
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{206, "Partial Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{303, "See Other"},
	{304, "Not Modified"},
	{307, "Temporary Redirect"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{402, "Payment Required"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{411, "Length Required"},
	{412, "Precondition Failed"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{422, "Unprocessable Content"},
	{425, "Too Early"},
	{426, "Upgrade Required"},
	{428, "Precondition Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
	{507, "Insufficient Storage"},
};

const char *http1_status_text(int status)
{
	for (size_t i = 0; i < array_len(statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].text;
	return "Unknown";
}

int http1_put_status(struct buf *b, int status)
{
	/* Not strftime(): the names must not follow a locale. */
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t now = time(NULL);
	struct tm tm;

	if (status < 100 || status > 999)
		return -EINVAL;
	gmtime_r(&now, &tm);
	return buf_printf(b,
		"HTTP/1.1 %d %s\r\n"
		"Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n",
		status, http1_status_text(status), days + 3 * tm.tm_wday, tm.tm_mday,
		months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool text_is(const char *s, uint8_t class)
{
	for (; *s; s++)
		if (!http1_is((uint8_t)*s, class))
			return false;
	return true;
}

int http1_put_header(struct buf *b, const char *name, const char *value)
{
	if (*name == '\0' || !text_is(name, HTTP1_TOKEN) || !text_is(value, HTTP1_VALUE))
		return -EINVAL;
	return buf_printf(b, "%s: %s\r\n", name, value);
}

int http1_put_end(struct buf *b)
{
	return buf_append_str(b, "\r\n");
}

int http1_put_field(struct buf *b, struct http1_view name, struct http1_view value)
{
	if (name.len == 0 || !http1_view_all_of(name, HTTP1_TOKEN) ||
		!http1_view_all_of(value, HTTP1_VALUE))
		return -EINVAL;
	/* No formatting: it would leave copies of a secret behind. */
	if (!buf_reserve(b, name.len + value.len + 4, NULL))
		return -ENOBUFS;
	buf_append(b, name.data, name.len);
	buf_append_str(b, ": ");
	if (value.len > 0)
		buf_append(b, value.data, value.len);
	return buf_append_str(b, "\r\n");
}

int http1_put_request_line(struct buf *b, struct http1_view method, struct http1_view target)
{
	if (method.len == 0 || !http1_view_all_of(method, HTTP1_TOKEN) || target.len == 0 ||
		!http1_view_all_of(target, HTTP1_TARGET))
		return -EINVAL;
	return buf_printf(b, "%.*s %.*s HTTP/1.1\r\n", (int)method.len, method.data,
		(int)target.len, target.data);
}

int http1_put_status_line(struct buf *b, int status, struct http1_view reason)
{
	if (status < 100 || status > 999 || !http1_view_all_of(reason, HTTP1_VALUE))
		return -EINVAL;
	return buf_printf(b, "HTTP/1.1 %d %.*s\r\n", status, (int)reason.len,
		reason.len > 0 ? reason.data : "");
}

int http1_put_chunk(struct buf *b, const void *data, size_t len)
{
	char line[24];
	int n;

	if (len == 0)
		return 0;
	n = snprintf(line, sizeof(line), "%zx\r\n", len);
	/* All or nothing. */
	if (!buf_reserve(b, (size_t)n + len + 2, NULL))
		return -ENOBUFS;
	buf_append(b, line, (size_t)n);
	buf_append(b, data, len);
	return buf_append_str(b, "\r\n");
}

int http1_put_last_chunk(struct buf *b)
{
	return buf_append_str(b, "0\r\n\r\n");
}
