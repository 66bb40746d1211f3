/*
 * A decoder is a row of layers, the one that was put on last in front. Each has a small buffer of
 * its own for what the layer before it has produced; a turn runs them from the last to the first,
 * so that room is made before it is needed, until nobody gets further.
 */
#include "gate/secrets/decode.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include <brotli/decode.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"

/* What lies between two layers, and what is decoded at once. */
#define BETWEEN_SIZE ((size_t)16 * 1024)
#define OUT_STEP ((size_t)64 * 1024)
/* zlib counts in 32 bits. */
#define ZLIB_LEN_MAX ((uInt)1 << 30)
/* RFC 8878 section 3.1.1.1.2: nobody has to accept a window of more than 8 MiB. */
#define ZSTD_WINDOW_LOG_MAX 23

/* Input still to be read and room still to be filled: a step moves both. */
struct span {
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len;
};

struct layer;

struct encoding {
	const char *name;
	int (*open)(struct layer *l);
	/* There is room, and input or something left from before. 0 or -EBADMSG. */
	int (*step)(struct layer *l, struct span *s);
	void (*close)(struct layer *l);
	bool many; /* what follows the end is the next part, not a mistake */
};

struct layer {
	const struct encoding *encoding;
	union {
		z_stream zlib;
		BrotliDecoderState *brotli;
		ZSTD_DCtx *zstd;
	};
	bool ready;   /* opened, has to be closed */
	bool ended;   /* the data is whole as far as it goes */
	bool drained; /* can do nothing without more input */
	uint8_t head; /* deflate: the first byte, until the second is there */
	unsigned head_len;
	uint64_t produced;
	/* Input of every layer but the first. */
	uint8_t *between;
	size_t between_start, between_len;
};

struct decode {
	struct layer layers[DECODE_LAYERS_MAX];
	size_t count;
	uint64_t consumed;
	int err; /* once wrong, always wrong */
};

/* --- gzip and deflate ------------------------------------------------------------------------- */

static int zlib_open(struct layer *l, int window_bits)
{
	l->zlib = (z_stream){0};
	if (inflateInit2(&l->zlib, window_bits) != Z_OK)
		return -ENOMEM;
	l->ready = true;
	return 0;
}

static void zlib_close(struct layer *l)
{
	inflateEnd(&l->zlib);
}

static int zlib_step(struct layer *l, struct span *s)
{
	z_stream *z = &l->zlib;
	uInt in_len = s->in_len < ZLIB_LEN_MAX ? (uInt)s->in_len : ZLIB_LEN_MAX;
	int r;

	if (l->ended && inflateReset(z) != Z_OK)
		return -EBADMSG;
	z->next_in = s->in;
	z->avail_in = in_len;
	z->next_out = s->out;
	z->avail_out = (uInt)s->out_len;
	r = inflate(z, Z_NO_FLUSH);
	s->in = z->next_in;
	s->in_len -= in_len - z->avail_in;
	s->out = z->next_out;
	s->out_len = z->avail_out;
	l->ended = r == Z_STREAM_END;
	return r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR ? 0 : -EBADMSG;
}

static int gzip_open(struct layer *l)
{
	return zlib_open(l, 16 + MAX_WBITS);
}

/* Which of the two it is, only the data tells. */
static int deflate_open(struct layer *l)
{
	(void)l;
	return 0;
}

static void deflate_close(struct layer *l)
{
	if (l->ready)
		zlib_close(l);
}

/* RFC 1950 section 2.2. What servers that mean raw deflate send never looks like it. */
static bool is_zlib_head(uint8_t first, uint8_t second)
{
	return (first & 0x0f) == Z_DEFLATED && first >> 4 <= MAX_WBITS - 8 &&
	       (first << 8 | second) % 31 == 0;
}

static int deflate_step(struct layer *l, struct span *s)
{
	if (l->head_len == 0 && s->in_len > 0) {
		l->head = *s->in++;
		s->in_len--;
		l->head_len = 1;
	}
	if (!l->ready) {
		struct span first = {.in = &l->head, .in_len = 1, .out = s->out};
		int err;

		if (s->in_len == 0)
			return 0;
		err = zlib_open(l, is_zlib_head(l->head, *s->in) ? MAX_WBITS : -MAX_WBITS);
		if (err < 0)
			return err;
		/* One byte holds no whole block: nothing can come of it yet. */
		first.out_len = s->out_len;
		err = zlib_step(l, &first);
		if (err < 0)
			return err;
		s->out = first.out;
		s->out_len = first.out_len;
	}
	return zlib_step(l, s);
}

