/* Stage: the system calls that are left. */
#include "server/stages.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/stages_priv.h"

#define CALL(name) SCMP_SYS(name)

static const int allowed[] = {
	/* the loop: events, timers, signals, children */
	CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait),
	CALL(epoll_pwait2), CALL(poll), CALL(ppoll), CALL(select), CALL(pselect6), CALL(eventfd2),
	CALL(signalfd4), CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime),
	CALL(pidfd_open), CALL(wait4), CALL(waitid), CALL(rt_sigaction), CALL(rt_sigprocmask),
	CALL(rt_sigreturn), CALL(rt_sigpending), CALL(rt_sigtimedwait), CALL(sigaltstack),
	CALL(restart_syscall),
	/* sockets that are there or come in; none is made */
	CALL(accept4), CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(setsockopt),
	CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg), CALL(sendto), CALL(sendmsg), CALL(sendmmsg),
	CALL(shutdown),
	/* descriptors */
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64),
	CALL(preadv), CALL(pwritev), CALL(preadv2), CALL(pwritev2), CALL(lseek), CALL(close),
	CALL(close_range), CALL(dup), CALL(dup2), CALL(dup3), CALL(fcntl), CALL(pipe2),
	CALL(splice), CALL(sendfile), CALL(copy_file_range),
	/* the store's and the spool's files */
	CALL(openat), CALL(openat2), CALL(open), CALL(fstat), CALL(stat), CALL(lstat),
	CALL(newfstatat), CALL(statx), CALL(fstatfs), CALL(statfs), CALL(access), CALL(faccessat),
	CALL(faccessat2), CALL(readlink), CALL(readlinkat), CALL(getcwd), CALL(getdents64),
	CALL(fsync), CALL(fdatasync), CALL(ftruncate), CALL(fallocate), CALL(fadvise64),
	CALL(flock), CALL(fchmod), CALL(fchown), CALL(unlink), CALL(unlinkat), CALL(rename),
	CALL(renameat), CALL(renameat2), CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(utimensat),
	CALL(umask),
	/* memory */
	CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise), CALL(mlock), CALL(mlock2),
	CALL(munlock),
	/* time, randomness, oneself */
	CALL(clock_gettime), CALL(clock_getres), CALL(clock_nanosleep), CALL(nanosleep),
	CALL(gettimeofday), CALL(time), CALL(getrandom), CALL(getpid), CALL(getppid), CALL(gettid),
	CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(getresuid), CALL(getresgid),
	CALL(getrlimit), CALL(getrusage), CALL(times), CALL(uname), CALL(sysinfo), CALL(getcpu),
	CALL(sched_yield), CALL(sched_getaffinity), CALL(futex), CALL(set_robust_list), CALL(rseq),
	CALL(membarrier), CALL(exit), CALL(exit_group)};

/* What only somebody who has taken the process over would try. */
static const int deadly[] = {CALL(execve), CALL(execveat), CALL(fork), CALL(vfork), CALL(ptrace),
	CALL(process_vm_readv), CALL(process_vm_writev), CALL(mount), CALL(umount2),
	CALL(pivot_root), CALL(chroot), CALL(open_tree), CALL(move_mount), CALL(fsopen),
	CALL(fsconfig), CALL(fsmount), CALL(fspick), CALL(mount_setattr), CALL(setns),
	CALL(unshare), CALL(bpf), CALL(perf_event_open), CALL(userfaultfd), CALL(io_uring_setup),
	CALL(io_uring_enter), CALL(io_uring_register), CALL(keyctl), CALL(add_key),
	CALL(request_key), CALL(init_module), CALL(finit_module), CALL(delete_module),
	CALL(kexec_load), CALL(kexec_file_load), CALL(open_by_handle_at), CALL(iopl), CALL(ioperm),
	CALL(modify_ldt), CALL(swapon), CALL(swapoff), CALL(reboot), CALL(acct), CALL(quotactl),
	CALL(settimeofday), CALL(clock_settime), CALL(setuid), CALL(setgid), CALL(setreuid),
	CALL(setregid), CALL(setresuid), CALL(setresgid), CALL(setgroups), CALL(setfsuid),
	CALL(setfsgid), CALL(capset), CALL(mknod), CALL(mknodat), CALL(personality), CALL(kcmp),
	CALL(pidfd_getfd), CALL(seccomp)};

static int allow_lists(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; i < array_len(allowed) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < array_len(deadly) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
	return r;
}

/* Calls of which some uses are needed. */
static int allow_uses(scmp_filter_ctx filter)
{
	static const unsigned ioctls[] = {FIONREAD, FIONBIO, TCGETS};
	static const int prctls[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE};
	static const int mappers[] = {CALL(mmap), CALL(mprotect)};
	int r = 0;

	for (size_t i = 0; i < array_len(ioctls) && r == 0; i++)
		r = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, CALL(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, ioctls[i]));
	for (size_t i = 0; i < array_len(prctls) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(prctl), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)prctls[i]));
	for (size_t i = 0; i < array_len(mappers) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, mappers[i], 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* Signals to oneself: abort(). */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	if (r == 0)
		r = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, CALL(prlimit64), 1, SCMP_A0(SCMP_CMP_EQ, 0));
	return r;
}

int stages_seccomp(struct error *ret_err)
{
	scmp_filter_ctx filter;
	int r;

	if (STAGES_SANITIZED)
		return 0;
	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (filter == NULL)
		return error_set(ret_err, -ENOMEM, "", "cannot make a seccomp filter");
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (r == 0) /* a tree: the position in the list costs nothing */
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	/* A refusal is in the kernel's log; where that cannot be had, go without. */
	if (r == 0)
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	if (r == 0)
		r = allow_lists(filter);
	if (r == 0)
		r = allow_uses(filter);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	if (r < 0)
		return error_set(ret_err, r, "", "cannot set the seccomp filter: %s", strerror(-r));
	return 0;
}
