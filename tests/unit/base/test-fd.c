#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/mem.h"

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void make_pair(int type, int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
}

static void test_close_keeps_errno(void **state)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	errno = ENOTTY;
	assert_int_equal(fd_close(fd), -EBADF);
	assert_int_equal(errno, ENOTTY);
	assert_false(is_open(fd));
	assert_int_equal(fd_close(-1), -EBADF);
}

static void test_take_and_auto_close(void **state)
{
	int raw = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int kept;

	{
		auto_close int fd = raw;
		kept = take_fd(fd);
		assert_int_equal(fd, -EBADF);
	}
	assert_true(is_open(kept));
	{
		auto_close int fd = kept;
		assert_true(fd >= 0);
	}
	assert_false(is_open(kept));
}

static void test_flags(void **state)
{
	auto_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(fd_set_nonblock(fd, true), 0);
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	assert_int_equal(fd_set_nonblock(fd, false), 0);
	assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) == 0);
	assert_int_equal(fd_set_cloexec(fd, false), 0);
	assert_int_equal(fcntl(fd, F_GETFD), 0);
	assert_int_equal(fd_set_cloexec(fd, true), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fd_set_cloexec(-1, true), -EBADF);
}

#define BIG (1024 * 1024)

static void *write_big(void *arg)
{
	char *data = mem_zalloc(BIG);

	memset(data, 'b', BIG);
	int r = fd_write_all(*(int *)arg, data, BIG);
	free(data);
	return r == 0 ? NULL : arg;
}

/* More than a socket holds, also through non-blocking descriptors. */
static void test_write_all_and_read_all(void **state)
{
	for (int nonblock = 0; nonblock < 2; nonblock++) {
		auto_free char *data = mem_zalloc(BIG);
		pthread_t thread;
		int pair[2];
		void *failed;

		make_pair(SOCK_STREAM, pair);
		fd_set_nonblock(pair[0], nonblock);
		fd_set_nonblock(pair[1], nonblock);
		assert_int_equal(pthread_create(&thread, NULL, write_big, &pair[1]), 0);
		assert_int_equal(fd_read_all(pair[0], data, BIG), 0);
		pthread_join(thread, &failed);
		assert_null(failed);
		assert_int_equal(data[BIG - 1], 'b');
		fd_close(pair[1]);
		assert_int_equal(fd_read_all(pair[0], data, 1), -EPIPE);
		fd_close(pair[0]);
	}
}

static void test_read_all_early_end(void **state)
{
	int pair[2];
	char data[4];

	make_pair(SOCK_STREAM, pair);
	assert_int_equal(fd_write_all(pair[1], "ab", 2), 0);
	fd_close(pair[1]);
	assert_int_equal(fd_read_all(pair[0], data, 4), -EPIPE);
	fd_close(pair[0]);
	assert_int_equal(fd_read_all(-1, data, 1), -EBADF);
	assert_int_equal(fd_write_all(-1, data, 1), -EBADF);
}

