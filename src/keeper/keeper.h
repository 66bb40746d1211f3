/* What the files of the keeper share: the one keeper object. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "keeper/cgroup.h"
#include "keeper/disk.h"
#include "keeper/gates.h"
#include "keeper/link.h"
#include "keeper/loopdev.h"
#include "keeper/netrules.h"
#include "keeper/pool.h"
#include "keeper/seccomp.h"
#include "keeper/state.h"
#include "keeper/undertaker.h"
#include "loop/loop.h"

struct keeper {
	struct loop *loop;
	struct state state;
	uint32_t uid_base;
	struct disk_template template; /* disk.ext4 of the image */
	struct cgroup_tree cgroups;
	struct loopdevs loops;
	struct seccomp_filter filter; /* of machines */
	struct netrules rules;        /* of their networks */
	struct link link;             /* to the daemon */
	struct pool pool;
	struct gates gates;
	int netns; /* the keeper's own network namespace */
	struct undertaker undertaker;
	struct loop_timer patience; /* bounds the end */
	bool greeted;
	bool ending;
};

/* Destroys every machine, then stops the loop. */
void keeper_end(struct keeper *k);
