#include "keeper/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/mount.h"
#include "keeper/run.h"

#define TTY_GID 5 /* Debian's */
#define SAFE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

#define OPTIONS_MAX 128

/* A tmpfs whose root folder belongs to the machine's root. Its pages count as the machine's memory;
 * the sizes only keep a mistake inside from filling all of it. */
static int new_tmpfs(const struct tree *t, const char *limits, const char *mode, uint64_t attr)
{
	char options[OPTIONS_MAX];

	snprintf(options, sizeof(options), "uid=%" PRIu32 ",gid=%" PRIu32 ",mode=%s,%s", t->base,
		t->base, mode, limits);
	return mount_new("tmpfs", options, attr);
}

/* Attaches a mount made by one of the calls above (or passes their failure on) and closes it. */
static int attach_at(int made, const struct tree *t, const char *path)
{
	auto_close int mount = made;

	return mount < 0 ? mount : mount_attach(mount, t->root, path);
}

static int make_dir(const struct tree *t, int dir, const char *path, mode_t mode)
{
	if (mkdirat(dir, path, mode) < 0)
		return -errno;
	return fchownat(dir, path, t->base, t->base, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* --- disk and overlay ------------------------------------------------------------------------- */

static int give_away(const struct tree *t, const char *path)
{
	if (mkdirat(t->disk, path, 0755) < 0 && errno != EEXIST)
		return -errno;
	return fchownat(t->disk, path, t->base, t->base, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int tree_mount_disk(struct tree *t, const char *device)
{
	/* Inode tables stay unwritten until used; a damaged file system must not take the host down
	 * whatever its superblock says; freed blocks go back to the host. Without barriers, since a
	 * flush would be an fsync of the file on the host, for data that nobody reads after a
	 * crash. */
	if (mount(device, RUN_DISK, "ext4", MS_NOATIME | MS_NOSUID | MS_NODEV,
		    "noinit_itable,errors=remount-ro,nodiscard,nobarrier") < 0)
		return -errno;
	t->disk = open(RUN_DISK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->disk < 0)
		return -errno;
	int r = give_away(t, "upper");
	return r < 0 ? r : give_away(t, "work");
}

int tree_mount_overlay(struct tree *t)
{
	/* Shifting the owners of the lower layer alone is what the kernel allows; the upper one is
	 * written with the shifted ids. */
	auto_close int lower = mount_copy(AT_FDCWD, RUN_BASE, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);

	if (lower < 0)
		return lower;
	int r = mount_idmap(lower, t->userns);
	if (r == 0)
		r = mount_attach(lower, AT_FDCWD, RUN_LOWER);
	if (r < 0)
		return r;
	/* volatile: the disk ends with the machine, so no fsync inside has to reach it.
	 * redirect_dir: folders of the base image can be renamed; nothing inside can forge the
	 * attribute that says so. */
	t->root = mount_new("overlay",
		"lowerdir=" RUN_LOWER ",upperdir=" RUN_UPPER ",workdir=" RUN_WORK
		",volatile,redirect_dir=on",
		MOUNT_ATTR_NODEV);
	return t->root < 0 ? t->root : mount_attach(t->root, AT_FDCWD, RUN_ROOT);
}

/* --- /proc ------------------------------------------------------------------------------------ */

/* What tells of the host or its other machines, or has been a way to harm it. Entries that a
 * kernel does not have are passed over. */
static const char *const hidden_files[] = {
	"allocinfo",
	"cmdline",
	"config.gz",
	"diskstats",
	"interrupts",
	"iomem",
	"ioports",
	"kallsyms",
	"kcore",
	"key-users",
	"keys",
	"kmsg",
	"kpagecgroup",
	"kpagecount",
	"kpageflags",
	"latency_stats",
	"modules",
	"mtrr",
	"partitions",
	"sched_debug",
	"slabinfo",
	"sysrq-trigger",
	"timer_list",
	"timer_stats",
	"vmallocinfo",
};
static const char *const hidden_dirs[] = {
	"acpi",
	"asound",
	"bus",
	"driver",
	"dynamic_debug",
	"fs",
	"irq",
	"pressure",
	"scsi",
};

static bool has_file[array_len(hidden_files)];
static bool has_dir[array_len(hidden_dirs)];
static bool has_trust;

static bool in_proc(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%s", name);
	return access(path, F_OK) == 0;
}

void tree_prepare(void)
{
	for (size_t i = 0; i < array_len(hidden_files); i++)
		has_file[i] = in_proc(hidden_files[i]);
	for (size_t i = 0; i < array_len(hidden_dirs); i++)
		has_dir[i] = in_proc(hidden_dirs[i]);
	has_trust = access(RUN_TRUST, F_OK) == 0;
}

static int mask(int proc, const char *name, int veil, const char *with)
{
	auto_close int mount = mount_copy(veil, with, 0);

	return mount < 0 ? mount : mount_attach(mount, proc, name);
}

static int mask_all(int proc, int veil)
{
	int r = 0;

	for (size_t i = 0; i < array_len(hidden_files) && r == 0; i++) {
		if (has_file[i])
			r = mask(proc, hidden_files[i], veil, "file");
	}
	for (size_t i = 0; i < array_len(hidden_dirs) && r == 0; i++) {
		if (has_dir[i])
			r = mask(proc, hidden_dirs[i], veil, "dir");
	}
	if (r < 0)
		return r;
	auto_close int sys = mount_copy(proc, "sys", MOUNT_ATTR_RDONLY);
	return sys < 0 ? sys : mount_attach(sys, proc, "sys");
}

/* An empty file and an empty folder to lay over others: read-only and in nobody's name. */
static int new_veil(void)
{
	auto_close int veil = mount_new("tmpfs", "mode=555,size=4k,nr_inodes=8", SAFE);

	if (veil < 0)
		return veil;
	if (mknodat(veil, "file", S_IFREG | 0444, 0) < 0 || mkdirat(veil, "dir", 0555) < 0)
		return -errno;
	int r = mount_restrict(veil, MOUNT_ATTR_RDONLY);
	return r < 0 ? r : take_fd(veil);
}

int tree_mount_proc(struct tree *t)
{
	auto_close int proc = mount_new("proc", NULL, SAFE);
	auto_close int veil = new_veil();

	if (proc < 0)
		return proc;
	if (veil < 0)
		return veil;
	/* Only what is mounted somewhere can be copied. */
	int r = mount_attach(proc, t->root, "proc");
	if (r == 0)
		r = mount_attach(veil, AT_FDCWD, RUN_VEIL);
	return r < 0 ? r : mask_all(proc, veil);
}

/* --- /sys ------------------------------------------------------------------------------------- */

static const char *const sys_dirs[] = {
	"devices",
	"devices/system",
	"devices/system/cpu",
	"fs",
	"fs/cgroup",
};

/* The machine's own groups, by which runtimes size their heaps and thread pools. */
static int make_views(int sys, const struct tree *t)
{
	char path[64];

	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		const char *name = cgroup_view_name(t->cgroups, i);

		if (name == NULL || *name == '\0')
			continue;
		snprintf(path, sizeof(path), "fs/cgroup/%s", name);
		if (mkdirat(sys, path, 0755) < 0)
			return -errno;
	}
	return 0;
}

static int attach_views(const struct tree *t)
{
	char path[64];

	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		const char *name = cgroup_view_name(t->cgroups, i);

		if (name == NULL)
			continue;
		auto_close int group = cgroup_view(t->cgroups, t->slot, i);
		if (group < 0)
			return group;
		snprintf(path, sizeof(path), "sys/fs/cgroup%s%s", *name != '\0' ? "/" : "", name);
		int r = attach_at(mount_copy(group, "", MOUNT_ATTR_RDONLY | SAFE), t, path);
		if (r < 0)
			return r;
	}
	return 0;
}

int tree_mount_sys(struct tree *t)
{
	auto_close int sys =
		new_tmpfs(t, "size=16k,nr_inodes=32", "755", MOUNT_ATTR_NOATIME | SAFE);
	int r = sys < 0 ? sys : 0;

	for (size_t i = 0; i < array_len(sys_dirs) && r == 0; i++)
		r = make_dir(t, sys, sys_dirs[i], 0755);
	if (r == 0)
		r = make_views(sys, t);
	if (r == 0)
		r = mount_restrict(sys, MOUNT_ATTR_RDONLY);
	if (r == 0)
		r = mount_attach(sys, t->root, "sys");
	if (r == 0)
		r = attach_at(
			mount_copy(AT_FDCWD, "/sys/devices/system/cpu", MOUNT_ATTR_RDONLY | SAFE),
			t, "sys/devices/system/cpu");
	return r < 0 ? r : attach_views(t);
}

/* --- /dev ------------------------------------------------------------------------------------- */

struct device {
	const char *name;
	unsigned major_no, minor_no;
};

static const struct device devices[] = {
	{"null", 1, 3},
	{"zero", 1, 5},
	{"full", 1, 7},
	{"random", 1, 8},
	{"urandom", 1, 9},
	{"tty", 5, 0},
};

static const struct {
	const char *name, *target;
} dev_links[] = {
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
	{"ptmx", "pts/ptmx"},
};

/* Nodes of its own rather than the host's files, since locks and watches on a file are seen by all
 * who share it. */
static int make_devices(const struct tree *t, int dev)
{
	for (size_t i = 0; i < array_len(devices); i++) {
		const struct device *d = &devices[i];

		if (mknodat(dev, d->name, S_IFCHR | 0666, makedev(d->major_no, d->minor_no)) < 0 ||
			fchownat(dev, d->name, t->base, t->base, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	for (size_t i = 0; i < array_len(dev_links); i++) {
		if (symlinkat(dev_links[i].target, dev, dev_links[i].name) < 0 ||
			fchownat(dev, dev_links[i].name, t->base, t->base, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	int r = make_dir(t, dev, "pts", 0755);
	return r < 0 ? r : make_dir(t, dev, "shm", 0755);
}

int tree_mount_dev(struct tree *t)
{
	char options[OPTIONS_MAX];
	auto_close int dev = new_tmpfs(t, "size=64k,nr_inodes=256", "755", MOUNT_ATTR_NOSUID);
	int r = dev < 0 ? dev : make_devices(t, dev);

	if (r == 0)
		r = mount_attach(dev, t->root, "dev");
	if (r == 0)
		r = attach_at(new_tmpfs(t, "size=256m", "1777", SAFE), t, "dev/shm");
	if (r < 0)
		return r;
	/* All instances of devpts share one bound on terminals; the maximum keeps one machine from
	 * using it up. */
	snprintf(options, sizeof(options),
		"newinstance,ptmxmode=0666,mode=0620,gid=%" PRIu32 ",max=256", t->base + TTY_GID);
	return attach_at(
		mount_new("devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC), t, "dev/pts");
}

/* --- /run ------------------------------------------------------------------------------------- */

static int place_file(const struct tree *t, const char *from, const char *path)
{
	const uint64_t attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

	return attach_at(mount_copy(AT_FDCWD, from, attr), t, path);
}

/* The agent writes in its folder, too. What is mounted there cannot be removed from inside: that
 * takes rights over the mounts. */
int tree_mount_run(struct tree *t)
{
	auto_close int run =
		new_tmpfs(t, "size=64m,nr_inodes=16k", "755", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	int r = run < 0 ? run : make_dir(t, run, "lock", 01777);

	if (r == 0)
		r = make_dir(t, run, "warren", 0755);
	if (r < 0)
		return r;
	if (mknodat(run, "warren/agent", S_IFREG | 0444, 0) < 0)
		return -errno;
	if (has_trust && mknodat(run, "warren/trust.pem", S_IFREG | 0444, 0) < 0)
		return -errno;
	r = mount_attach(run, t->root, "run");
	if (r == 0)
		r = place_file(t, RUN_AGENT, "run/warren/agent");
	if (r == 0 && has_trust)
		r = place_file(t, RUN_TRUST, "run/warren/trust.pem");
	return r;
}

/* --- the root --------------------------------------------------------------------------------- */

int tree_enter(struct tree *t)
{
	if (fchdir(t->root) < 0)
		return -errno;
	/* The old root lands on top of the new one and is taken off again. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}
