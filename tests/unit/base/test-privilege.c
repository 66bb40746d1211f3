/* Each test gives rights up in a child of its own. What needs root is skipped without it. */
#include "unit.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/privilege.h"

/* Runs fn in a child and returns its exit status. */
static int status_of(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static int check_ids(void)
{
	uid_t r, e, s;

	if (privilege_set_ids(65534, 65533) != 0)
		return 1;
	if (getresuid(&r, &e, &s) != 0 || r != 65534 || e != 65534 || s != 65534)
		return 2;
	if (getresgid(&r, &e, &s) != 0 || r != 65533 || e != 65533 || s != 65533)
		return 3;
	if (getgroups(0, NULL) != 0)
		return 4;
	return setuid(0) == 0 ? 5 : 0;
}

static void test_ids(void **state)
{
	need_root();
	assert_int_equal(status_of(check_ids), 0);
}

static int check_ids_without_right(void)
{
	if (privilege_set_ids(65534, 65534) != 0)
		return 1;
	return privilege_set_ids(0, 0) == -EPERM ? 0 : 2;
}

static void test_ids_need_the_right(void **state)
{
	need_root();
	assert_int_equal(status_of(check_ids_without_right), 0);
}

static int check_bounding(void)
{
	if (privilege_drop_bounding(UINT64_C(1) << CAP_CHOWN) != 0)
		return 1;
	if (prctl(PR_CAPBSET_READ, CAP_CHOWN) != 1)
		return 2;
	if (prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) != 0 || prctl(PR_CAPBSET_READ, CAP_KILL) != 0)
		return 3;
	/* Again, with nothing left to drop and no right to. */
	if (privilege_set_caps(0, 0, 0) != 0)
		return 4;
	return privilege_drop_bounding(UINT64_C(1) << CAP_CHOWN) == 0 ? 0 : 5;
}

static void test_bounding(void **state)
{
	need_root();
	assert_int_equal(status_of(check_bounding), 0);
}

static int check_caps(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	uint64_t chown_bit = UINT64_C(1) << CAP_CHOWN;
	uint64_t high_bit = UINT64_C(1) << CAP_AUDIT_READ; /* in the second word */

	if (privilege_set_caps(chown_bit, chown_bit | high_bit, 0) != 0)
		return 1;
	if (syscall(SYS_capget, &header, data) != 0)
		return 2;
	if (data[0].effective != chown_bit || data[0].permitted != chown_bit ||
		data[1].permitted != high_bit >> 32 || data[0].inheritable != 0)
		return 3;
	if (privilege_set_caps(UINT64_C(1) << CAP_KILL, UINT64_C(1) << CAP_KILL, 0) != -EPERM)
		return 4;
	return privilege_set_caps(0, 0, 0) == 0 ? 0 : 5;
}

static void test_caps(void **state)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	need_root();
	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	if ((data[1].permitted >> (CAP_AUDIT_READ - 32) & 1) == 0)
		skip();
	assert_int_equal(status_of(check_caps), 0);
}

static int check_flags(void)
{
	if (privilege_no_new_privs() != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 1;
	if (privilege_not_dumpable() != 0 || prctl(PR_GET_DUMPABLE) != 0)
		return 2;
	return 0;
}

static void test_flags(void **state)
{
	assert_int_equal(status_of(check_flags), 0);
}

static int check_parent(void)
{
	pid_t self = getpid();
	int sig = 0;

	if (privilege_die_with_parent(SIGKILL, getppid()) != 0)
		return 1;
	if (prctl(PR_GET_PDEATHSIG, &sig) != 0 || sig != SIGKILL)
		return 2;
	if (privilege_die_with_parent(SIGKILL, self) != -ESRCH)
		return 3;
	return privilege_die_with_parent(1000, getppid()) == -EINVAL ? 0 : 4;
}

static void test_parent(void **state)
{
	assert_int_equal(status_of(check_parent), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_ids_need_the_right),
		cmocka_unit_test(test_bounding),
		cmocka_unit_test(test_caps),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
