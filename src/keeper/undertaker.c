#include "keeper/undertaker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/fds.h"
#include "keeper/keeper.h"
#include "keeper/sweep.h"

#define SWEEP_WAIT_MS 4000

static void close_needless(const struct keeper *k, int life)
{
	int keep[6 + 2 * CGROUP_CONTROLLERS] = {life, k->state.lock, k->state.disks,
		k->loops.control, k->loops.record, k->loops.nodes};

	memcpy(keep + 6, k->cgroups.tops, sizeof(k->cgroups.tops));
	memcpy(keep + 6 + CGROUP_CONTROLLERS, k->cgroups.parents, sizeof(k->cgroups.parents));
	(void)fds_close_except(keep, array_len(keep));
}

/* A byte means that there is nothing to do; the end of the pipe without one, that the keeper was
 * killed. */
_Noreturn static void run(struct keeper *k, int life)
{
	const char *what = "";
	char byte;
	ssize_t n;

	(void)prctl(PR_SET_NAME, "warren-undertkr");
	close_needless(k, life);
	do {
		n = read(life, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 0) {
		int r = sweep_all(k, SWEEP_WAIT_MS, &what);

		if (r < 0)
			log_warn("the keeper was killed; cannot %s yet: %s", what, strerror(-r));
	}
	_exit(EXIT_SUCCESS);
}

int undertaker_start(struct undertaker *u, struct keeper *k)
{
	int life[2];

	if (pipe2(life, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	int err = -errno;
	if (pid == 0) {
		close(life[1]);
		run(k, life[0]);
	}
	close(life[0]);
	if (pid < 0) {
		close(life[1]);
		return err;
	}
	*u = (struct undertaker){.pid = pid, .life = life[1]};
	return 0;
}

void undertaker_dismiss(struct undertaker *u)
{
	if (u->pid <= 0)
		return;
	(void)!write(u->life, "q", 1);
	u->life = fd_close(u->life);
	while (waitpid(u->pid, NULL, 0) < 0 && errno == EINTR)
		;
	u->pid = 0;
}
