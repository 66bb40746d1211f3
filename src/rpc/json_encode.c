#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rpc/json.h"
#include "rpc/json_priv.h"
#include "rpc/schema_priv.h"
#include "wire/base64.h"

/* --- strings ------------------------------------------------------------------------------- */

/* What stands behind the backslash, 'u' for \u00xx, 0 for bytes that need none. */
static const char escapes[256] = {
	[0x00 ... 0x07] = 'u',
	['\b'] = 'b',
	['\t'] = 't',
	['\n'] = 'n',
	[0x0b] = 'u',
	['\f'] = 'f',
	['\r'] = 'r',
	[0x0e ... 0x1f] = 'u',
	['"'] = '"',
	['\\'] = '\\',
};

/* U+2028 and U+2029: legal in JSON, line ends in JavaScript source and in line-wise readers. */
static bool is_line_separator(const uint8_t *p, size_t n)
{
	return n >= 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8;
}

static size_t plain_prefix(const uint8_t *p, size_t n)
{
	size_t i = 0;

	for (;;) {
		while (n - i >= 8) {
			uint64_t w = json_word_load(p + i);

			if ((json_word_special(w) | (w & WORD_HIGH)) != 0)
				break;
			i += 8;
		}
		if (i == n || escapes[p[i]] != 0 || is_line_separator(p + i, n - i))
			return i;
		i++;
	}
}

static size_t escaped_size(const uint8_t *p, size_t n)
{
	size_t size = 0;

	while (n > 0) {
		size_t plain = plain_prefix(p, n);

		size += plain;
		p += plain;
		n -= plain;
		if (n == 0)
			break;
		size_t step = escapes[*p] != 0 ? 1 : 3;
		size += escapes[*p] != 0 && escapes[*p] != 'u' ? 2 : 6;
		p += step;
		n -= step;
	}
	return size;
}

static uint8_t *put_unicode(uint8_t *out, unsigned code)
{
	static const char digits[] = "0123456789abcdef";

	*out++ = '\\';
	*out++ = 'u';
	for (int shift = 12; shift >= 0; shift -= 4)
		*out++ = (uint8_t)digits[code >> shift & 15];
	return out;
}

static uint8_t *put_escaped(uint8_t *out, const uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t plain = plain_prefix(p, n);

		memcpy(out, p, plain);
		out += plain;
		p += plain;
		n -= plain;
		if (n == 0)
			break;
		char escape = escapes[*p];
		size_t step = escape != 0 ? 1 : 3;
		if (escape == 'u') {
			out = put_unicode(out, *p);
		} else if (escape != 0) {
			*out++ = '\\';
			*out++ = (uint8_t)escape;
		} else {
			out = put_unicode(out, 0x2000 | (p[2] & 0x3f));
		}
		p += step;
		n -= step;
	}
	return out;
}

static int put_valid_string(struct buf *b, const uint8_t *p, size_t n)
{
	size_t size = escaped_size(p, n) + 2;
	uint8_t *out = buf_reserve(b, size, NULL);

	if (out == NULL)
		return -ENOBUFS;
	*out++ = '"';
	out = put_escaped(out, p, n);
	*out = '"';
	buf_commit(b, size);
	return 0;
}

int rpc_json_put_string(struct buf *b, const void *data, size_t len)
{
	auto_buf struct buf mended = {0};

	if (len > b->max)
		return -ENOBUFS;
	if (utf8_valid(data, len))
		return put_valid_string(b, data, len);
	buf_init(&mended, len * 3);
	if (utf8_append_lossy(&mended, data, len) < 0)
		return -ENOBUFS;
	return put_valid_string(b, buf_data(&mended), mended.len);
}

/* --- values -------------------------------------------------------------------------------- */

static int encode_fields(struct buf *b, const struct rpc_schema *schema, const void *object);

static int put_text(struct buf *b, const char *text)
{
	return text != NULL ? rpc_json_put_string(b, text, strlen(text))
			    : buf_append_str(b, "null");
}

static int encode_bool(struct buf *b, const struct rpc_field *f, const void *value)
{
	(void)f;
	return buf_append_str(b, *(const bool *)value ? "true" : "false");
}

static int encode_int(struct buf *b, const struct rpc_field *f, const void *value)
{
	int64_t v = *(const int64_t *)value;

	/* An absent value that is no value. */
	if (v == f->absent && (v < f->min || v > f->max))
		return buf_append_str(b, "null");
	return buf_printf(b, "%" PRId64, v);
}

static int encode_string(struct buf *b, const struct rpc_field *f, const void *value)
{
	(void)f;
	return put_text(b, *(char *const *)value);
}

static int encode_enum(struct buf *b, const struct rpc_field *f, const void *value)
{
	int64_t v = *(const int64_t *)value;

	return put_text(b, v >= 0 && v < rpc_enum_count(f) ? f->names[v] : NULL);
}

