#include "keeper/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "keeper/disk.h"
#include "keeper/init.h"
#include "keeper/keeper.h"
#include "keeper/userns.h"

struct pair {
	int ours;
	int theirs;
};

static void pair_done(struct pair *p)
{
	p->ours = fd_close(p->ours);
	p->theirs = fd_close(p->theirs);
}

#define auto_pair __attribute__((cleanup(pair_done)))

/* The default, some 200 KiB, has daemon and agent take turns on the CPU for every few frames of a
 * bulk transfer. Best effort: without the right to exceed the host's limit the default stays. */
static void widen(const struct pair *p)
{
	static const int size = 1024 * 1024;

	(void)setsockopt(p->ours, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	(void)setsockopt(p->theirs, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
}

static int make_pair(int type, struct pair *ret)
{
	int fds[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	*ret = (struct pair){fds[0], fds[1]};
	return 0;
}

/* The child is its own process in all but the parts named here; it inherits the keeper's memory and
 * descriptors and sorts them out itself. */
static pid_t clone_init(int cgroup, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = CLONE_NEWPID | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
	};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : pid;
}

static int start_process(struct slot *s, struct pair *status, struct pair *channel, int *ret_pidfd,
	const char **ret_what)
{
	struct keeper *k = s->keeper;
	struct init_params params = {
		.slot = s->index,
		.base = k->uid_base + s->index * USERNS_IDS,
		.status = status->theirs,
		.channel = channel->theirs,
		.disk = s->disk,
		.template = &k->template,
		.loop = s->loop_no,
		.loops = &k->loops,
		.cgroups = &k->cgroups,
		.rules = &k->rules,
		.filter = &k->filter,
	};

	*ret_what = "open the cgroup";
	auto_close int cgroup = cgroup_clone_fd(&k->cgroups, s->index);
	if (cgroup < 0 && cgroup != -ENOTSUP)
		return cgroup;
	*ret_what = "make the first process";
	pid_t pid = clone_init(cgroup, ret_pidfd);
	if (pid == 0)
		init_run(&params);
	return pid;
}

static int start(struct slot *s, int *ret_pidfd, const char **ret_what)
{
	struct keeper *k = s->keeper;
	auto_pair struct pair status = {-EBADF, -EBADF};
	auto_pair struct pair channel = {-EBADF, -EBADF};

	*ret_what = "make the sockets";
	int r = make_pair(SOCK_SEQPACKET, &status);
	if (r == 0)
		r = make_pair(SOCK_STREAM, &channel);
	if (r == 0)
		widen(&channel);
	if (r == 0)
		r = fd_set_nonblock(status.ours, true);
	if (r < 0)
		return r;
	*ret_what = "make the cgroups";
	r = cgroup_make(&k->cgroups, s->index, &s->limits);
	if (r < 0)
		return r;
	*ret_what = "make the disk file";
	s->disk = disk_new(k->state.disks);
	if (s->disk < 0)
		return s->disk;
	*ret_what = "add a loop device";
	s->loop_no = loopdev_lend(&k->loops);
	if (s->loop_no < 0)
		return s->loop_no;
	r = start_process(s, &status, &channel, ret_pidfd, ret_what);
	if (r < 0)
		return r;
	s->status_fd = take_fd(status.ours);
	s->channel = take_fd(channel.ours);
	return r;
}

int launcher_start(struct slot *s, int *ret_pidfd, const char **ret_what)
{
	int r = start(s, ret_pidfd, ret_what);

	if (r < 0) {
		s->disk = fd_close(s->disk);
		if (s->loop_no >= 0)
			loopdev_return(&s->keeper->loops, s->loop_no);
		s->loop_no = -1;
	}
	return r;
}
