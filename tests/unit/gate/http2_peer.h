/*
 * An HTTP/2 engine between two peers made of nghttp2: a program's client and a host's server, each
 * at the other end of a socket pair. A peer collects what it gets for each stream and sends what a
 * test puts into its streams.
 */
#pragma once

#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "gate/http/http2_flow.h"
#include "gate/http/http2_priv.h"
#include "wire/turns.h"

#define PEER_STREAMS 1024
#define PEER_MAX ((size_t)64 * 1024 * 1024)

struct peer;

struct peer_stream {
	struct peer *peer;
	int32_t id;
	struct buf head, interim, trailers; /* "name: value\n" for each field */
	struct buf never;                   /* names that must not be indexed: "name\n" */
	struct buf body;
	bool started; /* headers came or were sent */
	bool ended;   /* END_STREAM came */
	bool closed;
	bool reset; /* RST_STREAM came */
	uint32_t code;

	struct buf send;
	bool send_end;
	const char *send_trailer; /* value of "x-trailer", or NULL */
};

struct peer {
	struct loop *loop;
	struct loop_io io;
	int fd;
	nghttp2_session *session;
	struct buf out;
	bool server;
	bool deaf; /* reads nothing */
	bool hold; /* opens no stream's window */
	bool eof;
	bool goaway;
	uint32_t goaway_code;
	int32_t goaway_last;
	unsigned settings; /* of the peer, received */
	unsigned started;  /* streams with headers */
	size_t written;
	struct peer_stream streams[PEER_STREAMS];
};

static struct peer_stream *peer_stream(struct peer *p, int32_t id)
{
	struct peer_stream *s = &p->streams[(id / 2) % PEER_STREAMS];

	if (s->peer == NULL) {
		s->peer = p;
		s->id = id;
		buf_init(&s->head, PEER_MAX);
		buf_init(&s->interim, PEER_MAX);
		buf_init(&s->trailers, PEER_MAX);
		buf_init(&s->never, PEER_MAX);
		buf_init(&s->body, PEER_MAX);
		buf_init(&s->send, PEER_MAX);
	}
	return s;
}

static inline bool text_has(const struct buf *b, const char *text)
{
	return b->len > 0 && memmem(buf_data(b), b->len, text, strlen(text)) != NULL;
}

/* --- what nghttp2 reports ------------------------------------------------------------------- */

static int peer_on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct peer_stream *s = peer_stream(data, frame->hd.stream_id);

	(void)session;
	if (!s->started)
		s->peer->started++;
	s->started = true;
	return 0;
}

static int peer_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct peer_stream *s = peer_stream(data, frame->hd.stream_id);
	struct buf *to = &s->head;

	(void)session;
	if (name_len == 7 && memcmp(name, ":status", 7) == 0 && s->head.len > 0) {
		/* What came before was interim. */
		buf_append(&s->interim, buf_data(&s->head), s->head.len);
		buf_clear(&s->head);
	} else if (frame->headers.cat == NGHTTP2_HCAT_HEADERS && name[0] != ':' &&
		   (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
		   !text_has(&s->head, ":status: 1")) {
		to = &s->trailers;
	}
	buf_append(to, name, name_len);
	buf_append_str(to, ": ");
	buf_append(to, value, value_len);
	buf_append_byte(to, '\n');
	if ((flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0) {
		buf_append(&s->never, name, name_len);
		buf_append_byte(&s->never, '\n');
	}
	return 0;
}

static int peer_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct peer *p = data;

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		p->goaway = true;
		p->goaway_code = frame->goaway.error_code;
		p->goaway_last = frame->goaway.last_stream_id;
	} else if (frame->hd.type == NGHTTP2_SETTINGS &&
		   (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
		p->settings++;
	} else if (frame->hd.type == NGHTTP2_RST_STREAM) {
		peer_stream(p, frame->hd.stream_id)->reset = true;
		peer_stream(p, frame->hd.stream_id)->code = frame->rst_stream.error_code;
	} else if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
		   (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
		peer_stream(p, frame->hd.stream_id)->ended = true;
	}
	return 0;
}

static int peer_on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
	size_t len, void *data)
{
	struct peer *p = data;

	(void)flags;
	buf_append(&peer_stream(p, id)->body, bytes, len);
	if (p->hold)
		nghttp2_session_consume_connection(session, len);
	else
		nghttp2_session_consume(session, id, len);
	return 0;
}

