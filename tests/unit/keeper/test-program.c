#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/program.h"

static int status_of(pid_t pid)
{
	int status = -1;

	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int run_shell(const char *script, const char *const *env, const int *fds, size_t count)
{
	const char *const argv[] = {"sh", "-c", script, NULL};

	return status_of(program_start("/bin/sh", argv, env, fds, count));
}

/* Descriptors arrive as 3 and 4, whatever numbers they have, also when these are 4 and 3. */
static void test_descriptors(void **state)
{
	static const struct {
		int first, second;
	} cases[] = {{10, 11}, {3, 4}, {4, 3}, {5, 6}, {6, 5}, {4, 5}};
	char text[3];
	int saved[4];

	for (int fd = 3; fd < 7; fd++)
		saved[fd - 3] = fcntl(fd, F_DUPFD_CLOEXEC, 100); /* of whoever runs the test */
	for (size_t i = 0; i < array_len(cases); i++) {
		int pair[2], fds[] = {cases[i].first, cases[i].second};

		assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
		int from = fcntl(pair[0], F_DUPFD_CLOEXEC, 200);
		int to = fcntl(pair[1], F_DUPFD_CLOEXEC, 200);
		close(pair[0]);
		close(pair[1]);
		int null = fcntl(open("/dev/null", O_RDONLY | O_CLOEXEC), F_DUPFD_CLOEXEC, 200);
		assert_int_equal(dup2(null, fds[0]), fds[0]);
		assert_int_equal(dup2(to, fds[1]), fds[1]);
		assert_int_equal(
			run_shell("test -z \"$(cat <&3)\" && printf ok >&4", NULL, fds, 2), 0);
		assert_int_equal(read(from, text, sizeof(text)), 2);
		close(fds[0]);
		close(fds[1]);
		close(from);
		close(to);
		close(null);
	}
	for (int fd = 3; fd < 7; fd++) {
		if (saved[fd - 3] >= 0)
			dup2(saved[fd - 3], fd);
		fd_close(saved[fd - 3]);
	}
}

/* Nothing else is open, nothing blocked or ignored, and nothing in the environment but what was
 * given. */
static void test_clean(void **state)
{
	static const char *const env[] = {"ONE=1", NULL};
	auto_close int lies_about = open("/dev/null", O_RDONLY);
	sigset_t set, old;

	assert_true(lies_about >= 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &set, &old), 0);
	assert_ptr_not_equal(signal(SIGPIPE, SIG_IGN), SIG_ERR);
	assert_in_range(lies_about, 3, 99);
	assert_int_equal(
		run_shell("n=3; while test $n -lt 100; do test ! -e /proc/$$/fd/$n || exit 1;"
			  " n=$((n + 1)); done;"
			  " test \"$(readlink /proc/$$/fd/1)\" = /dev/null || exit 2;"
			  " test \"$ONE\" = 1 -a -z \"$HOME\" || exit 3",
			env, NULL, 0),
		0);
	int status = run_shell("kill -PIPE $$; exit 1", NULL, NULL, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
	status = run_shell("kill -TERM $$; exit 1", NULL, NULL, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	(void)signal(SIGPIPE, SIG_DFL);
	assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
}

/* A failure is known at once, and nobody is left to be waited for. */
static void test_failures(void **state)
{
	static const char *const argv[] = {"x", NULL};
	const int closed[] = {-1};

	assert_int_equal(program_start("/nonexistent", argv, NULL, NULL, 0), -ENOENT);
	assert_int_equal(program_start("/etc/passwd", argv, NULL, NULL, 0), -EACCES);
	assert_int_equal(program_start("/bin/true", argv, NULL, closed, 1), -EBADF);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
