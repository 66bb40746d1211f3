#include "keeper/init.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "keeper/aide.h"
#include "keeper/fds.h"
#include "keeper/network.h"
#include "keeper/run.h"
#include "keeper/tree.h"
#include "keeper/userns.h"

#define HOSTNAME "sandbox"
#define CHANNEL_FD 3
#define STATUS_FD 4
#define FILES_HARD (1024 * 1024)
#define FILES_SOFT 65536

#define BIT(cap) (UINT64_C(1) << (cap))

/* What root inside can do to its own: files, ids, processes, chroot, debugging. All of it counts in
 * the machine's user namespace only, and the mounts, network, hostname and IPC belong to the
 * initial one. */
#define MACHINE_CAPS \
	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | \
		BIT(CAP_FSETID) | BIT(CAP_KILL) | BIT(CAP_SETGID) | BIT(CAP_SETUID) | \
		BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SYS_CHROOT) | \
		BIT(CAP_SYS_PTRACE) | BIT(CAP_AUDIT_WRITE) | BIT(CAP_SETFCAP))

struct init {
	const struct init_params *p;
	struct tree tree;
	struct aide cgroup_aide;
	int netns;
};

/* --- birth ------------------------------------------------------------------------------------ */

static int step_begin(struct init *in)
{
	const struct init_params *p = in->p;
	int keep[5 + CGROUP_CONTROLLERS] = {
		p->status, p->channel, p->disk, p->template->fd, p->loops->nodes};
	sigset_t none;

	memcpy(keep + 5, p->cgroups->parents, sizeof(p->cgroups->parents));
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return -errno;
	umask(0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	/* The keeper's ends of other machines' sockets must not live on in here. */
	return fds_close_except(keep, array_len(keep));
}

static int step_disk(struct init *in)
{
	return disk_clone(in->p->disk, in->p->template);
}

static int enter_cgroups(void *data)
{
	struct init *in = data;

	/* The number counts in the namespace of the process that writes it. */
	return cgroup_enter(in->p->cgroups, in->p->slot, "1");
}

/* Joining groups of version 1 is mostly waiting for the kernel: somebody else can do that
 * meanwhile. */
static int step_cgroups_begin(struct init *in)
{
	return aide_start(&in->cgroup_aide, enter_cgroups, in);
}

static int step_cgroups_end(struct init *in)
{
	int r = aide_join(&in->cgroup_aide);

	/* The group it is in now becomes the root of what it sees. */
	if (r == 0 && unshare(CLONE_NEWCGROUP) < 0)
		r = -errno;
	return r;
}

static int step_unshare(struct init *in)
{
	(void)in;
	if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return -errno;
	return sethostname(HOSTNAME, strlen(HOSTNAME)) < 0 ? -errno : 0;
}

/* --- network ---------------------------------------------------------------------------------- */

/* Root inside has no rights over the network namespace, not even to bind low ports or to ping; so
 * these are open to everybody in it. Kernels without the settings do without. */
static void open_network(const struct init *in)
{
	char range[32];

	(void)fd_write_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
	snprintf(range, sizeof(range), "%" PRIu32 " %" PRIu32, in->p->base,
		in->p->base + USERNS_IDS - 1);
	(void)fd_write_file(AT_FDCWD, "/proc/sys/net/ipv4/ping_group_range", range);
}

/* The keeper cannot open the namespace of a process that has entered its user namespace. */
static int step_network(struct init *in)
{
	in->netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (in->netns < 0)
		return -errno;
	open_network(in);
	return network_raise();
}

static int step_rules(struct init *in)
{
	return netrules_load(in->p->rules);
}

/* --- tree ------------------------------------------------------------------------------------- */

static int step_userns(struct init *in)
{
	in->tree.userns = userns_new(in->p->base);
	return in->tree.userns < 0 ? in->tree.userns : 0;
}

static int step_mount_disk(struct init *in)
{
	char path[64];
	/* The mount is what keeps the device bound from here on. */
	auto_close int device = loopdev_attach(in->p->loops, in->p->loop, in->p->disk, false);

	if (device < 0)
		return device;
	snprintf(path, sizeof(path), RUN_NODES "/%s", loopdev_name(in->p->loop).text);
	return tree_mount_disk(&in->tree, path);
}

static int step_overlay(struct init *in)
{
	return tree_mount_overlay(&in->tree);
}

static int step_proc(struct init *in)
{
	return tree_mount_proc(&in->tree);
}

static int step_sys(struct init *in)
{
	return tree_mount_sys(&in->tree);
}

static int step_dev(struct init *in)
{
	return tree_mount_dev(&in->tree);
}

static int step_run(struct init *in)
{
	return tree_mount_run(&in->tree);
}

static int step_enter(struct init *in)
{
	return tree_enter(&in->tree);
}

/* --- rights ----------------------------------------------------------------------------------- */

/* Without CAP_SYS_RESOURCE the hard limit cannot be raised; then as far as it goes. */
static void limit_files(void)
{
	struct rlimit now, want = {.rlim_cur = FILES_SOFT, .rlim_max = FILES_HARD};

	if (setrlimit(RLIMIT_NOFILE, &want) == 0 || getrlimit(RLIMIT_NOFILE, &now) < 0)
		return;
	now.rlim_cur = now.rlim_max < FILES_SOFT ? now.rlim_max : FILES_SOFT;
	(void)setrlimit(RLIMIT_NOFILE, &now);
}

/* 1 stands for: neither a file nor a handler on the host (core(5)). Where the hard limit is 0 there
 * is at least no file. */
static void forbid_cores(void)
{
	const struct rlimit none = {1, 1};

	(void)setrlimit(RLIMIT_CORE, &none);
}

static int step_rights(struct init *in)
{
	limit_files();
	forbid_cores();
	if (setns(in->tree.userns, CLONE_NEWUSER) < 0)
		return -errno;
	int r = privilege_set_ids(0, 0);
	if (r == 0)
		r = privilege_drop_bounding(MACHINE_CAPS);
	if (r < 0)
		return r;
	/* A change of ids clears it. */
	return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? -errno : 0;
}

static int step_descriptors(struct init *in)
{
	auto_close int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)in;
	if (null < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++) {
		if (dup2(null, fd) < 0)
			return -errno;
	}
	umask(022);
	return 0;
}

