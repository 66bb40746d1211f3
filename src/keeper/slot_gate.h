/*
 * The gate of one machine. At most one lives; it is asked for by the daemon, forked by the mother
 * (gates.h), and dies with the machine at the latest: a slot is not used again before that.
 *
 *   ask.set   the daemon waits for an answer
 *   sent      the mother has the request and has not answered
 *   pidfd     a gate lives
 *
 * A request waits for the mother while there is none, and a moment for the end of a gate that lives
 * still: the daemon sees the end of its socket a little before the process has ended.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "loop/loop.h"

struct slot_gate {
	struct list node; /* in gates.waiting */
	struct {
		bool set;
		uint64_t cookie;
	} ask;
	struct loop_timer patience; /* of whoever asks */
	uint64_t sent;              /* cookie of the request to the mother; 0: none */
	int control;                /* the daemon's end of the gate's socket, until answered */
	int pidfd;
	int32_t pid;
	struct loop_io life; /* watches the pidfd */
};

void slot_gate_init(struct slot_gate *g);
/* Kills the gate and closes everything without a word. */
void slot_gate_done(struct slot_gate *g);

/* The daemon asks for a gate of a machine that runs: answered at once with the negative errno that
 * is returned, or later. */
int slot_gate_ask(struct slot_gate *g, uint64_t cookie);
/* The machine ends: kills the gate, refuses who still waits for one. */
void slot_gate_end(struct slot_gate *g);
/* Neither is there a gate, nor can one come. When that becomes true, slot_on_gate_gone() is called.
 */
bool slot_gate_gone(const struct slot_gate *g);

/* From gates.c: the mother has become ready; has answered (pidfd is taken over), or never will. */
void slot_gate_on_mother(struct slot_gate *g);
void slot_gate_on_reply(struct slot_gate *g, int err, int32_t pid, int pidfd);
