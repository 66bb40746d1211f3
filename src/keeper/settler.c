#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "keeper/fds.h"
#include "keeper/keeper.h"
#include "keeper/launcher.h"

static void on_end(struct loop_child *child, int status)
{
	(void)status;
	free(child);
}

void settler_start(struct keeper *k, int loop_no)
{
	struct loop_child *child = mem_new(struct loop_child);
	pid_t pid = fork();

	if (pid == 0) {
		int keep[] = {k->loops.nodes, k->state.lock};

		(void)fds_close_except(keep, array_len(keep));
		(void)loopdev_set_direct(&k->loops, loop_no);
		_exit(EXIT_SUCCESS);
	}
	if (pid < 0 || loop_child_add(k->loop, child, pid, -1, on_end) < 0)
		free(child);
}
