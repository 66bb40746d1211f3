#include "keeper/program.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

struct start {
	const char *path;
	const char *const *argv;
	const char *const *env;
	const int *fds;
	int count;
	int error; /* end of a pipe, wherever it is just now: closed by a successful exec */
};

/* Moves fd to a number no target has. */
static int lift(const struct start *s, int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, PROGRAM_FD + s->count + 1);

	return high >= 0 ? high : -errno;
}

static int arrange(struct start *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int from[PROGRAM_FDS_MAX + 1];
	int error_fd = PROGRAM_FD + s->count;

	/* Standard output is for the user of whoever started this: nothing else may keep it open.
	 */
	if (null < 0)
		return -errno;
	for (int i = 0; i <= s->count; i++) {
		from[i] = lift(s, i < s->count ? s->fds[i] : s->error);
		if (from[i] < 0)
			return from[i];
	}
	s->error = from[s->count];
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
		return -errno;
	for (int i = 0; i <= s->count; i++) {
		if (dup2(from[i], PROGRAM_FD + i) < 0)
			return -errno;
	}
	s->error = error_fd;
	int r = fd_set_cloexec(error_fd, true);
	return r < 0 ? r : fd_close_from(error_fd + 1);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		(void)signal(signo, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void run_child(struct start *s)
{
	reset_signals();
	int err = arrange(s);
	if (err == 0) {
		char *const *argv = (char *const *)(uintptr_t)s->argv;

		if (s->env != NULL)
			execve(s->path, argv, (char *const *)(uintptr_t)s->env);
		else
			execv(s->path, argv);
		err = -errno;
	}
	(void)!write(s->error, &err, sizeof(err));
	_exit(EXIT_FAILURE);
}

/* Waits for the exec: end of file on the pipe, or the errno of its failure. */
static int await_exec(int error, pid_t pid)
{
	int err = 0;
	ssize_t n;

	do {
		n = read(error, &err, sizeof(err));
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return n == (ssize_t)sizeof(err) && err < 0 ? err : -EIO;
}

pid_t program_start(const char *path, const char *const *argv, const char *const *env,
	const int *fds, size_t count)
{
	int errors[2];

	assert(count <= PROGRAM_FDS_MAX);
	if (pipe2(errors, O_CLOEXEC) < 0)
		return -errno;
	auto_close int error_read = errors[0];

	struct start s = {path, argv, env, fds, (int)count, errors[1]};
	pid_t pid = fork();
	int err = -errno;
	if (pid == 0)
		run_child(&s);
	fd_close(errors[1]);
	if (pid < 0)
		return err;
	int r = await_exec(error_read, pid);
	return r < 0 ? r : pid;
}
