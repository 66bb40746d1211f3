/*
 * Control groups of the machines: one group per slot and controller, `warren/<instance>/<slot>`.
 * Version 1: directly below the root of each controller's hierarchy, whatever subgroup the keeper
 * itself sits in. Version 2: below the keeper's own group when that has been delegated to it, else
 * below the root of the hierarchy. No other group is touched, except that a delegated group's own
 * processes move into a leaf of it, as version 2 demands.
 *
 * All calls block for as long as the kernel takes; none logs; all return 0 or a negative errno.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGROUP_CONTROLLERS \
	5 /* version 1: memory, cpu, pids, cpuacct, freezer; version 2 uses [0] */
#define CGROUP_PATH_MAX 512

struct cgroup_ops;

struct cgroup_limits {
	uint32_t memory_mb;
	uint32_t cpu_percent; /* of one CPU */
	uint32_t pids_max;
};

struct cgroup_counters {
	uint64_t oom_kills;
	uint64_t memory_bytes;
	uint64_t memory_peak;
	uint64_t cpu_ns;
	uint64_t pids;
	uint64_t pids_refused;
};

struct cgroup_tree {
	const struct cgroup_ops *ops;
	int tops[CGROUP_CONTROLLERS];    /* where `warren` is; -EBADF: not there */
	int parents[CGROUP_CONTROLLERS]; /* `warren/<instance>` */
	char instance[16];
};

/* Where the controllers are, as read from the kernel's own tables. */
struct cgroup_place {
	bool v2;
	char v1[CGROUP_CONTROLLERS][CGROUP_PATH_MAX]; /* "": no such hierarchy */
	char v2_mount[CGROUP_PATH_MAX];
	char v2_own[CGROUP_PATH_MAX]; /* own group below it: "/" or "/a/b" */
};

/* mountinfo and self: texts of /proc/self/mountinfo and /proc/self/cgroup. -ENOTSUP when the
 * memory, cpu and pids controllers are on neither version; *ret_what then names what is missing. */
int cgroup_place_find(
	const char *mountinfo, const char *self, struct cgroup_place *ret, const char **ret_what);

/* Makes the instance's parents. On failure *ret_what is the step. */
int cgroup_tree_open(struct cgroup_tree *t, const char *instance, const char **ret_what);
/* Kills what lives in slots' groups of the instance and removes them; -EBUSY when some are in use
 * still, which asks for another try. */
int cgroup_tree_sweep(const struct cgroup_tree *t);
/* Removes the instance's own groups, which have to be empty. */
int cgroup_tree_remove(const struct cgroup_tree *t);
/* Closes the descriptors. Accepts a closed tree. */
void cgroup_tree_close(struct cgroup_tree *t);

/* Makes the slot's groups and sets its limits. */
int cgroup_make(const struct cgroup_tree *t, uint32_t slot, const struct cgroup_limits *limits);
/* Version 2: an open group for CLONE_INTO_CGROUP (the caller's). Version 1: -ENOTSUP. */
int cgroup_clone_fd(const struct cgroup_tree *t, uint32_t slot);
/* Moves the process in; nothing to do after CLONE_INTO_CGROUP. pid: as text, "0" for the caller.
 * With version 1 this takes some milliseconds when it is the first on the host for a while. */
int cgroup_enter(const struct cgroup_tree *t, uint32_t slot, const char *pid);
/* Writes what differs from old (NULL: all). -EBUSY when more memory is in use than is allowed now
 * and cannot be reclaimed. */
int cgroup_limit(const struct cgroup_tree *t, uint32_t slot, const struct cgroup_limits *old,
	const struct cgroup_limits *limits);
/* Counters that this kernel does not keep are 0. */
int cgroup_read(const struct cgroup_tree *t, uint32_t slot, struct cgroup_counters *ret);
/* Just the first of them; 0 when it cannot be read. */
uint64_t cgroup_oom_kills(const struct cgroup_tree *t, uint32_t slot);
/* -EBUSY while processes are in it; absent groups are fine. */
int cgroup_remove(const struct cgroup_tree *t, uint32_t slot);
/* Groups to show inside the machine, read-only. Name of the i-th below /sys/fs/cgroup ("": in its
 * place, version 2), NULL when it is not shown; */
const char *cgroup_view_name(const struct cgroup_tree *t, unsigned i);
/* and the group: an O_PATH descriptor (the caller's) in the calling process's mount namespace. */
int cgroup_view(const struct cgroup_tree *t, uint32_t slot, unsigned i);
