/*
 * The daemon's end of one gate: the messages of rpc/gate.h over a SOCK_SEQPACKET socket. The gate
 * has parsed what came from everywhere and is taken for hostile: messages are checked, bounded in
 * number, and whatever is out of order ends it. Its end is the end of the sandbox's network.
 *
 * Nothing in here knows of sandboxes; network.c does.
 */
#pragma once

#include "base/error.h"
#include "loop/loop.h"
#include "rpc/gate.h"

#define EGRESS_ANSWER_NS (UINT64_C(5) * 1000 * 1000 * 1000)
/* Events of one second that are passed on; the rest is only counted. */
#define EGRESS_EVENTS_MAX 200
/* Messages of one second that are read at all; more wait in the socket. */
#define EGRESS_MESSAGES_MAX 2000

struct egress;

/* All come from the loop. The owner may call egress_done() in any of them; the struct must outlive
 * the call. */
struct egress_ops {
	/* Answers egress_configure() and egress_set_rules(). */
	void (*on_ready)(struct egress *e, const struct gate_ready *ready);
	void (*on_applied)(struct egress *e, int64_t closed);
	void (*on_event)(struct egress *e, const struct gate_event *event);
	/* count events (> 0) were not passed on, for there were too many. */
	void (*on_dropped)(struct egress *e, uint64_t count);
	/* The gate is gone, or had to go; the socket is closed. Once. why: a sentence's end, such
	 * as "the gate did not answer in time". */
	void (*on_end)(struct egress *e, const char *why);
};

struct egress {
	struct loop *loop; /* NULL: none, or over */
	int fd;
	struct loop_io io;
	struct loop_timer answer; /* armed while one is due */
	struct loop_timer window;
	const struct egress_ops *ops;
	enum gate_message awaited; /* 0: none */
	unsigned messages;         /* read in this window */
	unsigned events;           /* of them, passed on */
	uint64_t dropped;          /* of them, not passed on */
};

/* Takes fd over, also on failure. 0 or a negative errno. */
int egress_init(struct egress *e, struct loop *loop, int fd, const struct egress_ops *ops);
/* Closes the socket, which ends the gate; no callback comes. Accepts a zeroed or finished struct.
 */
void egress_done(struct egress *e);
/* Takes what the gate has said already, before egress_done(). The only call that makes callbacks
 * from inside. */
void egress_drain(struct egress *e);
static inline bool egress_open(const struct egress *e)
{
	return e->loop != NULL;
}

/* Both send a message and wait for its answer, EGRESS_ANSWER_NS at most; one at a time (-EBUSY).
 * No copy of a secret stays behind in this process. 0, -EPIPE (it is over), -E2BIG, or the errno of
 * the socket; the gate is not ended then. */
int egress_configure(struct egress *e, const struct gate_config *config);
int egress_set_rules(struct egress *e, const struct gate_policy *policy);
