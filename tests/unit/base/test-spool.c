#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/spool.h"

static char dir[] = "/tmp/warren-test-spool-XXXXXX";
static int dir_fd = -1;

static int open_dir(void **state)
{
	dir_fd = mkdtemp(dir) != NULL ? open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC) : -1;
	return dir_fd < 0;
}

static int close_dir(void **state)
{
	dir_fd = fd_close(dir_fd);
	return rmdir(dir); /* fails when something was left in it */
}

/* The bytes pushed and read are this sequence, so order and loss show. */
static uint8_t byte_at(uint64_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
}

struct model {
	uint64_t pushed;
	uint64_t read;
};

static int push(struct spool *s, struct model *m, size_t n)
{
	auto_free uint8_t *data = mem_zalloc(n);

	for (size_t i = 0; i < n; i++)
		data[i] = byte_at(m->pushed + i);
	int r = spool_push(s, data, n);
	if (r == 0)
		m->pushed += n;
	assert_true(spool_len(s) == m->pushed - m->read);
	return r;
}

/* Reads up to n bytes; returns how many there were. */
static size_t pull(struct spool *s, struct model *m, size_t n)
{
	const uint8_t *data;
	size_t done = 0;

	while (done < n) {
		ssize_t got = spool_peek(s, &data);

		assert_true(got >= 0);
		if (got == 0)
			break;
		size_t take = (size_t)got < n - done ? (size_t)got : n - done;
		for (size_t i = 0; i < take; i++)
			assert_int_equal(data[i], byte_at(m->read + i));
		spool_consume(s, take);
		m->read += take;
		done += take;
	}
	assert_true(spool_len(s) == m->pushed - m->read);
	return done;
}

static void test_memory_only(void **state)
{
	struct spool s;
	struct model m = {0};

	spool_init(&s, -1, 100, 1000);
	assert_int_equal(push(&s, &m, 600), 0);
	assert_int_equal(push(&s, &m, 401), -ENOBUFS);
	assert_int_equal(push(&s, &m, 400), 0);
	assert_int_equal(pull(&s, &m, 500), 500);
	assert_int_equal(push(&s, &m, 500), 0);
	assert_int_equal(pull(&s, &m, 5000), 1000);
	assert_int_equal(pull(&s, &m, 1), 0);
	assert_true(s.fd < 0);
	spool_done(&s);
	spool_done(&s);
}

static void test_zeroed(void **state)
{
	struct spool s = {0};

	spool_done(&s);
	assert_true(fcntl(0, F_GETFD) >= 0 || errno == EBADF);
}

static void test_small_amounts_stay_in_memory(void **state)
{
	struct spool s;
	struct model m = {0};

	spool_init(&s, dir_fd, 1000, 100000);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(push(&s, &m, 700), 0);
		assert_int_equal(pull(&s, &m, 700), 700);
	}
	/* 1000 in each of the two queues still need no file. */
	assert_int_equal(push(&s, &m, 1000), 0);
	assert_int_equal(push(&s, &m, 1000), 0);
	assert_true(s.fd < 0);
	assert_int_equal(pull(&s, &m, 3000), 2000);
	spool_done(&s);
}

static void test_spill_and_return(void **state)
{
	struct spool s;
	struct model m = {0};
	struct stat st;

	spool_init(&s, dir_fd, 1000, 100000);
	while (m.pushed < 50000)
		assert_int_equal(push(&s, &m, 333), 0);
	assert_true(s.fd >= 0);
	assert_true(s.head.len + s.tail.len <= 2000);
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_int_equal(st.st_nlink, 0); /* nobody else can see it, and it cannot be left over */
	assert_int_equal(pull(&s, &m, 1000000), m.pushed);
	/* Once read back, the file gives its space back and memory is used again. */
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(push(&s, &m, 500), 0);
	assert_int_equal(s.head.len, 500);
	assert_int_equal(pull(&s, &m, 1000), 500);
	spool_done(&s);
}

static void test_chunk_larger_than_memory(void **state)
{
	struct spool s;
	struct model m = {0};

	spool_init(&s, dir_fd, 100, 100000);
	assert_int_equal(push(&s, &m, 50), 0);
	assert_int_equal(push(&s, &m, 80000), 0);
	assert_int_equal(push(&s, &m, 50), 0);
	assert_int_equal(pull(&s, &m, 100000), 80100);
	spool_done(&s);
}

static void test_maximum(void **state)
{
	struct spool s;
	struct model m = {0};

	spool_init(&s, dir_fd, 100, 1000);
	assert_int_equal(push(&s, &m, 999), 0);
	assert_int_equal(push(&s, &m, 2), -ENOBUFS);
	assert_int_equal(push(&s, &m, 1), 0);
	assert_int_equal(push(&s, &m, 1), -ENOBUFS);
	assert_int_equal(push(&s, &m, 0), 0);
	assert_int_equal(pull(&s, &m, 1), 1);
	assert_int_equal(push(&s, &m, 1), 0);
	assert_int_equal(pull(&s, &m, 5000), 1000);
	spool_done(&s);
}

static void test_random_traffic(void **state)
{
	struct spool s;
	struct model m = {0};

	srand(11);
	spool_init(&s, dir_fd, 4096, 60000);
	for (int i = 0; i < 20000; i++) {
		size_t n = (size_t)rand() % (rand() % 10 == 0 ? 20000 : 500);

		if (rand() % 2 == 0) {
			int r = push(&s, &m, n);
			assert_true(r == 0 || (r == -ENOBUFS && m.pushed - m.read + n > 60000));
		} else {
			pull(&s, &m, n);
		}
	}
	pull(&s, &m, 1000000);
	spool_done(&s);
}

/* A queue that never runs empty must not eat the disk: what was read is given back. */
static void test_long_lived_queue_gives_space_back(void **state)
{
	struct spool s;
	struct model m = {0};
	struct stat st;

	spool_init(&s, dir_fd, 256 * 1024, 64 << 20);
	while (m.pushed < 4 << 20)
		assert_int_equal(push(&s, &m, 200000), 0);
	while (m.pushed < 40 << 20) {
		assert_int_equal(push(&s, &m, 200000), 0);
		assert_int_equal(pull(&s, &m, 200000), 200000);
	}
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_true(st.st_size > 30 << 20);
	/* File systems that cannot punch holes keep all of it; those tests run on can. */
	assert_true((uint64_t)st.st_blocks * 512 < 16 << 20);
	spool_done(&s);
}

static void test_unusable_folder(void **state)
{
	struct spool s;
	auto_close int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char data[300] = {0};

	spool_init(&s, null_fd, 100, 1000);
	assert_int_equal(spool_push(&s, data, 100), 0);
	assert_int_equal(spool_push(&s, data, 300), -ENOTDIR);
	spool_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_only),
		cmocka_unit_test(test_zeroed),
		cmocka_unit_test(test_small_amounts_stay_in_memory),
		cmocka_unit_test(test_spill_and_return),
		cmocka_unit_test(test_chunk_larger_than_memory),
		cmocka_unit_test(test_maximum),
		cmocka_unit_test(test_random_traffic),
		cmocka_unit_test(test_long_lived_queue_gives_space_back),
		cmocka_unit_test(test_unusable_folder),
	};

	return cmocka_run_group_tests(tests, open_dir, close_dir);
}
