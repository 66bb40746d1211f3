/*
 * The keeper's side of the gates: the mother that forks them (mother.h is what they say to each
 * other) and the resolver that all of them ask. Both run beside the keeper and are started again
 * when they end. The end of a mother is the end of all her gates; the resolver's is not noticed by
 * them, since the sockets between stay.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "keeper/helper.h"
#include "keeper/mother.h"
#include "loop/loop.h"

struct keeper;

/* Borrowed; what is NULL is not passed on. */
struct gates_params {
	const char *extra_ca;
	const char *log_level;
};

struct gates {
	struct keeper *keeper;
	struct gates_params params;
	struct helper mother, resolver;
	int sock; /* to the mother */
	struct loop_io io;
	bool ready;          /* the mother has said so */
	uint64_t serial;     /* of requests */
	int to_resolver;     /* the gates' end of the pair */
	int of_resolver;     /* the resolver's */
	struct list waiting; /* struct slot_gate: until the mother is ready */
};

/* Starts both. Needs the loop, and the programs in the run folder. On failure *ret_what is the
 * step. Blocks until both have been executed. */
int gates_start(struct gates *g, struct keeper *k, const struct gates_params *params,
	const char **ret_what);
/* Ends both. Accepts a zeroed one. */
void gates_stop(struct gates *g);

/* Whether a request can be sent now. */
static inline bool gates_ready(const struct gates *g)
{
	return g->ready;
}
/* Sends a request for a gate of that slot with fds (borrowed). The reply goes to
 * slot_gate_on_reply(). Its cookie, or 0 and a negative errno in *ret_err. */
uint64_t gates_ask(struct gates *g, uint32_t slot, const int fds[MOTHER_FD_COUNT], int *ret_err);
