/*
 * What the views look for. For n bytes of value there are at most 9n symbols (the value, the value
 * with '+' for blanks, 4n/3 in base64 three times, 2n in hexadecimal), each of which takes three
 * bytes: at most 27 MiB for VAULT_SECRETS_MAX values of VAULT_VALUE_MAX bytes, a few KiB for what
 * is usual.
 */
#include "gate/secrets/scrub_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/secrets/locked.h"

#define SYMBOLS_PER_BYTE 9
/* Patterns of a view for one secret, at most: three alignments of base64. */
#define PATTERNS_PER_SECRET 3

/* Texts and their borders grow from two places of the locked memory. */
struct arena {
	uint16_t *backs;
	uint8_t *texts;
};

static void find_borders(const uint8_t *text, uint16_t *back, size_t len)
{
	uint16_t k = 0;

	back[0] = 0;
	for (size_t i = 1; i < len; i++) {
		while (k > 0 && text[k] != text[i])
			k = back[k - 1];
		if (text[k] == text[i])
			k++;
		back[i] = k;
	}
}

/* The text at the end of the arena becomes a pattern that views can be given. */
static struct pattern finish_pattern(struct arena *a, size_t len, unsigned secret)
{
	struct pattern p = {
		.text = a->texts,
		.back = a->backs,
		.len = (uint16_t)len,
		.secret = (uint8_t)secret,
	};

	assert(len > 0 && len <= UINT16_MAX);
	find_borders(a->texts, a->backs, len);
	a->texts += len;
	a->backs += len;
	return p;
}

static void add_pattern(struct scrub_set *set, enum view_kind kind, const struct pattern *p)
{
	struct view_set *v = &set->views[kind];
	struct pattern *copy = &v->patterns[v->count++];

	*copy = *p;
	copy->next = v->heads[p->text[0]];
	v->heads[p->text[0]] = v->count;
	if (p->len > v->longest)
		v->longest = p->len;
}

/* --- encodings of a value --------------------------------------------------------------------- */

/* As forms have it: blanks are '+'. */
static size_t write_plus(uint8_t *out, const uint8_t *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = value[i] == ' ' ? '+' : value[i];
	return len;
}

static size_t write_hex(uint8_t *out, const uint8_t *value, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		out[2 * i] = (uint8_t)digits[value[i] >> 4];
		out[2 * i + 1] = (uint8_t)digits[value[i] & 15];
	}
	return 2 * len;
}

/* The characters of base64 that depend on nothing but the value, when `before` (0 to 2) bytes of
 * its first group stand in front of it. */
static size_t write_base64(uint8_t *out, const uint8_t *value, size_t len, size_t before)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0;

	for (size_t bit = (before * 8 + 5) / 6 * 6 - before * 8; bit + 6 <= len * 8; bit += 6) {
		size_t byte = bit / 8;
		unsigned two = (unsigned)value[byte] << 8;

		if (byte + 1 < len)
			two |= value[byte + 1];
		out[n++] = (uint8_t)alphabet[two >> (10 - bit % 8) & 63];
	}
	return n;
}

static void add_secret(
	struct scrub_set *set, struct arena *a, unsigned secret, const uint8_t *value, size_t len)
{
	struct pattern p;

	memcpy(a->texts, value, len);
	p = finish_pattern(a, len, secret);
	add_pattern(set, VIEW_RAW, &p);
	if (len < SCRUB_ENCODED_MIN)
		return;
	add_pattern(set, VIEW_PERCENT, &p);
	add_pattern(set, VIEW_JSON, &p);
	if (memchr(value, ' ', len) != NULL) {
		p = finish_pattern(a, write_plus(a->texts, value, len), secret);
		add_pattern(set, VIEW_PERCENT, &p);
	}
	p = finish_pattern(a, write_hex(a->texts, value, len), secret);
	add_pattern(set, VIEW_HEX, &p);
	for (size_t before = 0; before < 3; before++) {
		size_t n = write_base64(a->texts, value, len, before);

		if (n < SCRUB_BASE64_MIN)
			continue;
		p = finish_pattern(a, n, secret);
		add_pattern(set, VIEW_BASE64, &p);
	}
}

/* --- where something may begin ---------------------------------------------------------------- */

/* The symbol a byte stands for when it is no part of an escape. -1: left out. */
static int symbol_of(enum view_kind kind, uint8_t c)
{
	if (kind == VIEW_HEX)
		return c >= 'A' && c <= 'F' ? c | 0x20 : c;
	if (kind == VIEW_BASE64) {
		if (c == '\r' || c == '\n')
			return -1;
		return c == '-' ? '+' : c == '_' ? '/' : c;
	}
	return c;
}

static bool is_lead(enum view_kind kind, uint8_t c)
{
	return (c == '%' && (kind == VIEW_PERCENT || kind == VIEW_BASE64)) ||
	       (c == '\\' && (kind == VIEW_JSON || kind == VIEW_BASE64));
}

