/*
 * Putting values in. A text is gone through twice: first to see which placeholders stand in it, how
 * long it becomes and whether it may, then to write it. Nothing is written unless all of it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "gate/secrets/vault_priv.h"
#include "wire/base64.h"

/* What base64 is decoded at all: longer than any header that engines let pass. */
#define BASIC_MAX ((size_t)256 * 1024)

struct place {
	size_t start; /* of the placeholder */
	int secret;
};

/* The next placeholder of this sandbox from `from` on: the prefix and PLACEHOLDER_HEX digits that
 * are one of ours. All have one length, so what follows makes no difference. */
static bool find_place(
	const struct vault *v, const uint8_t *text, size_t len, size_t from, struct place *ret)
{
	while (len - from >= PLACEHOLDER_LEN) {
		const uint8_t *p =
			memmem(text + from, len - from, PLACEHOLDER_PREFIX, PLACEHOLDER_PREFIX_LEN);
		size_t start;

		if (p == NULL)
			return false;
		start = (size_t)(p - text);
		from = start + PLACEHOLDER_PREFIX_LEN;
		if (len - start < PLACEHOLDER_LEN)
			return false;
		ret->secret = vault_find(v, p + PLACEHOLDER_PREFIX_LEN);
		if (ret->secret >= 0) {
			ret->start = start;
			return true;
		}
	}
	return false;
}

