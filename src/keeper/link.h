/*
 * The keeper's end of the socket to the daemon: takes requests in, sends replies out in order. What
 * the socket cannot take at once waits here; a daemon that lets more than LINK_QUEUE_MAX replies
 * pile up is treated as gone.
 */
#pragma once

#include <stdbool.h>

#include "base/list.h"
#include "keeper/request.h"
#include "loop/loop.h"

#define LINK_QUEUE_MAX (4 * KEEPER_SLOTS_MAX)

struct link;

struct link_ops {
	void (*on_request)(struct link *l, const struct keeper_request *req);
	/* The daemon is gone (err 0) or broke the protocol. Called once. */
	void (*on_end)(struct link *l, int err);
};

struct link {
	struct loop_io io;
	int sock; /* owned */
	const struct link_ops *ops;
	struct list queue;
	unsigned queued;
	bool ended;
	struct loop_defer defer;
	int end_err;
};

/* Takes sock over, also when it fails. 0 or negative errno. */
int link_open(struct link *l, struct loop *loop, int sock, const struct link_ops *ops);
/* Sends or queues one reply; fd (or -1) is passed along and closed here. */
void link_send(struct link *l, const struct keeper_reply *reply, int fd);
/* Closes at once; what is queued is lost. Accepts a closed link. */
void link_close(struct link *l);
