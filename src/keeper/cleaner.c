/*
 * Taking a machine's remains down may block for a long time: unmounting waits for the kernel, a
 * loop device is freed by a worker. A process of its own does it, so that the keeper's loop goes
 * on; the processes' waits overlap when many machines end at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "keeper/fds.h"
#include "keeper/keeper.h"
#include "keeper/launcher.h"

#define TIMEOUT_NS (20 * CLOCK_SEC)
#define WAIT_MIN_NS 500000
#define WAIT_MAX_NS 20000000

/* ext4's own; not in any installed header. */
#define EXT4_SHUTDOWN _IOR('X', 125, uint32_t)
#define EXT4_SHUTDOWN_NOLOGFLUSH 2

/* The disk's file is nameless and ends with its mount: what it has not written yet need not be. */
static void discard_disk(int root)
{
	uint32_t how = EXT4_SHUTDOWN_NOLOGFLUSH;

	if (root >= 0)
		(void)ioctl(root, EXT4_SHUTDOWN, &how);
}

static bool is_gone(const struct keeper *k, uint32_t slot, int loop_no)
{
	bool no_groups = cgroup_remove(&k->cgroups, slot) == 0;

	return no_groups && (loop_no < 0 || !loopdev_bound(&k->loops, loop_no));
}

/* Of the keeper's descriptors only the lock, the cgroups and the loop devices are of use here; all
 * others are in the way of those who wait for their end. */
static void close_needless(const struct slot *s, int wait_fd)
{
	const struct keeper *k = s->keeper;
	int keep[4 + CGROUP_CONTROLLERS] = {wait_fd, s->root, k->state.lock, k->loops.nodes};

	memcpy(keep + 4, k->cgroups.parents, sizeof(k->cgroups.parents));
	(void)fds_close_except(keep, array_len(keep));
}

_Noreturn static void run(struct slot *s, int wait_fd)
{
	struct keeper *k = s->keeper;
	uint64_t deadline = clock_mono_ns() + TIMEOUT_NS;
	long wait_ns = WAIT_MIN_NS;
	char byte;

	close_needless(s, wait_fd);
	/* The last one to close the disk's folder unmounts it: not the keeper, so wait for it. */
	(void)!read(wait_fd, &byte, 1);
	discard_disk(s->root);
	fd_close(s->root);
	while (!is_gone(k, s->index, s->loop_no)) {
		if (clock_mono_ns() > deadline)
			_exit(EXIT_FAILURE);
		nanosleep(&(struct timespec){.tv_nsec = wait_ns}, NULL);
		wait_ns = wait_ns * 2 < WAIT_MAX_NS ? wait_ns * 2 : WAIT_MAX_NS;
	}
	_exit(EXIT_SUCCESS);
}

int cleaner_start(struct slot *s)
{
	int wait_pipe[2];

	if (pipe2(wait_pipe, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	int err = -errno;
	if (pid == 0) {
		close(wait_pipe[1]);
		run(s, wait_pipe[0]);
	}
	close(wait_pipe[0]);
	if (pid > 0) {
		s->root = fd_close(s->root);
		s->disk = fd_close(s->disk);
	}
	close(wait_pipe[1]);
	return pid > 0 ? pid : err;
}
