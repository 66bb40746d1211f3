/*
 * The daemon's end of the socket to the keeper (keeper/request.h): sends requests, matches replies
 * to them by cookie. What the socket cannot take at once is queued; requests go out in order.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/table.h"
#include "keeper/request.h"
#include "loop/loop.h"

struct keeper_client;

/* fd is -1 or a descriptor that came along (the callee's). */
typedef void (*keeper_reply_fn)(
	struct keeper_client *c, const struct keeper_reply *reply, int fd, void *data);

struct keeper_client_ops {
	/* A message without a request. */
	void (*on_event)(struct keeper_client *c, const struct keeper_reply *reply);
	/* The keeper is gone or broke the protocol. Pending requests are dropped without a word. */
	void (*on_end)(struct keeper_client *c, int err);
};

struct keeper_client {
	struct loop_io io;
	struct loop *loop;
	int sock; /* owned */
	const struct keeper_client_ops *ops;
	struct table pending; /* by cookie */
	struct list queue;
	uint64_t cookie;
	int err;
	bool ended;
	struct loop_defer defer;
};

/* Takes sock over, also when it fails. Greets the keeper and waits up to timeout_ms for it to be
 * ready: blocks. On failure *ret_err says what the keeper could not do. */
int keeper_client_open(struct keeper_client *c, struct loop *loop, int sock, unsigned timeout_ms,
	const struct keeper_client_ops *ops, struct error *ret_err);
/* Closes at once; nothing is called any more. */
void keeper_client_close(struct keeper_client *c);

/* Sends req (its cookie is set here) and calls fn with the reply. Returns the cookie. After the end
 * it is dropped. */
uint64_t keeper_client_ask(
	struct keeper_client *c, struct keeper_request *req, keeper_reply_fn fn, void *data);
/* Whoever asked is not interested any more: the reply is dropped, a descriptor closed. */
void keeper_client_forget(struct keeper_client *c, void *data);
