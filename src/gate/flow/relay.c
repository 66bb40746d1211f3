/*
 * Two halves, one for each direction: a half reads from one socket into a buffer and writes it to
 * the other. It reads only when its buffer is empty, so the buffer is all that is ever held.
 */
#include "gate/flow/relay.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "gate/flow/classify.h"

#define CHUNK ((size_t)64 * 1024)
#define TURN_CHUNKS 8
/* A side that has ended while the other says nothing any more is given up. */
#define HALF_CLOSED_NS (300 * CLOCK_SEC)

enum side { CLIENT, UPSTREAM };

struct half {
	struct buf data; /* read, not yet written */
	bool eof;        /* the source has ended */
	bool shut;       /* and the destination was told */
	uint64_t bytes;
};

struct relay {
	struct loop *loop;
	int fds[2];
	struct loop_io client_io, upstream_io;
	struct half halves[2]; /* by source */
	const struct vault *vault;
	struct vault_watch watch;
	bool guarded;
	struct buf line; /* guarded: what has come from inside so far */
	const struct relay_ops *ops;
	void *data;
	struct loop_defer defer;
	struct loop_timer idle;
	bool inspecting; /* the host's first bytes are held */
	bool ended;
	int err;
};

static void on_defer(struct loop_defer *defer)
{
	struct relay *r = container_of(defer, struct relay, defer);

	r->ops->on_done(r, r->err, r->data);
}

static void end(struct relay *r, int err)
{
	if (r->ended)
		return;
	r->ended = true;
	r->err = err;
	loop_io_del(&r->client_io);
	loop_io_del(&r->upstream_io);
	loop_timer_cancel(&r->idle);
	loop_defer(r->loop, &r->defer, on_defer);
}

/* --- one direction -------------------------------------------------------------------------- */

/* Before data is passed on. */
static int guard(struct relay *r, const uint8_t *data, size_t len)
{
	int late;

	if (!r->guarded || len == 0)
		return 0;
	if (buf_append(&r->line, data, len) < 0)
		return -ENOMEM;
	late = classify_late(buf_data(&r->line), r->line.len);
	if (late == 0) {
		r->guarded = false;
		buf_done(&r->line);
	}
	return late > 0 ? -EPROTO : 0;
}

