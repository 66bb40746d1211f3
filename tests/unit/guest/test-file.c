/* readFile and writeFile. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "harness.h"
#include "rpc/pack.h"

static int setup(void **state)
{
	*state = guest_new(NULL);
	return 0;
}

static int teardown(void **state)
{
	guest_free(*state);
	return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

static struct answer *start_read(struct guest *g, const char *path, struct inbox *in)
{
	struct rpc_read_file params = {.path = (char *)(uintptr_t)path, .abort_id = -1};

	inbox_open(g, in);
	params.channel = in->stream.id;
	return guest_send(g, RPC_READ_FILE, &params);
}

static void finish_read(struct guest *g, struct answer *a, struct inbox *in)
{
	guest_await(g, &a->done);
	assert_false(a->failed);
	/* END comes first. */
	assert_true(in->ended);
	answer_free(a);
}

static void check_read(struct guest *g, const char *path, const char *expected)
{
	struct inbox in = {0};

	finish_read(g, start_read(g, path, &in), &in);
	assert_int_equal(in.total, strlen(expected));
	assert_memory_equal(buf_data(&in.data), expected, in.total);
	inbox_free(&in);
}

static void check_read_fails(struct guest *g, const char *path, int err)
{
	struct inbox in = {0};
	struct answer *a = start_read(g, path, &in);

	guest_await(g, &a->done);
	answer_check_failed(a, err, NULL, "readfile '");
	assert_non_null(strstr(a->failure.context, path));
	assert_true(in.reset);
	assert_int_equal(in.failure.err, err);
	answer_free(a);
	inbox_free(&in);
}

static void test_read(void **state)
{
	struct guest *g = *state;
	auto_free char *absolute = home_path(g, "file");

	home_write(g, "file", "content");
	home_write(g, "empty", "");
	check_read(g, "file", "content");
	check_read(g, absolute, "content");
	check_read(g, "./file", "content");
	check_read(g, "empty", "");
}

static void test_read_errors(void **state)
{
	struct guest *g = *state;
	auto_free char *loop = home_path(g, "loop");
	auto_free char *name = mem_zalloc(301);

	home_write(g, "file", "x");
	assert_int_equal(symlink("loop", loop), 0);
	memset(name, 'n', 300);
	check_read_fails(g, "missing", ENOENT);
	check_read_fails(g, "", ENOENT);
	check_read_fails(g, ".", EISDIR);
	check_read_fails(g, "/", EISDIR);
	check_read_fails(g, "file/below", ENOTDIR);
	check_read_fails(g, "loop", ELOOP);
	check_read_fails(g, name, ENAMETOOLONG);
}

static void test_read_large(void **state)
{
	enum { SIZE = 5000000 };
	struct guest *g = *state;
	auto_free char *data = mem_zalloc(SIZE + 1);
	struct inbox in = {0};

	for (size_t i = 0; i < SIZE; i++)
		data[i] = (char)('a' + i % 23);
	home_write(g, "large", data);
	finish_read(g, start_read(g, "large", &in), &in);
	assert_int_equal(in.total, SIZE);
	assert_memory_equal(buf_data(&in.data), data, SIZE);
	inbox_free(&in);
}

/* Files whose size says 0, and devices that never end. */
static void test_read_special(void **state)
{
	struct guest *g = *state;
	struct inbox in = {0}, zero = {.hold = true, .discard = true};
	struct answer *a;

	finish_read(g, start_read(g, "/proc/self/status", &in), &in);
	assert_true(in.total > 100);
	inbox_free(&in);
	check_read(g, "/dev/null", "");
	a = start_read(g, "/dev/zero", &zero);
	guest_turn(g, 50);
	assert_int_equal(zero.total, CHANNEL_WINDOW);
	assert_false(a->done);
	assert_int_equal(channel_cancel(&g->channel, a->id), 0);
	guest_await(g, &a->done);
	answer_check_failed(a, ECANCELED, NULL, "readfile '/dev/zero'");
	assert_true(zero.reset);
	answer_free(a);
	inbox_free(&zero);
}

