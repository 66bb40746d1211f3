/* Answers: parsed, decoded, scrubbed, written anew. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/http1_flow_priv.h"

#define INTERIMS_MAX 16
#define ENCODING_MAX 256

void http1_answer_clear(struct http1_flow *f)
{
	scrub_free(f->scrub);
	f->scrub = NULL;
	decode_free(f->decode);
	f->decode = NULL;
	f->decoding = false;
	f->scrubbed = 0;
	buf_clear(&f->encoded);
}

static struct http1_fields fields_of(const struct http1_answer *a)
{
	return (struct http1_fields){a->headers, a->header_count};
}

/* --- writing the head ------------------------------------------------------------------------- */

/* Header names and values are views into the leg's buffer, which is ours to write to. */
static struct http1_view scrubbed(struct http1_flow *f, struct http1_view v)
{
	if (f->x.params.scrub && v.len > 0)
		http1_flow_scrubbed(
			f, scrub_text(f->x.params.scrub, (uint8_t *)(uintptr_t)v.data, v.len));
	return v;
}

static int put_head(struct http1_flow *f, const struct http1_answer *a, struct buf *out)
{
	int r = http1_put_status_line(out, a->status, scrubbed(f, a->reason));

	for (size_t i = 0; i < a->header_count && r == 0; i++) {
		const struct http1_header *h = &a->headers[i];

		if (http1_flow_hop_header(fields_of(a), h->name) ||
			(f->decode && http1_view_caseeq(&h->name, "content-encoding")))
			continue;
		r = http1_put_field(out, scrubbed(f, h->name), scrubbed(f, h->value));
	}
	return r;
}

static int put_framing(struct http1_flow *f, const struct http1_answer *a, struct buf *out)
{
	int r = 0;

	if (f->out == HTTP1_BODY_LENGTH ||
		(f->out == HTTP1_BODY_NONE && a->has_length && a->status != 204))
		r = buf_printf(
			out, "Content-Length: %llu\r\n", (unsigned long long)a->content_length);
	else if (f->out == HTTP1_BODY_CHUNKED)
		r = http1_put_header(out, "Transfer-Encoding", "chunked");
	if (r == 0 && !f->keep)
		r = http1_put_header(out, "Connection", "close");
	else if (r == 0 && f->old)
		r = http1_put_header(out, "Connection", "keep-alive");
	return r;
}

