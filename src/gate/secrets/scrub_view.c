/*
 * One view of a stream: bytes become symbols, symbols move the patterns. Which symbols there are
 * depends on the bytes alone, never on how they were cut into pieces.
 */
#include "gate/secrets/scrub_priv.h"

#include <string.h>

/* More line ends than this in a row end a text of base64. */
#define SKIPPED_MAX 8
/* Matches nothing. */
#define NO_SYMBOL 256

/* What an escape stands for. */
struct symbols {
	uint16_t list[4];
	unsigned count;
	unsigned used; /* bytes of the escape; 0: not clear yet */
};

/* --- patterns --------------------------------------------------------------------------------- */

static void overwrite(struct scrub *s, size_t start, size_t end)
{
	size_t from = start;

	/* What overlaps with the range before is not done twice: a value of equal bytes would take
	 * its length for each byte. */
	if (start >= s->mark_start && start <= s->mark_end)
		from = s->mark_end;
	else
		s->mark_start = start;
	if (end > from)
		memset(s->work + from, '*', end - from);
	s->mark_end = end > from ? end : from;
}

/* Index in work of the first of the last n symbols; end: index behind the last one. */
static size_t symbol_start(const struct scrub *s, const struct view *v, size_t end, uint32_t n)
{
	if (v->starts == NULL)
		return end - n;
	return v->starts[(v->symbols - n) & v->mask] - s->offset;
}

static void match(struct scrub *s, const struct view *v, const struct pattern *p, size_t end)
{
	s->found |= UINT64_C(1) << p->secret;
	overwrite(s, symbol_start(s, v, end, p->len), end);
}

/* Moves the patterns that have progress; those that lose it leave the list. */
static void move_active(
	struct scrub *s, struct view *v, const struct view_set *set, uint8_t symbol, size_t end)
{
	for (unsigned i = 0; i < v->active_count;) {
		uint16_t index = v->active[i];
		const struct pattern *p = &set->patterns[index];
		uint16_t k = v->progress[index];

		while (k > 0 && p->text[k] != symbol)
			k = p->back[k - 1];
		if (p->text[k] == symbol)
			k++;
		if (k == p->len) {
			match(s, v, p, end);
			k = p->back[k - 1];
		}
		v->progress[index] = k;
		if (k == 0)
			v->active[i] = v->active[--v->active_count];
		else
			i++;
	}
}

static void begin_patterns(
	struct scrub *s, struct view *v, const struct view_set *set, uint8_t symbol, size_t end)
{
	for (unsigned i = set->heads[symbol]; i > 0; i = set->patterns[i - 1].next) {
		const struct pattern *p = &set->patterns[i - 1];

		if (v->progress[i - 1] > 0)
			continue;
		if (p->len == 1) {
			match(s, v, p, end);
			continue;
		}
		v->progress[i - 1] = 1;
		v->active[v->active_count++] = (uint16_t)(i - 1);
	}
}

static void drop_active(struct view *v)
{
	while (v->active_count > 0)
		v->progress[v->active[--v->active_count]] = 0;
}

/* A symbol that stands at work[start..end). */
static void take_symbol(
	struct scrub *s, enum view_kind kind, unsigned symbol, size_t start, size_t end)
{
	struct view *v = &s->views[kind];
	const struct view_set *set = &s->set->views[kind];

	if (symbol == NO_SYMBOL) {
		drop_active(v);
		return;
	}
	if (v->starts != NULL)
		v->starts[v->symbols & v->mask] = s->offset + (uint32_t)start;
	v->symbols++;
	move_active(s, v, set, (uint8_t)symbol, end);
	begin_patterns(s, v, set, (uint8_t)symbol, end);
}

/* --- escapes ---------------------------------------------------------------------------------- */

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* n hex digits, of which there are have. The number; -1: not clear yet; -2: others. */
static int read_hex(const uint8_t *digits, unsigned have, unsigned n)
{
	int value = 0;

	for (unsigned i = 0; i < n && i < have; i++) {
		int digit = hex_value(digits[i]);

		if (digit < 0)
			return -2;
		value = value << 4 | digit;
	}
	return have < n ? -1 : value;
}

static struct symbols one(unsigned symbol, unsigned used)
{
	return (struct symbols){.list = {(uint16_t)symbol}, .count = 1, .used = used};
}

/* What is no escape: the first byte stands for itself, the others are looked at again. */
static struct symbols none(const uint8_t *e)
{
	return one(e[0], 1);
}

