/* Removing what machines leave: what a killed predecessor could not, and at the end of a keeper. */
#pragma once

#include "keeper/keeper.h"

/* Kills what lives in the instance's cgroups, removes them, the loop devices added by the instance
 * and forgotten disk files; waits up to timeout_ms for each kind. What is still in use stays, is
 * recorded, and gives -EBUSY with its step in *ret_what. What has not been opened yet is passed
 * over. Blocks. */
int sweep_machines(struct keeper *k, unsigned timeout_ms, const char **ret_what);
/* The same, then the instance's own cgroup and the base image: nothing is left but the state
 * folder. */
int sweep_all(struct keeper *k, unsigned timeout_ms, const char **ret_what);
