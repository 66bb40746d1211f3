/*
 * One slot: the place of one machine, with its range of ids, its cgroups and its devices.
 *
 *   FREE      nothing exists
 *   MAKING    the first process is preparing itself (init.h)
 *   READY     the agent runs and has greeted into its socket, which nobody has yet
 *   RUNNING   the daemon has the agent's socket
 *   EXITED    the first process ended unasked; the daemon has still to say DESTROY
 *   ENDING    killed, not yet reaped
 *   CLEANING  a cleaner takes down what is left; the range is not used again before it is done and
 *             the gate has ended
 *
 * FREE -> MAKING -> READY -> RUNNING -> [EXITED ->] [ENDING ->] CLEANING -> FREE; every state from
 * MAKING on may go to ENDING or CLEANING. Only slot.c changes the state. A slot tells the pool
 * (pool.h) when it becomes READY or FREE, or fails before it was RUNNING.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "keeper/cgroup.h"
#include "keeper/request.h"
#include "keeper/slot_gate.h"
#include "loop/loop.h"

struct keeper;

enum slot_state {
	SLOT_FREE,
	SLOT_MAKING,
	SLOT_READY,
	SLOT_RUNNING,
	SLOT_EXITED,
	SLOT_ENDING,
	SLOT_CLEANING,
	SLOT_STATE_COUNT
};

/* Who to tell when something asked for has been done. */
struct slot_ask {
	bool set;
	uint64_t cookie;
};

struct slot {
	struct keeper *keeper;
	uint32_t index;
	uint64_t generation; /* new for each machine */
	enum slot_state state;
	struct list node; /* in a list of the pool */

	struct loop_child child; /* the first process; CLEANING: the cleaner */
	struct loop_io status;   /* its status socket */
	bool reaped;             /* the first process */
	int status_fd;
	int channel; /* the daemon's end of the agent's stream, until sent */
	int disk;    /* the disk file */
	int root;    /* root folder of the disk's file system: keeps it mounted, for the cleaner */
	int netns;   /* network namespace */
	int loop_no; /* loop device lent; -1: none */
	struct cgroup_limits limits;

	struct slot_gate gate;
	bool cleaned; /* CLEANING: nothing is left but perhaps a gate */

	struct slot_ask destroy;
	uint64_t oom_kills;      /* final count, once EXITED */
	struct loop_timer later; /* CLEANING: try again; else: settle the disk */
};

/* A FREE slot. */
struct slot *slot_new(struct keeper *k, uint32_t index);
/* Only when FREE or when the process ends. NULL is fine. */
void slot_free(struct slot *s);

/* FREE -> MAKING. On failure the slot is FREE again and *ret_what is the step; later failures are
 * told to the pool. */
int slot_launch(struct slot *s, const struct cgroup_limits *limits, const char **ret_what);
/* READY -> RUNNING: sets the limits and gives the agent's stream away (*ret_channel is the
 * caller's). On failure the slot ends itself and *ret_what is the step. */
int slot_go(struct slot *s, const struct cgroup_limits *limits, int *ret_channel,
	const char **ret_what);
/* Ends the machine in any state but FREE. ask (may be NULL): reply to DESTROY that is wanted when
 * the processes are gone. */
void slot_destroy(struct slot *s, const struct slot_ask *ask);
int slot_limit(struct slot *s, uint32_t memory_mb);
/* From the slot's gate. */
void slot_on_gate_gone(struct slot *s);
int slot_usage(const struct slot *s, struct keeper_reply *reply);
