/*
 * Reports to the daemon (GATE_EVENT), bounded: a program that makes connections in a loop must not
 * fill the daemon's store. What is too much is counted and told as a number; refusals that are
 * alike come as one with a count.
 */
#pragma once

#include <stdint.h>

#include "loop/loop.h"
#include "rpc/gate.h"

#define AUDIT_PER_SECOND 100
#define AUDIT_BURST 400

struct audit {
	struct loop *loop;
	int sock; /* borrowed */
	unsigned tokens;
	uint64_t refilled; /* monotonic ns */
	int64_t dropped;
	struct loop_timer timer; /* tells what was dropped or held */
	struct gate_event held;  /* a refusal that was reported, and its likes since */
};

void audit_init(struct audit *a, struct loop *loop, int sock);
void audit_done(struct audit *a);
/* Sends one event; its strings are borrowed. time_ms 0: now. */
void audit_event(struct audit *a, struct gate_event *event);
/* Sends another message of rpc/gate.h. 0 or a negative errno. */
int audit_send(
	int sock, enum gate_message type, const struct rpc_schema *schema, const void *message);
