/*
 * A stream of the channel that is written into a descriptor: a child's input, a file being
 * written. What the descriptor does not take at once waits in a queue that the stream's window
 * bounds; credit goes back as bytes are written.
 *
 * States: open (data may come) -> ended (END has come, the queue is being written) -> over (done
 * called). The descriptor may come later than the stream; bytes wait until then. It is watched for
 * errors all the time, so that a reader that goes away is noticed before the next write.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "loop/loop.h"
#include "rpc/methods.h"
#include "wire/channel.h"

struct agent;
struct sink;

/* The sink is over; its descriptor is closed, or was closed with the error reported. err 0: END
 * came and all is written. -ECANCELED: the peer gave the stream up, *why says why (err 0 and no
 * text when it did not say). Else: writing failed; the stream may be open still and is to be
 * reset. */
typedef void (*sink_done_fn)(struct sink *s, int err, const struct rpc_failure *why);

struct sink {
	struct agent *agent; /* NULL: not started, or over */
	struct channel_stream stream;
	struct loop_io io;
	int fd;    /* -EBADF: not attached yet */
	bool soft; /* a peer that gives up counts as the end */
	bool ended;
	bool bulk; /* the pipe has been made larger */
	struct buf queue;
	sink_done_fn done;
};

/* Opens stream id. 0, or an error as of channel_open_recv(), or -EAGAIN for too many streams. soft:
 * as above. */
int sink_start(struct sink *s, struct agent *agent, uint32_t id, bool soft, sink_done_fn done);
/* Takes fd (non-blocking) over, also on failure, and writes what has come so far. 0 or negative
 * errno. May end the sink: do not touch it afterwards. */
int sink_attach(struct sink *s, int fd);
/* Ends it without a call: closes the descriptor. The stream is left to the caller. Safe when not
 * started. */
void sink_stop(struct sink *s);
