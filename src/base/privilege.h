/*
 * Giving up rights. Raw system calls only: usable from the agent and between fork and exec.
 * None of these calls logs; all return 0 or a negative errno.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Capability numbers are those of <linux/capability.h>; masks are bit (1 << cap). */
int privilege_drop_bounding(uint64_t keep_mask);
/* Sets effective, permitted and inheritable to the given masks and clears the ambient set. */
int privilege_set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable);
/* setgroups(0), setresgid, setresuid; checks that there is no way back. */
int privilege_set_ids(uid_t uid, gid_t gid);
int privilege_no_new_privs(void);
int privilege_not_dumpable(void);
/* Signal that the kernel sends when the parent ends; -ESRCH when it has ended already (parent is
 * the pid it must have). */
int privilege_die_with_parent(int signo, pid_t parent);
