#include "unit.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "keeper/seccomp.h"

static struct seccomp_filter machine, keeper;

/* What the kernel does with the instructions that the filter uses. */
static uint32_t run(const struct seccomp_filter *f, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < f->len; pc++) {
		const struct sock_filter *i = &f->code[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(i->k + sizeof(a) <= sizeof(*data));
			memcpy(&a, (const char *)data + i->k, sizeof(a));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += (a & i->k) != 0 ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			fail_msg("instruction %#x", i->code);
		}
	}
	fail_msg("ran off the end");
	return 0;
}

/* 0: allowed, else the errno. */
static int judge(const struct seccomp_filter *f, int nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
	struct seccomp_data data = {.nr = nr, .arch = AUDIT_ARCH_X86_64, .args = {a0, a1, a2}};
	uint32_t verdict = run(f, &data);

	if (verdict == SECCOMP_RET_ALLOW)
		return 0;
	assert_int_equal(verdict & SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ERRNO);
	return (int)(verdict & SECCOMP_RET_DATA);
}

static int judge_nr(int nr)
{
	return judge(&machine, nr, 0, 0, 0);
}

static int build(void **state)
{
	seccomp_build(&machine, SECCOMP_SET_MACHINE);
	seccomp_build(&keeper, SECCOMP_SET_KEEPER);
	return 0;
}

static void test_ordinary_calls_pass(void **state)
{
	static const int calls[] = {SYS_read, SYS_write, SYS_openat, SYS_execve, SYS_exit_group,
		SYS_fork, SYS_vfork, SYS_wait4, SYS_ptrace, SYS_process_vm_readv, SYS_seccomp,
		SYS_chroot, SYS_setresuid, SYS_mknodat, SYS_memfd_create, SYS_prctl, SYS_rseq,
		SYS_landlock_create_ruleset, SYS_pidfd_open, SYS_statx, SYS_close_range, 466};

	for (size_t i = 0; i < array_len(calls); i++)
		assert_int_equal(judge_nr(calls[i]), 0);
}

static void test_refused_calls(void **state)
{
	static const int calls[] = {SYS_mount, SYS_umount2, SYS_pivot_root, SYS_move_mount,
		SYS_open_tree, SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr,
		SYS_setns, SYS_bpf, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_userfaultfd,
		SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_perf_event_open,
		SYS_fanotify_init, SYS_open_by_handle_at, SYS_init_module, SYS_finit_module,
		SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_reboot, SYS_swapon,
		SYS_swapoff, SYS_acct, SYS_quotactl, SYS_syslog, SYS_iopl, SYS_ioperm};

	for (size_t i = 0; i < array_len(calls); i++)
		assert_int_equal(judge_nr(calls[i]), EPERM);
	assert_int_equal(judge_nr(SYS_clone3), ENOSYS);
	assert_int_equal(judge_nr(SYS_nfsservctl), ENOSYS);
}

static void test_calls_newer_than_the_table(void **state)
{
	assert_int_equal(judge_nr(467), ENOSYS); /* open_tree_attr */
	assert_int_equal(judge_nr(1000), ENOSYS);
	assert_int_equal(judge_nr(-1), ENOSYS);
	/* The keeper's filter stays on programs it knows nothing about, and leaves that to theirs.
	 */
	assert_int_equal(judge(&keeper, 467, 0, 0, 0), 0);
}

