/*
 * All slots, the machines kept ready in reserve, and the creates that wait for one.
 *
 * A create takes a READY slot, or waits for the next that becomes ready; as many are being made as
 * there are waiting creates, within a bound. The reserve is refilled when nothing waits, one at a
 * time, a little after the last create, so that work done ahead does not slow what is asked for
 * now.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "keeper/cgroup.h"
#include "keeper/request.h"
#include "keeper/slot.h"
#include "loop/loop.h"

struct pool {
	struct keeper *keeper;
	struct slot *slots[KEEPER_SLOTS_MAX]; /* NULL: not used so far */
	unsigned used;                        /* slots that are not FREE */
	unsigned making;
	struct list ready;
	unsigned ready_count;
	struct list waiters;
	unsigned waiting;
	unsigned target;            /* size of the reserve */
	unsigned failures;          /* in a row */
	struct cgroup_limits usual; /* limits that the reserve is made with: those asked for last */
	struct loop_timer refill;
};

void pool_init(struct pool *p, struct keeper *k);
/* Frees the slots. Their processes end with the keeper's. */
void pool_done(struct pool *p);

/* Replies to cookie when a machine runs or cannot be made. */
void pool_create(struct pool *p, uint64_t cookie, const struct cgroup_limits *limits);
void pool_set_target(struct pool *p, unsigned target);
/* The machine of that name, or NULL when there is none any more. */
struct slot *pool_find(const struct pool *p, uint32_t index, uint64_t generation);
/* Refuses waiting creates and destroys all machines; keeper's loop is stopped when all are gone. */
void pool_end(struct pool *p);

/* From slots. failed: before it was RUNNING; the slot cleans up by itself. */
void pool_on_ready(struct pool *p, struct slot *s);
void pool_on_failed(struct pool *p, struct slot *s, int err, const char *what);
void pool_on_free(struct pool *p, struct slot *s);
