/* Executing another program as a child. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define PROGRAM_FDS_MAX 4
#define PROGRAM_FD 3 /* number of the first descriptor passed on */

/* Executes path (relative to the working folder) with fds (borrowed) as descriptors 3, 4 and so on,
 * the caller's standard error, nothing else open, and no signal ignored or blocked. env NULL: the
 * caller's. Returns when the program has been
 * executed: its pid (to be reaped by the caller), or the negative errno of what failed. */
pid_t program_start(const char *path, const char *const *argv, const char *const *env,
	const int *fds, size_t count);