/* --- br and zstd ------------------------------------------------------------------------------ */

static int brotli_open(struct layer *l)
{
	l->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL);
	l->ready = l->brotli != NULL;
	return l->ready ? 0 : -ENOMEM;
}

static void brotli_close(struct layer *l)
{
	BrotliDecoderDestroyInstance(l->brotli);
}

static int brotli_step(struct layer *l, struct span *s)
{
	BrotliDecoderResult r = BrotliDecoderDecompressStream(
		l->brotli, &s->in_len, &s->in, &s->out_len, &s->out, NULL);

	l->ended = r == BROTLI_DECODER_RESULT_SUCCESS;
	return r == BROTLI_DECODER_RESULT_ERROR ? -EBADMSG : 0;
}

static int zstd_open(struct layer *l)
{
	l->zstd = ZSTD_createDCtx();
	l->ready = l->zstd != NULL;
	if (!l->ready)
		return -ENOMEM;
	return ZSTD_isError(
		       ZSTD_DCtx_setParameter(l->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX))
		       ? -ENOTSUP
		       : 0;
}

static void zstd_close(struct layer *l)
{
	ZSTD_freeDCtx(l->zstd);
}

static int zstd_step(struct layer *l, struct span *s)
{
	ZSTD_inBuffer in = {.src = s->in, .size = s->in_len};
	ZSTD_outBuffer out = {.dst = s->out, .size = s->out_len};
	size_t r = ZSTD_decompressStream(l->zstd, &out, &in);

	if (ZSTD_isError(r))
		return -EBADMSG;
	s->in += in.pos;
	s->in_len -= in.pos;
	s->out += out.pos;
	s->out_len -= out.pos;
	l->ended = r == 0;
	return 0;
}

static const struct encoding encodings[] = {
	{"gzip", gzip_open, zlib_step, zlib_close, true},
	{"x-gzip", gzip_open, zlib_step, zlib_close, true},
	{"deflate", deflate_open, deflate_step, deflate_close, false},
	{"br", brotli_open, brotli_step, brotli_close, false},
	{"zstd", zstd_open, zstd_step, zstd_close, true},
};

/* --- the row of layers ------------------------------------------------------------------------ */

