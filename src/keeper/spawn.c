#include "keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#define SOCK_FD 3
#define STATE_FD 4
#define ERROR_FD 5 /* closed by a successful exec */
#define TEXT(n) TEXT_OF(n)
#define TEXT_OF(n) #n

struct spawn {
	const struct keeper_spawn_params *params;
	int sock;
	int error;
};

/* Moves fd to a number no target has. */
static int lift(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, ERROR_FD + 1);

	return high >= 0 ? high : -errno;
}

static int arrange(const struct spawn *s)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int from[] = {lift(s->sock), lift(s->params->state_fd), lift(s->error)};

	/* The daemon's standard output is for its user: nothing else may keep it open. */
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		return -errno;
	for (int i = 0; i < 3; i++) {
		if (from[i] < 0)
			return from[i];
		if (dup2(from[i], SOCK_FD + i) < 0)
			return -errno;
	}
	int r = fd_set_cloexec(ERROR_FD, true);
	return r < 0 ? r : fd_close_from(ERROR_FD + 1);
}

static void reset_signals(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		(void)signal(signo, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int run(const struct spawn *s)
{
	const struct keeper_spawn_params *p = s->params;
	char base[16];
	const char *argv[16] = {"warren-keeper", "--socket-fd", TEXT(SOCK_FD), "--state-dir-fd",
		TEXT(STATE_FD), "--image-dir", p->image_dir, "--agent", p->agent};
	size_t n = 9;

	if (p->uid_base != 0) {
		snprintf(base, sizeof(base), "%u", p->uid_base);
		argv[n++] = "--uid-base";
		argv[n++] = base;
	}
	if (p->log_level != NULL) {
		argv[n++] = "--log-level";
		argv[n++] = p->log_level;
	}
	reset_signals();
	int r = arrange(s);
	if (r < 0)
		return r;
	execv(p->program, (char *const *)(uintptr_t)argv);
	return -errno;
}

_Noreturn static void run_child(const struct spawn *s)
{
	int err = run(s);

	/* Wherever it got to, one of the two is the pipe. */
	if (write(ERROR_FD, &err, sizeof(err)) != sizeof(err))
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

int keeper_spawn(const struct keeper_spawn_params *params, int *ret_sock, pid_t *ret_pid)
{
	int socks[2], errors[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return -errno;
	auto_close int ours = socks[0];
	auto_close int theirs = socks[1];
	if (pipe2(errors, O_CLOEXEC) < 0)
		return -errno;
	auto_close int error_read = errors[0];

	struct spawn s = {.params = params, .sock = theirs, .error = errors[1]};
	pid_t pid = fork();
	int err = -errno;
	if (pid == 0)
		run_child(&s);
	fd_close(errors[1]);
	if (pid < 0)
		return err;
	int r = await_exec(error_read, pid);
	if (r < 0)
		return r;
	*ret_sock = take_fd(ours);
	*ret_pid = pid;
	return 0;
}
