#include "guest/source.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "guest/agent.h"

#define PIPE_BULK (1024 * 1024)
#define DRAIN_TURN (1024 * 1024)
/* Below this size copying is cheaper than moving. */
#define BULK_MIN (16 * 1024)
/* The channel is over, and so is the agent: not an error that reading can have. */
#define OVER (-ESHUTDOWN)

/* One thread, and no use of it lasts longer than a call. */
static uint8_t scratch[CHANNEL_PAYLOAD_MAX];

static void on_io(struct loop_io *io, uint32_t events);

void source_stop(struct source *s)
{
	if (!s->agent)
		return;
	loop_io_del(&s->io);
	s->fd = fd_close(s->fd);
	s->agent->stream_count--;
	s->agent = NULL;
}

static void finish(struct source *s, int err)
{
	source_stop(s);
	s->done(s, err);
}

/* 0; -EPERM for kinds of files that have no readiness to wait for. */
static int watch(struct source *s)
{
	return s->io.loop ? 0 : loop_io_add(s->agent->loop, &s->io, s->fd, EPOLLIN, on_io);
}

void source_wait(struct source *s)
{
	int r = watch(s);

	if (r == -EPERM)
		source_pump(s);
	else if (r < 0)
		finish(s, r);
}

static void drain(struct source *s)
{
	for (size_t total = 0; total < DRAIN_TURN;) {
		ssize_t n = read(s->fd, scratch, sizeof(scratch));

		if (n > 0) {
			total += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 || errno != EAGAIN) {
			finish(s, -ECANCELED);
			return;
		}
		break;
	}
	if (watch(s) < 0)
		finish(s, -ECANCELED);
}

/* A writer that fills its pipe gets a larger one: fewer switches between the two of us. Not from
 * the start, since the room of all pipes of a user is limited. */
static void note_size(struct source *s, size_t n)
{
	if (n == sizeof(scratch) && !s->enlarged) {
		s->enlarged = true;
		fcntl(s->fd, F_SETPIPE_SZ, PIPE_BULK);
	}
	s->bulk = !s->no_splice && n >= (s->bulk ? BULK_MIN : sizeof(scratch));
}

/* Copies up to room bytes into the stream. Returns the bytes, 0 at the end, OVER, or a negative
 * errno of reading. */
static ssize_t copy_some(struct source *s, size_t room)
{
	ssize_t n = read(s->fd, scratch, room);

	if (n <= 0)
		return n < 0 ? -errno : 0;
	note_size(s, (size_t)n);
	return channel_send(&s->stream, scratch, (size_t)n) < 0 ? OVER : n;
}

/* The same without a copy. The bytes go through a pipe that only we have: their number must be
 * known when the frame begins, and a process can take bytes out of its own pipe at any time. */
static ssize_t move_some(struct source *s, size_t room)
{
	const int *relay = agent_relay(s->agent);
	ssize_t n;

	if (!relay)
		return -EINVAL;
	n = splice(s->fd, NULL, relay[1], NULL, room, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n <= 0)
		return n < 0 ? -errno : 0;
	note_size(s, (size_t)n);
	return channel_send_pipe(&s->stream, relay[0], (size_t)n) < 0 ? OVER : n;
}

static ssize_t send_some(struct source *s, size_t room)
{
	ssize_t n;

	if (!s->bulk)
		return copy_some(s, room);
	n = move_some(s, room);
	if (n != -EINVAL)
		return n;
	s->no_splice = true;
	return copy_some(s, room);
}

/* lazy: after a read that gave less than asked for a pipe is taken to be empty; the loop tells when
 * it is not. */
static void pump(struct source *s, bool lazy)
{
	for (;;) {
		size_t room;
		ssize_t n;

		if (s->draining) {
			drain(s);
			return;
		}
		room = channel_send_room(&s->stream);
		if (room == 0) {
			loop_io_del(&s->io);
			return;
		}
		if (room > sizeof(scratch))
			room = sizeof(scratch);
		n = send_some(s, room);
		if (n == -EINTR)
			continue;
		if (n == OVER)
			return;
		if (n < 0) {
			if (n != -EAGAIN || watch(s) < 0)
				finish(s, (int)n);
			return;
		}
		if (n == 0) {
			channel_send_end(&s->stream);
			finish(s, 0);
			return;
		}
		if (lazy && (size_t)n < room && s->io.loop)
			return;
	}
}

void source_pump(struct source *s)
{
	pump(s, false);
}

static void on_io(struct loop_io *io, uint32_t events)
{
	(void)events;
	pump(container_of(io, struct source, io), true);
}

static void on_reset(struct channel_stream *stream, const uint8_t *data, size_t len)
{
	struct source *s = container_of(stream, struct source, stream);

	(void)data;
	(void)len;
	if (!s->drain) {
		finish(s, -ECANCELED);
		return;
	}
	s->draining = true;
	drain(s);
}

static void on_writable(struct channel_stream *stream)
{
	source_pump(container_of(stream, struct source, stream));
}

static const struct channel_stream_ops stream_ops = {
	.on_reset = on_reset,
	.on_writable = on_writable,
};

int source_start(struct source *s, struct agent *agent, int fd, uint32_t id, bool drain_wanted,
	source_done_fn done)
{
	int r;

	*s = (struct source){.fd = fd, .drain = drain_wanted, .done = done};
	if (agent->stream_count >= agent->config.streams_max)
		return -EAGAIN;
	r = channel_open_send(&agent->channel, &s->stream, id, &stream_ops);
	if (r < 0)
		return r;
	s->agent = agent;
	agent->stream_count++;
	return 0;
}