static bool is_hex(unsigned c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static void add_pair(uint32_t *pairs, unsigned first, unsigned second)
{
	unsigned pair = first << 8 | second;

	pairs[pair / 32] |= 1U << pair % 32;
}

/* Whether the byte c may be what p has at its place i, or the beginning of an escape of it. */
static bool may_stand(const struct pattern *p, enum view_kind kind, unsigned i, uint8_t c)
{
	int symbol = symbol_of(kind, c);

	return p->len <= i || symbol < 0 || is_lead(kind, c) || p->text[i] == symbol;
}

static void find_pairs(struct scrub_set *set, const struct pattern *p, enum view_kind kind)
{
	for (unsigned first = 0; first < 256; first++) {
		if (symbol_of(kind, (uint8_t)first) != p->text[0])
			continue;
		for (unsigned second = 0; second < 256; second++) {
			if (may_stand(p, kind, 1, (uint8_t)second))
				add_pair(set->pairs, first, second);
		}
	}
}

static void find_thirds(struct scrub_set *set, const struct pattern *p, enum view_kind kind)
{
	for (unsigned second = 0; second < 256; second++) {
		bool is_open =
			is_lead(kind, (uint8_t)second) || symbol_of(kind, (uint8_t)second) < 0;

		if (!may_stand(p, kind, 1, (uint8_t)second))
			continue;
		/* Behind the beginning of an escape may come anything. */
		for (unsigned third = 0; third < 256; third++) {
			if (is_open || may_stand(p, kind, 2, (uint8_t)third))
				add_pair(set->thirds, second, third);
		}
	}
}

/* What begins without a pattern: escapes. */
static void find_leads(struct scrub_set *set, enum view_kind kind)
{
	struct view_set *v = &set->views[kind];

	for (unsigned first = 0; first < 256; first++) {
		bool lead = is_lead(kind, (uint8_t)first);
		int symbol = symbol_of(kind, (uint8_t)first);

		v->wakes[first] = lead || (symbol >= 0 && v->heads[symbol] > 0);
		set->wakes[first] |= v->wakes[first];
		/* Of "\\n" the first byte must not be passed over: "\n" would be left. */
		for (unsigned second = 0; second < 256 && lead; second++) {
			if (first == '\\' || is_hex(second))
				add_pair(set->pairs, first, second);
		}
	}
}

static void find_beginnings(struct scrub_set *set)
{
	for (enum view_kind kind = 0; kind < VIEW_COUNT; kind++) {
		const struct view_set *v = &set->views[kind];

		for (unsigned i = 0; i < v->count; i++) {
			find_pairs(set, &v->patterns[i], kind);
			find_thirds(set, &v->patterns[i], kind);
		}
		if (v->count > 0)
			find_leads(set, kind);
	}
}

/* Whether c, as it stands, begins nothing. */
static bool is_nothing(const struct scrub_set *set, uint8_t c)
{
	for (enum view_kind kind = 0; kind < VIEW_COUNT; kind++) {
		const struct view_set *v = &set->views[kind];

		/* What leads an escape may begin a pattern as well. */
		if (v->heads[c] > 0 || (v->wakes[c] && !is_lead(kind, c)))
			return false;
	}
	return true;
}

static void find_skips(struct scrub_set *set)
{
	for (unsigned c = 0; c < 256; c++) {
		int meaning = escape_meaning((uint8_t)c);

		set->skips[c] = meaning >= 0 && is_nothing(set, '\\') &&
				is_nothing(set, (uint8_t)c) &&
				set->views[VIEW_JSON].heads[meaning] == 0 &&
				set->views[VIEW_BASE64].heads[meaning] == 0;
	}
}

struct scrub_set *scrub_set_new(const struct vault *v, uint64_t secrets)
{
	unsigned count = (unsigned)__builtin_popcountll(secrets);
	struct scrub_set *set;
	struct arena a;
	size_t symbols = 0;

	if (count == 0)
		return NULL;
	set = mem_new(struct scrub_set);
	for (enum view_kind kind = 0; kind < VIEW_COUNT; kind++)
		set->views[kind].patterns = mem_zalloc_array(
			(size_t)count * PATTERNS_PER_SECRET, sizeof(struct pattern));
	for (uint64_t left = secrets; left != 0; left &= left - 1) {
		size_t len = 0;

		vault_value(v, (unsigned)__builtin_ctzll(left), &len);
		symbols += len * SYMBOLS_PER_BYTE;
	}
	set->texts_size = symbols * (sizeof(*a.backs) + sizeof(*a.texts));
	set->texts = locked_new(set->texts_size);
	a.backs = set->texts;
	a.texts = (uint8_t *)(a.backs + symbols);
	for (uint64_t left = secrets; left != 0; left &= left - 1) {
		unsigned secret = (unsigned)__builtin_ctzll(left);
		size_t len = 0;
		const uint8_t *value = vault_value(v, secret, &len);

		add_secret(set, &a, secret, value, len);
	}
	find_beginnings(set);
	find_skips(set);
	return set;
}

void scrub_set_free(struct scrub_set *set)
{
	if (set == NULL)
		return;
	for (enum view_kind kind = 0; kind < VIEW_COUNT; kind++)
		free(set->views[kind].patterns);
	locked_free(set->texts, set->texts_size);
	/* Its tables tell how each value begins. */
	mem_wipe(set, sizeof(*set));
	free(set);
}
