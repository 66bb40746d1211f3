/*
 * The pipes of children: made and tied to streams of the channel before a child starts, and living
 * until their other ends are closed, which may be long after the child.
 */
#pragma once

#include <stdint.h>

struct agent;
struct process;
struct rpc_spawn;
struct stdio_in;
struct stdio_out;

/* One child's set, from stdio_open() to stdio_attach() or stdio_refuse(). */
struct stdio {
	int child[3]; /* what the child gets as 0, 1 and 2; owned, or agent->null_fd */
	struct stdio_in *in;
	struct stdio_out *out[2];
};

/* Opens the streams that the request names and their pipes; nothing is read or written yet. 0 or
 * negative errno; stdio_refuse() is due then as well. */
int stdio_open(struct agent *agent, const struct rpc_spawn *params, struct stdio *stdio);
/* The child runs: forgets its ends of the pipes and starts to read. */
void stdio_attach(struct agent *agent, struct stdio *stdio, struct process *p);
/* There is no child: closes the pipes and resets the streams, also those that were not opened. */
void stdio_refuse(
	struct agent *agent, const struct rpc_spawn *params, struct stdio *stdio, int err);
/* The process has ended: sends what its pipes hold, as far as there is room, and lets go of it. */
void stdio_flush(struct process *p);
/* Closes all pipes of all children. */
void stdio_free_all(struct agent *agent);
