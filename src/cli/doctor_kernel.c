/* Checks of what the kernel offers. Each asks for the thing itself where that leaves no trace. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "cli/doctor.h"

#define TEXT_MAX (4 << 20)

enum doctor_verdict doctor_root(const struct config *config, struct doctor_finding *f)
{
	(void)config;
	if (geteuid() == 0)
		return doctor_ok(f, "running as root");
	return doctor_bad(f, DOCTOR_FAIL, "run `warren doctor` and `warren serve` with sudo",
		"not running as root; some of the checks below cannot succeed");
}

enum doctor_verdict doctor_kernel(const struct config *config, struct doctor_finding *f)
{
	struct utsname name;
	char *end;
	long major;
	long minor = 0;

	(void)config;
	if (uname(&name) < 0)
		return doctor_bad(f, DOCTOR_FAIL, "", "uname: %s", strerror(errno));
	major = strtol(name.release, &end, 10);
	if (*end == '.')
		minor = strtol(end + 1, NULL, 10);
	/* 5.19 is the first to show an erofs file system under shifted ids. */
	if (major < 5 || (major == 5 && minor < 19))
		return doctor_bad(f, DOCTOR_FAIL, "Debian 12 has 6.1",
			"Linux %.60s is older than 5.19", name.release);
	return doctor_ok(f, "Linux %.60s", name.release);
}

/* Makes the namespace in a child, which ends with the errno. */
static int try_unshare(int flags)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(flags) == 0 ? 0 : errno);
	if (pid < 0)
		return -errno;
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

enum doctor_verdict doctor_namespaces(const struct config *config, struct doctor_finding *f)
{
	static const struct {
		const char *name;
		int flag;
	} kinds[] = {
		{"user", CLONE_NEWUSER},
		{"pid", CLONE_NEWPID},
		{"mount", CLONE_NEWNS},
		{"net", CLONE_NEWNET},
		{"ipc", CLONE_NEWIPC},
		{"uts", CLONE_NEWUTS},
		{"cgroup", CLONE_NEWCGROUP},
	};

	(void)config;
	for (size_t i = 0; i < array_len(kinds); i++) {
		int r = try_unshare(kinds[i].flag);

		if (r < 0)
			return doctor_bad(f, DOCTOR_FAIL,
				r == -ENOSPC ? "raise the limits in /proc/sys/user/"
				: r == -EPERM
					? "run this as root, outside of a container that forbids it"
					: "use a kernel that has them",
				"no %s namespace can be made: %s", kinds[i].name, strerror(-r));
	}
	return doctor_ok(f, "user, pid, mount, net, ipc, uts and cgroup");
}

/* Asks nf_tables for the number of its rules' generation, which loads it where it is a module. */
static int ask_packet_rules(void)
{
	struct {
		struct nlmsghdr header;
		struct nfgenmsg family;
	} ask = {
		.header = {.nlmsg_len = sizeof(ask),
			.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
			.nlmsg_flags = NLM_F_REQUEST},
	};
	union {
		struct nlmsghdr header;
		char bytes[1024];
	} answer;
	auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (fd < 0 || send(fd, &ask, sizeof(ask), 0) < 0)
		return errno;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) ||
		answer.header.nlmsg_type != NLMSG_ERROR)
		return n < 0 ? errno : 0;
	return -((const struct nlmsgerr *)NLMSG_DATA(&answer.header))->error;
}

enum doctor_verdict doctor_packet_rules(const struct config *config, struct doctor_finding *f)
{
	int err = ask_packet_rules();

	(void)config;
	if (err != 0)
		return doctor_bad(f, DOCTOR_FAIL,
			err == EPERM
				? "run this as root"
				: "modprobe nf_tables nf_conntrack, or use a kernel that has them",
			"no packet rules can be set: %s", strerror(err));
	return doctor_ok(f, "nf_tables");
}

enum doctor_verdict doctor_file_systems(const struct config *config, struct doctor_finding *f)
{
	static const char *const names[] = {"overlay", "erofs", "ext4", "tmpfs", "proc", "devpts"};

	(void)config;
	for (size_t i = 0; i < array_len(names); i++) {
		auto_close int fd = fsopen(names[i], FSOPEN_CLOEXEC); /* loads its module, too */

		if (fd < 0)
			return doctor_bad(f, DOCTOR_FAIL,
				errno == ENODEV ? "load its module with modprobe, or use a kernel "
						  "that has it"
						: "run this as root",
				"%s is not available: %s", names[i], strerror(errno));
	}
	return doctor_ok(f, "overlay, erofs, ext4, tmpfs, proc, devpts");
}