static void test_files(void **state)
{
	char dir[] = "/tmp/warren-test-fd-XXXXXX";
	auto_free char *text = NULL;
	size_t len = 0;

	assert_non_null(mkdtemp(dir));
	auto_close int dir_fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	assert_int_equal(fd_write_file(dir_fd, "absent", "x"), -ENOENT);
	auto_close int fd = openat(dir_fd, "f", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(fd_read_file(dir_fd, "f", 0, &text, &len), 0);
	assert_string_equal(text, "");
	free(take_ptr(text));
	assert_int_equal(fd_write_file(dir_fd, "f", "hello"), 0);
	assert_int_equal(fd_read_file(dir_fd, "f", 4, &text, &len), -EFBIG);
	assert_null(text);
	assert_int_equal(fd_read_file(dir_fd, "f", 5, &text, &len), 0);
	assert_int_equal(len, 5);
	assert_string_equal(text, "hello");
	free(take_ptr(text));
	assert_int_equal(ftruncate(fd, 100000), 0);
	assert_int_equal(fd_read_file(dir_fd, "f", 100000, &text, &len), 0);
	assert_int_equal(len, 100000);
	assert_int_equal(text[100000], '\0');
	assert_int_equal(fd_read_file(dir_fd, "none", 10, &text, NULL), -ENOENT);
	assert_int_equal(fd_read_file(AT_FDCWD, dir, 10, &text, NULL), -EISDIR);
	unlinkat(dir_fd, "f", 0);
	rmdir(dir);
}

static void test_procfs(void **state)
{
	auto_free char *text = NULL;
	size_t len;

	assert_int_equal(fd_read_file(AT_FDCWD, "/proc/self/status", 1 << 16, &text, &len), 0);
	assert_true(len > 100);
	assert_int_equal(strlen(text), len);
}

static void test_pass_descriptors(void **state)
{
	int pair[2];
	int sent[3];
	int got[8];
	size_t count = 8;
	char data[16];
	struct stat a, b;

	make_pair(SOCK_SEQPACKET, pair);
	for (int i = 0; i < 3; i++)
		sent[i] = open("/dev/null", O_RDONLY);
	assert_int_equal(fd_send_msg(pair[0], "hello", 5, sent, 3), 0);
	assert_int_equal(fd_recv_msg(pair[1], data, sizeof(data), got, &count), 5);
	assert_memory_equal(data, "hello", 5);
	assert_int_equal(count, 3);
	fstat(sent[2], &a);
	fstat(got[2], &b);
	assert_int_equal(a.st_rdev, b.st_rdev);
	assert_int_equal(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		fd_close(sent[i]);
		fd_close(got[i]);
	}
	count = 8;
	assert_int_equal(fd_send_msg(pair[0], "x", 1, NULL, 0), 0);
	assert_int_equal(fd_recv_msg(pair[1], data, sizeof(data), got, &count), 1);
	assert_int_equal(count, 0);
	fd_close(pair[0]);
	assert_int_equal(fd_recv_msg(pair[1], data, sizeof(data), got, &count), 0);
	fd_close(pair[1]);
}

static int lowest_free(void)
{
	int fd = dup(0);

	fd_close(fd);
	return fd;
}

/* Nothing that came with a refused message may stay open. */
static void test_unwanted_descriptors_are_closed(void **state)
{
	int pair[2];
	int sent[8];
	int got[8];
	char data[4];

	make_pair(SOCK_SEQPACKET, pair);
	for (int i = 0; i < 8; i++)
		sent[i] = pair[0];
	int before = lowest_free();
	for (size_t room = 0; room < 8; room++) {
		size_t count = room;

		assert_int_equal(fd_send_msg(pair[0], "x", 1, sent, 8), 0);
		assert_int_equal(fd_recv_msg(pair[1], data, 4, got, &count), -EMSGSIZE);
		assert_int_equal(lowest_free(), before);
	}
	assert_int_equal(fd_send_msg(pair[0], "x", 1, sent, 2), 0);
	assert_int_equal(fd_recv_msg(pair[1], data, 4, NULL, NULL), -EMSGSIZE);
	/* Too long a message that brings descriptors along. */
	size_t count = 8;
	assert_int_equal(fd_send_msg(pair[0], "12345", 5, sent, 2), 0);
	assert_int_equal(fd_recv_msg(pair[1], data, 4, got, &count), -EMSGSIZE);
	assert_int_equal(lowest_free(), before);
	fd_close(pair[0]);
	fd_close(pair[1]);
}

/* A peer that sends more descriptors than the protocol knows. */
static void test_flood_of_descriptors(void **state)
{
	enum { FLOOD = 20 };
	union {
		struct cmsghdr align;
		char raw[CMSG_SPACE(FLOOD * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (char[]){'x'}, .iov_len = 1};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.raw,
		.msg_controllen = sizeof(control.raw),
	};
	int pair[2];
	int got[8];
	size_t count = 8;
	char data[4];

	make_pair(SOCK_SEQPACKET, pair);
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(FLOOD * sizeof(int));
	for (int i = 0; i < FLOOD; i++)
		memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &pair[0], sizeof(int));
	int before = lowest_free();
	assert_int_equal(sendmsg(pair[0], &msg, 0), 1);
	assert_int_equal(fd_recv_msg(pair[1], data, sizeof(data), got, &count), -EMSGSIZE);
	assert_int_equal(lowest_free(), before);
	fd_close(pair[0]);
	fd_close(pair[1]);
}

static void test_send_errors(void **state)
{
	int pair[2];
	int many[9] = {0};
	char data[4096] = {0};
	int r = 0;

	make_pair(SOCK_SEQPACKET, pair);
	assert_int_equal(fd_send_msg(pair[0], "x", 1, many, 9), -EINVAL);
	fd_set_nonblock(pair[0], true);
	for (int i = 0; i < 10000 && r == 0; i++)
		r = fd_send_msg(pair[0], data, sizeof(data), NULL, 0);
	assert_int_equal(r, -EAGAIN);
	fd_close(pair[1]);
	/* -EPIPE and no signal. */
	r = fd_send_msg(pair[0], data, 1, NULL, 0);
	assert_true(r == -EPIPE || r == -ECONNRESET);
	fd_close(pair[0]);
}

static void test_close_from(void **state)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open("/dev/null", O_RDONLY);
		int high = fcntl(fd, F_DUPFD, 500);

		if (fd_close_from(-1) != -EINVAL)
			_exit(1);
		if (fd_close_from(high) != 0 || !is_open(fd) || is_open(high))
			_exit(2);
		if (fd_close_from(fd) != 0 || is_open(fd) || !is_open(fd - 1))
			_exit(3);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_close_keeps_errno),
		cmocka_unit_test(test_take_and_auto_close),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_write_all_and_read_all),
		cmocka_unit_test(test_read_all_early_end),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_procfs),
		cmocka_unit_test(test_pass_descriptors),
		cmocka_unit_test(test_unwanted_descriptors_are_closed),
		cmocka_unit_test(test_flood_of_descriptors),
		cmocka_unit_test(test_send_errors),
		cmocka_unit_test(test_close_from),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
