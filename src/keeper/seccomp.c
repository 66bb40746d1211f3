#include "keeper/seccomp.h"

#include <assert.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define FOREIGN_BIT 0x40000000 /* x32 */
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define FOREIGN_BIT 0x40000000
#else
#error "no system call table for this architecture"
#endif

/* The newest call that has been looked at: removexattrat of Linux 6.13. */
#define NEWEST_CALL 466

#ifndef __NR_quotactl_fd
#define __NR_quotactl_fd 443
#endif
#ifndef __NR_mount_setattr
#define __NR_mount_setattr 442
#endif

#define NAMESPACE_FLAGS \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
		CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME)

/* What happens to a call of the table. */
enum verdict {
	REFUSE,      /* errno */
	CHECK_FLAGS, /* first argument: no namespaces */
	CHECK_PERSONALITY,
	CHECK_IOCTL,
	CHECK_SOCKET,
	CHECK_SETRLIMIT,
	CHECK_PRLIMIT,
};

struct rule {
	int nr;
	uint8_t verdict;
	uint8_t err;
	bool keeper; /* refused to the keeper as well */
};

static const struct rule rules[] = {
	/* mounts and namespaces: the keeper's business */
	{__NR_mount, REFUSE, EPERM, false},
	{__NR_umount2, REFUSE, EPERM, false},
	{__NR_pivot_root, REFUSE, EPERM, false},
	{__NR_move_mount, REFUSE, EPERM, false},
	{__NR_open_tree, REFUSE, EPERM, false},
	{__NR_fsopen, REFUSE, EPERM, false},
	{__NR_fsconfig, REFUSE, EPERM, false},
	{__NR_fsmount, REFUSE, EPERM, false},
	{__NR_fspick, REFUSE, EPERM, false},
	{__NR_mount_setattr, REFUSE, EPERM, false},
	{__NR_setns, REFUSE, EPERM, false},
	{__NR_unshare, CHECK_FLAGS, EPERM, false},
	{__NR_clone, CHECK_FLAGS, EPERM, false},
	/* Its flags are behind a pointer; libc falls back to clone. */
	{__NR_clone3, REFUSE, ENOSYS, false},
	/* kernel interfaces with a history, which no guest program needs */
	{__NR_bpf, REFUSE, EPERM, true},
	{__NR_keyctl, REFUSE, EPERM, true},
	{__NR_add_key, REFUSE, EPERM, true},
	{__NR_request_key, REFUSE, EPERM, true},
	{__NR_userfaultfd, REFUSE, EPERM, true},
	{__NR_io_uring_setup, REFUSE, EPERM, true},
	{__NR_io_uring_enter, REFUSE, EPERM, true},
	{__NR_io_uring_register, REFUSE, EPERM, true},
	{__NR_perf_event_open, REFUSE, EPERM, true},
	{__NR_fanotify_init, REFUSE, EPERM, true},
	{__NR_open_by_handle_at, REFUSE, EPERM, true},
	{__NR_lookup_dcookie, REFUSE, EPERM, true},
	/* the host as a whole */
	{__NR_init_module, REFUSE, EPERM, true},
	{__NR_finit_module, REFUSE, EPERM, true},
	{__NR_delete_module, REFUSE, EPERM, true},
	{__NR_kexec_load, REFUSE, EPERM, true},
	{__NR_kexec_file_load, REFUSE, EPERM, true},
	{__NR_reboot, REFUSE, EPERM, true},
	{__NR_swapon, REFUSE, EPERM, true},
	{__NR_swapoff, REFUSE, EPERM, true},
	{__NR_acct, REFUSE, EPERM, true},
	{__NR_quotactl, REFUSE, EPERM, true},
	{__NR_quotactl_fd, REFUSE, EPERM, true},
	{__NR_syslog, REFUSE, EPERM, true},
	{__NR_nfsservctl, REFUSE, ENOSYS, true},
#if defined(__x86_64__)
	{__NR_iopl, REFUSE, EPERM, true},
	{__NR_ioperm, REFUSE, EPERM, true},
	{__NR_uselib, REFUSE, ENOSYS, true},
	{__NR_ustat, REFUSE, ENOSYS, true},
	{__NR_sysfs, REFUSE, ENOSYS, true},
	{__NR__sysctl, REFUSE, ENOSYS, true},
#endif
	{__NR_personality, CHECK_PERSONALITY, EPERM, false},
	/* 0: the call does nothing and says it did */
	{__NR_prlimit64, CHECK_PRLIMIT, 0, false},
#if defined(__NR_setrlimit)
	{__NR_setrlimit, CHECK_SETRLIMIT, 0, false},
#endif
	{__NR_ioctl, CHECK_IOCTL, EPERM, true},
	{__NR_socket, CHECK_SOCKET, EAFNOSUPPORT, true},
	{__NR_socketpair, CHECK_SOCKET, EAFNOSUPPORT, true},
};

