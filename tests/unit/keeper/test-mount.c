#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "folder.h"
#include "keeper/mount.h"

/* Runs in a mount namespace of its own, so that nothing is left on the host. */
static int in_namespace(int (*fn)(const struct folder *f), const struct folder *f)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
			mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		_exit(fn(f));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define CHECK(c) \
	do { \
		if (!(c)) \
			return __LINE__ & 0x3f ?: 1; \
	} while (0)

static int fill_and_attach(const struct folder *f)
{
	auto_close int here = open(f->path, O_RDONLY | O_DIRECTORY);
	auto_close int m = mount_new("tmpfs", "mode=700,size=64k", MOUNT_ATTR_NODEV);
	struct stat st;

	CHECK(m >= 0);
	CHECK(mkdirat(m, "inner", 0700) == 0);
	CHECK(mount_restrict(m, MOUNT_ATTR_RDONLY) == 0);
	CHECK(mount_attach(m, here, "place") == 0);
	CHECK(fstatat(here, "place/inner", &st, 0) == 0);
	CHECK(mkdirat(here, "place/more", 0700) < 0 && errno == EROFS);

	auto_close int copy = mount_copy(m, "inner", MOUNT_ATTR_NOEXEC);
	CHECK(copy >= 0);
	CHECK(mount_attach(copy, here, "other") == 0);
	CHECK(mkdirat(here, "other/x", 0700) < 0 && errno == EROFS);
	return 0;
}

/* Neither a link nor a path upwards leads a mount out of its folder. */
static int no_way_out(const struct folder *f)
{
	auto_close int here = open(f->path, O_RDONLY | O_DIRECTORY);
	auto_close int m = mount_new("tmpfs", NULL, 0);

	CHECK(mount_attach(m, here, "link") == -ELOOP);
	CHECK(mount_attach(m, here, "link/x") == -ELOOP);
	CHECK(mount_attach(m, here, "../tmp") == -EXDEV);
	CHECK(mount_attach(m, here, "/tmp") == -EXDEV);
	CHECK(mount_attach(m, here, "absent") == -ENOENT);
	CHECK(mount_new("tmpfs", "no-such-option=1", 0) == -EINVAL);
	CHECK(mount_new("no-such-type", NULL, 0) == -ENODEV);
	return 0;
}

static void run(int (*fn)(const struct folder *f))
{
	static const char *const names[] = {"place", "other", "link", NULL};
	struct folder f;

	if (geteuid() != 0)
		skip();
	folder_make(&f);
	assert_int_equal(mkdirat(f.fd, "place", 0700), 0);
	assert_int_equal(mkdirat(f.fd, "other", 0700), 0);
	assert_int_equal(symlinkat("/tmp", f.fd, "link"), 0);
	int r = in_namespace(fn, &f);
	folder_remove(&f, names);
	if (r == 77)
		skip();
	assert_int_equal(r, 0);
}

static void test_fill_and_attach(void **state)
{
	run(fill_and_attach);
}

static void test_no_way_out(void **state)
{
	run(no_way_out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill_and_attach),
		cmocka_unit_test(test_no_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
