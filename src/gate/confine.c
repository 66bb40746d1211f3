#include "gate/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/privilege.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define BIT(cap) (UINT64_C(1) << (cap))
#define GATE_FILES 8192
#define GATE_DATA_MAX ((rlim_t)512 * 1024 * 1024)
#define GATE_LOCKED_MAX ((rlim_t)4 * 1024 * 1024)

struct confine_filter {
	struct sock_fprog program;
};

/* --- the mother ----------------------------------------------------------------------------- */

/* Any folder will do as the place where the empty root is mounted; this one is always there. */
#define PLACE "/proc"

static int leave_files(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", PLACE, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			"size=4k,nr_inodes=4,mode=555") < 0 ||
		chdir(PLACE) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ||
		mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV,
			NULL) < 0)
		return -errno;
	return 0;
}

int confine_mother(const char **ret_what)
{
	/* KILL: the parent-death signal is sent with the rights of the parent that dies. */
	const uint64_t kept = BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) | BIT(CAP_KILL);
	int r;

	*ret_what = "leave the host's files";
	r = SANITIZED ? 0 : leave_files();
	if (r < 0)
		return r;
	*ret_what = "drop capabilities";
	r = privilege_drop_bounding(kept);
	if (r == 0)
		r = privilege_set_caps(kept, kept, 0);
	if (r == 0)
		r = privilege_no_new_privs();
	if (r == 0 && !SANITIZED)
		r = privilege_not_dumpable();
	return r;
}

/* --- the filter ----------------------------------------------------------------------------- */

#define CALL(name) SCMP_SYS(name)
#define SOCK_TYPE_MASK 0xf /* without SOCK_CLOEXEC and SOCK_NONBLOCK */

static const int allowed[] = {
	/* the loop */
	CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait), CALL(poll),
	CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack), CALL(restart_syscall),
	/* sockets; which ones may be made is below */
	CALL(accept4), CALL(connect), CALL(getsockname), CALL(getpeername), CALL(getsockopt),
	CALL(setsockopt), CALL(recvfrom), CALL(recvmsg), CALL(sendto), CALL(sendmsg),
	CALL(shutdown), CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(close),
	CALL(fcntl),
	/* memory */
	CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise), CALL(mlock), CALL(mlock2),
	CALL(munlock),
	/* time, randomness, oneself */
	CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday), CALL(time), CALL(getrandom),
	CALL(getpid), CALL(gettid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
	CALL(sysinfo), CALL(futex), CALL(rseq), CALL(exit), CALL(exit_group)};

/* Calls of which some uses are needed. */
static int allow_uses(scmp_filter_ctx filter)
{
	static const int families[] = {AF_INET, AF_INET6};
	static const int mappers[] = {CALL(mmap), CALL(mprotect)};
	int r = 0;

	for (size_t i = 0; i < array_len(families) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
	/* Of a kind that cannot be connected to anything else. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(socketpair), 2,
			SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0),
			SCMP_A1(SCMP_CMP_MASKED_EQ, SOCK_TYPE_MASK, SOCK_SEQPACKET));
	for (size_t i = 0; i < array_len(mappers) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, mappers[i], 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (r == 0)
		r = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, CALL(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONBIO, 0));
	return r;
}

static scmp_filter_ctx build(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = filter != NULL ? 0 : -ENOMEM;

	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0) /* a tree: the position in the list costs nothing */
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < array_len(allowed) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (r == 0)
		r = allow_uses(filter);
	/* A file that is asked for is not there: OpenSSL asks for its configuration and engines. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOENT), CALL(openat), 0);
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOENT), CALL(open), 0);
	if (r == 0)
		return filter;
	seccomp_release(filter);
	return NULL;
}

/* libseccomp writes the program to a descriptor only. */
static int export(scmp_filter_ctx filter, struct confine_filter *ret)
{
	auto_close int file = memfd_create("filter", MFD_CLOEXEC);
	off_t size;

	if (file < 0)
		return -errno;
	int r = seccomp_export_bpf(filter, file);
	if (r < 0)
		return r;
	size = lseek(file, 0, SEEK_END);
	if (size <= 0 || lseek(file, 0, SEEK_SET) != 0)
		return -EIO;
	ret->program.len = (unsigned short)((size_t)size / sizeof(struct sock_filter));
	ret->program.filter = mem_zalloc((size_t)size);
	return fd_read_all(file, ret->program.filter, (size_t)size);
}

struct confine_filter *confine_filter_new(void)
{
	struct confine_filter *f = mem_new(struct confine_filter);
	scmp_filter_ctx filter = build();
	int r = filter != NULL ? export(filter, f) : -ENOMEM;

	if (filter != NULL)
		seccomp_release(filter);
	if (r == 0)
		return f;
	free(f->program.filter);
	free(f);
	return NULL;
}

/* --- a gate --------------------------------------------------------------------------------- */

static void limit(int what, rlim_t value)
{
	const struct rlimit l = {value, value};
	struct rlimit now;

	if (setrlimit((__rlimit_resource_t)what, &l) == 0 ||
		getrlimit((__rlimit_resource_t)what, &now) < 0)
		return;
	/* Without the right to raise it: as far as it goes. */
	now.rlim_cur = now.rlim_max < value ? now.rlim_max : value;
	(void)setrlimit((__rlimit_resource_t)what, &now);
}

static void set_limits(void)
{
	limit(RLIMIT_NOFILE, GATE_FILES);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_MEMLOCK, GATE_LOCKED_MAX);
	if (!SANITIZED)
		limit(RLIMIT_DATA, GATE_DATA_MAX);
}

int confine_gate(
	uint32_t uid, int parent, const struct confine_filter *filter, const char **ret_what)
{
	int r;

	set_limits();
	*ret_what = "become a user of its own";
	r = privilege_drop_bounding(0);
	if (r == 0)
		r = privilege_set_ids(uid, uid);
	if (r == 0)
		r = privilege_set_caps(0, 0, 0);
	if (r == 0)
		r = privilege_no_new_privs();
	if (r == 0 && !SANITIZED)
		r = privilege_not_dumpable();
	/* A change of ids clears it. */
	if (r == 0)
		r = privilege_die_with_parent(SIGKILL, parent);
	if (r < 0 || SANITIZED)
		return r;
	*ret_what = "install the system call filter";
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter->program) < 0 ? -errno : 0;
}
