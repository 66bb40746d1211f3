#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "folder.h"
#include "keeper/fds.h"

static int check_close(void)
{
	int null = open("/dev/null", O_RDONLY);

	for (int fd = 10; fd < 40; fd++)
		(void)dup2(null, fd);
	int keep[] = {31, -1, 12, 11, 2, 31, -EBADF, 39};
	if (fds_close_except(keep, array_len(keep)) < 0)
		return 1;
	for (int fd = 0; fd < 60; fd++) {
		bool wanted = fd == 31 || fd == 12 || fd == 11 || fd == 39;
		bool open_now = fcntl(fd, F_GETFD) >= 0;

		if (fd > 2 && wanted != open_now)
			return fd;
		if (fd == 2 && !open_now)
			return 2;
	}
	return 0;
}

static void test_close_except(void **state)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(check_close());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_open_here(void **state)
{
	static const char *const names[] = {"a", "b", NULL};
	struct folder f;
	struct stat one, two;

	folder_make(&f);
	assert_int_equal(mkdirat(f.fd, "a", 0700), 0);
	auto_close int dir = openat(f.fd, "a", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_close int again = fds_open_here(dir);
	assert_true(again >= 0);
	assert_int_equal(fstat(dir, &one), 0);
	assert_int_equal(fstat(again, &two), 0);
	assert_int_equal(one.st_ino, two.st_ino);

	assert_int_equal(renameat(f.fd, "a", f.fd, "b"), 0);
	assert_int_equal(mkdirat(f.fd, "a", 0700), 0);
	auto_close int moved = fds_open_here(dir); /* the kernel knows its new name */
	assert_true(moved >= 0);
	assert_int_equal(unlinkat(f.fd, "b", AT_REMOVEDIR), 0);
	assert_true(fds_open_here(dir) < 0);
	folder_remove(&f, names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_except),
		cmocka_unit_test(test_open_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