/* --- the agent -------------------------------------------------------------------------------- */

/* The filter comes last: until here the process needs calls that the filter refuses. */
static int step_filter(struct init *in)
{
	return seccomp_install(in->p->filter);
}

struct step {
	const char *what;
	int (*run)(struct init *in);
};

static const struct step steps[] = {
	{"prepare the first process", step_begin},
	{"start joining the cgroups", step_cgroups_begin},
	{"clone the disk", step_disk},
	{"make namespaces", step_unshare},
	{"raise the loopback interface", step_network},
	{"load packet rules (nf_tables, nf_conntrack)", step_rules},
	{"make the user namespace", step_userns},
	{"mount the disk", step_mount_disk},
	{"mount the overlay", step_overlay},
	{"mount /proc", step_proc},
	{"mount /sys", step_sys},
	{"mount /dev", step_dev},
	{"mount /run", step_run},
	{"join the cgroups", step_cgroups_end},
	{"enter the root file system", step_enter},
	{"enter the user namespace", step_rights},
	{"open /dev/null", step_descriptors},
	{"install the system call filter", step_filter},
};

static int report_ready(const struct init *in)
{
	const struct init_report msg = {.event = INIT_READY};
	const int fds[INIT_FD_COUNT] = {
		[INIT_FD_ROOT] = in->tree.disk,
		[INIT_FD_NETNS] = in->netns,
	};

	return fd_send_msg(in->p->status, &msg, sizeof(msg), fds, INIT_FD_COUNT);
}

_Noreturn static void die(int status, const char *what, int err)
{
	struct init_report msg = {.event = INIT_FAILED, .err = err};

	snprintf(msg.what, sizeof(msg.what), "%s", what);
	(void)fd_send_msg(status, &msg, sizeof(msg), NULL, 0);
	_exit(EXIT_FAILURE);
}

/* Puts the two sockets where they belong and closes all else. Above both targets first, so that
 * neither can hit the other. */
static int place_sockets(int status, int channel)
{
	int high_status = fcntl(status, F_DUPFD_CLOEXEC, STATUS_FD + 1);
	int high_channel = fcntl(channel, F_DUPFD_CLOEXEC, STATUS_FD + 1);

	if (high_status < 0 || high_channel < 0 || dup2(high_channel, CHANNEL_FD) < 0 ||
		dup3(high_status, STATUS_FD, O_CLOEXEC) < 0)
		return -errno;
	return fd_close_from(STATUS_FD + 1);
}

_Noreturn void init_run(const struct init_params *params)
{
	static char *const argv[] = {"warren-agent", NULL};
	static char *const envp[] = {NULL};
	static struct init in;

	in = (struct init){
		.p = params,
		.tree =
			{
				.base = params->base,
				.slot = params->slot,
				.userns = -EBADF,
				.cgroups = params->cgroups,
				.root = -EBADF,
				.disk = -EBADF,
			},
		.netns = -EBADF,
	};

	for (size_t i = 0; i < array_len(steps); i++) {
		int r = steps[i].run(&in);
		if (r < 0)
			die(params->status, steps[i].what, r);
	}
	/* When the keeper has ended since the signal for that was asked for, this fails. */
	int r = report_ready(&in);
	if (r == 0)
		r = place_sockets(params->status, params->channel);
	if (r < 0)
		die(params->status, "hand over to the agent", r);
	execve(AGENT_PATH, argv, envp);
	die(STATUS_FD, "execute the agent", -errno);
}