/* RFC 9110 section 5.5: blanks and tabs are the only controls of a header. */
static bool may_stand(const struct secret *s)
{
	for (size_t i = 0; i < s->len; i++) {
		uint8_t c = s->value[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

/* How long text becomes. 0, or -EINVAL when a value may not stand in a header. */
static int measure(const struct vault *v, uint64_t allowed, const uint8_t *text, size_t len,
	size_t *ret_len, struct vault_swap *swap)
{
	struct place p;
	size_t total = len;

	for (size_t at = 0; find_place(v, text, len, at, &p); at = p.start + PLACEHOLDER_LEN) {
		const struct secret *s = &v->secrets[p.secret];
		uint64_t bit = UINT64_C(1) << p.secret;

		if ((allowed & bit) == 0) {
			swap->stray |= bit;
			continue;
		}
		if (!may_stand(s))
			return -EINVAL;
		swap->used |= bit;
		total += s->len - PLACEHOLDER_LEN;
	}
	*ret_len = total;
	return 0;
}

static void write_text(
	const struct vault *v, uint64_t allowed, const uint8_t *text, size_t len, uint8_t *out)
{
	struct place p;
	size_t done = 0;

	for (size_t at = 0; find_place(v, text, len, at, &p); at = p.start + PLACEHOLDER_LEN) {
		const struct secret *s = &v->secrets[p.secret];

		if ((allowed >> p.secret & 1) == 0)
			continue;
		memcpy(out, text + done, p.start - done);
		out += p.start - done;
		memcpy(out, s->value, s->len);
		out += s->len;
		done = p.start + PLACEHOLDER_LEN;
	}
	if (len > done)
		memcpy(out, text + done, len - done);
}

static int swap_plain(const struct vault *v, uint64_t allowed, const uint8_t *text, size_t len,
	struct buf *out, struct vault_swap *swap)
{
	size_t total = 0;
	uint8_t *room;
	int err = measure(v, allowed, text, len, &total, swap);

	if (err < 0 || total == 0)
		return err;
	room = buf_reserve(out, total, NULL);
	if (room == NULL)
		return -ENOBUFS;
	write_text(v, allowed, text, len, room);
	buf_commit(out, total);
	return 0;
}

/* --- Basic ------------------------------------------------------------------------------------ */

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* Where the credentials of "Basic CREDENTIALS" stand. */
static bool find_basic(const uint8_t *value, size_t len, size_t *ret_start, size_t *ret_end)
{
	size_t start = 0;
	size_t end = len;

	while (start < end && is_blank(value[start]))
		start++;
	while (end > start && is_blank(value[end - 1]))
		end--;
	if (end - start < 6 || strncasecmp((const char *)value + start, "basic", 5) != 0 ||
		!is_blank(value[start + 5]))
		return false;
	for (start += 5; is_blank(value[start]);)
		start++;
	*ret_start = start;
	*ret_end = end;
	return end - start <= BASIC_MAX;
}

/* Strict, but for padding that may be missing. The length, or -EINVAL. */
static ssize_t decode_basic(const uint8_t *text, size_t len, uint8_t **ret)
{
	const uint8_t *pad = memchr(text, '=', len);
	size_t bare = pad != NULL ? (size_t)(pad - text) : len;
	size_t padded = (bare + 3) / 4 * 4;
	auto_free char *copy = NULL;
	auto_free uint8_t *plain = NULL;
	ssize_t n;

	if (pad != NULL && len != padded)
		return -EINVAL;
	copy = mem_zalloc(padded);
	memcpy(copy, text, len);
	memset(copy + len, '=', padded - len);
	plain = mem_zalloc(base64_decoded_max(padded));
	n = base64_decode(plain, copy, padded);
	if (n >= 0)
		*ret = take_ptr(plain);
	return n;
}

/* Room for it is reserved. */
static void append_basic(const struct vault *v, uint64_t allowed, const uint8_t *plain, size_t len,
	size_t plain_len, struct buf *out)
{
	uint8_t *swapped = mem_zalloc(plain_len);
	uint8_t *p = buf_reserve(out, base64_encoded_len(plain_len), NULL);

	write_text(v, allowed, plain, len, swapped);
	buf_commit(out, base64_encode((char *)p, swapped, plain_len));
	mem_wipe(swapped, plain_len);
	free(swapped);
}

/* 1: done; 0: nothing in it; else a negative errno. */
static int swap_basic(const struct vault *v, uint64_t allowed, const uint8_t *value, size_t len,
	struct buf *out, struct vault_swap *swap)
{
	auto_free uint8_t *plain = NULL;
	struct vault_swap inner = {0};
	size_t start;
	size_t end;
	size_t plain_len;
	ssize_t n;
	int err;

	if (!find_basic(value, len, &start, &end))
		return 0;
	n = decode_basic(value + start, end - start, &plain);
	if (n < 0)
		return 0;
	err = measure(v, allowed, plain, (size_t)n, &plain_len, &inner);
	if (err < 0)
		return err;
	swap->stray |= inner.stray;
	if (inner.used == 0)
		return 0;
	if (buf_reserve(out, start + base64_encoded_len(plain_len) + len - end, NULL) == NULL)
		return -ENOBUFS;
	(void)buf_append(out, value, start);
	append_basic(v, allowed, plain, (size_t)n, plain_len, out);
	(void)buf_append(out, value + end, len - end);
	swap->used |= inner.used;
	return 1;
}

int vault_substitute(const struct vault *v, uint64_t allowed, const char *header_name,
	size_t name_len, const char *value, size_t value_len, struct buf *out,
	struct vault_swap *ret)
{
	const uint8_t *text = (const uint8_t *)value;
	struct vault_watch watch = {0};
	struct vault_swap swap = {0};
	int err = 0;

	if (!vault_header_ok(header_name, name_len))
		allowed = 0;
	/* In whatever form they stand: what is used is taken out below. */
	swap.stray = vault_watch(v, &watch, text, value_len);
	if (name_len == 13 && strncasecmp(header_name, "authorization", 13) == 0)
		err = swap_basic(v, allowed, text, value_len, out, &swap);
	if (err < 0)
		return err;
	if (err == 0)
		err = swap_plain(v, allowed, text, value_len, out, &swap);
	if (err < 0)
		return err;
	swap.stray &= ~swap.used;
	*ret = swap;
	return 0;
}
