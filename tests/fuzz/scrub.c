/*
 * Scrubbing: a head of HEAD bytes chooses the lengths of two values, how one of them is encoded and
 * how the text is cut; then come the values and the text, into which the encoded value is put.
 * However it is cut, the same comes out, as long as what went in; what was put in is overwritten,
 * and neither value is to be found.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "gate/secrets/scrub.h"
#include "wire/base64.h"

#define HEAD 6
#define SIZE_MAX_HERE 8192
#define OUT_MAX ((size_t)1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct text {
	uint8_t bytes[8 * SIZE_MAX_HERE];
	size_t len;
};

/* Choices within an encoding. */
static uint32_t choices;

static unsigned choose(unsigned count)
{
	choices = choices * 1664525 + 1013904223;
	return (choices >> 16) % count;
}

static void put_byte(struct text *t, uint8_t c)
{
	check(t->len < sizeof(t->bytes));
	t->bytes[t->len++] = c;
}

static void put_text(struct text *t, const char *text)
{
	while (*text != '\0')
		put_byte(t, (uint8_t)*text++);
}

/* Digits of either case, or of both. */
static void put_hex(struct text *t, const char *lead, unsigned digits, uint8_t c)
{
	put_text(t, lead);
	while (digits-- > 0)
		put_byte(t, (uint8_t)(choose(2) ? "0123456789ABCDEF"
						: "0123456789abcdef")[c >> 4 * digits & 15]);
}

/* --- encodings -------------------------------------------------------------------------------- */

static void percent(struct text *t, uint8_t c)
{
	if (c == '%' || choose(2))
		put_hex(t, "%", 2, c);
	else
		put_byte(t, c);
}

static void json(struct text *t, uint8_t c)
{
	if (c == '\n' && choose(2)) {
		put_text(t, "\\n");
	} else if ((c == '/' || c == '"' || c == '\\') && choose(2)) {
		put_byte(t, '\\');
		put_byte(t, c);
	} else if (c < 0x80 && choose(2)) {
		put_hex(t, "\\u", 4, c);
	} else if (c == '\\' || choose(2)) {
		put_hex(t, "\\x", 2, c);
	} else {
		put_byte(t, c);
	}
}

static void hex(struct text *t, uint8_t c)
{
	put_hex(t, "", 2, c);
}

static void raw(struct text *t, uint8_t c)
{
	put_byte(t, c);
}

/* With up to two bytes before and after. *ret_start and *ret_end bound what depends on the value
 * alone; returns how many characters that is. */
static size_t base64(
	struct text *t, const uint8_t *value, size_t len, size_t *ret_start, size_t *ret_end)
{
	uint8_t plain[256 + 4];
	char text[512];
	size_t before = choose(3);
	size_t total = before + len + choose(3);
	size_t first = (before * 8 + 5) / 6;
	size_t last = (before + len) * 8 / 6;
	bool url = choose(2);

	memset(plain, 0xa5, sizeof(plain));
	memcpy(plain + before, value, len);
	total = base64_encode(text, plain, total);
	for (size_t i = 0; i < total; i++) {
		char c = text[i];

		if (i == first)
			*ret_start = t->len;
		if (url && (c == '+' || c == '/'))
			c = c == '+' ? '-' : '_';
		switch (choose(8)) {
		case 0:
			put_hex(t, "%", 2, (uint8_t)c);
			break;
		case 1:
			put_hex(t, "\\u", 4, (uint8_t)c);
			break;
		default:
			put_byte(t, (uint8_t)c);
		}
		if (i + 1 == last)
			*ret_end = t->len;
		if (choose(16) == 0)
			put_text(t, choose(2) ? "\r\n" : "\\r\\n");
	}
	return last - first;
}

static void encode(struct text *t, unsigned kind, const uint8_t *value, size_t len,
	size_t *ret_start, size_t *ret_end)
{
	static void (*const each[])(struct text * t, uint8_t c) = {raw, percent, json, hex};

	*ret_start = t->len;
	if (len >= 4 && kind % 5 == 4) {
		if (base64(t, value, len, ret_start, ret_end) < 6)
			*ret_start = *ret_end = t->len;
		return;
	}
	for (size_t i = 0; i < len; i++)
		each[len < 4 ? 0 : kind % 5](t, value[i]);
	*ret_end = t->len;
}

/* --- claims ----------------------------------------------------------------------------------- */

static void feed(const struct scrub_set *set, const struct text *t, size_t step, struct buf *out)
{
	struct scrub *s = scrub_new(set);

	for (size_t done = 0; done < t->len; done += step) {
		size_t n = t->len - done < step ? t->len - done : step;

		check(scrub_feed(s, t->bytes + done, n, out) == 0);
	}
	check(scrub_finish(s, out) == 0);
	check(out->len == t->len);
	scrub_free(s);
}

static void check_gone(const struct text *t, const uint8_t *value, size_t len)
{
	/* '*' may make a value out of what is left. */
	if (memchr(value, '*', len) == NULL)
		check(memmem(t->bytes, t->len, value, len) == NULL);
}

/* Leaves in t what came out. */
static void check_scrub(
	const struct scrub_set *set, struct text *t, size_t step, size_t start, size_t end)
{
	struct buf whole;
	struct buf cut;

	buf_init(&whole, OUT_MAX);
	buf_init(&cut, OUT_MAX);
	feed(set, t, t->len, &whole);
	feed(set, t, step, &cut);
	check(memcmp(buf_data(&whole), buf_data(&cut), t->len) == 0);
	scrub_text(set, t->bytes, t->len);
	check(memcmp(buf_data(&whole), t->bytes, t->len) == 0);
	for (size_t i = start; i < end; i++)
		check(t->bytes[i] == '*');
	buf_done(&whole);
	buf_done(&cut);
}

static void add(struct vault *v, char digit, const uint8_t *value, size_t len)
{
	static const char *const hosts[] = {"a.example"};
	char placeholder[PLACEHOLDER_LEN + 1];

	memset(placeholder, digit, PLACEHOLDER_LEN);
	memcpy(placeholder, PLACEHOLDER_PREFIX, sizeof(PLACEHOLDER_PREFIX) - 1);
	placeholder[PLACEHOLDER_LEN] = '\0';
	check(vault_add(v, "A", placeholder, value, len, hosts, 1, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct text t;
	struct scrub_set *set;
	struct vault *v;
	const uint8_t *values;
	const uint8_t *text;
	size_t len[2];
	size_t start = 0;
	size_t end = 0;
	size_t at;

	if (size < HEAD || size > SIZE_MAX_HERE)
		return 0;
	len[0] = 1 + data[0] % 64;
	len[1] = 1 + data[1] % 64;
	if (size < HEAD + len[0] + len[1])
		return 0;
	values = data + HEAD;
	text = values + len[0] + len[1];
	size -= HEAD + len[0] + len[1];
	at = data[4] < size ? data[4] : size;
	choices = data[5];
	v = vault_new();
	add(v, '0', values, len[0]);
	add(v, '1', values + len[0], len[1]);
	set = scrub_set_new(v, 3);
	t.len = at;
	memcpy(t.bytes, text, at);
	/* Ends what may look like an escape. */
	put_byte(&t, 1);
	encode(&t, data[2], values, len[0], &start, &end);
	put_byte(&t, 1);
	memcpy(t.bytes + t.len, text + at, size - at);
	t.len += size - at;
	check_scrub(set, &t, 1 + data[3] % 64, start, end);
	/* What is left has no value in it. */
	check_gone(&t, values, len[0]);
	check_gone(&t, values + len[0], len[1]);
	scrub_set_free(set);
	vault_free(v);
	return 0;
}
