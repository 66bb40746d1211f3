/*
 * Answers on their way to the program. Header fields are scrubbed as they come. Body bytes wait in
 * `raw`, where they count in the host's window, until the program's side has room; then they are
 * decoded (when there is something to scrub), scrubbed, and wait in `down` for nghttp2 to send.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/http2_priv.h"

#define SLICE ((size_t)16 * 1024)
/* decode_feed() may go over its aim by a block of its own. */
#define PLAIN_MAX ((size_t)1024 * 1024)
#define ENCODING_MAX 256

/* --- header fields -------------------------------------------------------------------------- */

static void report_scrubbed(struct http2_stream *s, uint64_t found)
{
	struct exchange *x = &s->flow->x;

	found &= ~s->scrubbed;
	s->scrubbed |= found;
	if (found != 0)
		x->params.ops->on_scrubbed(x, found);
}

/* Names too: a host may make one of what it was sent. */
static void scrub_fields(struct http2_stream *s, struct http2_fields *in)
{
	const struct scrub_set *set = s->flow->x.params.scrub;
	uint64_t found = 0;

	if (set == NULL)
		return;
	for (size_t i = 0; i < in->count; i++) {
		struct http2_text name = http2_fields_name(in, i);
		struct http2_text value = http2_fields_value(in, i);

		if (http2_text_pseudo(name))
			continue;
		found |= scrub_text(set, name.data, name.len);
		found |= scrub_text(set, value.data, value.len);
	}
	report_scrubbed(s, found);
}

/* nghttp2 has made sure of three digits. */
static unsigned read_status(const struct http2_fields *in)
{
	unsigned status = 0;

	for (size_t i = 0; i < in->count; i++) {
		struct http2_text value = http2_fields_value(in, i);

		if (!http2_text_is(http2_fields_name(in, i), ":status"))
			continue;
		for (size_t k = 0; k < value.len && k < 3; k++)
			status = status * 10 + (unsigned)(value.data[k] - '0');
	}
	return status;
}

/* The value of all Content-Encoding fields together. False: it is longer than any that is known. */
static bool read_encoding(const struct http2_fields *in, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; i < in->count && r == 0; i++) {
		struct http2_text value = http2_fields_value(in, i);

		if (!http2_text_is(http2_fields_name(in, i), "content-encoding"))
			continue;
		if (out->len > 0)
			r = buf_append(out, ", ", 2);
		if (r == 0)
			r = buf_append(out, value.data, value.len);
	}
	return r == 0;
}

/* Makes ready for the body. False: it cannot be scrubbed. */
static bool prepare_body(struct http2_stream *s, const struct http2_fields *in, unsigned status)
{
	const struct scrub_set *set = s->flow->x.params.scrub;
	auto_buf struct buf encoding;

	s->scrub = scrub_new(set);
	buf_init(&encoding, ENCODING_MAX);
	if (set == NULL)
		return true;
	if (!read_encoding(in, &encoding) ||
		decode_new((const char *)buf_data(&encoding), encoding.len, &s->decode) < 0)
		return false;
	/* A part of an encoded whole cannot be decoded. */
	return status != 206 || s->decode == NULL;
}

static bool passes(const struct http2_stream *s, struct http2_text name)
{
	return s->decode == NULL ||
	       (!http2_text_is(name, "content-encoding") && !http2_text_is(name, "content-length"));
}

/* Passes a header list on; source NULL: nothing follows, unless it is an interim one. */
static void send_head(struct http2_stream *s, const struct http2_fields *in, bool interim,
	const nghttp2_data_provider *source)
{
	nghttp2_session *session = s->flow->client.session;
	struct http2_fields out;
	int r;

	http2_fields_init(&out, HTTP2_FIELDS_MAX);
	for (size_t i = 0; i < in->count; i++) {
		if (passes(s, http2_fields_name(in, i)))
			(void)http2_fields_add(&out, http2_fields_name(in, i),
				http2_fields_value(in, i), in->items[i].flags);
	}
	nghttp2_nv *nva = http2_fields_nva(&out);
	if (interim)
		r = nghttp2_submit_headers(
			session, NGHTTP2_FLAG_NONE, s->client_id, NULL, nva, out.count, NULL);
	else
		r = nghttp2_submit_response(session, s->client_id, nva, out.count, source);
	free(nva);
	http2_fields_done(&out);
	if (r < 0)
		http2_stream_cut(s, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL);
}

static void final_head(
	struct http2_stream *s, const struct http2_fields *in, unsigned status, bool ends)
{
	nghttp2_data_provider source = http2_stream_down_source(s);
	bool empty = ends || s->head || status == 204 || status == 304;

