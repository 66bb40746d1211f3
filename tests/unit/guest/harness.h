/*
 * An agent in a process of its own, as an ordinary process of the machine, and the daemon's end of
 * its channel with calls that wait. A call that takes longer than ten seconds fails the test.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "guest/agent.h"
#include "loop/loop.h"
#include "rpc/methods.h"
#include "wire/channel.h"

struct guest {
	struct loop *loop;
	struct channel channel;
	struct list answers; /* of requests that were sent */
	char home[64];
	pid_t pid;
	bool over; /* the channel has ended */
	int over_err;
};

/* What came back for a request. */
struct answer {
	struct list node;
	uint32_t id;
	bool done;
	bool failed;
	struct buf data;
	struct rpc_failure failure;
};

/* A stream towards us. */
struct inbox {
	struct channel_stream stream;
	struct channel *channel;
	struct buf data;
	bool hold;    /* do not grant credit */
	bool discard; /* count, but do not keep */
	size_t total;
	bool ended;
	bool reset;
	struct rpc_failure failure;
};

/* A stream towards the agent. */
struct outbox {
	struct channel_stream stream;
	struct channel *channel;
	const char *data;
	size_t len;
	size_t repeat; /* send data that often */
	bool keep_open;
	size_t sent;
	bool reset;
	struct rpc_failure failure;
};

/* change may alter the configuration; NULL: the default with a fresh home folder and no change of
 * identity. */
struct guest *guest_new(void (*change)(struct agent_config *config));
/* Ends the agent, checks that it ended well, removes its home. */
void guest_free(struct guest *g);

/* Sends a request. The answer belongs to guest; free it with answer_free(). */
struct answer *guest_send(struct guest *g, uint16_t method, const void *params);
struct answer *guest_send_raw(struct guest *g, uint16_t method, const void *data, size_t len);
void guest_await(struct guest *g, const bool *flag);
/* Turns the loop for a while. */
void guest_turn(struct guest *g, unsigned ms);
struct answer *guest_call(struct guest *g, uint16_t method, const void *params);
/* Calls that must work; result (may be NULL) is to be cleared with rpc_clear(). */
void guest_ok(struct guest *g, uint16_t method, const void *params, void *result);
/* Calls that must fail with this errno, error class (or NULL) and a context that contains text. */
void guest_fails(struct guest *g, uint16_t method, const void *params, int err,
	const char *constructor, const char *text);
void answer_check_failed(
	const struct answer *a, int err, const char *constructor, const char *text);
void answer_free(struct answer *a);

void inbox_open(struct guest *g, struct inbox *in);
/* Grants all credit that was held back and more as bytes come. */
void inbox_release(struct inbox *in);
void inbox_free(struct inbox *in);
void outbox_open(struct guest *g, struct outbox *out);
/* Starts to send; ends the stream unless keep_open. */
void outbox_start(struct outbox *out);

/* Fills params for a program without arguments and opens its streams. NULL: no stream. */
void spawn_params(struct guest *g, struct rpc_spawn *params, const char *command, struct outbox *in,
	struct inbox *out, struct inbox *err);
/* "sh -c script"; the pid. */
int64_t spawn_shell(struct guest *g, const char *script, struct outbox *in, struct inbox *out,
	struct inbox *err);
/* Waits for a process and checks how it ended. */
void expect_end(struct guest *g, int64_t pid, int code, const char *signal);

/* A path below the home folder; heap. */
char *home_path(const struct guest *g, const char *name);
void home_write(const struct guest *g, const char *name, const char *text);
char *home_read(const struct guest *g, const char *name);
