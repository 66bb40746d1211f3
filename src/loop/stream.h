/*
 * A non-blocking byte stream (TCP or unix socket) with a bounded receive buffer and a bounded
 * send queue: what every connection of Warren sits on.
 *
 * Reading: bytes collect in `in`; on_data consumes what it understands (buf_consume) and leaves
 * the rest. When `in` is full and on_data consumes nothing, reading stops until it does (call
 * stream_resume()). At most STREAM_TURN_BYTES are read per turn for fairness.
 * Writing: stream_write() tries the socket first and queues the rest; the queue may exceed
 * out_high by one write, and stream_congested() then tells producers to hold; on_drain comes when
 * the queue has fallen to half of it. A queue above out_max is an error of the producer: the write
 * is refused with -ENOBUFS.
 * Ending: on_close comes exactly once (err 0: orderly end by the peer), never from inside a call
 * into the stream but from the loop; the owner then calls stream_done(). The owner may call
 * stream_done() at any time, also inside its callbacks, and free the stream right afterwards.
 * The peer's end of file is reported when the owner is not pausing and the send queue is empty: a
 * peer that only ended its own side gets what was queued for it (for STREAM_EOF_LINGER_NS).
 * After a failed write, what the peer had sent before is still delivered (one turn's worth) ahead
 * of on_close.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "loop/loop.h"

#define STREAM_TURN_BYTES (1024 * 1024)
#define STREAM_EOF_LINGER_NS (UINT64_C(5) * 1000 * 1000 * 1000)

struct stream;

struct stream_ops {
	void (*on_data)(struct stream *s);
	void (*on_drain)(struct stream *s); /* may be NULL */
	void (*on_close)(struct stream *s, int err);
};

struct stream {
	struct loop_io io;
	struct loop *loop;
	int fd; /* owned */
	const struct stream_ops *ops;
	struct buf in;
	struct buf out;
	size_t out_high;
	bool paused;    /* by the owner */
	bool eof;       /* peer has ended its side */
	bool flush;     /* committed bytes wait for the end of the turn */
	bool closing;   /* close after the queue is sent */
	bool congested; /* above out_high, on_drain owed */
	bool reported;  /* on_close has been called or is no longer wanted */
	bool shut;      /* our side has been ended */
	bool ended;     /* nothing more will be read or written; on_close is due */
	bool redeliver; /* on_data is due for bytes already here */
	int error;      /* first error, negative errno */
	size_t chunk;   /* how much the next read asks for; follows the traffic */
	bool *gone;     /* set by stream_done() while a callback runs */
	struct loop_defer defer;
	struct loop_timer linger; /* bounds a close that waits for a slow peer */
};

/* Takes fd over, also when it fails; makes it non-blocking. 0 or negative errno. */
int stream_init(struct stream *s, struct loop *loop, int fd, const struct stream_ops *ops,
	size_t in_max, size_t out_high, size_t out_max);
/* Closes at once, frees buffers, no callback afterwards. Accepts a zeroed or finished struct. */
void stream_done(struct stream *s);

/* 0, -ENOBUFS (queue full, nothing written), -EPIPE after stream_close_after_flush(), or the
 * stream's error. The bytes are copied. */
int stream_write(struct stream *s, const void *data, size_t len);
int stream_writev(struct stream *s, const struct iovec *iov, int count);
/* Sends head and then len bytes that wait in a pipe of the caller's own (all of them are there, and
 * nobody else reads it), moving pages instead of copying them where the kernel can. The pipe is
 * empty of them afterwards, also when the socket takes only a part. SIGPIPE must be ignored. Same
 * errors. */
int stream_write_pipe(struct stream *s, const void *head, size_t head_len, int pipe, size_t len);
/* Zero-copy production: reserve room in the send queue, fill it, commit. The socket is tried at the
 * end of the turn, or at commit when much has come together. NULL when the queue cannot take len
 * bytes. */
uint8_t *stream_reserve(struct stream *s, size_t len);
int stream_commit(struct stream *s, size_t len);

static inline bool stream_congested(const struct stream *s)
{
	return s->congested;
}

/* Stop and restart reading. stream_resume() also calls on_data for bytes already here, from the
 * loop. A write error is reported to a pausing owner too. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
/* Sends what is queued, then closes (at the latest after linger_ns); on_close follows with err 0.
 * No on_data comes any more; what the peer still sends is read and dropped until it ends its side,
 * because closing a socket with unread bytes would destroy what is on its way to the peer. */
void stream_close_after_flush(struct stream *s, uint64_t linger_ns);
