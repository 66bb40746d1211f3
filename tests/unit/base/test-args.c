#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/args.h"
#include "base/mem.h"

enum { NUMBER = 1, HELP };

static const struct option table[] = {
	{"number", required_argument, NULL, NUMBER},
	{"help", no_argument, NULL, HELP},
	{0},
};

static int take(void *data, int id, const char *value)
{
	assert_int_equal(id, NUMBER);
	return args_number(value, 10, 99, data);
}

static int read_args(const char *first, const char *second, uint32_t *ret)
{
	char program[] = "test";
	char a[32], b[32];
	char *argv[] = {program, a, b, NULL};

	(void)snprintf(a, sizeof(a), "%s", first);
	(void)snprintf(b, sizeof(b), "%s", second);
	optind = 0; /* glibc: begin anew */
	return args_read("test", table, HELP, 3, argv, take, ret);
}

static void test_read(void **state)
{
	uint32_t n = 0;

	assert_int_equal(read_args("--number", "7", &n), 0);
	assert_int_equal(n, 7);
	assert_int_equal(optind, 3);
	assert_int_equal(read_args("--number=8", "rest", &n), 0);
	assert_int_equal(n, 8);
	assert_int_equal(optind, 2);
	assert_int_equal(read_args("--help", "--number=x", &n), 1);
	assert_int_equal(read_args("--number", "100", &n), -EINVAL);
	assert_int_equal(read_args("--other", "1", &n), -EINVAL);
	assert_int_equal(read_args("--help", "--number", &n), 1);
	assert_int_equal(n, 8);
}

static void test_number(void **state)
{
	static const char *const bad[] = {
		"", "-1", "+1", " 1", "1 ", "1x", "0x1", "4294967296", "99999999999999999999999"};
	uint32_t n = 0;

	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(args_number(bad[i], 10, UINT32_MAX, &n), -EINVAL);
	assert_int_equal(n, 0);
	assert_int_equal(args_number("4294967295", 10, UINT32_MAX, &n), 0);
	assert_int_equal(n, UINT32_MAX);
	assert_int_equal(args_number("11", 10, 10, &n), -EINVAL);
	assert_int_equal(args_number("0x40000000", 0, UINT32_MAX, &n), 0);
	assert_int_equal(n, 0x40000000);
}

static void test_fd(void **state)
{
	char text[16];
	int fd = -1;
	int source = fcntl(STDERR_FILENO, F_DUPFD, 50);

	assert_true(source >= 50);
	(void)snprintf(text, sizeof(text), "%d", source);
	assert_int_equal(args_fd(text, &fd), 0);
	assert_int_equal(fd, source);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(source);
	fd = -1;
	assert_int_equal(args_fd(text, &fd), -EBADF);
	assert_int_equal(args_fd("2", &fd), -EINVAL);
	assert_int_equal(args_fd("x", &fd), -EINVAL);
	assert_int_equal(fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_number),
		cmocka_unit_test(test_fd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
