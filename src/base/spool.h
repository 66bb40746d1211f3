/*
 * FIFO of bytes that spills to an unlinked file when it grows past what memory may hold. Used
 * where a peer must be read although the other side cannot take the bytes yet (a client may send
 * all of a program's input before it takes any of its output). Disk I/O is blocking but goes to
 * the page cache.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

struct spool {
	struct buf head;   /* next bytes to read */
	struct buf tail;   /* newest bytes, not yet written to the file */
	int dir_fd;        /* where the file is made (O_TMPFILE); borrowed; -1: memory only */
	int fd;            /* the file, or -1 */
	uint64_t file_pos; /* next byte of the file to read */
	uint64_t file_end; /* bytes written to the file */
	size_t mem_max;    /* bytes kept in each of head and tail */
	uint64_t max;      /* bytes in all */
	uint64_t len;      /* bytes in all, now */
};

/* dir_fd is borrowed and must outlive the spool. Holds up to max bytes, about 2 * mem_max of them
 * in memory. */
void spool_init(struct spool *s, int dir_fd, size_t mem_max, uint64_t max);
/* Frees memory and file. Accepts a zeroed or finished struct. */
void spool_done(struct spool *s);

static inline uint64_t spool_len(const struct spool *s)
{
	return s->len;
}

/* Appends. 0; -ENOBUFS when max would be exceeded (nothing stored); or the error of the file
 * system (-ENOSPC, -EIO, ...; the spool is then only good for spool_done()). */
int spool_push(struct spool *s, const void *data, size_t len);
/* The next contiguous bytes: *ret_data is valid until the next call on the spool. Returns how many
 * (0: empty) or a negative errno of reading back. */
ssize_t spool_peek(struct spool *s, const uint8_t **ret_data);
/* Drops n bytes (<= what the last spool_peek() returned). */
void spool_consume(struct spool *s, size_t n);