static int peer_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
	struct peer_stream *s = peer_stream(data, id);

	(void)session;
	s->closed = true;
	if (!s->reset)
		s->code = code;
	return 0;
}

/* --- bytes ---------------------------------------------------------------------------------- */

static void peer_watch(struct peer *p);

static void peer_flush(struct peer *p)
{
	const uint8_t *data;
	ssize_t n;

	/* Little is taken from the session ahead of the socket: a test counts what has been sent.
	 */
	while (p->fd >= 0) {
		while (p->out.len < 65536 && (n = nghttp2_session_mem_send(p->session, &data)) > 0)
			buf_append(&p->out, data, (size_t)n);
		if (p->out.len == 0)
			break;
		n = send(p->fd, buf_data(&p->out), p->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0)
			break;
		p->written += (size_t)n;
		buf_consume(&p->out, (size_t)n);
	}
	peer_watch(p);
}

static void peer_hang_up(struct peer *p)
{
	loop_io_del(&p->io);
	p->fd = fd_close(p->fd);
	p->eof = true;
}

static void peer_on_io(struct loop_io *io, uint32_t events)
{
	struct peer *p = container_of(io, struct peer, io);
	uint8_t bytes[65536];

	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !p->deaf) {
		ssize_t n = recv(p->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			peer_hang_up(p);
			return;
		}
		if (n > 0)
			(void)nghttp2_session_mem_recv(p->session, bytes, (size_t)n);
	}
	peer_flush(p);
}

static void peer_watch(struct peer *p)
{
	uint32_t events = (p->deaf ? 0 : EPOLLIN) | (p->out.len > 0 ? EPOLLOUT : 0);

	if (p->fd < 0)
		return;
	if (p->io.loop == NULL)
		loop_io_add(p->loop, &p->io, p->fd, events, peer_on_io);
	else
		loop_io_set(&p->io, events);
}

/* --- life ----------------------------------------------------------------------------------- */

static void peer_init(struct peer *p, struct loop *loop, int fd, bool server)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;
	nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000};

	p->loop = loop;
	p->fd = fd;
	p->server = server;
	buf_init(&p->out, PEER_MAX);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, peer_on_begin);
	nghttp2_session_callbacks_set_on_header_callback(cb, peer_on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, peer_on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, peer_on_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, peer_on_close);
	nghttp2_option_new(&opt);
	nghttp2_option_set_no_auto_window_update(opt, 1);
	/* A hostile or careless peer checks nothing. */
	nghttp2_option_set_no_http_messaging(opt, 1);
	nghttp2_option_set_max_send_header_block_length(opt, PEER_MAX);
	nghttp2_option_set_max_continuations(opt, 1000);
	nghttp2_option_set_peer_max_concurrent_streams(opt, 1000);
	if (server)
		nghttp2_session_server_new2(&p->session, cb, p, opt);
	else
		nghttp2_session_client_new2(&p->session, cb, p, opt);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(p->session, NGHTTP2_FLAG_NONE, &entry, server ? 1 : 0);
	peer_flush(p);
}

static void peer_done(struct peer *p)
{
	if (p->fd >= 0)
		peer_hang_up(p);
	nghttp2_session_del(p->session);
	buf_done(&p->out);
	for (size_t i = 0; i < PEER_STREAMS; i++) {
		struct peer_stream *s = &p->streams[i];

		buf_done(&s->head);
		buf_done(&s->interim);
		buf_done(&s->trailers);
		buf_done(&s->never);
		buf_done(&s->body);
		buf_done(&s->send);
	}
}

/* From now on flow control does not hold the other side: only sockets do. */
static inline void peer_open_wide(struct peer *p)
{
	const nghttp2_settings_entry wide = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 30};

	nghttp2_submit_settings(p->session, NGHTTP2_FLAG_NONE, &wide, 1);
	nghttp2_session_set_local_window_size(p->session, NGHTTP2_FLAG_NONE, 0, 1 << 30);
	peer_flush(p);
}

/* --- sending -------------------------------------------------------------------------------- */

struct field {
	const char *name, *value;
};

#define FIELDS_HERE 2048

