#include "resolver/confine.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/privilege.h"

#define CALL(name) SCMP_SYS(name)

/* A list of what is denied, not of what is allowed: getaddrinfo() may load modules of the host's
 * name service, and nobody knows what those call. They fail rather than die for it. */
static const int denied[] = {
	/* other programs and processes */
	CALL(execve), CALL(execveat), CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev),
	CALL(process_madvise), CALL(kcmp), CALL(pidfd_getfd),
	/* namespaces and mounts */
	CALL(setns), CALL(unshare), CALL(mount), CALL(umount2), CALL(pivot_root), CALL(chroot),
	CALL(open_tree), CALL(move_mount), CALL(fsopen), CALL(fsconfig), CALL(fsmount),
	CALL(fspick), CALL(mount_setattr), CALL(open_by_handle_at),
	/* large and rarely used parts of the kernel */
	CALL(bpf), CALL(perf_event_open), CALL(userfaultfd), CALL(io_uring_setup),
	CALL(io_uring_enter), CALL(io_uring_register), CALL(keyctl), CALL(add_key),
	CALL(request_key), CALL(personality), CALL(modify_ldt), CALL(iopl), CALL(ioperm),
	/* the machine */
	CALL(init_module), CALL(finit_module), CALL(delete_module), CALL(kexec_load),
	CALL(kexec_file_load), CALL(swapon), CALL(swapoff), CALL(reboot), CALL(acct),
	CALL(quotactl), CALL(settimeofday), CALL(clock_settime), CALL(syslog)};

static int deny_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!filter)
		return -ENOMEM;
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0) /* a tree: the position in the list costs nothing */
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; i < array_len(denied) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

static int drop_root(uid_t uid)
{
	int r = privilege_drop_bounding(0);

	if (r == 0)
		r = privilege_set_ids(uid, uid);
	if (r == 0)
		r = privilege_set_caps(0, 0, 0);
	return r;
}

int confine(uid_t uid, pid_t parent, const char **ret_what)
{
	int r = 0;

	*ret_what = "become another user";
	if (geteuid() == 0)
		r = uid == 0 ? -EPERM : drop_root(uid);
	else if (uid != 0 && uid != geteuid())
		r = -EPERM;
	if (r < 0)
		return r;
	*ret_what = "leave its working folder";
	if (chdir("/") < 0)
		return -errno;
	*ret_what = "give up gaining rights";
	r = privilege_no_new_privs();
	if (r == 0)
		r = privilege_not_dumpable();
	if (r < 0)
		return r;
	/* After the change of the user, which takes the wish for a signal back. */
	*ret_what = "die with its parent";
	r = privilege_die_with_parent(SIGKILL, parent);
	if (r < 0)
		return r;
	*ret_what = "set the system call filter";
	return deny_calls();
}
