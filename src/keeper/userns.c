#include "keeper/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/privilege.h"
#include "keeper/aide.h"

/* Shared with the child, which runs in this process's memory and descriptor table. */
struct birth {
	uint32_t base;
	int to_parent; /* the child reports here */
	int to_child;  /* ...and ends when this is closed or written */
	int ns;
	char pid[16]; /* of the child, as /proc counts */
};

/* Takes the owner's id while the right to make namespaces stays: with only the effective id
 * changed, the permitted capabilities are kept. */
static int become_owner(uint32_t base)
{
	const uint64_t rights = UINT64_C(1) << CAP_SYS_ADMIN;

	if (syscall(SYS_setresgid, -1, base, -1) < 0 || syscall(SYS_setresuid, -1, base, -1) < 0)
		return -errno;
	return privilege_set_caps(rights, rights, 0);
}

static int be_born(struct birth *b)
{
	int r = become_owner(b->base);

	if (r < 0)
		return r;
	if (syscall(SYS_unshare, CLONE_NEWUSER) < 0)
		return -errno;
	b->ns = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	if (b->ns < 0)
		return -errno;
	/* Its pid in the caller's namespace says nothing to /proc. */
	ssize_t n = readlink("/proc/self", b->pid, sizeof(b->pid) - 1);
	if (n < 0)
		return -errno;
	b->pid[n] = '\0';
	return 0;
}

/* Stays until the maps have been written: they are found through a living process. */
static int run_child(void *data)
{
	struct birth *b = data;
	char born = 1, byte;

	int r = be_born(b);
	if (r < 0)
		born = 0;
	if (write(b->to_parent, &born, 1) == 1)
		(void)!read(b->to_child, &byte, 1);
	return r;
}

static int write_maps(const struct birth *b)
{
	char path[48], map[48];

	snprintf(map, sizeof(map), "0 %" PRIu32 " %d\n", b->base, USERNS_IDS);
	snprintf(path, sizeof(path), "/proc/%s/uid_map", b->pid);
	int r = fd_write_file(AT_FDCWD, path, map);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%s/gid_map", b->pid);
	return fd_write_file(AT_FDCWD, path, map);
}

/* The child shares the descriptor table, so each end of the pipes exists once: closing an end to
 * say something would close it for both. A byte it is. */
static int raise_child(struct birth *b, int from_child, int end_child)
{
	static struct aide aide;
	char born = 0;

	int r = aide_start(&aide, run_child, b);
	if (r < 0)
		return r;
	if (read(from_child, &born, 1) == 1 && born != 0)
		r = write_maps(b);
	(void)!write(end_child, &born, 1);
	int failed = aide_join(&aide);
	return failed < 0 ? failed : r;
}

int userns_new(uint32_t base)
{
	int up[2], down[2];

	if (pipe2(up, O_CLOEXEC) < 0)
		return -errno;
	auto_close int up_read = up[0];
	auto_close int up_write = up[1];
	if (pipe2(down, O_CLOEXEC) < 0)
		return -errno;
	auto_close int down_read = down[0];
	auto_close int down_write = down[1];

	struct birth b = {.base = base, .to_parent = up_write, .to_child = down_read, .ns = -EBADF};
	int r = raise_child(&b, up_read, down_write);
	if (r < 0) {
		fd_close(b.ns);
		return r;
	}
	return b.ns;
}
