#include "guest/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "guest/agent.h"
#include "rpc/pack.h"

#define PIPE_BULK (1024 * 1024)

/* Returns what close(2) says: some file systems report lost writes only there. */
static int stop(struct sink *s)
{
	int fd = take_fd(s->fd);

	loop_io_del(&s->io);
	buf_done(&s->queue);
	s->agent->stream_count--;
	s->agent = NULL;
	return fd >= 0 && close(fd) < 0 ? -errno : 0;
}

void sink_stop(struct sink *s)
{
	if (s->agent)
		stop(s);
}

static void finish(struct sink *s, int err, const struct rpc_failure *why)
{
	int r = stop(s);

	s->done(s, err == 0 ? r : err, why);
}

/* A reader that takes less than it is given gets a larger pipe: fewer switches between the two of
 * us. Not from the start, since the room of all pipes of a user is limited. */
static bool enlarge(struct sink *s)
{
	if (s->bulk)
		return false;
	s->bulk = true;
	return fcntl(s->fd, F_SETPIPE_SZ, PIPE_BULK) >= 0;
}

/* Writes what the descriptor takes. Returns the bytes or a negative errno. */
static ssize_t write_some(struct sink *s, const uint8_t *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(s->fd, data + done, len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno == EAGAIN && !enlarge(s))
			break;
		else if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
	return (ssize_t)done;
}

/* A kind of file that cannot be watched never makes us wait either. */
static int want(struct sink *s, bool writable)
{
	int r = loop_io_set(&s->io, writable ? EPOLLOUT : 0);

	return r < 0 && writable ? -EAGAIN : 0;
}

static void flush(struct sink *s)
{
	ssize_t n = write_some(s, buf_data(&s->queue), s->queue.len);
	int r = n < 0 ? (int)n : 0;

	if (r == 0) {
		channel_consume(&s->stream, (size_t)n);
		buf_consume(&s->queue, (size_t)n);
		r = want(s, s->queue.len > 0);
	}
	if (r < 0)
		finish(s, r, NULL);
	else if (s->queue.len == 0 && s->ended)
		finish(s, 0, NULL);
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct sink *s = container_of(io, struct sink, io);

	if (events & (EPOLLERR | EPOLLHUP))
		finish(s, -EPIPE, NULL);
	else
		flush(s);
}

static void on_data(struct channel_stream *stream, const uint8_t *data, size_t len)
{
	struct sink *s = container_of(stream, struct sink, stream);
	bool direct = s->fd >= 0 && s->queue.len == 0;
	ssize_t n = direct ? write_some(s, data, len) : 0;
	int r = n < 0 ? (int)n : 0;

	if (n > 0)
		channel_consume(stream, (size_t)n);
	if (r == 0 && (size_t)n < len) {
		r = buf_append(&s->queue, data + n, len - (size_t)n);
		if (r == 0 && s->fd >= 0)
			r = want(s, true);
	}
	if (r < 0)
		finish(s, r, NULL);
}

static void on_end(struct channel_stream *stream)
{
	struct sink *s = container_of(stream, struct sink, stream);

	channel_stream_close(stream);
	s->ended = true;
	if (s->queue.len == 0 && s->fd >= 0)
		finish(s, 0, NULL);
}

static void on_reset(struct channel_stream *stream, const uint8_t *data, size_t len)
{
	struct sink *s = container_of(stream, struct sink, stream);
	struct rpc_failure why = {0};

	if (s->soft) {
		on_end(stream);
		return;
	}
	if (len > 0 && rpc_unpack(data, len, &rpc_failure_schema, &why) < 0)
		why = (struct rpc_failure){0};
	finish(s, -ECANCELED, &why);
	rpc_clear(&rpc_failure_schema, &why);
}

static const struct channel_stream_ops stream_ops = {
	.on_data = on_data,
	.on_end = on_end,
	.on_reset = on_reset,
};

int sink_start(struct sink *s, struct agent *agent, uint32_t id, bool soft, sink_done_fn done)
{
	int r;

	*s = (struct sink){.fd = -EBADF, .soft = soft, .done = done};
	if (agent->stream_count >= agent->config.streams_max)
		return -EAGAIN;
	r = channel_open_recv(&agent->channel, &s->stream, id, &stream_ops);
	if (r < 0)
		return r;
	buf_init(&s->queue, CHANNEL_WINDOW);
	s->agent = agent;
	agent->stream_count++;
	return 0;
}

int sink_attach(struct sink *s, int fd)
{
	int r = loop_io_add(s->agent->loop, &s->io, fd, 0, on_io);

	if (r < 0 && r != -EPERM) {
		fd_close(fd);
		return r;
	}
	s->fd = fd;
	flush(s);
	return 0;
}
