/*
 * What request and answer heads have in common. A head is read line by line from its start at every
 * call, with no state kept between calls: a line is judged only when its CRLF is here, so the
 * verdict does not depend on how the bytes came in.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "wire/http1_priv.h"

/* --- views ------------------------------------------------------------------------------------ */

bool http1_view_eq(const struct http1_view *v, const char *s)
{
	return strlen(s) == v->len && (v->len == 0 || memcmp(v->data, s, v->len) == 0);
}

bool http1_view_caseeq(const struct http1_view *v, const char *s)
{
	return strlen(s) == v->len && (v->len == 0 || strncasecmp(v->data, s, v->len) == 0);
}

bool http1_view_all_of(struct http1_view v, uint8_t class)
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

/* --- fields ----------------------------------------------------------------------------------- */

const struct http1_view *http1_field(struct http1_fields f, const char *name)
{
	for (size_t i = 0; i < f.count; i++)
		if (http1_view_caseeq(&f.items[i].name, name))
			return &f.items[i].value;
	return NULL;
}

size_t http1_field_count(struct http1_fields f, const char *name)
{
	size_t count = 0;

	for (size_t i = 0; i < f.count; i++)
		count += http1_view_caseeq(&f.items[i].name, name);
	return count;
}

bool http1_next_item(struct http1_view *list, struct http1_view *ret_item)
{
	const char *end;
	const char *comma;

	if (!list->data)
		return false;
	end = list->data + list->len;
	comma = memchr(list->data, ',', list->len);
	*ret_item = trim(http1_view_between(list->data, comma ? comma : end));
	*list = comma ? http1_view_between(comma + 1, end) : (struct http1_view){NULL, 0};
	return true;
}

bool http1_field_has_token(struct http1_fields f, const char *name, const char *token)
{
	for (size_t i = 0; i < f.count; i++) {
		struct http1_view list = f.items[i].value;
		struct http1_view item;

		if (!http1_view_caseeq(&f.items[i].name, name))
			continue;
		while (http1_next_item(&list, &item))
			if (http1_view_caseeq(&item, token))
				return true;
	}
	return false;
}

/* --- what the fields say ---------------------------------------------------------------------- */

static struct verdict judge_length(const struct http1_view *v, uint64_t *ret_length)
{
	int64_t length = 0; /* not unsigned: callers may add to it */

	if (v->len == 0)
		return WRONG("Content-Length is empty");
	for (size_t i = 0; i < v->len; i++) {
		if (!http1_is_digit(v->data[i]))
			return WRONG("Content-Length is not a number");
		if (__builtin_mul_overflow(length, 10, &length) ||
			__builtin_add_overflow(length, v->data[i] - '0', &length))
			return WRONG("Content-Length is too big");
	}
	*ret_length = (uint64_t)length;
	return FINE;
}

static struct verdict judge_encoding(const struct http1_view *v)
{
	struct http1_view list = *v;
	struct http1_view item;
	bool chunked = false;

	if (http1_view_caseeq(v, "chunked"))
		return FINE;
	while (http1_next_item(&list, &item)) {
		if (item.len == 0 || chunked)
			return WRONG("Transfer-Encoding must end in chunked, named once");
		chunked = http1_view_caseeq(&item, "chunked");
	}
	return (struct verdict){-ENOSYS, "no transfer encoding but chunked is read"};
}

struct verdict http1_judge_body(
	struct http1_fields f, int minor, enum http1_body *ret_body, uint64_t *ret_length)
{
	const struct http1_view *length = http1_field(f, "content-length");
	const struct http1_view *encoding = http1_field(f, "transfer-encoding");

