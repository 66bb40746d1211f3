/*
 * A stream is open, then closing (the owner has asked for it), then ended; each may be skipped,
 * and none is left backwards. Every event and call changes flags and calls settle(), which alone
 * decides what follows from them: shutting our side, ending, or the events to wait for. on_close
 * and re-delivered on_data come from a deferred call, so no call into the stream calls its owner.
 *
 * The owner's callbacks may free the stream. So each callback goes through guarded(), and after a
 * false from it (or from anything that passes it on) the stream must not be touched.
 */
#include "loop/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#define CHUNK_MIN (16 * 1024)
#define CHUNK_MAX (256 * 1024)
#define IOV_PARTS_MAX 64
/* Committed bytes wait for the end of the turn until there are this many: several small messages
 * of one turn then cost one system call. */
#define FLUSH_NOW (128 * 1024)

static void on_deferred(struct loop_defer *defer);
static void on_linger(struct loop_timer *timer);
static void on_io(struct loop_io *io, uint32_t events);

static bool guarded(struct stream *s, void (*callback)(struct stream *s))
{
	bool gone = false;

	/* cppcheck-suppress autoVariables ; taken back below unless the stream is gone */
	s->gone = &gone;
	callback(s);
	if (gone)
		return false;
	s->gone = NULL;
	return true;
}

/* --- state ---------------------------------------------------------------------------------- */

static void end(struct stream *s, int err)
{
	if (s->ended)
		return;
	s->ended = true;
	s->error = err;
	s->congested = false;
	buf_clear(&s->out);
	loop_io_del(&s->io);
	loop_timer_cancel(&s->linger);
	/* A closing owner has said all it wanted: the peer need not wait for the loop. */
	if (s->closing)
		s->fd = fd_close(s->fd);
	loop_defer(s->loop, &s->defer, on_deferred);
}

static uint32_t wanted_events(const struct stream *s)
{
	uint32_t events = 0;

	if (!s->eof && (s->closing || (!s->paused && s->in.len < s->in.max)))
		events |= EPOLLIN;
	if (s->out.len > 0 && !s->flush)
		events |= EPOLLOUT;
	return events;
}

static void watch(struct stream *s)
{
	uint32_t events = wanted_events(s);
	int r = 0;

	if (s->io.loop != NULL)
		r = loop_io_set(&s->io, events);
	else if (events != 0)
		r = loop_io_add(s->loop, &s->io, s->fd, events, on_io);
	if (r < 0)
		end(s, r);
}

static void settle(struct stream *s)
{
	if (s->ended)
		return;
	if (s->closing) {
		if (s->out.len == 0 && !s->shut) {
			shutdown(s->fd, SHUT_WR);
			s->shut = true;
		}
		if (s->shut && s->eof) {
			end(s, 0);
			return;
		}
	} else if (s->eof && !s->paused) {
		if (s->out.len == 0) {
			end(s, 0);
			return;
		}
		if (!loop_timer_armed(&s->linger))
			loop_timer_set(s->loop, &s->linger, STREAM_EOF_LINGER_NS, on_linger);
	}
	watch(s);
}

static void on_linger(struct loop_timer *timer)
{
	end(container_of(timer, struct stream, linger), 0);
}

/* --- reading -------------------------------------------------------------------------------- */

/* One read into `in`: how many bytes, or 0 with eof set, or -EAGAIN, -ENOBUFS (in is full) or
 * another error. While closing, the bytes are dropped. *ret_asked is how many would have fit. */
