/*
 * Growable byte queue with a hard maximum: append at the end, consume at the front. Consuming
 * moves an offset; space in front is reclaimed when room is needed. Growth past the maximum is
 * refused with -ENOBUFS, so that no peer can make a process grow without bound.
 *
 * A queue that may hold a secret has `wipe` set (before the first byte): bytes are overwritten as
 * soon as they are consumed, moved or freed.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define auto_buf __attribute__((cleanup(buf_done)))

struct buf {
	uint8_t *base; /* allocation, or NULL */
	size_t start;  /* first readable byte, relative to base */
	size_t len;    /* readable bytes */
	size_t cap;    /* size of the allocation */
	size_t max;    /* hard maximum of len */
	bool wipe;     /* set by the owner; buf_init() clears it */
};

/* An empty queue that may hold up to max bytes. Allocates nothing yet. */
void buf_init(struct buf *b, size_t max);
/* Frees the storage and leaves an empty queue with the same maximum. Accepts a zeroed struct. */
void buf_done(struct buf *b);

static inline uint8_t *buf_data(const struct buf *b)
{
	return b->start == 0 ? b->base : b->base + b->start; /* no arithmetic on NULL */
}

/* Makes room for at least n more bytes and returns the place to write them, or NULL when the
 * maximum or the memory does not allow it. *ret_room (may be NULL) is the room there is. */
uint8_t *buf_reserve(struct buf *b, size_t n, size_t *ret_room);
/* Declares n bytes written into reserved room. */
void buf_commit(struct buf *b, size_t n);
/* Drops n (<= len) bytes from the front. An empty queue keeps a small allocation only. */
void buf_consume(struct buf *b, size_t n);
/* Drops everything. */
void buf_clear(struct buf *b);

/* Frees what emptied queues of this thread have left for reuse (a few MiB at most). The loop calls
 * it when nothing happens. */
void buf_trim(void);

/* All append calls: 0, or -ENOBUFS with the queue unchanged. */
int buf_append(struct buf *b, const void *data, size_t len);
int buf_append_str(struct buf *b, const char *s);
int buf_append_byte(struct buf *b, uint8_t c);
int buf_append_u16le(struct buf *b, uint16_t v);
int buf_append_u32le(struct buf *b, uint32_t v);
int buf_append_u64le(struct buf *b, uint64_t v);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Little-endian loads from unaligned memory. */
static inline uint16_t load_u16le(const uint8_t *p)
{
	return (uint16_t)(p[0] | (uint16_t)p[1] << 8);
}
static inline uint32_t load_u32le(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t load_u64le(const uint8_t *p)
{
	return (uint64_t)load_u32le(p) | (uint64_t)load_u32le(p + 4) << 32;
}
static inline void store_u16le(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}
static inline void store_u32le(uint8_t *p, uint32_t v)
{
	store_u16le(p, (uint16_t)v);
	store_u16le(p + 2, (uint16_t)(v >> 16));
}
static inline void store_u64le(uint8_t *p, uint64_t v)
{
	store_u32le(p, (uint32_t)v);
	store_u32le(p + 4, (uint32_t)(v >> 32));
}
