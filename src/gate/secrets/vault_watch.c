/*
 * Placeholders in streams, as they are and with percent-encoding undone (of "%DENO_..." both: it is
 * not clear that "%DE" is an escape). In either, four forms are looked for side by side:
 * the fixed part of a placeholder as it is, and its base64 at each of the three alignments (of the
 * characters that depend on nothing else; both alphabets are the same for it). For each, a word
 * has a bit for every beginning of the form that ends here. Behind a form come the digits.
 *
 * While no form has begun, bytes are only compared with the pairs at which one can.
 */
#include <string.h>

#include "gate/secrets/vault_priv.h"
#include "wire/base64.h"

/* Behind the fixed part of the later two alignments come two bits or four of its last byte. */
static const struct {
	uint8_t len;
	uint8_t skip;       /* base64: characters in front, which depend on what stands before */
	uint8_t left;       /* bytes that have to follow: digits, after '_' where that is open */
	uint8_t rest, bits; /* the bits of that '_' that are there already */
} forms[WATCH_FORMS] = {
	{24, 0, PLACEHOLDER_HEX, 0, 0},
	{32, 0, PLACEHOLDER_HEX, 0, 0},
	{31, 2, PLACEHOLDER_HEX + 1, '_' >> 2, 6},
	{31, 3, PLACEHOLDER_HEX + 1, '_' >> 4, 4},
};

static bool is_hex(uint8_t c)
{
	return vault_is_digit(c) || (c >= 'A' && c <= 'F');
}

static unsigned hex_value(uint8_t c)
{
	return c <= '9' ? c - 0x30U : (c | 0x20U) - 'a' + 10;
}

/* The text of a form. */
static void write_form(unsigned form, char ret_text[40])
{
	char plain[PLACEHOLDER_PREFIX_LEN + 2] = {0};
	char text[48] = {0};
	size_t before = form > 0 ? form - 1 : 0;

	memcpy(plain + before, PLACEHOLDER_PREFIX, PLACEHOLDER_PREFIX_LEN);
	if (form == 0)
		memcpy(text, plain, PLACEHOLDER_PREFIX_LEN);
	else
		base64_encode(text, plain, before + PLACEHOLDER_PREFIX_LEN);
	memcpy(ret_text, text + forms[form].skip, forms[form].len);
}

static void add_pair(struct watch_table *t, char first, char second)
{
	unsigned pair = (unsigned)(uint8_t)first << 8 | (uint8_t)second;

	t->pairs[pair / 32] |= 1U << pair % 32;
	t->wakes[(uint8_t)first] = true;
}

void watch_table_init(struct watch_table *t)
{
	for (unsigned form = 0; form < WATCH_FORMS; form++) {
		char text[40];

		write_form(form, text);
		for (unsigned i = 0; i < forms[form].len; i++)
			t->places[form][(uint8_t)text[i]] |= 1U << i;
		add_pair(t, text[0], text[1]);
		add_pair(t, text[0], '%');
	}
	for (const char *c = "0123456789abcdefABCDEF"; *c != '\0'; c++)
		add_pair(t, '%', *c);
}

/* --- one symbol ------------------------------------------------------------------------------- */

/* A byte of the plain text behind a form. Returns the secret that is clear with it, or none. */
static uint64_t take_digit(const struct vault *v, struct vault_watch_form *f, uint8_t c)
{
	int secret;

	if (f->left > PLACEHOLDER_HEX ? c != '_' : !vault_is_digit(c)) {
		f->left = 0;
		return 0;
	}
	if (f->left <= PLACEHOLDER_HEX)
		f->digits[PLACEHOLDER_HEX - f->left] = c;
	f->left--;
	secret = f->left == 0 ? vault_find(v, f->digits) : -1;
	return secret >= 0 ? UINT64_C(1) << secret : 0;
}

static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	return c >= '0' && c <= '9' ? c - '0' + 52 : -1;
}

static uint64_t take_base64(const struct vault *v, struct vault_watch_form *f, uint8_t c)
{
	int value = base64_value(c);

	if (value < 0) {
		f->left = 0;
		return 0;
	}
	f->rest = (uint16_t)(f->rest << 6 | value);
	f->bits = (uint8_t)(f->bits + 6);
	if (f->bits < 8)
		return 0;
	f->bits = (uint8_t)(f->bits - 8);
	return take_digit(v, f, (uint8_t)(f->rest >> f->bits));
}

static uint64_t take_symbol(
	const struct vault *v, struct vault_watch_form each[WATCH_FORMS], uint8_t c)
{
	uint64_t found = 0;

	for (unsigned form = 0; form < WATCH_FORMS; form++) {
		struct vault_watch_form *f = &each[form];

		if (f->left > 0)
			found |= form == 0 ? take_digit(v, f, c) : take_base64(v, f, c);
		f->places = (f->places << 1 | 1) & v->watch.places[form][c];
		if (f->places >> (forms[form].len - 1) & 1) {
			f->left = forms[form].left;
			f->rest = forms[form].rest;
			f->bits = forms[form].bits;
		}
	}
	return found;
}

/* --- streams ---------------------------------------------------------------------------------- */

/* A byte, which may be part of an escape. */
static uint64_t take_byte(const struct vault *v, struct vault_watch *w, uint8_t c)
{
	uint64_t found = 0;

	if (w->escape_len > 0 && is_hex(c)) {
		w->escape[w->escape_len++] = c;
		if (w->escape_len < 3)
			return 0;
		w->escape_len = 0;
		return take_symbol(
			v, w->decoded, (uint8_t)(hex_value(w->escape[1]) << 4 | hex_value(c)));
	}
	for (unsigned i = 0; i < w->escape_len; i++)
		found |= take_symbol(v, w->decoded, w->escape[i]);
	w->escape_len = 0;
	if (c != '%')
		return found | take_symbol(v, w->decoded, c);
	w->escape[w->escape_len++] = c;
	return found;
}

static bool is_busy(const struct vault_watch *w)
{
	bool busy = w->escape_len > 0;

	for (unsigned form = 0; form < WATCH_FORMS; form++) {
		busy |= w->raw[form].places != 0 || w->raw[form].left > 0;
		busy |= w->decoded[form].places != 0 || w->decoded[form].left > 0;
	}
	return busy;
}

/* The first index from `from` on at which a form may begin, or len. */
static size_t find_beginning(
	const struct watch_table *t, const uint8_t *data, size_t from, size_t len)
{
	size_t i = from;

	for (; len - i > 1; i++) {
		unsigned pair = (unsigned)data[i] << 8 | data[i + 1];

		if (t->pairs[pair / 32] >> pair % 32 & 1)
			return i;
	}
	return len - i == 1 && t->wakes[data[i]] ? i : len;
}

uint64_t vault_watch(const struct vault *v, struct vault_watch *w, const uint8_t *data, size_t len)
{
	uint64_t found = 0;

	if (v->count == 0)
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (!is_busy(w)) {
			i = find_beginning(&v->watch, data, i, len);
			if (i == len)
				break;
		}
		found |= take_symbol(v, w->raw, data[i]);
		found |= take_byte(v, w, data[i]);
	}
	return found;
}
