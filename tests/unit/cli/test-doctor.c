#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/doctor.h"

#define V1 \
	"30 20 0:26 / /sys/fs/cgroup ro shared:5 - tmpfs tmpfs ro,mode=755\n" \
	"31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n" \
	"32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" \
	"33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
#define V2 "40 20 0:30 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static const char *const wanted[] = {"memory", "cpu", "pids", NULL};

static void expect(const char *mountinfo, const char *v2, unsigned count, const char *text)
{
	char missing[64];

	assert_int_equal(
		doctor_missing_controllers(mountinfo, v2, wanted, missing, sizeof(missing)), count);
	assert_string_equal(missing, text);
}

static void test_controllers(void **state)
{
	expect("", NULL, 3, "memory cpu pids");
	expect(V1, NULL, 1, "pids");
	expect(V1 V2, "pids io\n", 0, "");
	expect(V2, "cpuset cpu io memory pids\n", 0, "");
	expect(V2, "cpuset memory_x pid\n", 3, "memory cpu pids");
	expect(V2, "", 3, "memory cpu pids");
	/* Words in other places do not count. */
	expect("1 2 0:1 / /memory,cpu rw - tmpfs pids rw,memory\n", NULL, 3, "memory cpu pids");
}

static void test_short_room(void **state)
{
	char missing[8];

	assert_int_equal(doctor_missing_controllers("", NULL, wanted, missing, sizeof(missing)), 3);
	assert_string_equal(missing, "memory ");
}

static void test_cgroup2_mount(void **state)
{
	char *mount = doctor_cgroup2_mount(V1 V2);

	assert_string_equal(mount, "/sys/fs/cgroup/unified");
	free(mount);
	assert_null(doctor_cgroup2_mount(V1));
	assert_null(doctor_cgroup2_mount(""));
	assert_null(doctor_cgroup2_mount("x"));
}

static void test_findings(void **state)
{
	struct doctor_finding f = {0};

	assert_int_equal(doctor_ok(&f, "%d", 5), DOCTOR_OK);
	assert_string_equal(f.text, "5");
	assert_string_equal(f.mend, "");
	assert_int_equal(doctor_bad(&f, DOCTOR_WARN, "do %s", "%s", "that"), DOCTOR_WARN);
	assert_string_equal(f.text, "that");
	assert_string_equal(f.mend, "do %s");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_controllers),
		cmocka_unit_test(test_short_room),
		cmocka_unit_test(test_cgroup2_mount),
		cmocka_unit_test(test_findings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