static size_t fields_nva(const struct field *fields, nghttp2_nv *nva)
{
	size_t n = 0;

	for (; n < FIELDS_HERE && fields[n].name != NULL; n++)
		nva[n] = (nghttp2_nv){
			.name = (uint8_t *)(uintptr_t)fields[n].name,
			.value = (uint8_t *)(uintptr_t)fields[n].value,
			.namelen = strlen(fields[n].name),
			.valuelen = strlen(fields[n].value),
		};
	return n;
}

static ssize_t peer_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct peer_stream *s = source->ptr;
	size_t n = s->send.len < max ? s->send.len : max;

	(void)data;
	if (n > 0) {
		memcpy(out, buf_data(&s->send), n);
		buf_consume(&s->send, n);
	}
	if (s->send.len == 0 && s->send_end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (s->send_trailer != NULL) {
			const struct field fields[] = {
				{"x-trailer", s->send_trailer}, {NULL, NULL}};
			nghttp2_nv nva[1];

			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			(void)fields_nva(fields, nva);
			nghttp2_submit_trailer(session, id, nva, 1);
		}
	} else if (n == 0) {
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

/* Sends more of a body, in frames of its own. */
static inline void peer_send(struct peer_stream *s, const void *data, size_t len, bool end)
{
	buf_append(&s->send, data, len);
	s->send_end = s->send_end || end;
	nghttp2_session_resume_data(s->peer->session, s->id);
	peer_flush(s->peer);
}

/* A request; body: peer_send() follows. */
static inline struct peer_stream *peer_request(
	struct peer *p, const struct field *fields, bool body)
{
	static nghttp2_nv nva[FIELDS_HERE];
	int32_t id = nghttp2_session_get_next_stream_id(p->session);
	struct peer_stream *s = peer_stream(p, id);
	nghttp2_data_provider source = {.source.ptr = s, .read_callback = peer_read};
	size_t n = fields_nva(fields, nva);

	assert_int_equal(
		nghttp2_submit_request(p->session, NULL, nva, n, body ? &source : NULL, NULL), id);
	peer_flush(p);
	return s;
}

static inline void peer_answer(struct peer_stream *s, const struct field *fields, bool body)
{
	static nghttp2_nv nva[FIELDS_HERE];
	nghttp2_data_provider source = {.source.ptr = s, .read_callback = peer_read};
	size_t n = fields_nva(fields, nva);

	assert_int_equal(
		nghttp2_submit_response(s->peer->session, s->id, nva, n, body ? &source : NULL), 0);
	peer_flush(s->peer);
}

static inline void peer_interim(struct peer_stream *s, const struct field *fields)
{
	static nghttp2_nv nva[FIELDS_HERE];
	size_t n = fields_nva(fields, nva);

	assert_int_equal(nghttp2_submit_headers(
				 s->peer->session, NGHTTP2_FLAG_NONE, s->id, NULL, nva, n, NULL),
		0);
	peer_flush(s->peer);
}

static inline void peer_reset(struct peer_stream *s, uint32_t code)
{
	nghttp2_submit_rst_stream(s->peer->session, NGHTTP2_FLAG_NONE, s->id, code);
	peer_flush(s->peer);
}

/* --- all of it ------------------------------------------------------------------------------ */

#define HOST "api.example"
#define SECRET "sk-9f8e7d6c5b4a-VERY-secret"
#define HEX16 "0123456789abcdef"
#define PLACEHOLDER PLACEHOLDER_PREFIX HEX16 HEX16 HEX16 HEX16

struct world {
	struct loop *loop;
	struct peer client, origin;
	struct vault *vault;
	struct scrub_set *scrub;
	struct exchange *x;
	struct leg *legs[2];

	unsigned requests, refused;
	enum exchange_refusal why;
	uint64_t used, stray, scrubbed;
	char method[64], path[1024], where[128];
	bool done;
	int err;
};

/* One at a time: exchanges carry no pointer to their owner. */
static struct world *the_world;

static void note_request(struct exchange *x, const char *method, const char *path)
{
	(void)x;
	the_world->requests++;
	snprintf(the_world->method, sizeof(the_world->method), "%s", method);
	snprintf(the_world->path, sizeof(the_world->path), "%s", path);
}

static void note_refused(struct exchange *x, enum exchange_refusal what, const char *detail)
{
	(void)x;
	assert_non_null(detail);
	assert_null(strstr(detail, SECRET));
	the_world->refused++;
	the_world->why = what;
}

static void note_used(struct exchange *x, uint64_t secrets)
{
	(void)x;
	the_world->used |= secrets;
}

static void note_stray(struct exchange *x, uint64_t secrets, const char *where)
{
	(void)x;
	the_world->stray |= secrets;
	snprintf(the_world->where, sizeof(the_world->where), "%s", where);
}

static void note_scrubbed(struct exchange *x, uint64_t secrets)
{
	(void)x;
	the_world->scrubbed |= secrets;
}

static void note_done(struct exchange *x, int err)
{
	(void)x;
	assert_false(the_world->done);
	the_world->done = true;
	the_world->err = err;
}

static const struct exchange_ops world_ops = {
	.on_request = note_request,
	.on_refused = note_refused,
	.on_used = note_used,
	.on_stray = note_stray,
	.on_scrubbed = note_scrubbed,
	.on_done = note_done,
};

static void leg_nothing(struct leg *l, void *data)
{
	(void)l;
	(void)data;
}

static void leg_no_close(struct leg *l, int err, void *data)
{
	(void)l;
	(void)err;
	(void)data;
	fail();
}

static void run(struct world *w, int turns)
{
	turns_run(w->loop, turns, NULL);
}

static inline void run_until(struct world *w, const bool *until)
{
	turns_run(w->loop, 100000, until);
	assert_true(*until);
}

struct world_options {
	bool deaf;          /* the client reads nothing, from the start */
	bool plain;         /* http without secrets */
	const char *secret; /* NULL: SECRET */
};

/* The params' secrets and scrubber. */
static void add_secret(struct world *w, const char *value)
{
	static const char *const hosts[] = {HOST};

	w->vault = vault_new();
	assert_int_equal(
		vault_add(w->vault, "KEY", PLACEHOLDER, value, strlen(value), hosts, 1, NULL), 0);
	w->scrub = scrub_set_new(w->vault, 1);
}

static void world_init(struct world *w, const struct world_options *o)
{
	static const struct leg_ops before = {
		.on_open = leg_nothing, .on_data = leg_nothing, .on_close = leg_no_close};
	int inside[2];
	int outside[2];

	*w = (struct world){.loop = loop_new()};
	the_world = w;
	assert_non_null(w->loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, inside), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, outside), 0);
	assert_int_equal(leg_new(w->loop, inside[1], NULL, 0, NULL, &before, NULL, &w->legs[0]), 0);
	assert_int_equal(
		leg_new(w->loop, outside[1], NULL, 0, NULL, &before, NULL, &w->legs[1]), 0);
	leg_pause(w->legs[0]);
	leg_pause(w->legs[1]);
	w->client.deaf = o->deaf;
	peer_init(&w->client, w->loop, inside[0], false);
	peer_init(&w->origin, w->loop, outside[0], true);
	run(w, 10);
	if (!o->plain)
		add_secret(w, o->secret != NULL ? o->secret : SECRET);
	const struct exchange_params params = {
		.loop = w->loop,
		.host = HOST,
		.port = o->plain ? 80 : 443,
		.tls = !o->plain,
		.vault = w->vault,
		.secrets = o->plain ? 0 : 1,
		.scrub = w->scrub,
		.ops = &world_ops,
	};
	w->x = http2_flow_new(&params, w->legs[0], w->legs[1]);
	run(w, 20);
}

static void world_done(struct world *w)
{
	http2_flow_free(w->x);
	scrub_set_free(w->scrub);
	vault_free(w->vault);
	peer_done(&w->client);
	peer_done(&w->origin);
	loop_free(w->loop);
	the_world = NULL;
}

static struct http2_flow *world_flow(struct world *w)
{
	return container_of(w->x, struct http2_flow, x);
}

/* A plain request, with fields added to the pseudo ones. */
#define REQUEST(method, path, ...) \
	((const struct field[]){{":method", method}, {":scheme", "https"}, {":authority", HOST}, \
		{":path", path}, ##__VA_ARGS__, {NULL, NULL}})
#define ANSWER(status, ...) \
	((const struct field[]){{":status", status}, ##__VA_ARGS__, {NULL, NULL}})

static inline struct peer_stream *at_origin(struct world *w, unsigned n)
{
	return peer_stream(&w->origin, (int32_t)(2 * n + 1));
}
