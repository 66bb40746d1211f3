#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/nsfs.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/aide.h"
#include "keeper/userns.h"

#define BASE 0x50000000U

static void test_maps_and_owner(void **state)
{
	auto_free char *uids = NULL;
	auto_free char *gids = NULL;
	uid_t owner = 0;
	int status;

	if (geteuid() != 0)
		skip();
	auto_close int ns = userns_new(BASE);
	if (ns == -ENOSPC || ns == -EPERM)
		skip();
	assert_true(ns >= 0);
	assert_int_equal(ioctl(ns, NS_GET_OWNER_UID, &owner), 0);
	assert_int_equal(owner, BASE);
	pid_t pid = fork();
	if (pid == 0) {
		if (setns(ns, CLONE_NEWUSER) < 0 || getuid() != 65534)
			_exit(1);
		if (fd_read_file(-1, "/proc/self/uid_map", 200, &uids, NULL) < 0 ||
			fd_read_file(-1, "/proc/self/gid_map", 200, &gids, NULL) < 0)
			_exit(2);
		unsigned inside, outside, count;
		if (sscanf(uids, "%u %u %u", &inside, &outside, &count) != 3 || inside != 0 ||
			outside != BASE || count != USERNS_IDS || strcmp(uids, gids) != 0)
			_exit(3);
		_exit(setresuid(0, 0, 0) == 0 && getuid() == 0 ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The caller itself has not changed, and nothing is left of the helper. */
static void test_caller_unchanged(void **state)
{
	if (geteuid() != 0)
		skip();
	for (int i = 0; i < 20; i++) {
		auto_close int ns = userns_new(BASE + (unsigned)i * USERNS_IDS);

		if (ns == -ENOSPC || ns == -EPERM)
			skip();
		assert_true(ns >= 0);
	}
	assert_int_equal(geteuid(), 0);
	assert_int_equal(getegid(), 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static int give_back(void *data)
{
	return *(int *)data;
}

static void test_aide(void **state)
{
	static struct aide a;
	int value = -ENOTTY;

	assert_int_equal(aide_join(&a), -ECHILD);
	assert_int_equal(aide_start(&a, give_back, &value), 0);
	assert_int_equal(aide_join(&a), -ENOTTY);
	assert_int_equal(aide_join(&a), -ECHILD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps_and_owner),
		cmocka_unit_test(test_caller_unchanged),
		cmocka_unit_test(test_aide),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
