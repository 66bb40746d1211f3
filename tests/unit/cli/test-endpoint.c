#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "cli/endpoint.h"

static void test_parse(void **state)
{
	struct endpoint e;

	assert_int_equal(
		endpoint_parse("url=http://127.0.0.1:8080\npid=12\ndomain=localhost:8080\n", &e),
		0);
	assert_string_equal(e.url, "http://127.0.0.1:8080");
	assert_string_equal(e.domain, "localhost:8080");
	assert_int_equal(e.pid, 12);
	/* In any order, with keys of a later version, without the last line end. */
	assert_int_equal(
		endpoint_parse("domain=d:1\ncolour=blue\nurl=http://[::1]:1\n\npid=2147483647", &e),
		0);
	assert_string_equal(e.url, "http://[::1]:1");
	assert_int_equal(e.pid, 2147483647);
	assert_int_equal(endpoint_parse("url=http://0.0.0.0:80\npid=1\ndomain=d\n", &e), 0);
	assert_string_equal(e.url, "http://127.0.0.1:80");
	assert_int_equal(endpoint_parse("url=http://[::]:80\npid=1\ndomain=d\n", &e), 0);
	assert_string_equal(e.url, "http://[::1]:80");
}

static void test_parse_errors(void **state)
{
	static const char *const bad[] = {
		"",
		"url=http://h:1\npid=1\n",
		"url=http://h:1\ndomain=d\n",
		"pid=1\ndomain=d\n",
		"url=h:1\npid=1\ndomain=d\n",
		"url=http://\npid=1\ndomain=d\n",
		"url=http://h:1/\npid=1\ndomain=d\n",
		"url=http://h:1 \npid=1\ndomain=d\n",
		"url=http://$(id)\npid=1\ndomain=d\n",
		"url=http://h:1\npid=0\ndomain=d\n",
		"url=http://h:1\npid=-1\ndomain=d\n",
		"url=http://h:1\npid=2147483648\ndomain=d\n",
		"url=http://h:1\npid=99999999999999999999\ndomain=d\n",
		"url=http://h:1\npid=1x\ndomain=d\n",
		"url=http://h:1\npid=1\ndomain=\n",
		"url=http://h:1\npid=1\ndomain=a'b\n",
	};
	char long_text[400];
	struct endpoint e = {.pid = 7};

	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(endpoint_parse(bad[i], &e), -EINVAL);
	for (size_t len = 100; len < 200; len++) {
		snprintf(long_text, sizeof(long_text), "pid=1\ndomain=d\nurl=http://%.*s", (int)len,
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			"aaaaaa"
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			"aaaaaa"
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			"aaaaaa");
		assert_int_equal(endpoint_parse(long_text, &e), len + 7 < 120 ? 0 : -EINVAL);
	}
}

struct fixture {
	char dir[32];
	char *file;
};

static int setup(void **state)
{
	struct fixture *f = mem_new(struct fixture);

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-endpoint-XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		return -1;
	f->file = mem_printf("%s/endpoint", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->file);
	rmdir(f->dir);
	free(f->file);
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *text, size_t len)
{
	auto_close int fd = open(f->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_int_equal(fd_write_all(fd, text, len), 0);
}

static void put_pid(struct fixture *f, pid_t pid)
{
	auto_free char *text = mem_printf("url=http://h:1\ndomain=d\npid=%d\n", (int)pid);

	put(f, text, strlen(text));
}

static void test_read(void **state)
{
	struct fixture *f = *state;
	struct endpoint e;
	struct error err = {0};
	char name[16];

	assert_int_equal(endpoint_read(f->dir, &e, &err), -ESRCH);
	assert_non_null(strstr(err.message, "no server is running"));
	assert_non_null(strstr(err.message, f->dir));
	put(f, "nonsense", 8);
	assert_int_equal(endpoint_read(f->dir, &e, &err), -EINVAL);
	put(f, "url=http://h:1\ndomain=d\npid=1\n\0x", 32);
	assert_int_equal(endpoint_read(f->dir, &e, &err), -EINVAL);
	/* This process is there, but is no server. */
	put_pid(f, getpid());
	assert_int_equal(endpoint_read(f->dir, &e, &err), -ESRCH);
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, "warrend");
	assert_int_equal(endpoint_read(f->dir, &e, &err), 0);
	assert_int_equal(e.pid, getpid());
	prctl(PR_SET_NAME, name);
}

static void test_read_dead(void **state)
{
	struct fixture *f = *state;
	struct endpoint e;
	struct error err = {0};
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	put_pid(f, pid);
	assert_int_equal(endpoint_read(f->dir, &e, &err), -ESRCH);
	assert_non_null(strstr(err.message, "is gone"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_errors),
		cmocka_unit_test_setup_teardown(test_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_dead, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
