/* The nghttp2 sessions: how they are set up, and what they report. Which side one is decides what
 * its frames mean; everything else is the same for both. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/http2_priv.h"

static bool is_client(const struct http2_side *side)
{
	return side == &side->flow->client;
}

static struct http2_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

/* --- floods --------------------------------------------------------------------------------- */

static const unsigned flood_max[HTTP2_FLOOD_COUNT] = {
	[HTTP2_FLOOD_RESET] = HTTP2_RESETS_MAX,
	[HTTP2_FLOOD_SETTINGS] = HTTP2_SETTINGS_MAX,
	[HTTP2_FLOOD_PING] = HTTP2_PINGS_MAX,
	[HTTP2_FLOOD_EMPTY] = HTTP2_EMPTY_MAX,
};

/* Counts a frame that costs the peer less than it costs us. */
static void count(struct http2_side *side, enum http2_flood kind)
{
	uint64_t now = loop_now(side->flow->x.params.loop);

	if (side->floods[kind].count == 0 || now - side->floods[kind].since >= HTTP2_FLOOD_NS) {
		side->floods[kind].since = now;
		side->floods[kind].count = 0;
	}
	if (++side->floods[kind].count > flood_max[kind])
		(void)nghttp2_session_terminate_session(side->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void count_frame(struct http2_side *side, const nghttp2_frame *frame)
{
	switch (frame->hd.type) {
	case NGHTTP2_RST_STREAM:
		if (is_client(side)) /* the host resets only what was asked of it */
			count(side, HTTP2_FLOOD_RESET);
		break;
	case NGHTTP2_SETTINGS:
		count(side, HTTP2_FLOOD_SETTINGS);
		break;
	case NGHTTP2_PING:
		count(side, HTTP2_FLOOD_PING);
		break;
	case NGHTTP2_DATA:
		if (frame->hd.length == 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
			count(side, HTTP2_FLOOD_EMPTY);
		break;
	default:
		break;
	}
}

/* --- header blocks -------------------------------------------------------------------------- */

static int refuse_stream(nghttp2_session *session, int32_t id)
{
	(void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct http2_side *side = data;
	struct http2_flow *f = side->flow;

	http2_fields_clear(&side->fields);
	if (!is_client(side) || frame->hd.type != NGHTTP2_HEADERS ||
		frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (f->no_new || f->closing || f->stream_count >= HTTP2_STREAMS_HELD_MAX)
		return refuse_stream(session, frame->hd.stream_id);
	struct http2_stream *s = http2_stream_new(f, frame->hd.stream_id);
	if (nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s) != 0) {
		http2_stream_free(s);
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct http2_side *side = data;

	(void)session;
	(void)frame;
	/* After one that does not fit nothing is kept: the list is refused when it has ended. */
	if (!side->fields.overflow)
		(void)http2_fields_add(&side->fields,
			(struct http2_text){(uint8_t *)(uintptr_t)name, name_len},
			(struct http2_text){(uint8_t *)(uintptr_t)value, value_len}, flags);
	return 0;
}

/* nghttp2 would leave the field out and go on: good enough for an answer, while a request with one
 * is refused. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
	const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
	void *data)
{
	struct http2_side *side = data;

	(void)session;
	(void)frame;
	(void)name;
	(void)name_len;
	(void)value;
	(void)value_len;
	(void)flags;
	side->fields.invalid = true;
	return 0;
}

static void on_head(struct http2_side *side, struct http2_stream *s, const nghttp2_frame *frame)
{
	bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

	if (is_client(side)) {
		if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
			http2_request_head(s, &side->fields, ends);
		else
			http2_request_trailers(s, &side->fields);
	} else if (s->answered) {
		http2_answer_trailers(s, &side->fields);
	} else {
		http2_answer_head(s, &side->fields, ends);
	}
	http2_fields_clear(&side->fields);
}

/* --- frames --------------------------------------------------------------------------------- */

static void on_stream_frame(
	struct http2_side *side, struct http2_stream *s, const nghttp2_frame *frame)
{
	bool client = is_client(side);

	if (frame->hd.type == NGHTTP2_RST_STREAM && client)
		s->client_reset = true;
	else if (frame->hd.type == NGHTTP2_RST_STREAM)
		s->upstream_reset = true;
	else if (frame->hd.type == NGHTTP2_HEADERS)
		on_head(side, s, frame);
	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
		(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return;
	if (client)
		http2_request_end(s);
	else
		http2_answer_end(s);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct http2_side *side = data;
	struct http2_stream *s =
		frame->hd.stream_id > 0 ? stream_of(session, frame->hd.stream_id) : NULL;

	count_frame(side, frame);
	if (frame->hd.type == NGHTTP2_GOAWAY && !is_client(side))
		http2_flow_stop_new(side->flow, frame->goaway.error_code);
	else if (s != NULL)
		on_stream_frame(side, s, frame);
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
	size_t len, void *data)
{
	const struct http2_side *side = data;
	struct http2_stream *s = stream_of(session, id);

	(void)flags;
	if (s == NULL)
		(void)nghttp2_session_consume(session, id, len);
	else if (is_client(side))
		http2_request_data(s, bytes, len);
	else
		http2_answer_data(s, bytes, len);
	return 0;
}

/* Frames that nghttp2 answers with a reset. They count as resets by the peer: it can have as many
 * as it likes by sending nonsense. */
static int on_invalid_frame(
	nghttp2_session *session, const nghttp2_frame *frame, int error, void *data)
{
	struct http2_side *side = data;
	struct exchange *x = &side->flow->x;
	const struct http2_stream *s =
		frame->hd.stream_id > 0 ? stream_of(session, frame->hd.stream_id) : NULL;

	if (!is_client(side))
		return 0;
	/* A program that has not yet seen our settings may open too many streams. */
	if (error != NGHTTP2_ERR_REFUSED_STREAM)
		count(side, HTTP2_FLOOD_RESET);
	if (s != NULL && frame->hd.type == NGHTTP2_HEADERS && s->upstream_id == 0 && !s->detached)
		x->params.ops->on_refused(x, EXCHANGE_MALFORMED, "the request is not valid HTTP/2");
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
	const struct http2_side *side = data;
	struct http2_stream *s = stream_of(session, id);

	if (s == NULL)
		return 0;
	(void)nghttp2_session_set_stream_user_data(session, id, NULL);
	if (is_client(side))
		http2_stream_client_closed(s, code);
	else
		http2_stream_upstream_closed(s, code, false);
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	const struct http2_side *side = data;
	struct http2_stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	s = stream_of(session, frame->hd.stream_id);
	if (s == NULL)
		return 0;
	if (!is_client(side))
		s->sent = true;
	else if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
		http2_stream_delivered(s);
	return 0;
}

/* --- memory --------------------------------------------------------------------------------- */

/* The session towards the host holds values of secrets in copied fields and in frames: whatever it
 * frees is wiped. */

static void *wiping_malloc(size_t size, void *data)
{
	(void)data;
	return malloc(size);
}

static void wiping_free(void *p, void *data)
{
	(void)data;
	if (p != NULL)
		mem_wipe(p, malloc_usable_size(p));
	free(p);
}

static void *wiping_calloc(size_t count_, size_t size, void *data)
{
	(void)data;
	return calloc(count_, size);
}

static void *wiping_realloc(void *p, size_t size, void *data)
{
	size_t old = p != NULL ? malloc_usable_size(p) : 0;
	void *fresh = malloc(size);

	if (fresh == NULL)
		return NULL;
	if (old > 0)
		memcpy(fresh, p, old < size ? old : size);
	wiping_free(p, data);
	return fresh;
}

static nghttp2_mem wiping_mem = {
	.malloc = wiping_malloc,
	.free = wiping_free,
	.calloc = wiping_calloc,
	.realloc = wiping_realloc,
};

/* --- setting up ----------------------------------------------------------------------------- */

static int submit_settings(struct http2_side *side)
{
	const nghttp2_settings_entry client[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_FIELDS_MAX},
	};
	const nghttp2_settings_entry upstream[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_FIELDS_MAX},
	};
	int r = is_client(side) ? nghttp2_submit_settings(side->session, NGHTTP2_FLAG_NONE, client,
					  array_len(client))
				: nghttp2_submit_settings(side->session, NGHTTP2_FLAG_NONE,
					  upstream, array_len(upstream));

	if (r == 0)
		r = nghttp2_session_set_local_window_size(
			side->session, NGHTTP2_FLAG_NONE, 0, HTTP2_WINDOW);
	return r == 0 ? 0 : -ENOMEM;
}

static void set_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(cb, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
}

static void set_options(nghttp2_option *opt)
{
	nghttp2_option_set_no_auto_window_update(opt, 1);
	nghttp2_option_set_no_closed_streams(opt, 1);
	nghttp2_option_set_max_outbound_ack(opt, HTTP2_ACKS_MAX);
	nghttp2_option_set_max_continuations(opt, HTTP2_CONTINUATIONS_MAX);
	/* Twice the size: this one counts the worst that the compression could make of a list. */
	nghttp2_option_set_max_send_header_block_length(opt, 2 * HTTP2_FIELDS_SENT_MAX);
}

int http2_session_new(struct http2_side *side)
{
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *opt = NULL;
	int r = -1;

	if (nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&opt) == 0) {
		set_callbacks(cb);
		set_options(opt);
		r = is_client(side)
			    ? nghttp2_session_server_new3(&side->session, cb, side, opt, NULL)
			    : nghttp2_session_client_new3(
				      &side->session, cb, side, opt, &wiping_mem);
	}
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	return r == 0 ? submit_settings(side) : -ENOMEM;
}
