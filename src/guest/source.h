/*
 * A descriptor that is read into a stream of the channel: a child's output, the content of a file.
 * Reads only as much as the stream has room for, so a slow peer stops the writer of the pipe.
 *
 * States: waiting for the descriptor (io watched) <-> waiting for room (io not watched, since a
 * hang-up would be reported again and again); draining, when the peer gave the stream up and
 * drain was asked for; over (done called).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"
#include "wire/channel.h"

struct agent;
struct source;

/* The source is over and its descriptor closed; free it if you like. err 0: the end was reached
 * and END was sent. -ECANCELED: the peer gave the stream up. Else: reading failed; the stream is
 * still open and to be reset. */
typedef void (*source_done_fn)(struct source *s, int err);

struct source {
	struct agent *agent; /* NULL: not started, or over */
	struct channel_stream stream;
	struct loop_io io;
	int fd;
	bool drain; /* when the peer gives up: read on to nowhere until the end */
	bool draining;
	bool enlarged;  /* the pipe has been made larger */
	bool bulk;      /* comes in large pieces: move pages instead of copying */
	bool no_splice; /* of a kind whose pages cannot be moved */
	source_done_fn done;
};

/* Opens stream id and takes fd (non-blocking) over. Nothing is read before source_pump() or the
 * loop says so. 0; on failure (as channel_open_send(), or -EAGAIN for too many streams) fd is the
 * caller's still. */
int source_start(struct source *s, struct agent *agent, int fd, uint32_t id, bool drain,
	source_done_fn done);
/* Watches the descriptor; one that cannot be watched is pumped at once. */
void source_wait(struct source *s);
/* Sends what can be read and sent now. May end the source. */
void source_pump(struct source *s);
/* Ends it without a call: closes the descriptor. The stream is left to the caller. Safe when not
 * started. */
void source_stop(struct source *s);
