/*
 * A stream lives until both of its halves are closed. As long as it is not detached, what comes
 * from one side goes to the other, ends and resets included; when it is detached (refused, cut off,
 * reset), each half ends by itself and what still comes in is dropped, its window given back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/http2_priv.h"

#define REFUSAL_BODY_MAX 4096
/* A frame of it fills a record of TLS; one more byte would take a second record. */
#define DATA_MAX ((size_t)16384 - 9)
/* What scrubbing may add to the answer's lead: a slice, and what a scrubber has held back. */
#define DOWN_MAX (HTTP2_ANSWER_AHEAD + 1024 * 1024)

/* --- pipes ---------------------------------------------------------------------------------- */

static void pipe_done(struct http2_pipe *p)
{
	buf_done(&p->data);
	if (p->trailers != NULL)
		http2_fields_done(p->trailers);
	free(take_ptr(p->trailers));
}

static void send_trailers(struct http2_pipe *p, nghttp2_session *session, int32_t id)
{
	nghttp2_nv *nva = http2_fields_nva(p->trailers);

	if (nghttp2_submit_trailer(session, id, nva, p->trailers->count) != 0)
		(void)nghttp2_submit_rst_stream(
			session, NGHTTP2_FLAG_NONE, id, NGHTTP2_INTERNAL_ERROR);
	free(nva);
	http2_fields_done(p->trailers);
	free(take_ptr(p->trailers));
}

