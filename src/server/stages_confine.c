/* Stage: leaving the host's files. */
#include "server/stages.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "server/stages_priv.h"

#define INSIDE "/state"

const char *stages_state_path(const char *state_dir)
{
	return stages_complete() ? INSIDE : state_dir;
}

static int set_attributes(int mount_fd, uint64_t set)
{
	struct mount_attr attr = {.attr_set = set};

	return mount_setattr(mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/* An empty file system with a folder to mount on, attached nowhere yet. */
static int make_root(int *ret_fd)
{
	auto_close int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
	auto_close int fd = -EBADF;

	if (context < 0 || fsconfig(context, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
		fsconfig(context, FSCONFIG_SET_STRING, "size", "64k", 0) < 0 ||
		fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(
		context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (fd < 0 || mkdirat(fd, &INSIDE[1], 0755) < 0)
		return -errno;
	*ret_fd = take_fd(fd);
	return 0;
}

/* Puts the new root over the old one, turns round, and lets go of all that was there. */
static int enter_root(int root_fd)
{
	if (move_mount(root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
		fchdir(root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

static int replace_fd(int fd)
{
	auto_close int inside = open(INSIDE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return inside < 0 || dup3(inside, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int stages_confine_fs(int state_dir_fd, struct error *ret_err)
{
	auto_close int state_fd = -EBADF;
	auto_close int root_fd = -EBADF;
	const char *step = "copying the mount of the state folder";
	int r = 0;

	if (STAGES_SANITIZED)
		return 0;
	/* A copy is made of mounts of one's own namespace only, so before it changes. Mounts below
	 * the folder (the keeper's) do not come along. */
	state_fd = open_tree(state_dir_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (state_fd < 0)
		r = -errno;
	if (r == 0)
		r = set_attributes(
			state_fd, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (r == 0) {
		step = "making a mount namespace";
		/* Private, or what follows would happen to the host as well. */
		if (unshare(CLONE_NEWNS) < 0 ||
			mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			r = -errno;
	}
	if (r == 0) {
		step = "making an empty root";
		r = make_root(&root_fd);
	}
	if (r == 0) {
		step = "changing the root";
		r = enter_root(root_fd);
	}
	if (r == 0) {
		step = "mounting the state folder";
		if (move_mount(state_fd, "", AT_FDCWD, INSIDE, MOVE_MOUNT_F_EMPTY_PATH) < 0)
			r = -errno;
	}
	if (r == 0)
		r = set_attributes(root_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
						    MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (r == 0)
		r = replace_fd(state_dir_fd);
	if (r < 0)
		return error_set(ret_err, r, "", "cannot leave the host's files: %s: %s", step,
			strerror(-r));
	return 0;
}