static ssize_t read_once(struct stream *s, size_t *ret_asked)
{
	size_t want = s->in.max - s->in.len;
	size_t room;
	ssize_t n;

	if (want == 0)
		return -ENOBUFS;
	if (want > s->chunk)
		want = s->chunk;
	uint8_t *p = buf_reserve(&s->in, want, &room);
	if (p == NULL)
		return -ENOMEM;
	do {
		n = recv(s->fd, p, room, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_asked = room;
	if (n == 0)
		s->eof = true;
	else if (!s->closing)
		buf_commit(&s->in, (size_t)n);
	if ((size_t)n == room && s->chunk < CHUNK_MAX)
		s->chunk *= 2;
	else if ((size_t)n < s->chunk / 4 && s->chunk > CHUNK_MIN)
		s->chunk /= 2;
	return n;
}

/* Reads and delivers until the socket is empty, the turn's budget is used up or the owner has had
 * enough. False: the stream is gone. */
static bool pull(struct stream *s, int *ret_err)
{
	size_t budget = STREAM_TURN_BYTES;

	*ret_err = 0;
	while (budget > 0 && s->fd >= 0 && !s->eof && (s->closing || !s->paused)) {
		size_t asked = 0;
		ssize_t n = read_once(s, &asked);

		if (n < 0) {
			if (n != -EAGAIN && n != -ENOBUFS)
				*ret_err = (int)n;
			break;
		}
		if (n > 0 && !s->closing && !guarded(s, s->ops->on_data))
			return false;
		/* A short read has emptied the socket; epoll tells when there is more. */
		if ((size_t)n < asked)
			break;
		budget -= (size_t)n < budget ? (size_t)n : budget;
	}
	/* An idle stream keeps no memory for reading. */
	if (s->in.len == 0)
		buf_done(&s->in);
	return true;
}

/* --- writing -------------------------------------------------------------------------------- */

/* Sends from the queue until it is empty, the socket is full or a turn's worth has gone. */
static int push(struct stream *s)
{
	size_t budget = STREAM_TURN_BYTES;

	while (s->out.len > 0 && budget > 0) {
		ssize_t n = send(s->fd, buf_data(&s->out), s->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		buf_consume(&s->out, (size_t)n);
		budget -= (size_t)n < budget ? (size_t)n : budget;
	}
	return 0;
}

/* After bytes were queued or sent inside a call of the owner. */
static int after_write(struct stream *s, int err)
{
	if (err < 0) {
		end(s, err);
		return err;
	}
	if (s->out.len > s->out_high)
		s->congested = true;
	if (s->io.loop == NULL || (s->out.len > 0 && !s->flush) != ((s->io.events & EPOLLOUT) != 0))
		settle(s);
	return s->ended ? s->error : 0;
}

/* Whether len more bytes may be written. */
static int check_write(const struct stream *s, size_t len)
{
	if (s->loop == NULL)
		return -EBADF;
	if (s->error < 0)
		return s->error;
	if (s->ended || s->closing)
		return -EPIPE;
	return len > s->out.max - s->out.len ? -ENOBUFS : 0;
}

int stream_write(struct stream *s, const void *data, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};

	return stream_writev(s, &iov, 1);
}

/* Queues what lies behind the first `sent` bytes of the parts. */
static int queue_rest(struct stream *s, const struct iovec *iov, int count, size_t sent)
{
	for (int i = 0; i < count; i++) {
		size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;

		sent -= skip;
		if (buf_append(&s->out, (const uint8_t *)iov[i].iov_base + skip,
			    iov[i].iov_len - skip) < 0)
			return -ENOMEM;
	}
	return 0;
}

int stream_writev(struct stream *s, const struct iovec *iov, int count)
{
	size_t total = 0;
	ssize_t sent = 0;

	for (int i = 0; i < count; i++) {
		if (__builtin_add_overflow(total, iov[i].iov_len, &total))
			return -ENOBUFS;
	}
	int r = check_write(s, total);
	if (r < 0 || total == 0)
		return r;
	/* flush stays set: the end of the turn also looks whether a producer waits for room. */
	if (s->flush) {
		r = push(s);
		if (r < 0)
			return after_write(s, r);
	}
	if (s->out.len == 0) {
		struct msghdr msg = {
			.msg_iov = (struct iovec *)(uintptr_t)iov,
			.msg_iovlen = count < IOV_PARTS_MAX ? (unsigned)count : IOV_PARTS_MAX,
		};

		do {
			sent = sendmsg(s->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		} while (sent < 0 && errno == EINTR);
		if (sent < 0 && errno != EAGAIN)
			return after_write(s, -errno);
		if (sent < 0)
			sent = 0;
	}
	return after_write(s, queue_rest(s, iov, count, (size_t)sent));
}

/* Moves what the socket takes now; *len is what is left in the pipe. */
static int splice_some(struct stream *s, int pipe, size_t *len)
{
	while (*len > 0) {
		ssize_t n =
			splice(pipe, NULL, s->fd, NULL, *len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n > 0)
			*len -= (size_t)n;
		else if (n < 0 && errno == EPIPE)
			return -EPIPE;
		else if (n == 0 || errno != EINTR)
			break; /* the socket is full, or of a kind that cannot */
	}
	return 0;
}

static int queue_pipe(struct stream *s, int pipe, size_t len)
{
	uint8_t *p = buf_reserve(&s->out, len, NULL);

	if (p == NULL)
		return -ENOMEM;
	int r = fd_read_all(pipe, p, len);
	if (r == 0)
		buf_commit(&s->out, len);
	return r;
}

int stream_write_pipe(struct stream *s, const void *head, size_t head_len, int pipe, size_t len)
{
	size_t total;

	if (__builtin_add_overflow(head_len, len, &total))
		return -ENOBUFS;
	int r = check_write(s, total);
	if (r < 0 || total == 0)
		return r;
	if (s->flush)
		r = push(s);
	size_t sent = 0;
	if (r == 0 && s->out.len == 0) {
		ssize_t n = send(s->fd, head, head_len, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);

		if (n >= 0)
			sent = (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			r = -errno;
	}
	if (r == 0)
		r = buf_append(&s->out, (const uint8_t *)head + sent, head_len - sent);
	if (r == 0 && s->out.len == 0)
		r = splice_some(s, pipe, &len);
	if (r == 0 && len > 0)
		r = queue_pipe(s, pipe, len);
	return after_write(s, r);
}

uint8_t *stream_reserve(struct stream *s, size_t len)
{
	return check_write(s, len) == 0 ? buf_reserve(&s->out, len, NULL) : NULL;
}

int stream_commit(struct stream *s, size_t len)
{
	bool was_empty = s->out.len == 0;
	int r = check_write(s, len);

	if (r < 0)
		return r;
	buf_commit(&s->out, len);
	if (!was_empty && !s->flush) /* the socket is full */
		return after_write(s, 0);
	s->flush = s->out.len < FLUSH_NOW;
	if (!s->flush)
		return after_write(s, push(s));
	if (s->out.len > s->out_high)
		s->congested = true;
	loop_defer(s->loop, &s->defer, on_deferred);
	return 0;
}

/* False: the stream is gone. */
static bool maybe_drain(struct stream *s)
{
	if (!s->congested || s->closing || s->out.len > s->out_high / 2)
		return true;
	s->congested = false;
	return s->ops->on_drain == NULL || guarded(s, s->ops->on_drain);
}

/* --- events --------------------------------------------------------------------------------- */

static void on_io(struct loop_io *io, uint32_t events)
{
	struct stream *s = container_of(io, struct stream, io);
	int err = 0;

	if (s->out.len > 0 && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
		err = push(s);
		if (err == 0 && !maybe_drain(s))
			return;
	}
	if (err == 0 && !s->ended && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0 &&
		!pull(s, &err))
		return;
	if (s->ended)
		return;
	if (err < 0) {
		end(s, err);
		return;
	}
	settle(s);
	/* Hang-up cannot be masked: with nothing to wait for it would come in every turn. What is
	 * left to read waits in the kernel until the owner resumes, which watches again. */
	if ((events & (EPOLLERR | EPOLLHUP)) != 0 && !s->ended && wanted_events(s) == 0)
		loop_io_del(&s->io);
}

static bool redeliver(struct stream *s)
{
	s->redeliver = false;
	if (s->in.len == 0 || s->paused || s->closing)
		return true;
	return guarded(s, s->ops->on_data);
}

static void on_deferred(struct loop_defer *defer)
{
	struct stream *s = container_of(defer, struct stream, defer);
	int ignored;

	if (s->redeliver && !redeliver(s))
		return;
	if (s->flush && !s->ended) {
		s->flush = false;
		int err = push(s);
		if (err < 0)
			end(s, err);
		else if (!maybe_drain(s))
			return;
	}
	if (!s->ended) {
		settle(s);
		if (!s->ended)
			return;
	}
	if (s->error < 0 && !pull(s, &ignored))
		return;
	if (s->reported)
		return;
	s->reported = true;
	loop_defer_cancel(&s->defer);
	s->ops->on_close(s, s->error);
}

/* --- life ----------------------------------------------------------------------------------- */

int stream_init(struct stream *s, struct loop *loop, int fd, const struct stream_ops *ops,
	size_t in_max, size_t out_high, size_t out_max)
{
	*s = (struct stream){
		.loop = loop,
		.fd = fd,
		.ops = ops,
		.out_high = out_high,
		.chunk = CHUNK_MIN,
	};
	buf_init(&s->in, in_max);
	buf_init(&s->out, out_max);
	int r = fd_set_nonblock(fd, true);
	if (r == 0)
		r = loop_io_add(loop, &s->io, fd, EPOLLIN, on_io);
	if (r < 0)
		stream_done(s);
	return r;
}

void stream_done(struct stream *s)
{
	if (s->loop == NULL)
		return;
	if (s->gone != NULL)
		*s->gone = true;
	/* What was committed in this turn still gets its one try. */
	if (s->flush && !s->ended)
		(void)push(s);
	loop_io_del(&s->io);
	loop_timer_cancel(&s->linger);
	loop_defer_cancel(&s->defer);
	buf_done(&s->in);
	buf_done(&s->out);
	fd_close(s->fd);
	*s = (struct stream){.fd = -EBADF, .reported = true, .ended = true};
}

void stream_pause(struct stream *s)
{
	if (s->ended || s->paused)
		return;
	s->paused = true;
	settle(s);
}

void stream_resume(struct stream *s)
{
	if (s->loop == NULL || s->reported)
		return;
	s->paused = false;
	s->redeliver = true;
	loop_defer(s->loop, &s->defer, on_deferred);
}

void stream_close_after_flush(struct stream *s, uint64_t linger_ns)
{
	if (s->ended || s->closing)
		return;
	s->closing = true;
	s->paused = false;
	buf_done(&s->in);
	loop_timer_set(s->loop, &s->linger, linger_ns, on_linger);
	settle(s);
}
