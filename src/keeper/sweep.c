#include "keeper/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "keeper/run.h"

/* Only file systems without nameless files can have any. */
static void remove_disks(int disks)
{
	int fd = openat(disks, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir == NULL) {
		fd_close(fd);
		return;
	}
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] != '.')
			(void)unlinkat(disks, e->d_name, 0);
	}
	closedir(dir);
}

static int sweep_cgroups(struct keeper *k, unsigned timeout_ms)
{
	uint64_t deadline = clock_mono_ns() + timeout_ms * CLOCK_MS;
	int r;

	while ((r = cgroup_tree_sweep(&k->cgroups)) == -EBUSY && clock_mono_ns() < deadline)
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	return r;
}

int sweep_machines(struct keeper *k, unsigned timeout_ms, const char **ret_what)
{
	remove_disks(k->state.disks);
	int groups = sweep_cgroups(k, timeout_ms);
	int loops = k->loops.control >= 0 ? loopdevs_sweep(&k->loops, timeout_ms) : 0;

	if (groups < 0) {
		*ret_what = "remove the cgroups of former machines";
		return groups;
	}
	*ret_what = "remove the loop devices of former machines";
	return loops;
}

int sweep_all(struct keeper *k, unsigned timeout_ms, const char **ret_what)
{
	/* It may be on a loop device. Not mounted yet or at all: fine. */
	(void)umount2(RUN_BASE, MNT_DETACH);
	int r = sweep_machines(k, timeout_ms, ret_what);
	int groups = cgroup_tree_remove(&k->cgroups);
	if (r == 0 && groups < 0) {
		*ret_what = "remove the cgroup of the instance";
		r = groups;
	}
	return r;
}
