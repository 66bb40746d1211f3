#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "folder.h"
#include "keeper/disk.h"

#define SIZE (1 << 30)

static void expect_text(int fd, off_t at, const char *text)
{
	char buf[32] = {0};

	assert_int_equal(pread(fd, buf, strlen(text), at), strlen(text));
	assert_string_equal(buf, text);
}

/* Makes a template file of that size; the caller writes into it. */
static int begin(struct folder *f, off_t size)
{
	folder_make(f);
	int fd = openat(f->fd, "template", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static int open_template(struct disk_template *t, const struct folder *f)
{
	auto_free char *path = mem_printf("%s/template", f->path);

	return disk_template_open(t, path);
}

static void finish(struct folder *f, struct disk_template *t)
{
	static const char *const names[] = {"template", NULL};

	disk_template_close(t);
	folder_remove(f, names);
}

static void test_clone(void **state)
{
	struct disk_template t;
	struct folder f;
	struct stat st;
	auto_close int from = begin(&f, SIZE);

	assert_int_equal(pwrite(from, "first", 5, 0), 5);
	assert_int_equal(pwrite(from, "middle", 6, 300000001), 6);
	assert_int_equal(pwrite(from, "last", 4, SIZE - 4), 4);
	assert_int_equal(open_template(&t, &f), 0);

	auto_close int to = disk_new(f.fd);
	assert_true(to >= 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(disk_clone(to, &t), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_true(st.st_blocks * 512 < 1 << 20); /* the holes stayed holes */
	expect_text(to, 0, "first");
	expect_text(to, 300000001, "middle");
	expect_text(to, SIZE - 4, "last");
	finish(&f, &t);
}

static void test_clone_of_nothing(void **state)
{
	struct disk_template t;
	struct folder f;
	struct stat st;
	auto_close int from = begin(&f, 4096);

	assert_int_equal(open_template(&t, &f), 0);
	auto_close int to = disk_new(f.fd);
	assert_int_equal(disk_clone(to, &t), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_int_equal(st.st_size, 4096);
	finish(&f, &t);
}

static void test_zeros_become_a_hole(void **state)
{
	struct disk_template t;
	struct folder f;
	struct stat st;
	auto_free char *zeros = mem_zalloc(1 << 20);
	auto_close int from = begin(&f, SIZE);

	assert_int_equal(pwrite(from, zeros, 1 << 20, 1 << 20), 1 << 20);
	assert_int_equal(pwrite(from, "x", 1, SIZE / 2), 1);
	assert_int_equal(open_template(&t, &f), 0);
	auto_close int to = disk_new(f.fd);
	assert_int_equal(disk_clone(to, &t), 0);
	assert_int_equal(fstat(to, &st), 0);
	assert_true(st.st_blocks * 512 < 64 << 10);
	expect_text(to, SIZE / 2, "x");
	finish(&f, &t);
}

/* Something else than a formatted file system: not copied into memory. */
static void test_too_much_data(void **state)
{
	struct disk_template t;
	struct folder f;
	auto_free char *data = mem_zalloc(16 << 20);
	auto_close int from = begin(&f, 0);

	memset(data, 'x', 16 << 20);
	assert_int_equal(fd_write_all(from, data, 16 << 20), 0);
	assert_int_equal(open_template(&t, &f), -EFBIG);
	finish(&f, &t);
}

static void test_missing(void **state)
{
	struct disk_template t;

	assert_int_equal(disk_template_open(&t, "/nonexistent"), -ENOENT);
	disk_template_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_clone_of_nothing),
		cmocka_unit_test(test_zeros_become_a_hole),
		cmocka_unit_test(test_too_much_data),
		cmocka_unit_test(test_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
