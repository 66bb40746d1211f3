#include "keeper/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "keeper/fds.h"
#include "keeper/mount.h"
#include "keeper/run.h"

#define IMAGE "builtin-debian-13"
#define AGENT_BYTES_MAX (64 << 20)
#define TRUST_BYTES_MAX (8 << 20)
#define IMAGE_CA RUN_BASE "/etc/ssl/certs/ca-certificates.crt"

#define BIT(cap) (UINT64_C(1) << (cap))

/* For the keeper itself: SYS_ADMIN (mounts, namespaces, loop devices, filters), MKNOD (device
 * files), NET_ADMIN (machines' networks), KILL, SETUID/SETGID/SETPCAP/SETFCAP (first processes and
 * id maps), SYS_RESOURCE (their limits, where the host grants it). For the overlays, which act with
 * the rights of whoever mounted them: those over files. */
#define KEEPER_CAPS \
	(BIT(CAP_SYS_ADMIN) | BIT(CAP_MKNOD) | BIT(CAP_NET_ADMIN) | BIT(CAP_KILL) | \
		BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) | BIT(CAP_SETFCAP) | \
		BIT(CAP_SYS_RESOURCE) | BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | \
		BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | \
		BIT(CAP_LINUX_IMMUTABLE))

/* The old namespace may end at any time, for the daemon leaves it, too; then no path leads through
 * it any more. The working folder moves along into the new one by itself. */