static void test_read_fifo(void **state)
{
	struct guest *g = *state;
	auto_free char *fifo = home_path(g, "fifo");
	struct inbox in = {0};
	struct answer *a;
	int fd;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	a = start_read(g, "fifo", &in);
	guest_turn(g, 50);
	assert_false(a->done);
	fd = open(fifo, O_WRONLY | O_CLOEXEC);
	assert_int_equal(fd_write_all(fd, "first ", 6), 0);
	guest_turn(g, 50);
	assert_false(a->done);
	assert_int_equal(fd_write_all(fd, "second", 6), 0);
	close(fd);
	finish_read(g, a, &in);
	assert_int_equal(in.total, 12);
	inbox_free(&in);
}

/* A FIFO that nobody ever writes: the agent answers others, and the request can be given up. */
static void test_read_fifo_cancel(void **state)
{
	struct guest *g = *state;
	auto_free char *fifo = home_path(g, "fifo");
	struct rpc_env_key key = {"HOME"};
	struct inbox in = {0};
	struct answer *a;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	a = start_read(g, "fifo", &in);
	guest_ok(g, RPC_ENV_GET, &key, NULL);
	assert_int_equal(channel_cancel(&g->channel, a->id), 0);
	guest_await(g, &a->done);
	answer_check_failed(a, ECANCELED, NULL, "fifo");
	assert_true(in.reset);
	answer_free(a);
	inbox_free(&in);
}

/* The daemon gives the stream up instead of the request. */
static void test_read_reset(void **state)
{
	struct guest *g = *state;
	struct inbox in = {.hold = true, .discard = true};
	struct answer *a = start_read(g, "/dev/zero", &in);

	guest_turn(g, 20);
	channel_reset(&in.stream, NULL, 0);
	guest_await(g, &a->done);
	answer_check_failed(a, ECANCELED, NULL, "/dev/zero");
	answer_free(a);
	inbox_free(&in);
}

/* Reading fails midway: /proc/self/mem has no page at 0. */
static void test_read_breaks(void **state)
{
	check_read_fails(*state, "/proc/self/mem", EIO);
}

static void test_read_many(void **state)
{
	struct inbox in[100] = {0};
	struct answer *a[100];
	struct guest *g = *state;

	home_write(g, "file", "same content");
	for (size_t i = 0; i < 100; i++)
		a[i] = start_read(g, "file", &in[i]);
	for (size_t i = 0; i < 100; i++) {
		finish_read(g, a[i], &in[i]);
		assert_int_equal(in[i].total, 12);
		inbox_free(&in[i]);
	}
}

/* --- writing ---------------------------------------------------------------------------------- */

static const struct rpc_write_options plain = {.create = true, .mode = -1};

static struct answer *start_write(struct guest *g, const char *path,
	const struct rpc_write_options *options, struct outbox *out)
{
	struct rpc_write_file params = {.path = (char *)(uintptr_t)path, .options = *options};

	outbox_open(g, out);
	params.channel = out->stream.id;
	return guest_send(g, RPC_WRITE_FILE, &params);
}

static void check_write(struct guest *g, const char *path, const struct rpc_write_options *options,
	const char *text)
{
	struct outbox out = {.data = text, .len = strlen(text)};
	struct answer *a = start_write(g, path, options, &out);

	outbox_start(&out);
	guest_await(g, &a->done);
	assert_false(a->failed);
	answer_free(a);
}

static void check_write_fails(
	struct guest *g, const char *path, const struct rpc_write_options *options, int err)
{
	struct outbox out = {.data = "text", .len = 4, .keep_open = true};
	struct answer *a = start_write(g, path, options, &out);

	outbox_start(&out);
	guest_await(g, &a->done);
	answer_check_failed(a, err, NULL, "writefile '");
	assert_true(out.reset);
	assert_int_equal(out.failure.err, err);
	answer_free(a);
	rpc_clear(&rpc_failure_schema, &out.failure);
}

