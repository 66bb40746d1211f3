/*
 * Label filters of list requests, in both spellings: labels[key]=value, repeated (JavaScript), and
 * labels={'key': 'value'}, the printout of a Python dict (the Python client's way, a defect that
 * has to be read; protocol.md section 6.6).
 */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "server/rest.h"

#define LABEL_TEXT_MAX 1024

void label_filter_done(struct label_filter *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free(f->labels[i].key);
		free(f->labels[i].value);
	}
	f->count = 0;
}

static int bad(struct error *err, const char *text)
{
	return error_set_field(err, -EINVAL, "MALFORMED_REQUEST", "labels", "labels: %s", text);
}

static int add(struct label_filter *f, char *key, char *value, struct error *err)
{
	if (f->count == LABEL_FILTER_MAX) {
		free(key);
		free(value);
		return bad(err, "too many labels");
	}
	f->labels[f->count++] = (struct store_label){key, value};
	return 0;
}

/* --- Python string literals -------------------------------------------------------------- */

static void skip_blanks(const char **p)
{
	*p += strspn(*p, " ");
}

static int hex_value(const char **p, int digits, uint32_t *ret)
{
	uint32_t v = 0;

	for (int i = 0; i < digits; i++, (*p)++) {
		const char *at = strchr("0123456789abcdef", **p | 0x20);

		if (**p == '\0' || at == NULL)
			return -EINVAL;
		v = v << 4 | (uint32_t)(at - "0123456789abcdef");
	}
	*ret = v;
	return 0;
}

static int append_code_point(struct buf *b, uint32_t c)
{
	uint8_t u[4];
	size_t n;

	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return -EINVAL;
	if (c < 0x80) {
		u[0] = (uint8_t)c;
		n = 1;
	} else if (c < 0x800) {
		u[0] = (uint8_t)(0xc0 | c >> 6);
		n = 2;
	} else if (c < 0x10000) {
		u[0] = (uint8_t)(0xe0 | c >> 12);
		n = 3;
	} else {
		u[0] = (uint8_t)(0xf0 | c >> 18);
		n = 4;
	}
	for (size_t i = 1; i < n; i++)
		u[i] = (uint8_t)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
	return buf_append(b, u, n);
}

static int read_escape(const char **p, struct buf *b)
{
	static const struct {
		char name;
		char value;
	} plain[] = {{'\\', '\\'}, {'\'', '\''}, {'"', '"'}, {'n', '\n'}, {'t', '\t'}, {'r', '\r'}};
	char c = *(*p)++;
	uint32_t v;
	int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;

	for (size_t i = 0; i < array_len(plain); i++) {
		if (plain[i].name == c)
			return buf_append_byte(b, (uint8_t)plain[i].value);
	}
	if (digits == 0 || hex_value(p, digits, &v) < 0)
		return -EINVAL;
	return append_code_point(b, v);
}

static int read_literal(const char **p, char **ret)
{
	char quote = **p;
	auto_buf struct buf b;
	int r = 0;

	buf_init(&b, LABEL_TEXT_MAX);
	if (quote != '\'' && quote != '"')
		return -EINVAL;
	(*p)++;
	while (r == 0 && **p != quote) {
		if (**p == '\0')
			return -EINVAL;
		if (**p == '\\') {
			(*p)++;
			r = **p == '\0' ? -EINVAL : read_escape(p, &b);
		} else {
			r = buf_append_byte(&b, (uint8_t) * (*p)++);
		}
	}
	if (r < 0)
		return -EINVAL;
	(*p)++;
	*ret = mem_strndup(b.len > 0 ? (const char *)buf_data(&b) : "", b.len);
	return 0;
}

static int read_pair(const char **p, struct label_filter *f, struct error *err)
{
	auto_free char *key = NULL;
	auto_free char *value = NULL;

	if (read_literal(p, &key) < 0)
		return bad(err, "expected a dict of strings");
	skip_blanks(p);
	if (*(*p)++ != ':')
		return bad(err, "expected a dict of strings");
	skip_blanks(p);
	if (read_literal(p, &value) < 0)
		return bad(err, "expected a dict of strings");
	skip_blanks(p);
	return add(f, take_ptr(key), take_ptr(value), err);
}

static int parse_dict(const char *text, struct label_filter *f, struct error *err)
{
	const char *p = text;
	int r = 0;

	skip_blanks(&p);
	if (*p++ != '{')
		return bad(err, "expected labels[key]=value or a dict of strings");
	skip_blanks(&p);
	while (r == 0 && *p != '}') {
		r = read_pair(&p, f, err);
		if (r == 0 && *p == ',') {
			p++;
			skip_blanks(&p);
		} else if (r == 0 && *p != '}') {
			r = bad(err, "expected a dict of strings");
		}
	}
	if (r < 0)
		return r;
	p++;
	skip_blanks(&p);
	return *p == '\0' ? 0 : bad(err, "text behind the dict");
}

/* --- queries
 * --------------------------------------------------------------------------------------- */

static int parse_one(char *key, char *value, struct label_filter *f, struct error *err)
{
	size_t len = strlen(key);

	if (strcmp(key, "labels") == 0)
		return parse_dict(value, f, err);
	if (strncmp(key, "labels[", 7) != 0)
		return 0;
	if (len < 9 || key[len - 1] != ']')
		return bad(err, "expected labels[key]=value");
	return add(f, mem_strndup(key + 7, len - 8), mem_strdup(value), err);
}

int label_filter_parse(
	const struct http1_view *query, struct label_filter *ret, struct error *ret_err)
{
	struct http1_view k, v;
	size_t at = 0;

	ret->count = 0;
	while (http1_query_next(query, &at, &k, &v)) {
		auto_free char *key = NULL;
		auto_free char *value = NULL;

		if (http1_percent_decode(&k, true, &key) < 0)
			return bad(ret_err, "a name in the query is not well encoded");
		if (strncmp(key, "labels", 6) != 0)
			continue;
		if (http1_percent_decode(&v, true, &value) < 0)
			return bad(ret_err, "the value is not well encoded");
		if (parse_one(key, value, ret, ret_err) < 0)
			return -EINVAL;
	}
	return 0;
}
