#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "folder.h"
#include "keeper/disk.h"
#include "keeper/loopdev.h"

static const char *const leftovers[] = {"loops", NULL};

/* Some hosts give root no loop devices; then there is nothing to test. */
static bool open_devs(struct loopdevs *l, struct folder *f)
{
	folder_make(f);
	if (geteuid() == 0 && loopdevs_open(l, f->fd, f->fd) == 0)
		return true;
	folder_remove(f, leftovers);
	return false;
}

static bool exists(int number)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/sys/block/loop%d", number);
	return stat(path, &st) == 0;
}

static void test_lend_attach_return(void **state)
{
	struct loopdevs l;
	struct folder f;
	char buf[512] = {0};

	if (!open_devs(&l, &f))
		skip();
	int number = loopdev_lend(&l);
	if (number == -EPERM) {
		loopdevs_close(&l);
		folder_remove(&f, leftovers);
		skip();
	}
	assert_true(number >= (int)l.first);
	assert_true(exists(number));
	assert_false(loopdev_bound(&l, number));

	auto_close int file = disk_new(f.fd);
	assert_int_equal(ftruncate(file, 1 << 20), 0);
	assert_int_equal(pwrite(file, "hello", 5, 0), 5);
	int dev = loopdev_attach(&l, number, file, false);
	assert_true(dev >= 0);
	assert_true(loopdev_bound(&l, number));
	assert_int_equal(loopdev_attach(&l, number, file, false), -EBUSY);
	assert_int_equal(pread(dev, buf, sizeof(buf), 0), sizeof(buf));
	assert_string_equal(buf, "hello");
	(void)loopdev_set_direct(&l, number);
	close(dev);
	while (loopdev_bound(&l, number))
		usleep(1000);

	loopdev_return(&l, number);
	assert_int_equal(loopdev_lend(&l), number); /* the same again */
	int other = loopdev_lend(&l);
	assert_true(other > number);
	loopdev_return(&l, number);
	loopdev_return(&l, other);
	assert_int_equal(loopdevs_sweep(&l, 2000), 0);
	assert_false(exists(number));
	assert_false(exists(other));
	loopdevs_close(&l);
	folder_remove(&f, leftovers);
}

/* Another keeper with the same record removes what a killed one added. */
static void test_successor_sweeps(void **state)
{
	struct loopdevs killed, next;
	struct folder f;

	if (!open_devs(&killed, &f))
		skip();
	int number = loopdev_lend(&killed);
	loopdevs_close(&killed);
	if (number >= 0) {
		assert_true(exists(number));
		assert_int_equal(loopdevs_open(&next, f.fd, -EBADF), 0);
		assert_int_equal(loopdevs_sweep(&next, 2000), 0);
		assert_false(exists(number));
		loopdevs_close(&next);
		char name[32];
		snprintf(name, sizeof(name), "loop%d", number);
		(void)unlinkat(f.fd, name, 0);
	}
	folder_remove(&f, leftovers);
}

/* A record that names devices which do not exist, or are somebody's, does no harm. */
static void test_odd_record(void **state)
{
	struct loopdevs l;
	struct folder f;
	uint8_t one = 1;

	if (!open_devs(&l, &f))
		skip();
	assert_int_equal(pwrite(l.record, &one, 1, 60000), 1);
	assert_int_equal(loopdevs_sweep(&l, 100), 0);
	loopdevs_close(&l);
	folder_remove(&f, leftovers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lend_attach_return),
		cmocka_unit_test(test_successor_sweeps),
		cmocka_unit_test(test_odd_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