/* 1: something was read (or the end); 0: not now; or a negative errno. */
static int fill(struct relay *r, enum side from)
{
	struct half *h = &r->halves[from];
	uint8_t *room = buf_reserve(&h->data, CHUNK, NULL);
	ssize_t n;

	if (room == NULL)
		return -ENOMEM;
	do {
		n = recv(r->fds[from], room, CHUNK, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0) {
		h->eof = true;
		return 1;
	}
	buf_commit(&h->data, (size_t)n);
	h->bytes += (size_t)n;
	if (from == CLIENT && r->vault != NULL) {
		uint64_t stray = vault_watch(r->vault, &r->watch, room, (size_t)n);

		if (stray != 0)
			r->ops->on_stray(r, stray, r->data);
	}
	n = from == CLIENT ? guard(r, room, (size_t)n) : 0;
	return n < 0 ? (int)n : 1;
}

/* 1: the buffer is empty; 0: the socket is full; or a negative errno. */
static int drain(struct relay *r, enum side from)
{
	struct half *h = &r->halves[from];
	int to = r->fds[from == CLIENT ? UPSTREAM : CLIENT];

	while (h->data.len > 0) {
		ssize_t n = send(to, buf_data(&h->data), h->data.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		buf_consume(&h->data, (size_t)n);
	}
	if (h->eof && !h->shut) {
		(void)shutdown(to, SHUT_WR);
		h->shut = true;
	}
	return 1;
}

/* Whether what the host has sent may go on: 1, 0 not yet, or a negative errno. */
static int inspect(struct relay *r)
{
	const struct half *h = &r->halves[UPSTREAM];
	int n = 0;

	if (!r->inspecting)
		return 1;
	if (h->data.len == 0 && !h->eof)
		return 0;
	if (!h->eof && h->data.len < CHUNK)
		n = r->ops->inspect(r, buf_data(&h->data), h->data.len, r->data);
	if (n == -EAGAIN)
		return 0;
	r->inspecting = false;
	return n < 0 ? n : 1;
}

/* Sends what may be sent. 1: nothing is left; 0: not now; or a negative errno. */
static int pass(struct relay *r, enum side from)
{
	int n = from == UPSTREAM ? inspect(r) : 1;

	return n == 1 ? drain(r, from) : n;
}

static int pump(struct relay *r, enum side from)
{
	struct half *h = &r->halves[from];
	int n = from == UPSTREAM && r->inspecting ? 1 : drain(r, from);

	for (int i = 0; i < TURN_CHUNKS && n == 1 && !h->eof; i++) {
		n = fill(r, from);
		if (n != 1)
			break;
		n = pass(r, from);
		if (n == 0 && from == UPSTREAM && r->inspecting)
			n = 1; /* what is held does not keep more from coming */
	}
	if (h->data.len == 0)
		buf_done(&h->data); /* an idle connection keeps no memory */
	return n < 0 ? n : 0;
}

/* --- both ----------------------------------------------------------------------------------- */

static uint32_t wanted(const struct relay *r, enum side s)
{
	const struct half *out = &r->halves[s];
	const struct half *in = &r->halves[s == CLIENT ? UPSTREAM : CLIENT];
	uint32_t events = 0;

	if (!out->eof && (out->data.len == 0 || (s == UPSTREAM && r->inspecting)))
		events |= EPOLLIN;
	if (in->data.len > 0 && !(s == CLIENT && r->inspecting))
		events |= EPOLLOUT;
	return events;
}

static void on_idle(struct loop_timer *timer)
{
	end(container_of(timer, struct relay, idle), -ETIMEDOUT);
}

static void on_client_io(struct loop_io *io, uint32_t events);
static void on_upstream_io(struct loop_io *io, uint32_t events);

static void watch(struct relay *r, enum side s)
{
	struct loop_io *io = s == CLIENT ? &r->client_io : &r->upstream_io;
	uint32_t events = wanted(r, s);
	int n = 0;

	/* Hang-up cannot be masked: with nothing to wait for it would come in every turn. */
	if (events == 0)
		loop_io_del(io);
	else if (io->loop == NULL)
		n = loop_io_add(r->loop, io, r->fds[s], events,
			s == CLIENT ? on_client_io : on_upstream_io);
	else
		n = loop_io_set(io, events);
	if (n < 0)
		end(r, n);
}

static void turn(struct relay *r)
{
	int n = pump(r, CLIENT);

	if (n == 0)
		n = pump(r, UPSTREAM);
	if (n < 0) {
		end(r, n);
		return;
	}
	if (r->halves[CLIENT].shut && r->halves[UPSTREAM].shut) {
		end(r, 0);
		return;
	}
	if (r->halves[CLIENT].shut || r->halves[UPSTREAM].shut)
		loop_timer_set(r->loop, &r->idle, HALF_CLOSED_NS, on_idle);
	watch(r, CLIENT);
	if (!r->ended)
		watch(r, UPSTREAM);
}

static void on_client_io(struct loop_io *io, uint32_t events)
{
	(void)events;
	turn(container_of(io, struct relay, client_io));
}

static void on_upstream_io(struct loop_io *io, uint32_t events)
{
	(void)events;
	turn(container_of(io, struct relay, upstream_io));
}

static void on_start(struct loop_defer *defer)
{
	turn(container_of(defer, struct relay, defer));
}

/* --- life ----------------------------------------------------------------------------------- */

struct relay *relay_new(struct loop *loop, int client, int upstream, const void *early,
	size_t early_len, const struct vault *vault, const struct relay_ops *ops, void *data)
{
	struct relay *r = mem_new(struct relay);

	r->loop = loop;
	r->fds[CLIENT] = client;
	r->fds[UPSTREAM] = upstream;
	r->vault = vault != NULL && vault_count(vault) > 0 ? vault : NULL;
	r->ops = ops;
	r->data = data;
	r->inspecting = ops->inspect != NULL;
	buf_init(&r->halves[CLIENT].data, CHUNK + early_len);
	buf_init(&r->halves[UPSTREAM].data, 2 * CHUNK);
	/* It is given up with the piece that makes it too long. */
	buf_init(&r->line, CLASSIFY_LATE_MAX + CHUNK + early_len);
	if (early_len > 0) {
		(void)buf_append(&r->halves[CLIENT].data, early, early_len);
		r->halves[CLIENT].bytes = early_len;
	}
	if (r->vault != NULL && early_len > 0) {
		uint64_t stray = vault_watch(r->vault, &r->watch, early, early_len);

		if (stray != 0)
			ops->on_stray(r, stray, data);
	}
	loop_defer(loop, &r->defer, on_start);
	return r;
}

void relay_guard(struct relay *r)
{
	const struct buf *early = &r->halves[CLIENT].data;
	int n;

	r->guarded = true;
	n = guard(r, buf_data(early), early->len);
	if (n < 0)
		end(r, n);
}

static void reset(int fd)
{
	const struct linger now = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void relay_free(struct relay *r)
{
	if (r == NULL)
		return;
	loop_io_del(&r->client_io);
	loop_io_del(&r->upstream_io);
	loop_defer_cancel(&r->defer);
	loop_timer_cancel(&r->idle);
	buf_done(&r->line);
	for (size_t i = 0; i < array_len(r->fds); i++) {
		if (!r->ended || r->err < 0)
			reset(r->fds[i]);
		fd_close(r->fds[i]);
		buf_done(&r->halves[i].data);
	}
	free(r);
}

uint64_t relay_bytes_up(const struct relay *r)
{
	return r->halves[CLIENT].bytes;
}

uint64_t relay_bytes_down(const struct relay *r)
{
	return r->halves[UPSTREAM].bytes;
}