static int enter_namespace(int state_fd)
{
	if (fchdir(state_fd) < 0 || unshare(CLONE_NEWNS) < 0)
		return -errno;
	auto_close int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return here < 0 || dup3(here, state_fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int stage_isolate(int state_fd, const char **ret_what)
{
	/* A terminal's signals are for the daemon, which tells the keeper by closing the socket. */
	(void)setsid();
	umask(022);
	/* Machines inherit what is ignored. */
	for (int signo = 1; signo < NSIG; signo++)
		(void)signal(signo, SIG_DFL);
	/* Machines inherit the session keyring; an empty one. Kernels without keys do without. */
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	*ret_what = "make a mount namespace";
	int r = enter_namespace(state_fd);
	if (r < 0)
		return r;
	/* Slave rather than private: what is unmounted on the host must not live on in here, else
	 * its device stays busy. Nothing goes the other way. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	return 0;
}

/* --- the run folder --------------------------------------------------------------------------- */

static const char *const run_dirs[] = {
	RUN_BASE,
	RUN_LOWER,
	RUN_DISK,
	RUN_ROOT,
	RUN_VEIL,
	RUN_NODES,
};

int stage_run_folder(struct keeper *k, const char **ret_what)
{
	*ret_what = "make the run folder";
	if (mkdirat(k->state.dir, "run", 0700) < 0 && errno != EEXIST)
		return -errno;
	auto_close int place = fds_open_here(k->state.dir);
	if (place < 0)
		return place;
	auto_close int run = mount_new("tmpfs", "mode=700,size=128m", MOUNT_ATTR_NOSUID);
	if (run < 0)
		return run;
	int r = mount_attach(run, place, "run");
	if (r < 0)
		return r;
	if (fchdir(run) < 0)
		return -errno;
	for (size_t i = 0; i < array_len(run_dirs); i++) {
		if (mkdir(run_dirs[i], 0700) < 0)
			return -errno;
	}
	return 0;
}

/* Kernels from 6.12 on mount the file itself. */
static int mount_base(struct keeper *k, const char *path)
{
	const unsigned long flags = MS_RDONLY | MS_NODEV;
	char device[64];

	if (mount(path, RUN_BASE, "erofs", flags, NULL) == 0)
		return 0;
	if (errno != ENOTBLK)
		return -errno;
	auto_close int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return -errno;
	int number = loopdev_lend(&k->loops);
	if (number < 0)
		return number;
	auto_close int fd = loopdev_attach(&k->loops, number, file, true);
	if (fd < 0)
		return fd;
	(void)loopdev_set_direct(&k->loops, number);
	snprintf(device, sizeof(device), RUN_NODES "/%s", loopdev_name(number).text);
	return mount(device, RUN_BASE, "erofs", flags, NULL) < 0 ? -errno : 0;
}

int stage_base_image(struct keeper *k, const char *image_dir, const char **ret_what)
{
	auto_free char *base = mem_printf("%s/" IMAGE "/base.erofs", image_dir);
	auto_free char *disk = mem_printf("%s/" IMAGE "/disk.ext4", image_dir);

	*ret_what = "read the disk template of the image";
	int r = disk_template_open(&k->template, disk);
	if (r < 0)
		return r;
	*ret_what = "mount the base image";
	return mount_base(k, base);
}

/* --- the agent -------------------------------------------------------------------------------- */

/* Appends the rest of from, up to max bytes in all. */
static int append(int to, int from, size_t max)
{
	auto_free char *buf = mem_zalloc(65536);
	struct stat st;
	ssize_t n;

	if (fstat(to, &st) < 0)
		return -errno;
	size_t total = (size_t)st.st_size;
	while ((n = read(from, buf, 65536)) > 0) {
		total += (size_t)n;
		int r = total <= max ? fd_write_all(to, buf, (size_t)n) : -EFBIG;
		if (r < 0)
			return r;
	}
	return n < 0 ? -errno : 0;
}

static int new_file(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd >= 0 ? fd : -errno;
}

/* Not readable, not even by root inside, whose rights do not reach an owner outside its range: so
 * the kernel keeps the running agent's memory and descriptors from it as well. */
static int copy_agent(int from)
{
	struct stat st;
	auto_close int to = new_file(RUN_AGENT);

	if (to < 0)
		return to;
	int r = append(to, from, AGENT_BYTES_MAX);
	if (r < 0)
		return r;
	if (fchmod(to, 0711) < 0 || fstat(to, &st) < 0)
		return -errno;
	return st.st_size > 0 ? 0 : -ENOEXEC;
}

int stage_agent(const char *path, const char **ret_what)
{
	*ret_what = "open the agent";
	auto_close int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return -errno;
	*ret_what = "copy the agent";
	return copy_agent(from);
}

/* --- the programs beside the keeper ------------------------------------------------------------
 */

/* A mount of the file rather than a copy: it stays the same file when another version is installed,
 * and takes no memory. */
static int mount_program(const char *path, const char *place)
{
	auto_close int file = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (file < 0 || fstat(file, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0)
		return -EACCES;
	if (mknod(place, S_IFREG | 0400, 0) < 0)
		return -errno;
	auto_close int mount =
		mount_copy(file, "", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return mount < 0 ? mount : mount_attach(mount, AT_FDCWD, place);
}

int stage_programs(const char *gate, const char *resolver, const char **ret_what)
{
	*ret_what = "find warren-gate";
	int r = mount_program(gate, RUN_GATE);
	if (r < 0)
		return r;
	*ret_what = "find warren-resolver";
	return mount_program(resolver, RUN_RESOLVER);
}

/* --- trust ------------------------------------------------------------------------------------ */

/* -ENOENT: there is no such file. */
static int append_file(int to, const char *path, int flags)
{
	struct stat st;
	char last = '\n';
	auto_close int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags);

	if (from < 0)
		return -errno;
	int r = append(to, from, TRUST_BYTES_MAX);
	if (r < 0)
		return r;
	if (fstat(to, &st) < 0 || (st.st_size > 0 && pread(to, &last, 1, st.st_size - 1) != 1))
		return -EIO;
	return last == '\n' ? 0 : fd_write_all(to, "\n", 1);
}

int stage_trust(const char *host_ca, const char *extra_ca, const char **ret_what)
{
	auto_close int to = new_file(RUN_TRUST);

	*ret_what = "copy the certificates that the host trusts";
	int r = to < 0 ? to : append_file(to, host_ca, 0);
	if (r == -ENOENT && extra_ca == NULL)
		return unlink(RUN_TRUST) < 0 ? -errno : 0;
	if (r == -ENOENT)
		r = append_file(to, IMAGE_CA, O_NOFOLLOW);
	if (r == -ENOENT)
		r = 0;
	if (r < 0)
		return r;
	*ret_what = "copy the extra certificates";
	if (extra_ca != NULL)
		r = append_file(to, extra_ca, 0);
	if (r < 0)
		return r;
	return fchmod(to, 0444) < 0 ? -errno : 0;
}

/* --- rights ----------------------------------------------------------------------------------- */

int stage_drop_rights(const char **ret_what)
{
	auto_free struct seccomp_filter *filter = mem_new(struct seccomp_filter);
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct have[2] = {0};

	*ret_what = "drop capabilities";
	if (syscall(SYS_capget, &header, have) < 0)
		return -errno;
	uint64_t mask = KEEPER_CAPS & ((uint64_t)have[1].permitted << 32 | have[0].permitted);
	int r = privilege_drop_bounding(mask);
	if (r == 0)
		r = privilege_set_caps(mask, mask, 0);
	if (r == 0)
		r = privilege_not_dumpable();
	if (r < 0)
		return r;
	*ret_what = "install the system call filter";
	seccomp_build(filter, SECCOMP_SET_KEEPER);
	return seccomp_install(filter);
}