static const struct encoding *find_encoding(const char *name, size_t len)
{
	for (size_t i = 0; i < array_len(encodings); i++) {
		if (strlen(encodings[i].name) == len &&
			strncasecmp(encodings[i].name, name, len) == 0)
			return &encodings[i];
	}
	return NULL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Fills row with the encodings of a Content-Encoding in the order they were put on. Returns their
 * number or -ENOTSUP. */
static int parse_encodings(
	const char *value, size_t len, const struct encoding *row[DECODE_LAYERS_MAX])
{
	const char *end = value != NULL ? value + len : NULL;
	int count = 0;

	for (const char *p = value; p != NULL && p < end;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		const char *stop = comma != NULL ? comma : end;
		const char *next = comma != NULL ? comma + 1 : end;

		while (p < stop && is_blank(*p))
			p++;
		while (p < stop && is_blank(stop[-1]))
			stop--;
		if (p < stop && !(stop - p == 8 && strncasecmp(p, "identity", 8) == 0)) {
			const struct encoding *e = find_encoding(p, (size_t)(stop - p));

			if (e == NULL || count == DECODE_LAYERS_MAX)
				return -ENOTSUP;
			row[count++] = e;
		}
		p = next;
	}
	return count;
}

int decode_new(const char *value, size_t len, struct decode **ret)
{
	const struct encoding *row[DECODE_LAYERS_MAX];
	int count = parse_encodings(value, len, row);
	struct decode *d;

	if (count < 0)
		return count;
	if (count == 0) {
		*ret = NULL;
		return 0;
	}
	d = mem_new(struct decode);
	d->count = (size_t)count;
	for (size_t i = 0; i < d->count; i++) {
		struct layer *l = &d->layers[i];
		int err;

		l->encoding = row[d->count - 1 - i];
		l->drained = true;
		if (i > 0)
			l->between = mem_zalloc(BETWEEN_SIZE);
		err = l->encoding->open(l);
		if (err < 0) {
			decode_free(d);
			return err;
		}
	}
	*ret = d;
	return 0;
}

void decode_free(struct decode *d)
{
	if (d == NULL)
		return;
	for (size_t i = 0; i < d->count; i++) {
		struct layer *l = &d->layers[i];

		if (l->ready)
			l->encoding->close(l);
		if (l->between != NULL)
			mem_wipe(l->between, BETWEEN_SIZE);
		free(l->between);
	}
	free(d);
}

/* One step of a layer. Returns whether it got further, or a negative errno. */
static int run_layer(struct decode *d, struct layer *l, struct span *s)
{
	size_t in_before = s->in_len;
	size_t out_before = s->out_len;
	int err;

	if (out_before == 0 || (in_before == 0 && (l->drained || l->ended)))
		return 0;
	if (l->ended && !l->encoding->many && in_before > 0)
		return -EBADMSG;
	err = l->encoding->step(l, s);
	if (err < 0)
		return err;
	l->drained = s->in_len == 0 && s->out_len > 0;
	if (l == d->layers)
		d->consumed += in_before - s->in_len;
	l->produced += out_before - s->out_len;
	/* Of every layer: what the next one swallows without a sound costs time as well. */
	if (l->produced > DECODE_FREE_BYTES && l->produced / DECODE_RATIO_MAX > d->consumed)
		return -E2BIG;
	return s->in_len < in_before || s->out_len < out_before;
}

/* One step of layer i, whose input and output are where its place in the row says. */
static int run_place(struct decode *d, size_t i, struct span *data, struct span *out)
{
	struct layer *l = &d->layers[i];
	struct layer *next = i + 1 < d->count ? &d->layers[i + 1] : NULL;
	struct span s = *data;
	int r;

	if (i > 0) {
		s.in = l->between + l->between_start;
		s.in_len = l->between_len;
	}
	s.out = out->out;
	s.out_len = out->out_len;
	if (next != NULL) {
		/* Only an empty buffer is filled: no byte is ever moved. */
		s.out = next->between;
		s.out_len = next->between_len == 0 ? BETWEEN_SIZE : 0;
	}
	r = run_layer(d, l, &s);
	if (r <= 0)
		return r;
	if (i > 0) {
		l->between_start = (size_t)(s.in - l->between);
		l->between_len = s.in_len;
	} else {
		data->in = s.in;
		data->in_len = s.in_len;
	}
	if (next != NULL) {
		next->between_start = 0;
		next->between_len = (size_t)(s.out - next->between);
	} else {
		out->out = s.out;
		out->out_len = s.out_len;
	}
	return 1;
}

/* Runs all layers until out is full or nobody gets further. Returns whether anybody did. */
static int run_all(struct decode *d, struct span *data, struct span *out)
{
	bool any = false;
	bool again = true;

	while (again && out->out_len > 0) {
		again = false;
		for (size_t i = d->count; i-- > 0;) {
			int r = run_place(d, i, data, out);

			if (r < 0)
				return r;
			again |= r > 0;
		}
		any |= again;
	}
	return any;
}

int decode_feed(struct decode *d, const uint8_t *data, size_t len, size_t max_out, struct buf *out,
	size_t *ret_used)
{
	struct span in = {.in = data, .in_len = len};
	size_t done = 0;

	if (d->err < 0)
		return d->err;
	if (out->len >= out->max)
		return -ENOBUFS;
	while (done < max_out && out->len < out->max) {
		size_t room = out->max - out->len;
		struct span o;
		int r;

		room = room < OUT_STEP ? room : OUT_STEP;
		room = room < max_out - done ? room : max_out - done;
		o.out = buf_reserve(out, room, NULL);
		o.out_len = room;
		if (o.out == NULL) {
			d->err = -ENOBUFS;
			return d->err;
		}
		r = run_all(d, &in, &o);
		buf_commit(out, room - o.out_len);
		done += room - o.out_len;
		if (r < 0) {
			d->err = r;
			return r;
		}
		if (r == 0)
			break;
	}
	*ret_used = len - in.in_len;
	return 0;
}

int decode_finish(const struct decode *d)
{
	if (d->err < 0)
		return d->err;
	/* An empty body is what servers send for "nothing", whatever they call its encoding. */
	if (d->consumed == 0)
		return 0;
	for (size_t i = 0; i < d->count; i++) {
		if (!d->layers[i].ended || d->layers[i].between_len > 0)
			return -EBADMSG;
	}
	return 0;
}
