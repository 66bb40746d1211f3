/*
 * The file tree of a machine: an overlay of the shared base image and the machine's own disk, with
 * fresh or masked /proc, /sys, /dev and /run in it. Everything is mounted by real root in a mount
 * namespace that belongs to the initial user namespace, so root inside has no power over any of it.
 *
 * The calls run in the machine's first process, in its own mount and pid namespaces, in order, with
 * the keeper's run folder as working directory (its layout: run.h). 0 or a negative errno.
 */
#pragma once

#include <stdint.h>

#include "keeper/cgroup.h"

struct tree {
	uint32_t base; /* first id of the machine's range */
	uint32_t slot;
	int userns;
	const struct cgroup_tree *cgroups;
	int root; /* the overlay, once mounted */
	int disk; /* root folder of the disk's file system, once mounted */
};

/* In the keeper, once, with the run folder complete: which of the entries of /proc to hide this
 * kernel has, and whether there is a file of trust. */
void tree_prepare(void);

/* device: path of the loop device. Sets t->disk. */
int tree_mount_disk(struct tree *t, const char *device);
/* Sets t->root. */
int tree_mount_overlay(struct tree *t);
int tree_mount_proc(struct tree *t);
int tree_mount_sys(struct tree *t);
int tree_mount_dev(struct tree *t);
int tree_mount_run(struct tree *t);
/* Makes t->root the root of the process and lets go of the host's tree. */
int tree_enter(struct tree *t);
