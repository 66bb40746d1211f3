/*
 * The keeper's folder below the state folder: root's alone. It holds
 *   lock      flock'ed while a keeper (or its last cleaner) lives
 *   instance  the name of this state folder's instance, eight hex digits
 *   loops     loop devices added by this instance (loopdev.h)
 *   disks/    disk files, nameless
 *   run/      mount point of the run folder (run.h)
 */
#pragma once

#include <stdint.h>

#define STATE_INSTANCE_SIZE 9

struct state {
	int dir;
	int lock;
	int disks;
	char instance[STATE_INSTANCE_SIZE];
};

/* Opens or makes the folder in parent, waits up to timeout_ms for the lock, reads or draws the
 * instance. Refuses a folder that is not root's own (-EPERM). -EBUSY: another keeper has the lock.
 * On failure *ret_what is the step. Blocks. */
int state_open(struct state *s, int parent, unsigned timeout_ms, const char **ret_what);
/* Accepts a zeroed or half-opened state. */
void state_close(struct state *s);
