#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "folder.h"
#include "keeper/state.h"

static const char *const leftovers[] = {
	"keeper/lock", "keeper/instance", "keeper/disks", "keeper", "elsewhere", NULL};

static void test_instance_stays(void **state)
{
	struct state one, two;
	struct folder f;
	const char *what = "";

	if (geteuid() != 0)
		skip();
	folder_make(&f);
	assert_int_equal(state_open(&one, f.fd, 0, &what), 0);
	assert_int_equal(strlen(one.instance), 8);
	assert_int_equal(strspn(one.instance, "0123456789abcdef"), 8);
	/* Two keepers at a time are one too many. */
	assert_int_equal(state_open(&two, f.fd, 50, &what), -EBUSY);
	assert_non_null(strstr(what, "lock"));
	char name[STATE_INSTANCE_SIZE];
	memcpy(name, one.instance, sizeof(name));
	state_close(&one);
	assert_int_equal(state_open(&two, f.fd, 0, &what), 0);
	assert_string_equal(two.instance, name);
	state_close(&two);
	folder_remove(&f, leftovers);
}

static void write_instance(const struct folder *f, const char *text)
{
	auto_close int fd =
		openat(f->fd, "keeper/instance", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* A name that is not one would become a path. */
static void test_damaged_instance_is_replaced(void **state)
{
	static const char *const bad[] = {"", "abc", "../../etc", "ABCDEF01", "0123456789"};
	struct state s;
	struct folder f;
	const char *what = "";

	if (geteuid() != 0)
		skip();
	folder_make(&f);
	assert_int_equal(mkdirat(f.fd, "keeper", 0700), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_instance(&f, bad[i]);
		assert_int_equal(state_open(&s, f.fd, 0, &what), 0);
		assert_int_equal(strspn(s.instance, "0123456789abcdef"), 8);
		assert_true(strncmp(s.instance, bad[i], 8) != 0);
		state_close(&s);
	}
	write_instance(&f, "01234567\n");
	assert_int_equal(state_open(&s, f.fd, 0, &what), 0);
	assert_string_equal(s.instance, "01234567");
	state_close(&s);
	folder_remove(&f, leftovers);
}

/* The state folder is the daemon's; what it puts in the keeper's place is not followed. */
static void test_refuses_foreign_folder(void **state)
{
	struct state s;
	struct folder f;
	const char *what = "";

	if (geteuid() != 0)
		skip();
	folder_make(&f);
	assert_int_equal(mkdirat(f.fd, "elsewhere", 0700), 0);
	assert_int_equal(symlinkat("elsewhere", f.fd, "keeper"), 0);
	assert_true(state_open(&s, f.fd, 0, &what) < 0);
	assert_int_equal(unlinkat(f.fd, "keeper", 0), 0);
	assert_int_equal(mkdirat(f.fd, "keeper", 0700), 0);
	assert_int_equal(fchownat(f.fd, "keeper", 1234, 1234, 0), 0);
	assert_int_equal(state_open(&s, f.fd, 0, &what), -EPERM);
	assert_int_equal(fchownat(f.fd, "keeper", 0, 0, 0), 0);
	assert_int_equal(fchmodat(f.fd, "keeper", 0750, 0), 0);
	assert_int_equal(state_open(&s, f.fd, 0, &what), -EPERM);
	folder_remove(&f, leftovers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_instance_stays),
		cmocka_unit_test(test_damaged_instance_is_replaced),
		cmocka_unit_test(test_refuses_foreign_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