static int encode_string_list(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_strings *list = value;
	int r = buf_append_byte(b, '[');

	(void)f;
	for (size_t i = 0; r == 0 && i < list->count; i++) {
		if (i > 0)
			r = buf_append_byte(b, ',');
		if (r == 0)
			r = put_text(b, list->items[i]);
	}
	return r < 0 ? r : buf_append_byte(b, ']');
}

static int put_key(struct buf *b, const char *key, bool first)
{
	int r = first ? 0 : buf_append_byte(b, ',');

	if (r == 0)
		r = rpc_json_put_string(b, key, strlen(key));
	return r < 0 ? r : buf_append_byte(b, ':');
}

static int encode_string_map(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_map *map = value;
	int r = buf_append_byte(b, '{');

	(void)f;
	for (size_t i = 0; r == 0 && i < map->count; i++) {
		r = put_key(b, map->items[i].key, i == 0);
		if (r == 0)
			r = put_text(b, map->items[i].value);
	}
	return r < 0 ? r : buf_append_byte(b, '}');
}

static int encode_pairs(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_map *map = value;
	int r = buf_append_byte(b, '[');

	(void)f;
	for (size_t i = 0; r == 0 && i < map->count; i++) {
		r = buf_append_str(b, i > 0 ? ",[" : "[");
		if (r == 0)
			r = put_text(b, map->items[i].key);
		if (r == 0)
			r = buf_append_byte(b, ',');
		if (r == 0)
			r = put_text(b, map->items[i].value);
		if (r == 0)
			r = buf_append_byte(b, ']');
	}
	return r < 0 ? r : buf_append_byte(b, ']');
}

static int encode_bytes(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_bytes *bytes = value;

	if (bytes->data == NULL)
		return buf_append_str(b, "null");
	if ((f->flags & RPC_TEXT) != 0)
		return rpc_json_put_string(b, bytes->data, bytes->len);
	if (bytes->len > b->max)
		return -ENOBUFS;
	size_t size = base64_encoded_len(bytes->len) + 2;
	uint8_t *out = buf_reserve(b, size, NULL);
	if (out == NULL)
		return -ENOBUFS;
	out[0] = '"';
	base64_encode((char *)out + 1, bytes->data, bytes->len);
	out[size - 1] = '"';
	buf_commit(b, size);
	return 0;
}

static int encode_time(struct buf *b, const struct rpc_field *f, const void *value)
{
	int64_t ns = *(const int64_t *)value;
	int64_t ms = ns / 1000000;
	char text[CLOCK_ISO_SIZE];

	(void)f;
	if (ns % 1000000 < 0)
		ms--;
	clock_format_iso(ms, text);
	return put_text(b, text);
}

static int encode_object(struct buf *b, const struct rpc_field *f, const void *value)
{
	return encode_fields(b, f->sub, value);
}

static int encode_objects(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_objects *objects = value;
	int r = buf_append_byte(b, '[');

	for (size_t i = 0; r == 0 && i < objects->count; i++) {
		if (i > 0)
			r = buf_append_byte(b, ',');
		if (r == 0)
			r = encode_fields(
				b, f->sub, (const char *)objects->items + i * f->sub->size);
	}
	return r < 0 ? r : buf_append_byte(b, ']');
}

/* --- fields -------------------------------------------------------------------------------- */

typedef int (*encode_fn)(struct buf *b, const struct rpc_field *f, const void *value);

static const encode_fn encoders[] = {
	[RPC_BOOL] = encode_bool,
	[RPC_INT] = encode_int,
	[RPC_STRING] = encode_string,
	[RPC_ENUM] = encode_enum,
	[RPC_STRING_LIST] = encode_string_list,
	[RPC_STRING_MAP] = encode_string_map,
	[RPC_PAIRS] = encode_pairs,
	[RPC_BYTES] = encode_bytes,
	[RPC_TIME] = encode_time,
	[RPC_OBJECT] = encode_object,
	[RPC_OBJECTS] = encode_objects,
};
_Static_assert(array_len(encoders) == RPC_TYPE_COUNT, "an encoder for each type");

static int encode_fields(struct buf *b, const struct rpc_schema *schema, const void *object)
{
	int r = buf_append_byte(b, '{');
	bool first = true;

	for (size_t i = 0; r == 0 && i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];

		if ((f->flags & RPC_INTERNAL) != 0)
			continue;
		r = put_key(b, f->name, first);
		if (r == 0)
			r = encoders[f->type](b, f, (const char *)object + f->offset);
		first = false;
	}
	return r < 0 ? r : buf_append_byte(b, '}');
}

int rpc_json_encode(struct buf *b, const struct rpc_schema *schema, const void *object, bool bare)
{
	const struct rpc_field *f = &schema->fields[0];
	size_t mark = b->len;
	int r = bare ? encoders[f->type](b, f, (const char *)object + f->offset)
		     : encode_fields(b, schema, object);

	if (r < 0)
		b->len = mark;
	return r;
}