	if (empty)
		s->scrub = scrub_new(s->flow->x.params.scrub);
	else if (!prepare_body(s, in, status)) {
		http2_stream_refuse(s, EXCHANGE_ENCODING,
			"the answer is encoded in a way in which it cannot be searched for "
			"secrets");
		return;
	}
	s->answered = true;
	send_head(s, in, false, ends ? NULL : &source);
}

void http2_answer_head(struct http2_stream *s, struct http2_fields *in, bool ends)
{
	unsigned status = read_status(in);

	if (s->detached || !s->client_open)
		return;
	if (in->overflow) {
		http2_stream_refuse(s, EXCHANGE_BAD_ANSWER, "the answer's header list is too long");
		return;
	}
	scrub_fields(s, in);
	if (status >= 200)
		final_head(s, in, status, ends);
	else if (++s->interims > HTTP2_INTERIM_MAX)
		http2_stream_refuse(s, EXCHANGE_BAD_ANSWER, "the host sends no final answer");
	else
		send_head(s, in, true, NULL);
}

/* --- bodies --------------------------------------------------------------------------------- */

static void taken(struct http2_stream *s, size_t n)
{
	if (n == 0)
		return;
	buf_consume(&s->raw, n);
	if (s->flow->upstream.session != NULL)
		(void)nghttp2_session_consume(s->flow->upstream.session, s->upstream_id, n);
}

/* Scrubs a slice of what waits. 1, 0 when there is nothing to do, or a negative errno. */
static int plain_slice(struct http2_stream *s)
{
	size_t n = s->raw.len < SLICE ? s->raw.len : SLICE;

	if (n == 0)
		return 0;
	int r = scrub_feed(s->scrub, buf_data(&s->raw), n, &s->down.data);
	if (r < 0)
		return r;
	taken(s, n);
	return 1;
}

static int encoded_slice(struct http2_stream *s)
{
	auto_buf struct buf plain;
	size_t used = 0;

	buf_init(&plain, PLAIN_MAX);
	int r = decode_feed(s->decode, buf_data(&s->raw), s->raw.len, SLICE, &plain, &used);
	if (r < 0)
		return r;
	taken(s, used);
	if (plain.len > 0)
		r = scrub_feed(s->scrub, buf_data(&plain), plain.len, &s->down.data);
	if (r < 0)
		return r;
	return used > 0 || plain.len > 0;
}

/* Everything that came has been scrubbed: what is held back can go. */
static int finish(struct http2_stream *s)
{
	int r = s->decode != NULL ? decode_finish(s->decode) : 0;

	if (r == 0)
		r = scrub_finish(s->scrub, &s->down.data);
	if (r == 0)
		s->down.ended = true;
	return r;
}

void http2_answer_advance(struct http2_stream *s)
{
	int r = 1;

	if (s->detached || s->scrub == NULL || s->down.ended)
		return;
	while (r > 0 && s->down.data.len < HTTP2_ANSWER_AHEAD)
		r = s->decode != NULL ? encoded_slice(s) : plain_slice(s);
	if (r == 0 && s->whole)
		r = finish(s);
	report_scrubbed(s, scrub_found(s->scrub));
	if (r < 0) {
		http2_stream_refuse(
			s, EXCHANGE_BAD_ANSWER, "the answer's body is not what its encoding says");
		return;
	}
	/* Fails unless the source was waiting, which is as good. */
	if (s->client_open && s->flow->client.session != NULL)
		(void)nghttp2_session_resume_data(s->flow->client.session, s->client_id);
}

void http2_answer_data(struct http2_stream *s, const uint8_t *data, size_t len)
{
	if (s->detached || !s->client_open || s->scrub == NULL) {
		(void)nghttp2_session_consume(s->flow->upstream.session, s->upstream_id, len);
		return;
	}
	if (buf_append(&s->raw, data, len) < 0) { /* the window forbids it */
		(void)nghttp2_session_consume(s->flow->upstream.session, s->upstream_id, len);
		http2_stream_cut(s, NGHTTP2_INTERNAL_ERROR, NGHTTP2_FLOW_CONTROL_ERROR);
		return;
	}
	http2_answer_advance(s);
}

void http2_answer_trailers(struct http2_stream *s, struct http2_fields *in)
{
	if (s->detached || !s->client_open)
		return;
	if (in->overflow) {
		http2_stream_refuse(s, EXCHANGE_BAD_ANSWER, "the answer's trailers are too long");
		return;
	}
	scrub_fields(s, in);
	s->down.trailers = mem_new(struct http2_fields);
	http2_fields_init(s->down.trailers, HTTP2_FIELDS_MAX);
	for (size_t i = 0; i < in->count; i++)
		(void)http2_fields_add(s->down.trailers, http2_fields_name(in, i),
			http2_fields_value(in, i), in->items[i].flags);
}

void http2_answer_end(struct http2_stream *s)
{
	s->whole = true;
	http2_answer_advance(s);
}
