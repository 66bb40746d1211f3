/* Starting a program as the user: the part between fork and exec. */
#pragma once

#include <sys/types.h>

struct agent;

enum launch_step { LAUNCH_SETUP, LAUNCH_CWD, LAUNCH_EXEC };

struct launch {
	const char *command; /* a path when it has a slash, else looked up in search */
	const char *search;  /* PATH of the child, or NULL: the usual folders */
	const char *cwd;
	char **block; /* block[0] is spare; block + 1 is argv, NULL-terminated */
	char **envp;
	int fds[3]; /* become 0, 1 and 2; none of them is below 3 */
};

/* Starts it in a session of its own. Returns when the program has been loaded, or could not be:
 * 0 and its pid, or a negative errno and the step that failed. Waits for the kernel to read the
 * program's first pages, for nothing else. */
int launch_program(struct agent *agent, const struct launch *launch, pid_t *ret_pid,
	enum launch_step *ret_step);