static void send_head(struct http1_flow *f, const struct http1_answer *a)
{
	auto_buf struct buf out;
	int r;

	buf_init(&out, HTTP1_HEAD_OUT_MAX);
	r = put_head(f, a, &out);
	if (r == 0 && a->status == 101)
		r = buf_append_str(&out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
	else if (r == 0 && a->status >= 200)
		r = put_framing(f, a, &out);
	if (r == 0)
		r = http1_put_end(&out);
	/* What was read by the rules can be written by them, and is not longer. */
	if (r < 0)
		f->lost = r;
	else
		http1_flow_send_down(f, buf_data(&out), out.len);
}

/* --- what kind of answer it is ---------------------------------------------------------------- */

/* All Content-Encoding headers as one list; -ENOTSUP when that is too long. */
static int join_encodings(const struct http1_answer *a, struct buf *ret)
{
	for (size_t i = 0; i < a->header_count; i++) {
		const struct http1_header *h = &a->headers[i];

		if (!http1_view_caseeq(&h->name, "content-encoding") || h->value.len == 0)
			continue;
		if ((ret->len > 0 && buf_append_str(ret, ", ") < 0) ||
			buf_append(ret, h->value.data, h->value.len) < 0)
			return -ENOTSUP;
	}
	return 0;
}

/* Prepares for the body. False: it cannot be scrubbed, and the answer has failed. */
static bool prepare_scrub(struct http1_flow *f, const struct http1_answer *a)
{
	bool empty = a->body == HTTP1_BODY_NONE ||
		     (a->body == HTTP1_BODY_LENGTH && a->content_length == 0);
	auto_buf struct buf list;
	int r;

	buf_init(&list, ENCODING_MAX);
	if (!f->x.params.scrub || empty)
		return true;
	r = join_encodings(a, &list);
	if (r == 0)
		r = decode_new((char *)buf_data(&list), list.len, &f->decode);
	if (r == 0 && f->decode && a->status == 206)
		r = -ENOTSUP;
	if (r < 0) {
		http1_flow_fail(f, EXCHANGE_ENCODING,
			"the answer's encoding cannot be undone, so no secret could be taken out "
			"of it");
		return false;
	}
	f->scrub = scrub_new(f->x.params.scrub);
	return true;
}

static enum http1_body framing_out(const struct http1_flow *f, const struct http1_answer *a)
{
	if (a->body == HTTP1_BODY_NONE || (a->body == HTTP1_BODY_LENGTH && !f->decode))
		return a->body;
	return f->old ? HTTP1_BODY_CLOSE : HTTP1_BODY_CHUNKED;
}

static void take_final(struct http1_flow *f, const struct http1_answer *a)
{
	if (!prepare_scrub(f, a))
		return;
	f->out = framing_out(f, a);
	f->keep = f->keep && a->keep_alive && f->out != HTTP1_BODY_CLOSE &&
		  f->request == HTTP1_REQUEST_DONE;
	f->begun = true;
	send_head(f, a);
	http1_body_init_answer(&f->down, a);
	f->answer = HTTP1_ANSWER_BODY;
}

static void take_upgrade(struct http1_flow *f, const struct http1_answer *a)
{
	if (!f->upgrade || !a->upgrade_websocket) {
		http1_flow_fail(f, EXCHANGE_BAD_ANSWER,
			"the host switches to a protocol that was not asked for");
		return;
	}
	/* None was offered, and the frames could not be read. */
	if (f->x.params.scrub && http1_field(fields_of(a), "sec-websocket-extensions")) {
		http1_flow_fail(f, EXCHANGE_ENCODING,
			"the host uses a WebSocket extension that was not offered");
		return;
	}
	f->begun = true;
	send_head(f, a);
	http1_tunnel_start(f);
}

static void take_interim(struct http1_flow *f, const struct http1_answer *a)
{
	if (++f->interims > INTERIMS_MAX)
		http1_flow_fail(
			f, EXCHANGE_BAD_ANSWER, "the host sends interim answers without end");
	else if (!f->old)
		send_head(f, a);
}

/* The host has closed the connection, and an answer, or the rest of its head, is missing. */
static bool answer_missing(struct http1_flow *f)
{
	bool nothing = leg_in(f->upstream)->len == 0 && f->interims == 0;

	/* A connection that the host gave up while it was idle: the client sees what it would have
	 * seen without us, and may send its request again over another one. */
	if (nothing && f->x.requests > 1)
		http1_flow_close(f, 0);
	else
		http1_flow_fail(f, EXCHANGE_BAD_ANSWER,
			nothing ? "the host has closed the connection without an answer"
				: "the host has closed the connection in the middle of an answer");
	return true;
}

static bool read_head(struct http1_flow *f)
{
	static struct http1_answer a;
	struct buf *in = leg_in(f->upstream);
	struct http1_view method = {f->method, strlen(f->method)};
	const char *reason = NULL;
	ssize_t n = -EAGAIN;

	if (in->len > 0 && http1_flow_head_grew(in, &f->answer_seen, HTTP1_ANSWER_HEAD_MAX))
		n = http1_parse_answer_head(
			buf_data(in), in->len, HTTP1_ANSWER_HEAD_MAX, method, &a, &reason);
	if (n == -EAGAIN)
		return f->upstream_closed && answer_missing(f);
	if (n < 0) {
		http1_flow_fail(f, EXCHANGE_BAD_ANSWER, reason);
		return true;
	}
	f->answer_seen = 0;
	/* The host's own password for the proxy is wrong: nothing a program inside could mend. */
	if (a.status == 407 && f->x.params.absolute_form)
		http1_flow_fail(f, EXCHANGE_PROXY, "the upstream proxy refused the request");
	else if (a.status >= 200)
		take_final(f, &a);
	else if (a.status == 101)
		take_upgrade(f, &a);
	else
		take_interim(f, &a);
	/* Unless that has ended the flow, and the leg has dropped what it held. */
	if (f->phase == HTTP1_EXCHANGING || f->phase == HTTP1_TUNNEL)
		buf_consume(in, (size_t)n);
	return true;
}

/* --- bodies ----------------------------------------------------------------------------------- */

static void put_body(struct http1_flow *f, const uint8_t *data, size_t len)
{
	if (f->out != HTTP1_BODY_CHUNKED) {
		http1_flow_send_down(f, data, len);
		return;
	}
	/* The maxima fit: a chunk is at most what f->work holds. */
	(void)http1_put_chunk(&f->chunk, data, len);
	http1_flow_send_down(f, buf_data(&f->chunk), f->chunk.len);
	buf_clear(&f->chunk);
}

/* A decoded piece; end: and the last one. */
static int pass(struct http1_flow *f, const uint8_t *data, size_t len, bool end)
{
	int r = 0;

	if (!f->scrub) {
		put_body(f, data, len);
		return 0;
	}
	if (len > 0)
		r = scrub_feed(f->scrub, data, len, &f->work);
	if (r == 0 && end)
		r = scrub_finish(f->scrub, &f->work);
	http1_flow_scrubbed(f, scrub_found(f->scrub));
	put_body(f, buf_data(&f->work), f->work.len);
	buf_clear(&f->work);
	return r;
}

/* Lets the decoder take from what has come. */
static int decode_some(struct http1_flow *f)
{
	auto_buf struct buf plain;
	size_t used = 0;
	int r;

	buf_init(&plain, (size_t)1024 * 1024);
	r = decode_feed(
		f->decode, buf_data(&f->encoded), f->encoded.len, HTTP1_PIECE, &plain, &used);
	if (r < 0)
		return r;
	if (used == 0 && plain.len == 0 && f->encoded.len > 0)
		return -EBADMSG;
	buf_consume(&f->encoded, used);
	f->decoding = plain.len > 0;
	return pass(f, buf_data(&plain), plain.len, false);
}

/* All of the body is here. */
static int finish(struct http1_flow *f)
{
	int r = f->decode ? decode_finish(f->decode) : 0;

	if (r == 0)
		r = pass(f, NULL, 0, true);
	if (r < 0)
		return r;
	if (f->out == HTTP1_BODY_CHUNKED)
		http1_flow_send_down(f, "0\r\n\r\n", 5);
	f->answer = HTTP1_ANSWER_DONE;
	http1_answer_clear(f);
	return 0;
}

static int read_some(struct http1_flow *f, struct buf *in)
{
	size_t n = in->len < HTTP1_PIECE ? in->len : HTTP1_PIECE;
	const uint8_t *payload;
	size_t used;
	int r = http1_body_read(&f->down, buf_data(in), n, &used, &payload, &n);

	if (r == 0 && f->decode)
		r = buf_append(&f->encoded, payload, n);
	else if (r == 0)
		r = pass(f, payload, n, false);
	if (r == 0)
		buf_consume(in, used);
	return r;
}

/* The connection has ended, and its bytes are used up. */
static int end_of_connection(struct http1_flow *f)
{
	/* Only an end that the host has vouched for is the end of the body. */
	if (f->down.kind == HTTP1_BODY_CLOSE && f->upstream_err == 0)
		return finish(f);
	return f->upstream_err < 0 ? f->upstream_err : -ECONNABORTED;
}

static bool read_body(struct http1_flow *f)
{
	struct buf *in = leg_in(f->upstream);
	int r;

	if (leg_congested(f->client))
		return false;
	if (f->encoded.len > 0 || f->decoding)
		r = decode_some(f);
	else if (f->down.done)
		r = finish(f);
	else if (in->len > 0)
		r = read_some(f, in);
	else if (f->upstream_closed)
		r = end_of_connection(f);
	else
		return false;
	if (r == -EBADMSG || r == -E2BIG)
		http1_flow_fail(f, EXCHANGE_BAD_ANSWER, "the answer's body is malformed");
	else if (r < 0)
		http1_flow_abort(f, r);
	return true;
}

/* --- steps ------------------------------------------------------------------------------------ */

/* Between exchanges a host has nothing to say. What it says all the same (a 408 before it closes,
 * or the answer to a request that nobody sent) is not passed on: it would answer the next one. */
static bool idle(struct http1_flow *f)
{
	if (leg_in(f->upstream)->len == 0 && !f->upstream_closed)
		return false;
	http1_flow_close(f, leg_in(f->upstream)->len > 0 ? -EBADMSG : 0);
	return true;
}

bool http1_answer_step(struct http1_flow *f)
{
	switch (f->answer) {
	case HTTP1_ANSWER_NONE:
		return idle(f);
	case HTTP1_ANSWER_HEAD:
		return read_head(f);
	case HTTP1_ANSWER_BODY:
		return read_body(f);
	case HTTP1_ANSWER_DONE:
		break;
	}
	return false;
}
