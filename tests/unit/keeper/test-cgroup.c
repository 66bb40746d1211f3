#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/cgroup.h"

static const char hybrid[] =
	"25 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
	"29 28 0:25 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
	"30 28 0:26 / /sys/fs/cgroup/cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpuacct\n"
	"33 28 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	"35 28 0:31 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n"
	"36 28 0:32 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
	"37 28 0:33 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n"
	"38 28 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

static void test_hybrid_is_version_1(void **state)
{
	struct cgroup_place place;
	const char *what = NULL;

	assert_int_equal(cgroup_place_find(hybrid, "4:memory:/x/y\n0::/\n", &place, &what), 0);
	assert_false(place.v2);
	assert_string_equal(place.v1[0], "/sys/fs/cgroup/memory");
	assert_string_equal(place.v1[1], "/sys/fs/cgroup/cpu");
	assert_string_equal(place.v1[2], "/sys/fs/cgroup/pids");
	assert_string_equal(place.v1[3], "/sys/fs/cgroup/cpuacct");
	assert_string_equal(place.v1[4], "/sys/fs/cgroup/freezer");
}

static void test_shared_hierarchy_and_escapes(void **state)
{
	static const char text[] =
		"29 28 0:25 / /cg\\040roups/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		"33 28 0:29 / /cg\\040roups/memory rw - cgroup cgroup rw,memory\n"
		"36 28 0:32 / /cg\\040roups/pids rw - cgroup cgroup rw,pids";
	struct cgroup_place place;
	const char *what = NULL;

	assert_int_equal(cgroup_place_find(text, "", &place, &what), 0);
	assert_string_equal(place.v1[1], "/cg roups/cpu,cpuacct");
	assert_string_equal(place.v1[3], "/cg roups/cpu,cpuacct");
	assert_string_equal(place.v1[4], "");
}

static void test_version_2(void **state)
{
	static const char text[] =
		"25 1 254:0 / / rw - ext4 /dev/vda rw\n"
		"26 24 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
	struct cgroup_place place;
	const char *what = NULL;

	assert_int_equal(
		cgroup_place_find(text, "0::/system.slice/warren.service\n", &place, &what), 0);
	assert_true(place.v2);
	assert_string_equal(place.v2_mount, "/sys/fs/cgroup");
	assert_string_equal(place.v2_own, "/system.slice/warren.service");
}

static void test_missing(void **state)
{
	static const char no_pids[] = "29 28 0:25 / /cg/cpu rw - cgroup cgroup rw,cpu\n"
				      "33 28 0:29 / /cg/memory rw - cgroup cgroup rw,memory\n";
	struct cgroup_place place;
	const char *what = NULL;

	assert_int_equal(cgroup_place_find(no_pids, "", &place, &what), -ENOTSUP);
	assert_non_null(strstr(what, "pids"));
	assert_int_equal(cgroup_place_find("", "", &place, &what), -ENOTSUP);
	assert_int_equal(
		cgroup_place_find("- cgroup\n\n- - -\n1 2\n", "0:", &place, &what), -ENOTSUP);
}

/* --- on this host ----------------------------------------------------------------------------- */

static const struct cgroup_limits limits = {.memory_mb = 64, .cpu_percent = 50, .pids_max = 20};

/* A child that is in the slot's groups and ends when told. */
static pid_t start_child(const struct cgroup_tree *t, uint32_t slot, int *ret_end)
{
	int ends[2], up[2];
	char byte;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(pipe(up), 0);
	pid_t pid = fork();
	if (pid == 0) {
		close(ends[1]);
		if (cgroup_enter(t, slot, "0") < 0)
			_exit(1);
		(void)!write(up[1], "x", 1);
		(void)!read(ends[0], &byte, 1);
		_exit(0);
	}
	close(ends[0]);
	close(up[1]);
	assert_int_equal(read(up[0], &byte, 1), 1);
	close(up[0]);
	*ret_end = ends[1];
	return pid;
}

static void test_life_of_groups(void **state)
{
	struct cgroup_tree t;
	struct cgroup_counters c;
	const char *what = "";
	char instance[16];
	int end, status;

	if (geteuid() != 0)
		skip();
	snprintf(instance, sizeof(instance), "t%d", (int)getpid());
	if (cgroup_tree_open(&t, instance, &what) == -ENOTSUP)
		skip();
	assert_int_equal(cgroup_make(&t, 7, &limits), 0);
	bool v2 = cgroup_clone_fd(&t, 7) >= 0;
	if (!v2) {
		pid_t pid = start_child(&t, 7, &end);

		assert_int_equal(cgroup_read(&t, 7, &c), 0);
		assert_int_equal(c.pids, 1);
		assert_int_equal(c.oom_kills, 0);
		assert_int_equal(cgroup_remove(&t, 7), -EBUSY);
		close(end);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	/* Up and down again: on version 1 the order of two files differs. */
	struct cgroup_limits more = {.memory_mb = 512, .cpu_percent = 200, .pids_max = 100};
	assert_int_equal(cgroup_limit(&t, 7, &limits, &more), 0);
	assert_int_equal(cgroup_limit(&t, 7, &more, &limits), 0);
	assert_int_equal(cgroup_remove(&t, 7), 0);
	assert_int_equal(cgroup_remove(&t, 7), 0);
	assert_int_equal(cgroup_tree_remove(&t), 0);
	cgroup_tree_close(&t);
}

static void test_sweep_kills(void **state)
{
	struct cgroup_tree t;
	const char *what = "";
	char instance[16];
	int end, status, r;

	if (geteuid() != 0)
		skip();
	snprintf(instance, sizeof(instance), "s%d", (int)getpid());
	if (cgroup_tree_open(&t, instance, &what) == -ENOTSUP)
		skip();
	assert_int_equal(cgroup_make(&t, 0, &limits), 0);
	assert_int_equal(cgroup_make(&t, 4095, &limits), 0);
	if (cgroup_clone_fd(&t, 0) < 0) {
		pid_t pid = start_child(&t, 0, &end);

		(void)cgroup_tree_sweep(&t);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		close(end);
	}
	while ((r = cgroup_tree_sweep(&t)) == -EBUSY)
		usleep(1000);
	assert_int_equal(r, 0);
	assert_int_equal(cgroup_tree_remove(&t), 0);
	cgroup_tree_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hybrid_is_version_1),
		cmocka_unit_test(test_shared_hierarchy_and_escapes),
		cmocka_unit_test(test_version_2),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_life_of_groups),
		cmocka_unit_test(test_sweep_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