static void emit(struct seccomp_filter *f, struct sock_filter insn)
{
	assert(f->len < SECCOMP_LEN_MAX);
	f->code[f->len++] = insn;
}

static void emit_load(struct seccomp_filter *f, size_t offset)
{
	emit(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* The kernel takes these arguments as 32-bit numbers and ignores the upper half of the register;
 * so does the filter. */
static void emit_load_arg(struct seccomp_filter *f, unsigned arg)
{
	emit_load(f, offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t));
}

static void emit_allow(struct seccomp_filter *f)
{
	emit(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

static void emit_refuse(struct seccomp_filter *f, unsigned err)
{
	emit(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err));
}

/* Skips the next skip instructions unless the comparison holds. */
static void emit_unless(struct seccomp_filter *f, unsigned op, uint32_t value, size_t skip)
{
	assert(skip <= UINT8_MAX);
	emit(f, (struct sock_filter)BPF_JUMP(BPF_JMP | op | BPF_K, value, 0, (uint8_t)skip));
}

static void emit_allow_values(struct seccomp_filter *f, const uint32_t *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		emit_unless(f, BPF_JEQ, values[i], 1);
		emit_allow(f);
	}
}

static void check_flags(struct seccomp_filter *f, unsigned err)
{
	emit_load_arg(f, 0);
	emit_unless(f, BPF_JSET, (uint32_t)NAMESPACE_FLAGS, 1);
	emit_refuse(f, err);
	emit_allow(f);
}

/* Only what cannot turn a protection off for a program with more rights: a plain Linux, a 32-bit
 * uname, no address randomisation (debuggers), and the query. */
static void check_personality(struct seccomp_filter *f, unsigned err)
{
	static const uint32_t values[] = {0, 0x0008, 0x20000, 0x20008, 0x40000, 0xffffffff};

	emit_load_arg(f, 0);
	emit_allow_values(f, values, array_len(values));
	emit_refuse(f, err);
}

/* Typing into a terminal on behalf of whoever reads it. */
static void check_ioctl(struct seccomp_filter *f, unsigned err)
{
	static const uint32_t requests[] = {TIOCSTI, TIOCLINUX};

	emit_load_arg(f, 1);
	for (size_t i = 0; i < array_len(requests); i++) {
		emit_unless(f, BPF_JEQ, requests[i], 1);
		emit_refuse(f, err);
	}
	emit_allow(f);
}

/* Families and, within them, the types and protocols that do not make the kernel load a module
 * nobody has looked at for years. NETLINK_AUDIT and others answer EPROTONOSUPPORT, which libaudit
 * takes for a kernel without audit. First processes load packet rules. */
static void check_socket(struct seccomp_filter *f, unsigned err)
{
	static const uint32_t inet[] = {0, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6};
	static const uint32_t netlink[] = {NETLINK_ROUTE, NETLINK_NETFILTER};
	static const uint32_t families[] = {AF_INET, AF_INET6};
	size_t inet_len = 4 + 1 + 2 * array_len(inet) + 1;
	size_t netlink_count = f->set == SECCOMP_SET_KEEPER ? 2 : 1;

	emit_load_arg(f, 0);
	emit_unless(f, BPF_JEQ, AF_UNIX, 1);
	emit_allow(f);
	for (size_t i = 0; i < array_len(families); i++) {
		emit_unless(f, BPF_JEQ, families[i], inet_len);
		emit_load_arg(f, 1);
		emit(f, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf));
		emit_unless(f, BPF_JGT, SOCK_RAW, 1);
		emit_refuse(f, ESOCKTNOSUPPORT);
		emit_load_arg(f, 2);
		emit_allow_values(f, inet, array_len(inet));
		emit_refuse(f, EPROTONOSUPPORT);
	}
	emit_unless(f, BPF_JEQ, AF_NETLINK, 1 + 2 * netlink_count + 1);
	emit_load_arg(f, 2);
	emit_allow_values(f, netlink, netlink_count);
	emit_refuse(f, EPROTONOSUPPORT);
	emit_refuse(f, err);
}

