/* Children in network namespaces of their own. */
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

static inline bool netns_possible(void)
{
	return geteuid() == 0;
}

/* Runs fn in a child in a fresh network namespace; what it returns is the child's exit status. */
static inline int netns_run(int (*fn)(void *data), void *data)
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (unshare(CLONE_NEWNET) < 0)
			_exit(250);
		_exit(fn(data));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}
