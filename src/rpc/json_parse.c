/*
 * Strict reading of JSON text. json-c builds the tree, but takes more than JSON even when told to
 * be strict (NaN, 00, 1., control characters in strings) and ends object keys at an escaped NUL. So
 * the grammar of RFC 8259 is checked here first, in one pass.
 */
#include <errno.h>
#include <json-c/printbuf.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "rpc/json.h"
#include "rpc/json_priv.h"

#define DEPTH_MAX 32
/* An empty object takes json-c a thousand bytes: without a limit, a message of two bytes for each
 * would cost the memory of the machine. No message of the API comes near these. */
#define VALUES_MAX 262144
#define CONTAINERS_MAX 32768

struct scan {
	const uint8_t *start;
	const uint8_t *p;
	const uint8_t *end;
	size_t values, containers;
	char *copy; /* the text with the keys changed, or NULL */
};

static bool scan_value(struct scan *s, unsigned depth);

static void skip_blanks(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

/* Takes the byte c if it is next. */
static bool take(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != (uint8_t)c)
		return false;
	s->p++;
	return true;
}

static bool take_text(struct scan *s, const char *text)
{
	size_t len = strlen(text);

	if ((size_t)(s->end - s->p) < len || memcmp(s->p, text, len) != 0)
		return false;
	s->p += len;
	return true;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool skip_digits(struct scan *s)
{
	const uint8_t *from = s->p;

	while (s->p < s->end && is_digit(*s->p))
		s->p++;
	return s->p > from;
}

static bool scan_number(struct scan *s)
{
	(void)take(s, '-');
	if (!take(s, '0') && !skip_digits(s))
		return false;
	if (take(s, '.') && !skip_digits(s))
		return false;
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '+'))
			(void)take(s, '-');
		return skip_digits(s);
	}
	return true;
}

/* Writes RPC_JSON_KEY_NUL over the four digits of \u0000, as an escape of the same length. */
static void replace_key_nul(struct scan *s, const uint8_t *digits)
{
	if (s->copy == NULL)
		s->copy = mem_dup(s->start, (size_t)(s->end - s->start));
	memcpy(s->copy + (digits - s->start), "ffff", 4);
}

/* The part of an escape behind the backslash. */
static bool scan_escape(struct scan *s, bool is_key)
{
	if (s->p == s->end)
		return false;
	uint8_t c = *s->p++;
	if (c != 'u')
		return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
	if (s->end - s->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		if (!is_hex(s->p[i]))
			return false;
	}
	if (is_key && memcmp(s->p, "0000", 4) == 0)
		replace_key_nul(s, s->p);
	s->p += 4;
	return true;
}

static bool scan_string(struct scan *s, bool is_key)
{
	if (!take(s, '"'))
		return false;
	for (;;) {
		while (s->end - s->p >= 8 && json_word_special(json_word_load(s->p)) == 0)
			s->p += 8;
		if (s->p == s->end || *s->p < 0x20)
			return false;
		uint8_t c = *s->p++;
		if (c == '"')
			return true;
		if (c == '\\' && !scan_escape(s, is_key))
			return false;
	}
}

static bool scan_array(struct scan *s, unsigned depth)
{
	skip_blanks(s);
	if (take(s, ']'))
		return true;
	do {
		if (!scan_value(s, depth))
			return false;
	} while (take(s, ','));
	return take(s, ']');
}

static bool scan_object(struct scan *s, unsigned depth)
{
	skip_blanks(s);
	if (take(s, '}'))
		return true;
	do {
		skip_blanks(s);
		if (!scan_string(s, true))
			return false;
		skip_blanks(s);
		if (!take(s, ':') || !scan_value(s, depth))
			return false;
	} while (take(s, ','));
	return take(s, '}');
}

/* A value and the blanks around it. depth is the number of containers it may still open. */
static bool scan_value(struct scan *s, unsigned depth)
{
	bool good;

	skip_blanks(s);
	if (s->p == s->end || ++s->values > VALUES_MAX)
		return false;
	switch (*s->p) {
	case '{':
	case '[':
		if (depth == 0 || ++s->containers > CONTAINERS_MAX)
			return false;
		good = *s->p++ == '{' ? scan_object(s, depth - 1) : scan_array(s, depth - 1);
		break;
	case '"':
		good = scan_string(s, false);
		break;
	case 't':
		good = take_text(s, "true");
		break;
	case 'f':
		good = take_text(s, "false");
		break;
	case 'n':
		good = take_text(s, "null");
		break;
	default:
		good = scan_number(s);
		break;
	}
	skip_blanks(s);
	return good;
}

