#include "keeper/aide.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

static int run(void *data)
{
	struct aide *a = data;

	a->result = a->fn(a->data);
	return 0; /* ends the child */
}

int aide_start(struct aide *a, int (*fn)(void *data), void *data)
{
	a->fn = fn;
	a->data = data;
	a->result = -ECHILD;
	pid_t pid = clone(run, a->stack + AIDE_STACK_SIZE, CLONE_VM | CLONE_FILES | SIGCHLD, a);
	if (pid < 0)
		return -errno;
	a->pid = pid;
	return 0;
}

int aide_join(struct aide *a)
{
	if (a->pid == 0)
		return -ECHILD;
	while (waitpid(a->pid, NULL, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	a->pid = 0;
	return a->result;
}
