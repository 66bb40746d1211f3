#include "base/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int privilege_drop_bounding(uint64_t keep_mask)
{
	for (unsigned cap = 0; cap < 64; cap++) {
		int r = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (r < 0) /* one above the last capability of this kernel */
			return errno == EINVAL && cap > 0 ? 0 : -errno;
		if (r == 0 || (keep_mask & UINT64_C(1) << cap) != 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}
	return 0;
}

int privilege_set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
		{(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
			(uint32_t)(inheritable >> 32)},
	};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int drop_groups(void)
{
	if (syscall(SYS_setgroups, (size_t)0, NULL) == 0)
		return 0;
	int err = -errno;
	/* A user namespace may forbid the call although there is nothing to drop. */
	return syscall(SYS_getgroups, 0, NULL) == 0 ? 0 : err;
}

int privilege_set_ids(uid_t uid, gid_t gid)
{
	uid_t ids[3];
	int r = drop_groups();

	if (r < 0)
		return r;
	if (syscall(SYS_setresgid, gid, gid, gid) < 0 || syscall(SYS_setresuid, uid, uid, uid) < 0)
		return -errno;
	if (syscall(SYS_getresuid, &ids[0], &ids[1], &ids[2]) < 0)
		return -errno;
	if (ids[0] != uid || ids[1] != uid || ids[2] != uid)
		return -EPERM;
	if (syscall(SYS_getresgid, &ids[0], &ids[1], &ids[2]) < 0)
		return -errno;
	if (ids[0] != gid || ids[1] != gid || ids[2] != gid)
		return -EPERM;
	/* Whoever may become root again has not given anything up. */
	if (uid != 0 && syscall(SYS_setresuid, (uid_t)-1, (uid_t)0, (uid_t)-1) == 0)
		return -EPERM;
	return 0;
}

int privilege_no_new_privs(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int privilege_not_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

int privilege_die_with_parent(int signo, pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, signo, 0, 0, 0) < 0)
		return -errno;
	/* It may have ended before the request took effect. */
	return syscall(SYS_getppid) == parent ? 0 : -ESRCH;
}
