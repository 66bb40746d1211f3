#include "keeper/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

static int set_options(int fs, char *options)
{
	char *save = NULL;

	for (char *key = strtok_r(options, ",", &save); key != NULL;
		key = strtok_r(NULL, ",", &save)) {
		char *value = strchr(key, '=');
		unsigned cmd = value != NULL ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

		if (value != NULL)
			*value++ = '\0';
		if (fsconfig(fs, cmd, key, value, 0) < 0)
			return -errno;
	}
	return 0;
}

int mount_new(const char *type, const char *options, uint64_t attr)
{
	auto_free char *copy = mem_strdup(options);
	auto_close int fs = fsopen(type, FSOPEN_CLOEXEC);

	if (fs < 0)
		return -errno;
	/* What the first column of a list of mounts shows. */
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0) < 0)
		return -errno;
	int r = copy != NULL ? set_options(fs, copy) : 0;
	if (r < 0)
		return r;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	int fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attr);
	return fd >= 0 ? fd : -errno;
}

static int set_attr(int mount, struct mount_attr *attr)
{
	return mount_setattr(mount, "", AT_EMPTY_PATH, attr, sizeof(*attr)) < 0 ? -errno : 0;
}

int mount_restrict(int mount, uint64_t attr)
{
	struct mount_attr set = {.attr_set = attr};

	return set_attr(mount, &set);
}

int mount_idmap(int mount, int userns)
{
	struct mount_attr set = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};

	return set_attr(mount, &set);
}

int mount_copy(int dir, const char *path, uint64_t attr)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW |
			 AT_NO_AUTOMOUNT | (*path == '\0' ? AT_EMPTY_PATH : 0U);
	auto_close int fd = open_tree(dir, path, flags);

	if (fd < 0)
		return -errno;
	int r = attr != 0 ? mount_restrict(fd, attr) : 0;
	return r < 0 ? r : take_fd(fd);
}

int mount_attach(int mount, int dir, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;

	if (*path == '\0')
		return move_mount(mount, "", dir, "", flags) < 0 ? -errno : 0;
	auto_close int place = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	if (place < 0)
		return -errno;
	return move_mount(mount, "", place, "", flags) < 0 ? -errno : 0;
}
