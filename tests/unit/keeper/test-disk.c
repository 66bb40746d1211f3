#include "unit.h"

#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "folder.h"
#include "keeper/disk.h"

#define SIZE (1 << 30)

static void expect_text(int fd, off_t at, const char *text)
{
	char buf[32] = {0};

	assert_int_equal(pread(fd, buf, strlen(text), at), strlen(text));
	assert_string_equal(buf, text);
}

static void test_clone(void **state)
{
	static const char *const names[] = {"template", NULL};
	struct folder f;
	struct stat st;

	folder_make(&f);
	auto_close int from = openat(f.fd, "template", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(from, SIZE), 0);
	assert_int_equal(pwrite(from, "first", 5, 0), 5);
	assert_int_equal(pwrite(from, "middle", 6, 300000001), 6);
	assert_int_equal(pwrite(from, "last", 4, SIZE - 4), 4);

	auto_close int to = disk_new(f.fd);
	assert_true(to >= 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(disk_clone(to, from), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true(st.st_blocks * 512 < 1 << 20); /* the holes stayed holes */
	expect_text(to, 0, "first");
	expect_text(to, 300000001, "middle");
	expect_text(to, SIZE - 4, "last");
	folder_remove(&f, names);
}

static void test_clone_of_nothing(void **state)
{
	static const char *const names[] = {"template", NULL};
	struct folder f;
	struct stat st;

	folder_make(&f);
	auto_close int from = openat(f.fd, "template", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(from, 4096), 0);
	auto_close int to = disk_new(f.fd);
	assert_int_equal(disk_clone(to, from), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 4096);
	folder_remove(&f, names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_clone_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
