/*
 * Undoes the content encoding of an answer, so that it can be scrubbed: gzip, deflate (zlib and
 * raw), br, zstd, and lists of them ("gzip, br"), with bounds on memory and on how far a body may
 * blow up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct decode;

/* value: of Content-Encoding (NULL, "" or "identity": passes on). -ENOTSUP for an encoding that is
 * not known or more than DECODE_LAYERS_MAX of them. *ret NULL with 0 when nothing is encoded. */
#define DECODE_LAYERS_MAX 3
int decode_new(const char *value, size_t len, struct decode **ret);
void decode_free(struct decode *d);
/*
 * Decodes from data; stops when out has got max_out (> 0) more bytes, or all of data is used.
 * *ret_used is how much of data was taken: call again with the rest (and with len 0 until it
 * produces nothing, when it stopped at max_out). 0; -EBADMSG the data is not what was announced;
 * -E2BIG it blows up beyond DECODE_RATIO_MAX times its size (and DECODE_FREE_BYTES); what was
 * decoded until then is in out, and every later call fails as well. -ENOBUFS out was full before
 * (nothing is taken) or memory is short.
 */
#define DECODE_RATIO_MAX 2000
#define DECODE_FREE_BYTES (8 * 1024 * 1024)
int decode_feed(struct decode *d, const uint8_t *data, size_t len, size_t max_out, struct buf *out,
	size_t *ret_used);
/* The body has ended: 0 (also when there was none at all), or -EBADMSG when the data is cut off. */
int decode_finish(const struct decode *d);
