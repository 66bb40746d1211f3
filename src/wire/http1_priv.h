/*
 * What the readers of request and answer heads share: character classes of RFC 9110 and 9112, lines
 * and header fields, and what the fields say about the body.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/http1.h"

enum {
	HTTP1_TOKEN = 1,  /* field names, methods */
	HTTP1_TARGET = 2, /* request targets: visible ASCII without '#' */
	HTTP1_VALUE = 4,  /* field values: no control bytes but HTAB */
	HTTP1_HOST = 8,   /* host and port */
};

extern const uint8_t http1_classes[256];

static inline bool http1_is(uint8_t c, uint8_t class)
{
	return http1_classes[c] & class;
}

static inline bool http1_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline struct http1_view http1_view_between(const char *start, const char *end)
{
	return (struct http1_view){start, (size_t)(end - start)};
}

bool http1_view_all_of(struct http1_view v, uint8_t class);

/* --- heads ---------------------------------------------------------------------------------- */

struct verdict {
	int err;
	const char *reason;
};

#define FINE ((struct verdict){0, NULL})
#define WRONG(text) ((struct verdict){-EBADMSG, text})

struct http1_head {
	struct verdict (*first_line)(struct http1_view line, void *data);
	void *data;
	struct http1_header *headers; /* room for max */
	size_t max;
	size_t count;
};

/* Reads the lines of a head up to the empty one, from the start of data: *ret_len is its length
 * when verdict.err is 0; err is -EAGAIN when the empty line is not there yet, -E2BIG when it is not
 * there within max_head bytes. */
struct verdict http1_read_head(
	struct http1_head *h, const char *data, size_t len, size_t max_head, size_t *ret_len);
/* "HTTP/1.d". */
struct verdict http1_read_version(struct http1_view v, int *ret_minor);
/* What Content-Length and Transfer-Encoding say: NONE when there is neither. */
struct verdict http1_judge_body(
	struct http1_fields f, int minor, enum http1_body *ret_body, uint64_t *ret_length);
bool http1_judge_keep_alive(struct http1_fields f, int minor);