enum doctor_verdict doctor_loop_devices(const struct config *config, struct doctor_finding *f)
{
	auto_close int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	(void)config;
	if (fd < 0)
		return doctor_bad(f, DOCTOR_FAIL,
			errno == ENOENT ? "modprobe loop" : "run this as root",
			"/dev/loop-control: %s", strerror(errno));
	return doctor_ok(f, "/dev/loop-control");
}

/* --- control groups
 * --------------------------------------------------------------------------------- */

/* Whether word is one of those in text (len bytes), which any of separators part. */
static bool has_word(const char *text, size_t len, const char *separators, const char *word)
{
	size_t word_len = strlen(word);

	for (size_t i = 0; i < len;) {
		size_t n = 0;

		while (i + n < len && strchr(separators, text[i + n]) == NULL)
			n++;
		if (n == word_len && memcmp(text + i, word, n) == 0)
			return true;
		i += n + 1;
	}
	return false;
}

/* The part of a mountinfo line behind " - ": type, source, options of the file system. */
static const char *line_tail(const char *line, size_t len)
{
	const char *tail = memmem(line, len, " - ", 3);

	return tail != NULL ? tail + 3 : NULL;
}

static bool v1_has(const char *mountinfo, const char *controller)
{
	for (const char *line = mountinfo; *line != '\0';) {
		size_t len = strcspn(line, "\n");
		const char *tail = line_tail(line, len);

		if (tail != NULL && strncmp(tail, "cgroup ", 7) == 0 &&
			has_word(tail, (size_t)(line + len - tail), " ,", controller))
			return true;
		line += len;
		line += *line == '\n';
	}
	return false;
}

char *doctor_cgroup2_mount(const char *mountinfo)
{
	for (const char *line = mountinfo; *line != '\0';) {
		size_t len = strcspn(line, "\n");
		const char *tail = line_tail(line, len);
		const char *field = line;

		/* id, parent, device, root, mount point */
		for (int i = 0; i < 4; i++)
			field += strcspn(field, " \n") + (field[strcspn(field, " \n")] == ' ');
		if (tail != NULL && strncmp(tail, "cgroup2 ", 8) == 0)
			return mem_strndup(field, strcspn(field, " \n"));
		line += len;
		line += *line == '\n';
	}
	return NULL;
}

unsigned doctor_missing_controllers(const char *mountinfo, const char *v2_controllers,
	const char *const *wanted, char *ret_missing, size_t size)
{
	unsigned missing = 0;
	size_t used = 0;

	ret_missing[0] = '\0';
	for (; *wanted != NULL; wanted++) {
		if (v1_has(mountinfo, *wanted) ||
			(v2_controllers != NULL &&
				has_word(v2_controllers, strlen(v2_controllers), " \n", *wanted)))
			continue;
		missing++;
		if (used < size)
			used += (size_t)snprintf(ret_missing + used, size - used, "%s%s",
				missing > 1 ? " " : "", *wanted);
	}
	return missing;
}

enum doctor_verdict doctor_cgroups(const struct config *config, struct doctor_finding *f)
{
	static const char *const wanted[] = {"memory", "cpu", "pids", NULL};
	auto_free char *mountinfo = NULL;
	auto_free char *controllers = NULL;
	auto_free char *mount = NULL;
	char missing[64];
	size_t len;

	(void)config;
	if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", TEXT_MAX, &mountinfo, &len) < 0)
		return doctor_bad(
			f, DOCTOR_FAIL, "mount /proc", "/proc/self/mountinfo cannot be read");
	mount = doctor_cgroup2_mount(mountinfo);
	if (mount != NULL) {
		auto_free char *path = mem_printf("%s/cgroup.controllers", mount);

		(void)fd_read_file(AT_FDCWD, path, 4096, &controllers, &len);
	}
	if (doctor_missing_controllers(mountinfo, controllers, wanted, missing, sizeof(missing)) >
		0)
		return doctor_bad(f, DOCTOR_FAIL,
			"mount cgroup v2 at /sys/fs/cgroup, or the v1 hierarchies of these "
			"controllers",
			"no controller: %s", missing);
	return doctor_ok(f, "memory, cpu and pids (%s)",
		v1_has(mountinfo, "memory") ? "version 1" : "version 2");
}

enum doctor_verdict doctor_seccomp(const struct config *config, struct doctor_finding *f)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	(void)config;
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		return doctor_bad(f, DOCTOR_FAIL, "use a kernel with CONFIG_SECCOMP_FILTER",
			"filters of system calls are not available: %s", strerror(errno));
	return doctor_ok(f, "filters of system calls");
}