static struct symbols unclear(void)
{
	return (struct symbols){0};
}

/* Digits behind a lead of `lead` bytes that stand for one byte. */
static struct symbols read_byte(const uint8_t *e, unsigned len, unsigned lead)
{
	int value = read_hex(e + lead, len - lead, 2);

	if (value == -1)
		return unclear();
	return value < 0 ? none(e) : one((unsigned)value, lead + 2);
}

static struct symbols utf8(unsigned c, unsigned used)
{
	struct symbols s = {.used = used};

	if (c < 0x80) {
		s.list[s.count++] = (uint16_t)c;
	} else if (c < 0x800) {
		s.list[s.count++] = (uint16_t)(0xc0 | c >> 6);
		s.list[s.count++] = (uint16_t)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		s.list[s.count++] = (uint16_t)(0xe0 | c >> 12);
		s.list[s.count++] = (uint16_t)(0x80 | (c >> 6 & 63));
		s.list[s.count++] = (uint16_t)(0x80 | (c & 63));
	} else {
		s.list[s.count++] = (uint16_t)(0xf0 | c >> 18);
		s.list[s.count++] = (uint16_t)(0x80 | (c >> 12 & 63));
		s.list[s.count++] = (uint16_t)(0x80 | (c >> 6 & 63));
		s.list[s.count++] = (uint16_t)(0x80 | (c & 63));
	}
	return s;
}

/* \uXXXX, or two of them that are one character. */
static struct symbols read_unicode(const uint8_t *e, unsigned len)
{
	int high = read_hex(e + 2, len - 2, 4);
	int low;

	if (high == -1)
		return unclear();
	if (high < 0)
		return none(e);
	if (high < 0xd800 || high > 0xdfff)
		return utf8((unsigned)high, 6);
	if (high >= 0xdc00 || (len > 6 && e[6] != '\\') || (len > 7 && e[7] != 'u'))
		return one(NO_SYMBOL, 6);
	low = len > 8 ? read_hex(e + 8, len - 8, 4) : -1;
	if (low == -1)
		return unclear();
	if (low < 0xdc00 || low > 0xdfff)
		return one(NO_SYMBOL, 6);
	return utf8(0x10000 + (((unsigned)high & 0x3ff) << 10 | ((unsigned)low & 0x3ff)), 12);
}

int escape_meaning(uint8_t c)
{
	static const char letters[] = "\"\\/'bfnrt";
	static const char meanings[] = "\"\\/'\b\f\n\r\t";
	const char *found = memchr(letters, c, sizeof(letters) - 1);

	return found != NULL ? meanings[found - letters] : -1;
}

static struct symbols read_backslash(const uint8_t *e, unsigned len)
{
	int meaning;

	if (len < 2)
		return unclear();
	if (e[1] == 'u')
		return read_unicode(e, len);
	/* Not JSON, but what languages print. */
	if (e[1] == 'x')
		return read_byte(e, len, 2);
	meaning = escape_meaning(e[1]);
	return meaning >= 0 ? one((unsigned)meaning, 2) : none(e);
}

static struct symbols read_escape(enum view_kind kind, const uint8_t *e, unsigned len)
{
	if (e[0] == '%' && kind != VIEW_JSON)
		return read_byte(e, len, 1);
	if (e[0] == '\\' && kind != VIEW_PERCENT)
		return read_backslash(e, len);
	return none(e);
}

/* --- views ------------------------------------------------------------------------------------ */

/* Both alphabets of base64 as one. */
static unsigned fold(enum view_kind kind, unsigned symbol)
{
	if (kind == VIEW_BASE64 && symbol == '-')
		return '+';
	return kind == VIEW_BASE64 && symbol == '_' ? '/' : symbol;
}

/* A symbol once escapes are undone: what base64 leaves out goes. */
static void take_decoded(
	struct scrub *s, enum view_kind kind, unsigned symbol, size_t start, size_t end)
{
	struct view *v = &s->views[kind];

	if (kind == VIEW_BASE64) {
		if (symbol == '\r' || symbol == '\n') {
			if (++v->skipped > SKIPPED_MAX) {
				drop_active(v);
				v->skipped = 0;
			}
			return;
		}
		v->skipped = 0;
	}
	take_symbol(s, kind, fold(kind, symbol), start, end);
}