ssize_t http2_pipe_read(struct http2_pipe *p, nghttp2_session *session, int32_t id, uint8_t *out,
	size_t max, uint32_t *flags)
{
	size_t n = p->data.len < max ? p->data.len : max;

	if (n > DATA_MAX)
		n = DATA_MAX;
	if (n > 0) {
		memcpy(out, buf_data(&p->data), n);
		buf_consume(&p->data, n);
	}
	if (p->data.len == 0 && p->ended) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (p->trailers != NULL) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			send_trailers(p, session, id);
		}
	} else if (n == 0) {
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

/* --- life ----------------------------------------------------------------------------------- */

struct http2_stream *http2_stream_new(struct http2_flow *f, int32_t client_id)
{
	struct http2_stream *s = mem_new(struct http2_stream);

	s->flow = f;
	s->client_id = client_id;
	s->client_open = true;
	list_init(&s->work);
	buf_init(&s->up.data, HTTP2_STREAM_WINDOW);
	buf_init(&s->raw, HTTP2_STREAM_WINDOW);
	buf_init(&s->down.data, DOWN_MAX);
	list_push_back(&f->streams, &s->node);
	f->stream_count++;
	return s;
}

/* The bytes of a buffer that nobody will take: room in the window of the side they came from. */
static void give_back(struct http2_side *from, int32_t id, struct buf *b)
{
	if (b->len > 0 && from->session != NULL)
		(void)nghttp2_session_consume(from->session, id, b->len);
	buf_done(b);
}

static void drop_up(struct http2_stream *s)
{
	give_back(&s->flow->client, s->client_id, &s->up.data);
	pipe_done(&s->up);
}

static void drop_raw(struct http2_stream *s)
{
	give_back(&s->flow->upstream, s->upstream_id, &s->raw);
	scrub_free(take_ptr(s->scrub));
	decode_free(take_ptr(s->decode));
	list_del(&s->work);
}

void http2_stream_free(struct http2_stream *s)
{
	drop_up(s);
	drop_raw(s);
	pipe_done(&s->down);
	list_del(&s->node);
	s->flow->stream_count--;
	free(s);
}

/* --- ends ----------------------------------------------------------------------------------- */

static void reset_client(struct http2_stream *s, uint32_t code)
{
	if (s->client_open && s->flow->client.session != NULL)
		(void)nghttp2_submit_rst_stream(
			s->flow->client.session, NGHTTP2_FLAG_NONE, s->client_id, code);
}

static void detach(struct http2_stream *s, uint32_t upstream_code)
{
	if (s->detached)
		return;
	s->detached = true;
	drop_up(s);
	drop_raw(s);
	if (s->upstream_open && s->flow->upstream.session != NULL)
		(void)nghttp2_submit_rst_stream(s->flow->upstream.session, NGHTTP2_FLAG_NONE,
			s->upstream_id, upstream_code);
}

void http2_stream_cut(struct http2_stream *s, uint32_t client_code, uint32_t upstream_code)
{
	detach(s, upstream_code);
	buf_done(&s->down.data);
	reset_client(s, client_code);
}

/* After the answer: a client that still sends is told to stop. */
static void reset_after_answer(struct http2_stream *s, uint32_t code)
{
	if (s->up.ended)
		return;
	s->reset_later = true;
	s->reset_code = code;
	if (s->delivered)
		reset_client(s, code);
}

void http2_stream_delivered(struct http2_stream *s)
{
	s->delivered = true;
	if (s->reset_later)
		reset_client(s, s->reset_code);
}

void http2_stream_client_closed(struct http2_stream *s, uint32_t code)
{
	s->client_open = false;
	if (!s->upstream_open) {
		http2_stream_free(s);
		return;
	}
	/* A host that has answered before it had the whole request still gets the rest. */
	if (code != NGHTTP2_NO_ERROR || s->client_reset)
		detach(s, code);
}

void http2_stream_upstream_closed(struct http2_stream *s, uint32_t code, bool lost)
{
	s->upstream_open = false;
	if (!s->client_open) {
		http2_stream_free(s);
		return;
	}
	if (s->detached)
		return;
	drop_up(s);
	if (s->whole) {
		reset_after_answer(s, lost ? NGHTTP2_NO_ERROR : code);
		return;
	}
	if (lost && !s->sent)
		code = NGHTTP2_REFUSED_STREAM;
	if (s->upstream_reset || code == NGHTTP2_REFUSED_STREAM)
		http2_stream_cut(s, code, code);
	else
		http2_stream_refuse(s, EXCHANGE_BAD_ANSWER,
			lost ? "the connection to the host has ended before its answer was whole"
			     : "the host's answer is not valid HTTP/2");
}

/* --- the gate's own answers ----------------------------------------------------------------- */

static ssize_t read_down(nghttp2_session *session, int32_t id, uint8_t *out, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct http2_stream *s = source->ptr;
	ssize_t n = http2_pipe_read(&s->down, session, id, out, max, flags);

	(void)data;
	if (n > 0 && !s->detached && !s->down.ended && list_empty(&s->work))
		list_push_back(&s->flow->work, &s->work);
	return n;
}

nghttp2_data_provider http2_stream_down_source(struct http2_stream *s)
{
	return (nghttp2_data_provider){.source.ptr = s, .read_callback = read_down};
}

static int answer(struct http2_stream *s, enum exchange_refusal what, const char *detail)
{
	nghttp2_data_provider source = http2_stream_down_source(s);
	struct http2_fields fields;
	char status[16];
	char length[24];

	exchange_refusal_body(&s->flow->x.params, what, detail, &s->down.data);
	snprintf(status, sizeof(status), "%d", exchange_refusal_status(what));
	snprintf(length, sizeof(length), "%zu", s->down.data.len);
	http2_fields_init(&fields, REFUSAL_BODY_MAX);
	(void)http2_fields_add_str(&fields, ":status", status);
	(void)http2_fields_add_str(&fields, "content-type", "application/json");
	(void)http2_fields_add_str(&fields, "content-length", length);
	(void)http2_fields_add_str(&fields, "cache-control", "no-store");
	nghttp2_nv *nva = http2_fields_nva(&fields);
	int r = nghttp2_submit_response(
		s->flow->client.session, s->client_id, nva, fields.count, s->head ? NULL : &source);
	free(nva);
	http2_fields_done(&fields);
	return r;
}

void http2_stream_refuse(struct http2_stream *s, enum exchange_refusal what, const char *detail)
{
	struct exchange *x = &s->flow->x;

	if (s->answered || !s->client_open || s->flow->client.session == NULL) {
		http2_stream_cut(s, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL);
	} else {
		detach(s, NGHTTP2_CANCEL);
		s->answered = true;
		s->down.ended = true;
		if (answer(s, what, detail) != 0)
			reset_client(s, NGHTTP2_INTERNAL_ERROR);
		else
			reset_after_answer(s, NGHTTP2_NO_ERROR);
	}
	x->params.ops->on_refused(x, what, detail);
}
