/*
 * The first process of a machine, from its birth as a child of the keeper to the agent's exec.
 *
 * It is born in a new pid namespace with the keeper's rights and makes everything that is slow
 * itself, so that the keeper's loop never waits for a disk or a controller: disk, cgroups,
 * namespaces, mounts. Then it enters the machine's user namespace, gives up what it has left,
 * reports INIT_READY, and executes the agent with the agent's channel as descriptor 3 and nothing
 * else open. The end of the status socket after INIT_READY says that the agent runs.
 *
 * It ends with the keeper, by the parent-death signal.
 */
#pragma once

#include <stdint.h>

#include "keeper/cgroup.h"
#include "keeper/disk.h"
#include "keeper/loopdev.h"
#include "keeper/netrules.h"
#include "keeper/seccomp.h"

#define INIT_WHAT_SIZE 48

enum init_event { INIT_READY, INIT_FAILED };

/* Descriptors that READY carries: the root folder of the disk's file system, and the network
 * namespace. */
enum init_fd { INIT_FD_ROOT, INIT_FD_NETNS, INIT_FD_COUNT };

/* What it says on its status socket. */
struct init_report {
	uint32_t event;
	int32_t err;               /* FAILED: negative errno */
	char what[INIT_WHAT_SIZE]; /* FAILED: the step */
};

struct init_params {
	uint32_t slot;
	uint32_t base;                        /* first id of the range */
	int status;                           /* SOCK_SEQPACKET to the keeper */
	int channel;                          /* the agent's end of its stream */
	int disk;                             /* empty disk file */
	const struct disk_template *template; /* to clone it from */
	int loop;                             /* number of the device lent to it */
	const struct loopdevs *loops;
	const struct cgroup_tree *cgroups;
	const struct netrules *rules;
	const struct seccomp_filter *filter;
};

/* Never returns. */
_Noreturn void init_run(const struct init_params *params);
