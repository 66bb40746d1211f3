/* Children of the keeper. */
#pragma once

#include "keeper/slot.h"

/* Makes the slot's first process (init.h), with cgroups, disk file, loop device and sockets; fills
 * the slot's descriptors and watches nothing yet. Returns the pid, *ret_pidfd is the caller's. On
 * failure everything is undone except the cgroups, and *ret_what is the step. */
int launcher_start(struct slot *s, int *ret_pidfd, const char **ret_what);

/* Makes the process that takes a slot's remains down: discards what the disk still had to write,
 * unmounts it, waits for its loop device, removes its cgroups. It takes the slot's descriptors over
 * (they are closed here), outlives the keeper, and ends with status 0 when all is gone. Returns its
 * pid. */
int cleaner_start(struct slot *s);

/* Makes a process that switches a loop device to direct I/O. Nobody waits for it. */
void settler_start(struct keeper *k, int loop_no);