static void test_other_instruction_sets(void **state)
{
	struct seccomp_data i386 = {.nr = 3, .arch = AUDIT_ARCH_I386};

	assert_int_equal(run(&machine, &i386), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(run(&keeper, &i386), SECCOMP_RET_ERRNO | ENOSYS);
	assert_int_equal(judge_nr(0x40000000 | SYS_read), ENOSYS);
	assert_int_equal(judge(&keeper, 0x40000000 | SYS_read, 0, 0, 0), ENOSYS);
}

static void test_namespaces(void **state)
{
	static const uint64_t flags[] = {CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET,
		CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80 /* CLONE_NEWTIME */};

	for (size_t i = 0; i < array_len(flags); i++) {
		assert_int_equal(judge(&machine, SYS_unshare, flags[i], 0, 0), EPERM);
		assert_int_equal(judge(&machine, SYS_unshare, flags[i] | CLONE_FS, 0, 0), EPERM);
		assert_int_equal(judge(&machine, SYS_clone, flags[i] | SIGCHLD, 0, 0), EPERM);
		assert_int_equal(judge(&keeper, SYS_unshare, flags[i], 0, 0), 0);
	}
	assert_int_equal(judge(&machine, SYS_unshare, CLONE_FS | CLONE_FILES, 0, 0), 0);
	assert_int_equal(judge(&machine, SYS_clone, SIGCHLD, 0, 0), 0);
	assert_int_equal(judge(&machine, SYS_clone,
				 CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
					 CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
				 0, 0),
		0);
}

static int sock(uint64_t family, uint64_t type, uint64_t protocol)
{
	int err = judge(&machine, SYS_socket, family, type, protocol);

	assert_int_equal(judge(&keeper, SYS_socket, family, type, protocol), err);
	return err;
}

static void test_sockets(void **state)
{
	assert_int_equal(sock(AF_UNIX, SOCK_SEQPACKET, 0), 0);
	assert_int_equal(sock(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 0);
	assert_int_equal(sock(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP), 0);
	assert_int_equal(sock(AF_INET, SOCK_DGRAM, IPPROTO_UDP), 0);
	assert_int_equal(sock(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), 0);
	assert_int_equal(sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), 0);

	assert_int_equal(sock(AF_INET, SOCK_STREAM, IPPROTO_SCTP), EPROTONOSUPPORT);
	assert_int_equal(sock(AF_INET, SOCK_STREAM, IPPROTO_MPTCP), EPROTONOSUPPORT);
	assert_int_equal(sock(AF_INET, SOCK_SEQPACKET, 0), ESOCKTNOSUPPORT);
	assert_int_equal(sock(AF_INET6, SOCK_DCCP, 0), ESOCKTNOSUPPORT);
	assert_int_equal(sock(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT), EPROTONOSUPPORT);
	/* The keeper's children load packet rules before they put themselves under the machine's.
	 */
	assert_int_equal(judge(&keeper, SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER), 0);
	assert_int_equal(judge(&machine, SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER),
		EPROTONOSUPPORT);
	for (unsigned family = 0; family < 64; family++) {
		if (family != AF_UNIX && family != AF_INET && family != AF_INET6 &&
			family != AF_NETLINK)
			assert_int_equal(sock(family, SOCK_STREAM, 0), EAFNOSUPPORT);
	}
	/* The kernel ignores the upper halves: so must the filter. */
	assert_int_equal(sock(UINT64_C(1) << 32 | AF_VSOCK, SOCK_STREAM, 0), EAFNOSUPPORT);
	assert_int_equal(sock(UINT64_C(1) << 32 | AF_UNIX, SOCK_STREAM, 0), 0);
	assert_int_equal(judge(&machine, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0), 0);
	assert_int_equal(judge(&machine, SYS_socketpair, AF_TIPC, SOCK_STREAM, 0), EAFNOSUPPORT);
}

static void test_ioctls(void **state)
{
	assert_int_equal(judge(&machine, SYS_ioctl, 0, TIOCGWINSZ, 0), 0);
	assert_int_equal(judge(&machine, SYS_ioctl, 0, TIOCSTI, 0), EPERM);
	assert_int_equal(judge(&machine, SYS_ioctl, 0, UINT64_C(7) << 32 | TIOCSTI, 0), EPERM);
	assert_int_equal(judge(&machine, SYS_ioctl, 0, TIOCLINUX, 0), EPERM);
}

static void test_personality(void **state)
{
	assert_int_equal(judge(&machine, SYS_personality, 0, 0, 0), 0);
	assert_int_equal(judge(&machine, SYS_personality, 0xffffffff, 0, 0), 0);
	assert_int_equal(judge(&machine, SYS_personality, 0x40000, 0, 0), 0);
	assert_int_equal(
		judge(&machine, SYS_personality, 0x100000, 0, 0), EPERM); /* MMAP_PAGE_ZERO */
	assert_int_equal(
		judge(&machine, SYS_personality, 0x400000, 0, 0), EPERM); /* READ_IMPLIES */
}

/* Like judge(), but 0 in both cases of success: whether the call is made at all. */
static bool is_made(int nr, uint64_t a0, uint64_t a1, uint64_t a2)
{
	struct seccomp_data data = {.nr = nr, .arch = AUDIT_ARCH_X86_64, .args = {a0, a1, a2}};
	uint32_t verdict = run(&machine, &data);

	assert_true(verdict == SECCOMP_RET_ALLOW || verdict == SECCOMP_RET_ERRNO);
	return verdict == SECCOMP_RET_ALLOW;
}

static void test_core_limit_stays(void **state)
{
	const uint64_t high = UINT64_C(0x7fff) << 32, low = 0x1000;

	assert_false(is_made(SYS_setrlimit, RLIMIT_CORE, low, 0));
	assert_true(is_made(SYS_setrlimit, RLIMIT_NOFILE, low, 0));
	assert_true(is_made(SYS_getrlimit, RLIMIT_CORE, low, 0));
	assert_false(is_made(SYS_prlimit64, 0, RLIMIT_CORE, low));
	assert_false(is_made(SYS_prlimit64, 0, RLIMIT_CORE, high));
	assert_false(is_made(SYS_prlimit64, 0, RLIMIT_CORE, high | low));
	assert_true(is_made(SYS_prlimit64, 0, RLIMIT_CORE, 0)); /* reads */
	assert_true(is_made(SYS_prlimit64, 0, RLIMIT_NOFILE, low));
}

/* What the keeper refuses itself, its machines inherit: it must be refused to them anyway. */
static void test_keeper_set_is_a_subset(void **state)
{
	for (int nr = 0; nr <= 466; nr++) {
		if (judge(&keeper, nr, 0, 0, 0) != 0)
			assert_int_not_equal(judge_nr(nr), 0);
	}
	assert_int_equal(judge(&keeper, SYS_mount, 0, 0, 0), 0);
	assert_int_equal(judge(&keeper, SYS_clone3, 0, 0, 0), 0);
	assert_int_equal(judge(&keeper, SYS_bpf, 0, 0, 0), EPERM);
}

/* The kernel takes it, and means the same by it. */
static void test_kernel_takes_it(void **state)
{
	if (geteuid() != 0)
		skip();
	pid_t pid = fork();
	if (pid == 0) {
		if (seccomp_install(&machine) < 0)
			_exit(1);
		if (syscall(SYS_mount, NULL, NULL, NULL, 0, NULL) >= 0 || errno != EPERM)
			_exit(2);
		if (syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS)
			_exit(3);
		if (socket(AF_ALG, SOCK_SEQPACKET, 0) >= 0 || errno != EAFNOSUPPORT)
			_exit(4);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ordinary_calls_pass),
		cmocka_unit_test(test_refused_calls),
		cmocka_unit_test(test_calls_newer_than_the_table),
		cmocka_unit_test(test_other_instruction_sets),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_ioctls),
		cmocka_unit_test(test_personality),
		cmocka_unit_test(test_core_limit_stays),
		cmocka_unit_test(test_keeper_set_is_a_subset),
		cmocka_unit_test(test_kernel_takes_it),
	};

	return cmocka_run_group_tests(tests, build, NULL);
}
