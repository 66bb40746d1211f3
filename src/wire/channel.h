/*
 * The agent channel: one byte stream between daemon and agent (unix socket pair, or the port of a
 * virtual machine) that carries requests, responses and flow-controlled byte streams.
 * docs/protocol/agent-channel.md is the text of the format; this file is both ends of it.
 *
 * A frame is a 12-byte little-endian header and a payload of at most CHANNEL_PAYLOAD_MAX bytes:
 *   u32 length   payload bytes
 *   u8  type     enum channel_frame
 *   u8  flags    CHANNEL_FLAG_*
 *   u16 method   REQUEST: number of the method; else 0
 *   u32 id       request id or stream id (both chosen by the daemon, from one counter: the id of
 *                a request is above those of the streams that it names)
 * Requests and responses longer than one frame are cut into frames with CHANNEL_FLAG_MORE.
 *
 * Streams: both ends know from a request's parameters which stream ids it opens and in which
 * direction; each end then calls channel_open_send() or channel_open_recv(). A sender starts with
 * CHANNEL_WINDOW bytes of credit; the receiver grants more as its owner consumes. Sending beyond
 * the credit, or on a stream that no request has named, breaks the channel (-EPROTO): the daemon
 * then treats the sandbox as crashed. Frames for a stream that this end has closed meanwhile, or
 * never opened because it refused the request, are dropped: they may have been on their way.
 *   DATA   sender -> receiver, raw bytes
 *   END    sender -> receiver, no more data
 *   RESET  either way: the stream is over; payload is an optional packed failure
 *   CREDIT receiver -> sender, payload u32: more bytes allowed
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/table.h"
#include "loop/loop.h"
#include "loop/stream.h"

#define CHANNEL_HEADER_SIZE 12
#define CHANNEL_PAYLOAD_MAX 65536
#define CHANNEL_WINDOW (256 * 1024)
/* Assembled request or response; also the bound of all messages in assembly together. */
#define CHANNEL_MESSAGE_MAX (16 * 1024 * 1024)
/* Messages that may be in assembly at the same time. */
#define CHANNEL_PARTIAL_MAX 8
#define CHANNEL_VERSION 1

enum channel_frame {
	CHANNEL_HELLO = 1, /* agent -> daemon, once, first: payload u32 version */
	CHANNEL_REQUEST,
	CHANNEL_RESPONSE,
	CHANNEL_CANCEL, /* daemon -> agent: give up request id */
	CHANNEL_DATA,
	CHANNEL_END,
	CHANNEL_RESET,
	CHANNEL_CREDIT,
	CHANNEL_FRAME_COUNT
};

#define CHANNEL_FLAG_MORE 0x01   /* REQUEST, RESPONSE: continued in the next frame of that id */
#define CHANNEL_FLAG_FAILED 0x02 /* RESPONSE: payload is a packed failure */

struct channel;
struct channel_stream;

struct channel_stream_ops {
	/* Receiving end. data is valid during the call only. Call channel_consume() when the bytes
	 * have gone on (at once or later): that is what grants credit. */
	void (*on_data)(struct channel_stream *s, const uint8_t *data, size_t len);
	/* Receiving end: no data follows. The stream stays open until its owner closes it. */
	void (*on_end)(struct channel_stream *s);
	/* Either end: the peer gave the stream up. data: packed failure or empty. The stream is
	 * closed before the call. */
	void (*on_reset)(struct channel_stream *s, const uint8_t *data, size_t len);
	/* Sending end: channel_send_room() has become positive after it was 0. */
	void (*on_writable)(struct channel_stream *s);
};

/* Embedded in the owner's object. */
struct channel_stream {
	struct table_entry entry;
	struct channel *channel; /* NULL: not open */
	const struct channel_stream_ops *ops;
	uint32_t id;
	bool sender;
	bool ended;         /* receiver: END has come */
	bool blocked;       /* sender saw no room: on_writable is owed */
	uint32_t credit;    /* sender: bytes it may send; receiver: bytes the peer may still send */
	uint32_t ungranted; /* receiver: consumed, not yet granted */
	struct list blocked_node;
};