	*ret_body = HTTP1_BODY_NONE;
	if (length && encoding)
		return WRONG("both Content-Length and Transfer-Encoding");
	if (length) {
		if (http1_field_count(f, "content-length") > 1)
			return WRONG("several Content-Length headers");
		*ret_body = HTTP1_BODY_LENGTH;
		return judge_length(length, ret_length);
	}
	if (!encoding)
		return FINE;
	if (http1_field_count(f, "transfer-encoding") > 1)
		return WRONG("several Transfer-Encoding headers");
	if (minor == 0)
		return WRONG("Transfer-Encoding in HTTP/1.0");
	*ret_body = HTTP1_BODY_CHUNKED;
	return judge_encoding(encoding);
}

bool http1_judge_keep_alive(struct http1_fields f, int minor)
{
	if (http1_field_has_token(f, "connection", "close"))
		return false;
	return minor == 1 || http1_field_has_token(f, "connection", "keep-alive");
}

/* --- lines ------------------------------------------------------------------------------------ */

struct verdict http1_read_version(struct http1_view v, int *ret_minor)
{
	if (v.len != 8 || memcmp(v.data, "HTTP/", 5) != 0 || !http1_is_digit(v.data[5]) ||
		v.data[6] != '.' || !http1_is_digit(v.data[7]))
		return WRONG("not an HTTP version");
	if (v.data[5] != '1' || v.data[7] > '1')
		return (struct verdict){-EPROTONOSUPPORT, "only HTTP/1.0 and HTTP/1.1 are spoken"};
	*ret_minor = v.data[7] - '0';
	return FINE;
}

static struct verdict read_field_line(struct http1_head *h, struct http1_view line)
{
	const char *end = line.data + line.len;
	const char *colon = memchr(line.data, ':', line.len);
	struct http1_header field;

	if (is_blank(line.data[0]))
		return WRONG("header line is folded");
	if (!colon)
		return WRONG("header line without a colon");
	if (h->count == h->max)
		return (struct verdict){-E2BIG, "too many headers"};
	field.name = http1_view_between(line.data, colon);
	field.value = http1_view_between(colon + 1, end);
	if (field.name.len == 0 || !http1_view_all_of(field.name, HTTP1_TOKEN))
		return WRONG("header name is not a token");
	if (!http1_view_all_of(field.value, HTTP1_VALUE))
		return WRONG("control byte in a header");
	field.value = trim(field.value);
	h->headers[h->count++] = field;
	return FINE;
}

/* The line at p, without its CRLF: 1, 0 when it is not whole, or -EBADMSG. */
static int next_line(const char *p, const char *end, struct http1_view *ret_line)
{
	const char *lf = memchr(p, '\n', (size_t)(end - p));

	if (!lf)
		return 0;
	if (lf == p || lf[-1] != '\r')
		return -EBADMSG;
	*ret_line = http1_view_between(p, lf - 1);
	return memchr(p, '\r', ret_line->len) ? -EBADMSG : 1;
}

static struct verdict read_lines(struct http1_head *h, const char *p, size_t len, size_t *ret_len)
{
	const char *start = p;
	const char *end = p + len;
	struct http1_view line;
	struct verdict v;
	int r;

	/* TLS, or blanks and empty lines in front of a head: do not wait for a line end. */
	if (len > 0 && !http1_is((uint8_t)*p, HTTP1_TOKEN))
		return WRONG("this is not HTTP");
	while ((r = next_line(p, end, &line)) > 0) {
		if (line.len == 0) {
			*ret_len = (size_t)(line.data + 2 - start);
			return FINE;
		}
		v = p == start ? h->first_line(line, h->data) : read_field_line(h, line);
		if (v.err)
			return v;
		p = line.data + line.len + 2;
	}
	if (r < 0)
		return WRONG("bare CR or LF");
	return (struct verdict){-EAGAIN, NULL};
}

struct verdict http1_read_head(
	struct http1_head *h, const char *data, size_t len, size_t max_head, size_t *ret_len)
{
	struct verdict v = read_lines(h, data, len < max_head ? len : max_head, ret_len);

	if (v.err == -EAGAIN && len >= max_head)
		return (struct verdict){-E2BIG, "the head is too long"};
	return v;
}
