/*
 * Bodies. A chunked one is SIZE -> [EXTENSION] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 * ...; a chunk of size 0 leads to TRAILER_START -> TRAILER_NAME -> TRAILER_VALUE -> TRAILER_LF ->
 * TRAILER_START ... -> LAST_LF -> done. Only DATA is not handled byte by byte.
 */
#include <errno.h>
#include <string.h>

#include "wire/http1_answer.h"
#include "wire/http1_priv.h"

/* Bytes of one size line with its extensions, and of all trailers. */
#define SIZE_LINE_MAX 256
#define TRAILERS_MAX 8192
#define SIZE_DIGITS_MAX 15

enum state {
	SIZE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_START,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	LAST_LF,
};

static void init(struct http1_body_reader *r, enum http1_body kind, uint64_t length)
{
	*r = (struct http1_body_reader){.kind = kind, .state = SIZE};
	if (kind == HTTP1_BODY_LENGTH)
		r->left = length;
	else if (kind == HTTP1_BODY_CLOSE)
		r->left = UINT64_MAX;
	r->done = kind != HTTP1_BODY_CHUNKED && r->left == 0;
}

void http1_body_init(struct http1_body_reader *r, const struct http1_request *req)
{
	init(r, req->body, req->content_length);
}

void http1_body_init_answer(struct http1_body_reader *r, const struct http1_answer *answer)
{
	init(r, answer->body, answer->content_length);
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next state when c is what the state wants, else -EBADMSG. */
static int want(uint8_t c, uint8_t wanted, enum state next)
{
	return c == wanted ? (int)next : -EBADMSG;
}

static int size_byte(struct http1_body_reader *r, uint8_t c)
{
	int digit = hex_value(c);

	if (digit >= 0) {
		if (r->line_len > SIZE_DIGITS_MAX)
			return -EBADMSG;
		r->left = r->left << 4 | (unsigned)digit;
		return SIZE;
	}
	if (r->line_len == 1)
		return -EBADMSG;
	return c == ';' ? EXTENSION : want(c, '\r', SIZE_LF);
}

static int trailer_start(uint8_t c)
{
	if (c == '\r')
		return LAST_LF;
	return http1_is(c, HTTP1_TOKEN) ? TRAILER_NAME : -EBADMSG;
}

static int trailer_name(uint8_t c)
{
	if (c == ':')
		return TRAILER_VALUE;
	return http1_is(c, HTTP1_TOKEN) ? TRAILER_NAME : -EBADMSG;
}

/* Anything up to the CR of a line, as long as it is text. */
static int text_byte(uint8_t c, enum state same, enum state next)
{
	if (http1_is(c, HTTP1_VALUE))
		return (int)same;
	return want(c, '\r', next);
}

static int framing_byte(struct http1_body_reader *r, uint8_t c)
{
	switch ((enum state)r->state) {
	case SIZE:
		return size_byte(r, c);
	case EXTENSION:
		return text_byte(c, EXTENSION, SIZE_LF);
	case SIZE_LF:
		return want(c, '\n', r->left > 0 ? DATA : TRAILER_START);
	case DATA_CR:
		return want(c, '\r', DATA_LF);
	case DATA_LF:
		return want(c, '\n', SIZE);
	case TRAILER_START:
		return trailer_start(c);
	case TRAILER_NAME:
		return trailer_name(c);
	case TRAILER_VALUE:
		return text_byte(c, TRAILER_VALUE, TRAILER_LF);
	case TRAILER_LF:
		return want(c, '\n', TRAILER_START);
	case LAST_LF:
		r->done = c == '\n';
		return want(c, '\n', LAST_LF);
	case DATA:
		break;
	}
	return -EBADMSG;
}

/* Consumes framing up to the next payload byte or the end. */
static int read_framing(struct http1_body_reader *r, const uint8_t *data, size_t len, size_t *used)
{
	while (*used < len && !r->done && r->state != DATA) {
		size_t max = r->state >= TRAILER_START ? TRAILERS_MAX : SIZE_LINE_MAX;
		int next;

		if (++r->line_len > max)
			return -EBADMSG;
		next = framing_byte(r, data[(*used)++]);
		if (next < 0)
			return next;
		/* Each size line is counted anew, the trailers together. */
		if (next != r->state &&
			(next == SIZE || (next == TRAILER_START && r->state == SIZE_LF)))
			r->line_len = 0;
		r->state = next;
	}
	return 0;
}

int http1_body_read(struct http1_body_reader *r, const uint8_t *data, size_t len, size_t *ret_used,
	const uint8_t **ret_payload, size_t *ret_payload_len)
{
	bool chunked = r->kind == HTTP1_BODY_CHUNKED;
	size_t used = 0;
	size_t n = 0;
	int err;

	if (chunked) {
		err = read_framing(r, data, len, &used);
		if (err < 0)
			return err;
	}
	if (!r->done && (!chunked || r->state == DATA)) {
		n = r->left < len - used ? (size_t)r->left : len - used;
		if (r->kind != HTTP1_BODY_CLOSE)
			r->left -= n;
		if (r->left == 0 && chunked) {
			r->state = DATA_CR;
			r->line_len = 0;
		}
		r->done = r->left == 0 && !chunked;
	}
	*ret_payload = data + used;
	*ret_payload_len = n;
	*ret_used = used + n;
	return 0;
}
