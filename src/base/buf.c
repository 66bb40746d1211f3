#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define CAP_MIN 256
/* What an empty queue may keep: an idle connection should cost next to nothing. */
#define CAP_KEEP 2048

/*
 * Busy queues go empty and full again thousands of times a second, and idle ones must hold no
 * memory. So the blocks of emptied queues are kept aside, a few per size, until buf_trim(): reuse
 * costs a push and a pop, and the pages are still there. (musl maps and unmaps a large block each
 * time, which takes two thirds of the throughput of a stream.) Under ASan blocks go straight back,
 * to keep its checks sharp.
 */
#define CACHE_SHIFT_MIN 14 /* 16 KiB */
#define CACHE_SHIFT_MAX 21 /* 2 MiB */
#define CACHE_ROWS (CACHE_SHIFT_MAX - CACHE_SHIFT_MIN + 1)
#define CACHE_PER_SIZE 2
#define CACHE_BYTES_MAX (4 * 1024 * 1024)

#if defined(__SANITIZE_ADDRESS__)
#define CACHE_ENABLED false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CACHE_ENABLED false
#endif
#endif
#ifndef CACHE_ENABLED
#define CACHE_ENABLED true
#endif

static _Thread_local struct {
	void *blocks[CACHE_ROWS][CACHE_PER_SIZE];
	unsigned counts[CACHE_ROWS];
	size_t bytes;
} cache;

/* Index of the cache row for blocks of cap bytes, or -1. cap is a power of two. */
static int cache_row(size_t cap)
{
	if (!CACHE_ENABLED || cap < (size_t)1 << CACHE_SHIFT_MIN ||
		cap > (size_t)1 << CACHE_SHIFT_MAX)
		return -1;
	return __builtin_ctzl(cap) - CACHE_SHIFT_MIN;
}

static void *block_new(size_t cap)
{
	int row = cache_row(cap);

	if (row >= 0 && cache.counts[row] > 0) {
		cache.bytes -= cap;
		return cache.blocks[row][--cache.counts[row]];
	}
	return malloc(cap);
}

static void block_free(void *block, size_t cap)
{
	int row = block != NULL ? cache_row(cap) : -1;

	if (row >= 0 && cache.counts[row] < CACHE_PER_SIZE &&
		cache.bytes + cap <= CACHE_BYTES_MAX) {
		cache.blocks[row][cache.counts[row]++] = block;
		cache.bytes += cap;
		return;
	}
	free(block);
}

void buf_trim(void)
{
	for (int row = 0; row < CACHE_ROWS; row++) {
		while (cache.counts[row] > 0)
			free(cache.blocks[row][--cache.counts[row]]);
	}
	cache.bytes = 0;
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

/* Overwrites n bytes at offset at of the block when the queue holds secrets. */
static void wipe(const struct buf *b, size_t at, size_t n)
{
	if (b->wipe && n > 0)
		mem_wipe(b->base + at, n);
}

void buf_done(struct buf *b)
{
	wipe(b, b->start, b->len);
	block_free(b->base, b->cap);
	*b = (struct buf){.max = b->max, .wipe = b->wipe};
}

/* The power of two that holds need bytes, or 0. */
static size_t cap_for(size_t need)
{
	size_t cap = CAP_MIN;

	while (cap < need) {
		if (cap > SIZE_MAX / 2)
			return 0;
		cap *= 2;
	}
	return cap;
}

static bool grow(struct buf *b, size_t need)
{
	size_t cap = cap_for(need);
	uint8_t *base;

	if (cap == 0)
		return false;
	if (cap <= b->cap)
		cap = b->cap > SIZE_MAX / 2 ? b->cap : b->cap * 2;
	if (b->start == 0 && b->base != NULL && cache_row(b->cap) < 0 && !b->wipe) {
		/* Large blocks grow by remapping pages, which no copy can beat. */
		base = realloc(b->base, cap);
		if (base == NULL)
			return false;
	} else {
		base = block_new(cap);
		if (base == NULL)
			return false;
		if (b->len > 0)
			memcpy(base, buf_data(b), b->len);
		wipe(b, b->start, b->len);
		block_free(b->base, b->cap);
	}
	b->base = base;
	b->start = 0;
	b->cap = cap;
	return true;
}

uint8_t *buf_reserve(struct buf *b, size_t n, size_t *ret_room)
{
	if (b->len > b->max || n > b->max - b->len)
		return NULL;
	if (b->base == NULL || n > b->cap - b->start - b->len) {
		size_t need = b->len + n;

		/* Moving costs at most len; having consumed a quarter of the block since the last
		 * move pays for it. A fuller block grows instead. */
		if (b->base != NULL && need <= b->cap &&
			(b->start >= b->cap / 4 || b->start >= b->len)) {
			size_t end = b->start + b->len;

			memmove(b->base, buf_data(b), b->len);
			b->start = 0;
			wipe(b, b->len, end - b->len);
		} else if (!grow(b, need)) {
			return NULL;
		}
	}
	if (ret_room != NULL) {
		size_t room = b->cap - b->start - b->len;

		*ret_room = room < b->max - b->len ? room : b->max - b->len;
	}
	return b->base + b->start + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->start - b->len);
	assert(n <= b->max - b->len);
	b->len += n;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	wipe(b, b->start, n);
	b->len -= n;
	if (b->len > 0) {
		b->start += n;
		return;
	}
	b->start = 0;
	if (b->cap > CAP_KEEP) {
		block_free(b->base, b->cap);
		b->base = NULL;
		b->cap = 0;
	}
}

void buf_clear(struct buf *b)
{
	buf_consume(b, b->len);
}

int buf_append(struct buf *b, const void *data, size_t len)
{
	if (len == 0)
		return 0;
	uint8_t *p = buf_reserve(b, len, NULL);
	if (p == NULL)
		return -ENOBUFS;
	memcpy(p, data, len);
	b->len += len;
	return 0;
}

int buf_append_str(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_append_byte(struct buf *b, uint8_t c)
{
	return buf_append(b, &c, 1);
}

int buf_append_u16le(struct buf *b, uint16_t v)
{
	uint8_t raw[2];

	store_u16le(raw, v);
	return buf_append(b, raw, sizeof(raw));
}

int buf_append_u32le(struct buf *b, uint32_t v)
{
	uint8_t raw[4];

	store_u32le(raw, v);
	return buf_append(b, raw, sizeof(raw));
}

int buf_append_u64le(struct buf *b, uint64_t v)
{
	uint8_t raw[8];

	store_u64le(raw, v);
	return buf_append(b, raw, sizeof(raw));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	char small[256];
	va_list again;

	va_copy(again, ap);
	int n = vsnprintf(small, sizeof(small), fmt, ap);
	int r = n < 0 ? -ENOBUFS : 0;
	if (r == 0 && (size_t)n < sizeof(small)) {
		r = buf_append(b, small, (size_t)n);
	} else if (r == 0) {
		/* vsnprintf() also writes a NUL, for which the maximum may leave no room. */
		char *text = b->len <= b->max && (size_t)n <= b->max - b->len
				     ? malloc((size_t)n + 1)
				     : NULL;
		r = -ENOBUFS;
		if (text != NULL) {
			vsnprintf(text, (size_t)n + 1, fmt, again);
			r = buf_append(b, text, (size_t)n);
			free(text);
		}
	}
	va_end(again);
	return r;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}
