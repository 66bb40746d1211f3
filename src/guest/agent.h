/*
 * The agent's state, its dispatch of requests and its answers. One agent per process; everything
 * runs on the thread of its loop. What each family of requests does is in a file of its own; the
 * calls that carry requests out are declared in calls.h.
 *
 * Who the agent is: effective uid 0 of the sandbox, so that it can become the user in each child
 * and signal any process, but its file system identity is the user's from the start. Whatever it
 * opens or makes (pipes too) is opened or made as the user, and refused as to the user.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/table.h"
#include "guest/environment.h"
#include "guest/oom_score.h"
#include "guest/trust.h"
#include "loop/loop.h"
#include "rpc/methods.h"
#include "wire/channel.h"

struct agent_config {
	const char *home; /* default working folder; absolute, borrowed */
	const char *root; /* in front of the paths of system files: "", or a folder of a test */
	uid_t uid;        /* the user, when become is set */
	gid_t gid;
	bool become;            /* children change to uid and gid */
	bool init;              /* first process of its namespace: at the end kill everything */
	int oom_score_adj;      /* of children; 0: leave */
	int oom_fd;             /* as for oom_score_open(); taken over by agent_init() */
	struct rlimit nofile;   /* given to children; rlim_max 0: leave */
	unsigned requests_max;  /* open at the same time */
	unsigned processes_max; /* spawned and running */
	unsigned results_max;   /* ended processes whose status is remembered */
	unsigned streams_max;   /* open at the same time */
};

/* The limits above as the sandbox has them. home, identity and init are left zero. */
void agent_config_default(struct agent_config *config);

struct agent {
	struct agent_config config;
	struct loop *loop;
	struct channel channel;
	struct environment env;
	struct oom_score oom_score;
	struct trust trust;
	int null_fd;
	int relay[2]; /* see agent_relay(); -EBADF: not made */

	struct table requests;  /* open requests by id */
	struct table processes; /* by pid: running, and results */
	struct list results;    /* ended processes, oldest first */
	size_t result_count;
	struct list outputs; /* of children, from stdio.c */
	struct list inputs;
	unsigned stream_count; /* sources and sinks */
	size_t listing_bytes;  /* readDir answers in the making */
	struct loop_timer reap_again;

	struct list late; /* answers that found the channel's queue full, oldest first */
	size_t late_bytes;
	size_t late_count;
	struct loop_timer late_timer;
};

/* Takes fd (the channel) over, also on failure. config is copied; its home stays borrowed. Greets
 * the daemon. When the channel ends all processes are killed and the loop is stopped with code 0
 * (orderly) or 1. 0 or negative errno. */
int agent_init(struct agent *agent, struct loop *loop, int fd, const struct agent_config *config);
/* Frees everything; running processes are neither killed nor reaped. */
void agent_done(struct agent *agent);

/* --- requests that are not answered at once --------------------------------------------------- */

struct request;
/* The daemon gave the request up: let go of what it holds, answer -ECANCELED, free its object. */
typedef void (*request_cancel_fn)(struct request *req);
/* The agent is going: let go and free, without an answer. */
typedef void (*request_drop_fn)(struct request *req);

struct request_ops {
	request_cancel_fn cancel;
	request_drop_fn drop;
};

/* Embedded in the object of a running request. */
struct request {
	struct table_entry entry;
	struct agent *agent; /* NULL: not open */
	const struct request_ops *ops;
	uint32_t id;
};

/* 0, -EAGAIN when too many are open, -EEXIST when the id is in use. */
int request_open(
	struct agent *agent, struct request *req, uint32_t id, const struct request_ops *ops);
/* Takes the request out of the table; the answer is given separately. Safe when not open. */
void request_close(struct request *req);

/* A pipe that is empty and nobody else's, for moving bytes from one descriptor to another; NULL
 * when there are no descriptors left. Whoever puts bytes in takes them out at once. */
const int *agent_relay(struct agent *agent);

/* Between these two the agent's files are root's: for files of the system that it keeps, and for no
 * path that a client named. The second belongs to the first also when that failed. */
int agent_system_files(struct agent *agent);
void agent_user_files(struct agent *agent);

/* --- answers ---------------------------------------------------------------------------------- */

/* A failure: negative errno and what was tried; constructor replaces the errno's error class. */
void agent_reply(
	struct agent *agent, uint32_t id, const struct rpc_schema *schema, const void *result);
void agent_reply_void(struct agent *agent, uint32_t id);
/* An answer that is packed already. */
void agent_reply_packed(struct agent *agent, uint32_t id, const void *data, size_t len);
/* err: negative errno. The text is the context ("stat '/x'"). */
void agent_fail(struct agent *agent, uint32_t id, int err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same with the error class given. */
void agent_fail_as(struct agent *agent, uint32_t id, const char *constructor, int err,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Passes a failure on as it is. */
void agent_fail_with(struct agent *agent, uint32_t id, const struct rpc_failure *failure);
/* True while the daemon takes answers more slowly than they are made. */
bool agent_congested(const struct agent *agent);

/* Gives a stream up, telling the peer why. Safe when closed. */
void agent_reset_stream(struct channel_stream *s, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Opens the stream that a request names and gives it up at once: what a refused request owes its
 * content stream. id 0 is fine. */
void agent_refuse_stream(struct agent *agent, int64_t id, bool sender, int err, const char *fmt,
	...) __attribute__((format(printf, 5, 6)));
/* A stream id out of a request: 0 for what cannot be one. */
uint32_t agent_stream_id(int64_t id);