static void check_file(struct guest *g, const char *name, const char *expected, unsigned mode)
{
	auto_free char *path = home_path(g, name);
	auto_free char *text = home_read(g, name);
	struct stat st;

	assert_string_equal(text, expected);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void test_write(void **state)
{
	struct rpc_write_options append = {.create = true, .append = true, .mode = -1};
	struct guest *g = *state;

	check_write(g, "new", &plain, "first text");
	check_file(g, "new", "first text", 0644);
	check_write(g, "new", &plain, "short");
	check_file(g, "new", "short", 0644);
	check_write(g, "new", &append, " and more");
	check_file(g, "new", "short and more", 0644);
	check_write(g, "appended", &append, "x");
	check_file(g, "appended", "x", 0644);
	check_write(g, "empty", &plain, "");
	check_file(g, "empty", "", 0644);
}

static void test_write_options(void **state)
{
	struct rpc_write_options no_create = {.create = false, .mode = -1};
	struct rpc_write_options create_new = {.create = true, .create_new = true, .mode = -1};
	struct rpc_write_options mode = {.create = true, .mode = 0600};
	struct rpc_write_options wide = {.create = true, .mode = 0777};
	struct guest *g = *state;

	check_write_fails(g, "missing", &no_create, ENOENT);
	check_write(g, "once", &create_new, "1");
	check_write_fails(g, "once", &create_new, EEXIST);
	check_file(g, "once", "1", 0644);
	check_write(g, "once", &no_create, "2");
	check_file(g, "once", "2", 0644);
	check_write(g, "secret", &mode, "s");
	check_file(g, "secret", "s", 0600);
	/* Beyond the umask, and on a file that was there. */
	check_write(g, "once", &wide, "3");
	check_file(g, "once", "3", 0777);
}

static void test_write_errors(void **state)
{
	struct guest *g = *state;

	home_write(g, "file", "x");
	check_write_fails(g, "missing/below", &plain, ENOENT);
	check_write_fails(g, "", &plain, ENOENT);
	check_write_fails(g, ".", &plain, EISDIR);
	check_write_fails(g, "file/below", &plain, ENOTDIR);
}

/* The medium fills up while the content is on its way. */
static void test_write_full(void **state)
{
	auto_free char *block = mem_zalloc(65536);
	struct outbox out = {.data = block, .len = 65536, .repeat = 10000};
	struct guest *g = *state;
	struct answer *a = start_write(g, "/dev/full", &plain, &out);

	outbox_start(&out);
	guest_await(g, &a->done);
	answer_check_failed(a, ENOSPC, NULL, "writefile '/dev/full'");
	guest_await(g, &out.reset);
	assert_int_equal(out.failure.err, ENOSPC);
	answer_free(a);
	rpc_clear(&rpc_failure_schema, &out.failure);
}

static void test_write_large(void **state)
{
	enum { SIZE = 1000003, TIMES = 20 };
	auto_free char *block = mem_zalloc(SIZE + 1);
	struct outbox out = {.data = block, .len = SIZE, .repeat = TIMES};
	struct guest *g = *state;
	auto_free char *text = NULL;
	struct answer *a;

	memset(block, 'b', SIZE);
	a = start_write(g, "large", &plain, &out);
	outbox_start(&out);
	guest_await(g, &a->done);
	assert_false(a->failed);
	answer_free(a);
	text = home_read(g, "large");
	assert_int_equal(strlen(text), SIZE * TIMES);
}

static void test_write_cancel(void **state)
{
	struct outbox out = {.data = "beginning", .len = 9, .keep_open = true};
	struct guest *g = *state;
	struct answer *a = start_write(g, "file", &plain, &out);

	outbox_start(&out);
	guest_turn(g, 20);
	assert_false(a->done);
	assert_int_equal(channel_cancel(&g->channel, a->id), 0);
	guest_await(g, &a->done);
	answer_check_failed(a, ECANCELED, NULL, "writefile 'file'");
	assert_true(out.reset);
	answer_free(a);
	check_file(g, "file", "beginning", 0644);
	rpc_clear(&rpc_failure_schema, &out.failure);
}

/* The source of the content failed: its failure is the request's. */
static void test_write_source_fails(void **state)
{
	struct rpc_failure why = {.err = 0, .context = "my source broke", .constructor = "Error"};
	struct outbox out = {.data = "beginning", .len = 9, .keep_open = true};
	auto_buf struct buf b = {.max = 1000};
	struct guest *g = *state;
	struct answer *a = start_write(g, "file", &plain, &out);

	outbox_start(&out);
	assert_int_equal(rpc_pack(&b, &rpc_failure_schema, &why), 0);
	channel_reset(&out.stream, buf_data(&b), b.len);
	guest_await(g, &a->done);
	answer_check_failed(a, 0, "Error", "my source broke");
	answer_free(a);
	/* Without a reason, and with one that makes no sense. */
	a = start_write(g, "file", &plain, &out);
	channel_reset(&out.stream, NULL, 0);
	guest_await(g, &a->done);
	answer_check_failed(a, ECANCELED, NULL, "writefile 'file'");
	answer_free(a);
	a = start_write(g, "file", &plain, &out);
	channel_reset(&out.stream, "\1\2\3", 3);
	guest_await(g, &a->done);
	answer_check_failed(a, ECANCELED, NULL, "writefile 'file'");
	answer_free(a);
}

static void test_write_fifo(void **state)
{
	struct outbox out = {.data = "for the reader", .len = 14};
	struct guest *g = *state;
	auto_free char *fifo = home_path(g, "fifo");
	struct rpc_env_key key = {"HOME"};
	struct answer *a;
	char text[20];
	int fd;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	a = start_write(g, "fifo", &plain, &out);
	outbox_start(&out);
	guest_ok(g, RPC_ENV_GET, &key, NULL);
	assert_false(a->done);
	fd = open(fifo, O_RDONLY | O_CLOEXEC);
	guest_await(g, &a->done);
	assert_false(a->failed);
	assert_int_equal(fd_read_all(fd, text, 14), 0);
	assert_memory_equal(text, "for the reader", 14);
	close(fd);
	answer_free(a);
}

static void test_write_fifo_cancel(void **state)
{
	struct outbox out = {.data = "x", .len = 1, .keep_open = true};
	struct guest *g = *state;
	auto_free char *fifo = home_path(g, "fifo");
	struct answer *a;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	a = start_write(g, "fifo", &plain, &out);
	guest_turn(g, 50);
	assert_int_equal(channel_cancel(&g->channel, a->id), 0);
	guest_await(g, &a->done);
	answer_check_failed(a, ECANCELED, NULL, "fifo");
	answer_free(a);
	rpc_clear(&rpc_failure_schema, &out.failure);
}

/* Requests and streams that are open when the daemon goes. */
static void test_left_open(void **state)
{
	struct guest *g = guest_new(NULL);
	struct outbox out = {.data = "x", .len = 1, .keep_open = true}, waiting = out, in = out;
	auto_free char *fifo = home_path(g, "fifo");
	struct inbox zero = {.hold = true}, held = {.hold = true};

	assert_int_equal(mkfifo(fifo, 0600), 0);
	start_write(g, "file", &plain, &out);
	start_write(g, "fifo", &plain, &waiting);
	start_read(g, "/dev/zero", &zero);
	spawn_shell(g, "cat /dev/zero; sleep 5", &in, &held, NULL);
	guest_turn(g, 20);
	inbox_free(&zero);
	inbox_free(&held);
	guest_free(g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read),
		TEST(test_read_errors),
		TEST(test_read_large),
		TEST(test_read_special),
		TEST(test_read_fifo),
		TEST(test_read_fifo_cancel),
		TEST(test_read_reset),
		TEST(test_read_breaks),
		TEST(test_read_many),
		TEST(test_write),
		TEST(test_write_options),
		TEST(test_write_errors),
		TEST(test_write_full),
		TEST(test_write_large),
		TEST(test_write_cancel),
		TEST(test_write_source_fails),
		TEST(test_write_fifo),
		TEST(test_write_fifo_cancel),
		cmocka_unit_test(test_left_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