static struct json_object *build(
	const char *text, size_t len, bool secret, enum json_tokener_error *ret_error)
{
	/* json-c counts scalars as a level and needs one of its own. */
	struct json_tokener *tok = json_tokener_new_ex(DEPTH_MAX + 2);
	struct json_object *value;

	if (tok == NULL) {
		*ret_error = json_tokener_error_size;
		return NULL;
	}
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	/* Strings are collected in this buffer, which must not leave copies behind as it grows. */
	if (secret && printbuf_memset(tok->pb, 0, 0, (int)len) < 0) {
		json_tokener_free(tok);
		*ret_error = json_tokener_error_size;
		return NULL;
	}
	printbuf_reset(tok->pb);
	value = json_tokener_parse_ex(tok, text, (int)len);
	/* A number may go on until a NUL says that it does not. */
	if (json_tokener_get_error(tok) == json_tokener_continue)
		value = json_tokener_parse_ex(tok, "", 1);
	*ret_error = json_tokener_get_error(tok);
	if (secret)
		mem_wipe(tok->pb->buf, (size_t)tok->pb->size);
	json_tokener_free(tok);
	return value;
}

static int read_text(
	const char *text, size_t len, bool secret, struct json_object **ret, struct error *ret_err)
{
	const uint8_t *start = (const uint8_t *)text;
	struct scan s = {.start = start, .p = start, .end = start + len};
	enum json_tokener_error error = json_tokener_success;
	struct json_object *value = NULL;

	if (len > INT_MAX)
		return error_set(
			ret_err, -EBADMSG, "MALFORMED_REQUEST", "the JSON text is too long");
	if (!utf8_valid(text, len))
		return error_set(
			ret_err, -EBADMSG, "MALFORMED_REQUEST", "the JSON text is not valid UTF-8");
	if (scan_value(&s, DEPTH_MAX) && s.p == s.end)
		value = build(s.copy != NULL ? s.copy : text, len, secret, &error);
	else
		error = json_tokener_error_parse_unexpected;
	if (secret && s.copy != NULL)
		mem_wipe(s.copy, len);
	free(s.copy);
	if (error != json_tokener_success)
		return error_set(ret_err, -EBADMSG, "MALFORMED_REQUEST",
			"not valid JSON, or more nested or longer lists than allowed (at byte %zu)",
			(size_t)(s.p - s.start));
	*ret = value;
	return 0;
}

int rpc_json_read(const char *text, size_t len, struct json_object **ret, struct error *ret_err)
{
	return read_text(text, len, false, ret, ret_err);
}

static struct json_object *parse_value(
	const char *text, size_t len, bool secret, struct error *ret_err)
{
	struct json_object *value = NULL;

	if (read_text(text, len, secret, &value, ret_err) < 0)
		return NULL;
	if (value == NULL)
		(void)error_set(ret_err, -EBADMSG, "MALFORMED_REQUEST", "the JSON value is null");
	return value;
}

struct json_object *rpc_json_parse(const char *text, size_t len, struct error *ret_err)
{
	return parse_value(text, len, false, ret_err);
}

struct json_object *rpc_json_parse_secret(const char *text, size_t len, struct error *ret_err)
{
	return parse_value(text, len, true, ret_err);
}

/* The depth was bounded by the parser. */
static void wipe_strings(struct json_object *json) /* NOLINT(misc-no-recursion) */
{
	if (json_object_is_type(json, json_type_string)) {
		mem_wipe((char *)(uintptr_t)json_object_get_string(json),
			(size_t)json_object_get_string_len(json));
	} else if (json_object_is_type(json, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(json); i++)
			wipe_strings(json_object_array_get_idx(json, i));
	} else if (json_object_is_type(json, json_type_object)) {
		json_object_object_foreach(json, key, value)
		{
			(void)key;
			wipe_strings(value);
		}
	}
}

void rpc_json_put_wiped(struct json_object *json)
{
	if (json == NULL)
		return;
	wipe_strings(json);
	json_object_put(json);
}
