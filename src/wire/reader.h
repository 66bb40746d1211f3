/*
 * A cursor over bytes from outside, numbers in network order. Reading past the end gives zeros and
 * NULL and marks the reader as bad, for good: a parser reads all it needs and asks once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
	const uint8_t *data; /* next byte */
	size_t left;
	bool bad;
};

/* The next n bytes; NULL when there are fewer. */
static inline const uint8_t *reader_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = r->data;

	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	r->left -= n;
	if (n > 0)
		r->data += n;
	return p;
}

static inline uint8_t reader_u8(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 1);

	return p ? p[0] : 0;
}

static inline uint16_t reader_u16(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t reader_u24(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 3);

	return p ? (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2] : 0;
}

/* A reader of the next n bytes, bad when there are fewer. */
static inline struct reader reader_part(struct reader *r, size_t n)
{
	const uint8_t *p = reader_bytes(r, n);

	return (struct reader){.data = p, .left = p ? n : 0, .bad = r->bad};
}

/* Everything was read, and nothing was missing. */
static inline bool reader_at_end(const struct reader *r)
{
	return !r->bad && r->left == 0;
}
