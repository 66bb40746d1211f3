/* What cgroup.c asks of each version, and the small file helpers both use. */
#pragma once

#include "keeper/cgroup.h"

struct cgroup_ops {
	/* Opens t->tops and readies them to hold groups with limits. */
	int (*open)(struct cgroup_tree *t, const struct cgroup_place *place, const char **ret_what);
	/* Readies the new parent for limits in its children. */
	int (*ready)(struct cgroup_tree *t);
	bool clone_into;
	int (*limit)(const struct cgroup_tree *t, uint32_t slot, const struct cgroup_limits *old,
		const struct cgroup_limits *limits);
	int (*read)(const struct cgroup_tree *t, uint32_t slot, struct cgroup_counters *ret);
	uint64_t (*oom_kills)(const struct cgroup_tree *t, uint32_t slot);
	/* Name of the i-th view, NULL when there is none. */
	const char *(*view)(unsigned i);
};

extern const struct cgroup_ops cgroup_v1_ops;
extern const struct cgroup_ops cgroup_v2_ops;

enum { CGROUP_MEMORY, CGROUP_CPU, CGROUP_PIDS, CGROUP_CPUACCT, CGROUP_FREEZER };
extern const char *const cgroup_v1_names[CGROUP_CONTROLLERS];

/* Path of a control file of a slot, relative to a parent. */
struct cgroup_path {
	char text[64];
};
struct cgroup_path cgroup_file(uint32_t slot, const char *file);
int cgroup_write(int parent, uint32_t slot, const char *file, const char *text);
int cgroup_write_u64(int parent, uint32_t slot, const char *file, uint64_t value);
/* A file that holds one number. "max" is UINT64_MAX. */
int cgroup_read_u64(int parent, uint32_t slot, const char *file, uint64_t *ret);
/* The number behind "key " at the start of a line. -ENOENT when there is no such line. */
int cgroup_read_key(int parent, uint32_t slot, const char *file, const char *key, uint64_t *ret);