/* Whether a symbol brings any pattern further, or begins one. */
static bool is_wanted(const struct view *v, const struct view_set *set, unsigned symbol)
{
	if (symbol == NO_SYMBOL)
		return false;
	for (unsigned i = 0; i < v->active_count; i++) {
		const struct pattern *p = &set->patterns[v->active[i]];
		uint16_t k = v->progress[v->active[i]];

		while (k > 0 && p->text[k] != symbol)
			k = p->back[k - 1];
		if (k > 0)
			return true;
	}
	return set->heads[symbol] > 0;
}

/* Whether a pattern begins with the last bytes of an escape, taken as they are. */
static bool begins_inside(
	const struct view_set *set, enum view_kind kind, const uint8_t *e, unsigned len)
{
	for (unsigned from = 1; from < len; from++) {
		for (unsigned i = set->heads[fold(kind, e[from])]; i > 0;
			i = set->patterns[i - 1].next) {
			const struct pattern *p = &set->patterns[i - 1];
			unsigned k = 1;

			while (k < p->len && from + k < len &&
				p->text[k] == fold(kind, e[from + k]))
				k++;
			if (k == p->len || from + k == len)
				return true;
		}
	}
	return false;
}

/*
 * Whether the bytes of an escape are better taken as they are. Who can have a '%' put right in
 * front of an encoded value must not hide its first characters with it: "%ab%2Fc" may well be a
 * per cent sign and "ab/c". So an escape counts as one when it brings a pattern further, or when
 * the bytes themselves begin none; then nothing is lost by either reading.
 */
static bool is_literal(const struct scrub *s, enum view_kind kind, const struct symbols *list)
{
	const struct view *v = &s->views[kind];
	const struct view_set *set = &s->set->views[kind];
	unsigned symbol = fold(kind, list->list[0]);

	if (list->used == 1)
		return false;
	if (kind == VIEW_BASE64 && v->active_count > 0 && (symbol == '\r' || symbol == '\n'))
		return false;
	return !is_wanted(v, set, symbol) && begins_inside(set, kind, v->escape, list->used);
}

/* Takes what is clear out of the escape, whose last byte is the one before work[end]. */
static void take_escape(struct scrub *s, enum view_kind kind, size_t end, bool last)
{
	struct view *v = &s->views[kind];

	while (v->escape_len > 0) {
		size_t start = end - v->escape_len;
		struct symbols list = read_escape(kind, v->escape, v->escape_len);

		if (list.used == 0) {
			if (!last)
				return;
			list = none(v->escape);
		}
		if (is_literal(s, kind, &list)) {
			for (unsigned i = 0; i < list.used; i++)
				take_decoded(s, kind, v->escape[i], start + i, start + i + 1);
			list.count = 0;
		}
		for (unsigned i = 0; i < list.count; i++)
			take_decoded(s, kind, list.list[i], start, start + list.used);
		v->escape_len = (uint8_t)(v->escape_len - list.used);
		memmove(v->escape, v->escape + list.used, v->escape_len);
	}
}

void view_byte(struct scrub *s, enum view_kind kind, uint8_t c, size_t at)
{
	struct view *v = &s->views[kind];

	switch (kind) {
	case VIEW_HEX:
		take_symbol(s, kind, c >= 'A' && c <= 'F' ? c | 0x20U : c, at, at + 1);
		return;
	case VIEW_PERCENT:
	case VIEW_JSON:
	case VIEW_BASE64:
		if (v->escape_len == 0 && c != '%' && c != '\\') {
			take_decoded(s, kind, c, at, at + 1);
			return;
		}
		v->escape[v->escape_len++] = c;
		take_escape(s, kind, at + 1, false);
		return;
	case VIEW_RAW:
	case VIEW_COUNT:
		break;
	}
	take_symbol(s, kind, c, at, at + 1);
}

void view_end(struct scrub *s, enum view_kind kind, size_t len)
{
	take_escape(s, kind, len, true);
}

size_t view_hold(const struct scrub *s, enum view_kind kind, size_t len)
{
	const struct view *v = &s->views[kind];
	uint16_t longest = 0;

	if (v->active_count == 0)
		return len - v->escape_len;
	for (unsigned i = 0; i < v->active_count; i++) {
		uint16_t k = v->progress[v->active[i]];

		longest = k > longest ? k : longest;
	}
	return symbol_start(s, v, len, longest);
}

void view_reset(struct view *v)
{
	drop_active(v);
	memset(v->escape, 0, sizeof(v->escape));
	v->escape_len = 0;
	v->skipped = 0;
}
