/*
 * How warrend gives up what it started with, in named stages and in this order:
 *
 *   stages_user           nothing yet: finds the account
 *   stages_prepare_state  nothing yet: makes the folders that only root can make
 *   (the caller opens its listening socket and starts the keeper)
 *   stages_confine_fs     every file of the host but the state folder
 *   stages_drop           root, capabilities, the way back to them, being traced, core dumps
 *   stages_seccomp        every system call a running warrend has no use for
 *
 * In a build with AddressSanitizer, confine_fs and seccomp do nothing and drop leaves the process
 * dumpable: the leak check at exit reads /proc and makes a thread that traces the others. Such a
 * build is for tests only; stages_complete() tells.
 *
 * All return 0 or a negative errno with the reason.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Ids that are used when there is no account of the default name: a number that neither
 * distributions nor systemd hand out. */
#define STAGES_DEFAULT_UID 61170

/* The account called name. Neither id may be 0. When there is none, the default name
 * (CONFIG_USER_DEFAULT) stands for STAGES_DEFAULT_UID as user and group. */
int stages_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, struct error *ret_err);

/*
 * Makes the state folder and what is above it (0755) and in it:
 *
 *   state_dir          0700, the user's
 *   state_dir/spool    0700, the user's
 *   state_dir/keeper   0700, root's
 *
 * An existing state folder must belong to the user, or to root and be empty (then it is given to
 * the user); it must be no symbolic link and nobody else may be able to write in it. Folders in it
 * that are not as above are refused, not repaired: somebody has been at them. *ret_dir_fd is the
 * caller's.
 */
int stages_prepare_state(
	const char *state_dir, uid_t uid, gid_t gid, int *ret_dir_fd, struct error *ret_err);

/*
 * Leaves the host's files: a mount namespace whose root is an empty read-only file system with the
 * state folder at /state (no devices, no set-user-id programs, no programs at all). The descriptor
 * state_dir_fd keeps its number but refers to the new mount afterwards, so that no ".." leads out;
 * no other descriptor of a folder may be open. Descriptors of files and sockets go on working.
 * Needs root.
 */
int stages_confine_fs(int state_dir_fd, struct error *ret_err);
/* Where the state folder is from now on: "/state", or state_dir where stages_confine_fs() does
 * nothing. */
const char *stages_state_path(const char *state_dir);

/*
 * Becomes uid and gid for good: no supplementary groups, no capabilities and none in the bounding
 * set, no_new_privs, not dumpable (no ptrace by others of the same user, no core), and as many
 * descriptors as the hard limit permits (at least 65536 are tried for). Needs root.
 */
int stages_drop(uid_t uid, gid_t gid, struct error *ret_err);

/*
 * From now on only the system calls of an event loop with files below an open folder: no program is
 * started, no socket made, no process made, nothing mounted, no memory made executable. A call that
 * is not on the list fails with EPERM; one that no honest warrend would try ends the process.
 */
int stages_seccomp(struct error *ret_err);

/* Whether this build does all of the above. */
bool stages_complete(void);