/* A core file size of 1 is what keeps the kernel from starting the host's handler of crashes, as
 * root, on a dump made in here (core(5)); 0 does not. Programs that turn dumps off must not turn
 * that off, nor fail. */
static void check_setrlimit(struct seccomp_filter *f, unsigned err)
{
	emit_load_arg(f, 0);
	emit_unless(f, BPF_JEQ, RLIMIT_CORE, 1);
	emit_refuse(f, err);
	emit_allow(f);
}

/* The same; without a new limit (a pointer, so both halves count) it only reads. */
static void check_prlimit(struct seccomp_filter *f, unsigned err)
{
	emit_load_arg(f, 1);
	emit_unless(f, BPF_JEQ, RLIMIT_CORE, 6);
	emit_load_arg(f, 2);
	emit_unless(f, BPF_JEQ, 0, 3);
	emit_load(f, offsetof(struct seccomp_data, args) + 2 * sizeof(uint64_t) + sizeof(uint32_t));
	emit_unless(f, BPF_JEQ, 0, 1);
	emit_allow(f);
	emit_refuse(f, err);
	/* Where the first comparison jumps to: any other limit. */
	emit_allow(f);
}

static void refuse(struct seccomp_filter *f, unsigned err)
{
	emit_refuse(f, err);
}

static void (*const emitters[])(struct seccomp_filter *f, unsigned err) = {
	[REFUSE] = refuse,
	[CHECK_FLAGS] = check_flags,
	[CHECK_PERSONALITY] = check_personality,
	[CHECK_IOCTL] = check_ioctl,
	[CHECK_SOCKET] = check_socket,
	[CHECK_SETRLIMIT] = check_setrlimit,
	[CHECK_PRLIMIT] = check_prlimit,
};

static void emit_rule(struct seccomp_filter *f, const struct rule *rule)
{
	size_t jump = f->len;

	emit_unless(f, BPF_JEQ, (uint32_t)rule->nr, 0);
	emitters[rule->verdict](f, rule->err);
	/* Every block ends in a verdict, so the accumulator still holds the call's number where the
	 * jump lands. */
	size_t skip = f->len - jump - 1;
	assert(skip <= UINT8_MAX);
	f->code[jump].jf = (uint8_t)skip;
}

void seccomp_build(struct seccomp_filter *f, enum seccomp_set set)
{
	f->set = set;
	f->len = 0;
	emit_load(f, offsetof(struct seccomp_data, arch));
	emit(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
	emit_refuse(f, ENOSYS);
	emit_load(f, offsetof(struct seccomp_data, nr));
	emit_unless(f, BPF_JGE, FOREIGN_BIT, 1);
	emit_refuse(f, ENOSYS);
	if (set == SECCOMP_SET_MACHINE) {
		emit_unless(f, BPF_JGT, NEWEST_CALL, 1);
		emit_refuse(f, ENOSYS);
	}
	for (size_t i = 0; i < array_len(rules); i++) {
		if (set == SECCOMP_SET_MACHINE || rules[i].keeper)
			emit_rule(f, &rules[i]);
	}
	emit_allow(f);
}

int seccomp_install(const struct seccomp_filter *f)
{
	struct sock_fprog prog = {
		.len = (unsigned short)f->len,
		.filter = (struct sock_filter *)(uintptr_t)f->code,
	};

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0 ? -errno : 0;
}