struct channel_ops {
	/* Daemon: the agent is up. */
	void (*on_hello)(struct channel *ch, uint32_t version);
	/* Agent: a whole request. data is valid during the call only. */
	void (*on_request)(
		struct channel *ch, uint32_t id, uint16_t method, const uint8_t *data, size_t len);
	void (*on_cancel)(struct channel *ch, uint32_t id);
	/* Daemon: a whole response to a request that is open (others break the channel). */
	void (*on_response)(
		struct channel *ch, uint32_t id, bool failed, const uint8_t *data, size_t len);
	/* The channel is over: err 0 orderly end, -EPROTO the peer broke the format, else errno.
	 * -EPROTONOSUPPORT: the agent speaks another version. -ECONNRESET: the peer ended in the
	 * middle of a frame. Called once, from the loop; the socket is closed by then. Open streams
	 * get no call of their own. The owner calls channel_done() now or later. */
	void (*on_close)(struct channel *ch, int err);
};

struct channel {
	struct stream stream;
	struct loop *loop;
	const struct channel_ops *ops;
	bool agent;   /* which end we are */
	bool greeted; /* daemon: HELLO has come */
	bool wrapped; /* the id counter went round: any id may be a late one */
	int error;    /* 0, or why nothing can be sent any more */
	bool *gone;   /* private: tells a dispatch loop on the stack that the channel is done */
	struct table streams;  /* by id */
	struct table requests; /* daemon: open requests, by id */
	struct table partial;  /* messages in assembly, by id */
	size_t partial_bytes;
	struct list blocked; /* senders that wait for the socket */
	uint32_t next_id;    /* daemon */
	uint32_t highest_id; /* agent: newest id seen, to tell late frames from wild ones */
	struct loop_defer failing;
};

/* Takes fd over, also on failure. The agent end sends HELLO at once. 0 or negative errno. */
int channel_init(
	struct channel *ch, struct loop *loop, int fd, bool agent, const struct channel_ops *ops);
/* Ends the channel without callbacks; open streams become closed (channel == NULL). Allowed inside
 * any callback; the struct may be freed at once. Accepts a zeroed struct. */
void channel_done(struct channel *ch);

/* Daemon: a fresh stream id (never 0). */
uint32_t channel_next_stream(struct channel *ch);
/* Daemon: sends a request, cutting it into frames. Returns 0 and its id, -E2BIG above
 * CHANNEL_MESSAGE_MAX, -ENOBUFS when the send queue is full, or the channel's error. */
int channel_request(
	struct channel *ch, uint16_t method, const void *data, size_t len, uint32_t *ret_id);
/* Daemon: asks to give a request up; the response still comes. -ENOENT when the request is not
 * open (any more). */
int channel_cancel(struct channel *ch, uint32_t id);
/* Agent: answers. Same errors as channel_request(). */
int channel_respond(struct channel *ch, uint32_t id, bool failed, const void *data, size_t len);

/* Opens this end of a stream. 0, -EEXIST when the id is in use, -EINVAL for id 0, or the channel's
 * error. s must be zeroed or closed; its owner closes it before freeing it. */
int channel_open_send(struct channel *ch, struct channel_stream *s, uint32_t id,
	const struct channel_stream_ops *ops);
int channel_open_recv(struct channel *ch, struct channel_stream *s, uint32_t id,
	const struct channel_stream_ops *ops);

/* Bytes that may be sent now (credit, and the socket's queue is not congested); at most
 * CHANNEL_WINDOW. When it answers 0 the stream gets on_writable later. */
size_t channel_send_room(struct channel_stream *s);
/* Sends len <= channel_send_room() bytes (copied). 0, -EINVAL when that is too many, -EPIPE when
 * closed, or the channel's error. */
int channel_send(struct channel_stream *s, const void *data, size_t len);
/* The same for bytes that wait in a pipe of the caller's own, without copying them where the kernel
 * can: at most CHANNEL_PAYLOAD_MAX. All of them are there, nobody else reads the pipe, SIGPIPE is
 * ignored. */
int channel_send_pipe(struct channel_stream *s, int pipe, size_t len);
/* Sends END and closes this end. Safe when closed. */
void channel_send_end(struct channel_stream *s);
/* Receiver: n bytes have been dealt with. Safe when closed. */
void channel_consume(struct channel_stream *s, size_t n);
/* Gives the stream up from either end, telling the peer (data: packed failure or NULL, dropped when
 * longer than a frame). Safe when closed. */
void channel_reset(struct channel_stream *s, const void *data, size_t len);
/* Forgets this end without telling the peer (after END was received). Safe when closed. */
void channel_stream_close(struct channel_stream *s);
