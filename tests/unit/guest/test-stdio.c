/* Streams of processes: order, back pressure, ends. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

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

static void test_both_outputs(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0}, err = {0};
	int64_t pid = spawn_shell(g, "echo to out; echo to err >&2", NULL, &out, &err);

	guest_await(g, &out.ended);
	guest_await(g, &err.ended);
	assert_memory_equal(buf_data(&out.data), "to out\n", 7);
	assert_memory_equal(buf_data(&err.data), "to err\n", 7);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
	inbox_free(&err);
}

/* What a process wrote last comes before the news that it has ended. */
static void test_output_before_status(void **state)
{
	struct guest *g = *state;

	for (int i = 0; i < 50; i++) {
		struct inbox out = {0};
		int64_t pid = spawn_shell(g, "echo last words", NULL, &out, NULL);

		expect_end(g, pid, 0, NULL);
		assert_int_equal(out.total, 11);
		assert_true(out.ended);
		inbox_free(&out);
	}
}

static void test_null(void **state)
{
	struct guest *g = *state;
	char *args[] = {"-c", "echo x; echo y >&2; cat"};
	struct rpc_spawned result;
	struct rpc_spawn params;

	spawn_params(g, &params, "sh", NULL, NULL, NULL);
	params.args = (struct rpc_strings){args, 2};
	params.stdout_mode = RPC_STDIO_NULL;
	params.stderr_mode = RPC_STDIO_NULL;
	guest_ok(g, RPC_SPAWN, &params, &result);
	expect_end(g, result.pid, 0, NULL);
}

static void test_cat(void **state)
{
	struct guest *g = *state;
	struct outbox in = {.data = "through the pipe", .len = 16};
	struct inbox out = {0};
	int64_t pid = spawn_shell(g, "exec cat", &in, &out, NULL);

	outbox_start(&in);
	guest_await(g, &out.ended);
	assert_int_equal(out.total, 16);
	assert_memory_equal(buf_data(&out.data), "through the pipe", 16);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

/* Data that comes before the process reads, and END right behind it. */
static void test_cat_large(void **state)
{
	enum { SIZE = 1024 * 1024, TIMES = 32 };
	auto_free char *block = mem_zalloc(SIZE);
	struct outbox in = {.data = block, .len = SIZE, .repeat = TIMES};
	struct guest *g = *state;
	struct inbox out = {0};
	int64_t pid;

	for (size_t i = 0; i < SIZE; i++)
		block[i] = (char)(i * 31 + i / 251);
	pid = spawn_shell(g, "sleep 0.1; exec cat", &in, &out, NULL);
	outbox_start(&in);
	guest_await(g, &out.ended);
	assert_int_equal(out.total, SIZE * TIMES);
	for (size_t i = 0; i < TIMES; i++)
		assert_memory_equal(buf_data(&out.data) + i * SIZE, block, SIZE);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

static void test_big_output(void **state)
{
	struct guest *g = *state;
	struct inbox out = {.discard = true};
	int64_t pid = spawn_shell(g, "head -c 300000000 /dev/zero", NULL, &out, NULL);

	guest_await(g, &out.ended);
	assert_int_equal(out.total, 300000000);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

/* Bulk goes by another way than the rest; both in turn, and every byte in its place. */
static void test_bulk_and_trickle(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0};
	int64_t pid = spawn_shell(g,
		"i=0; while [ $i -lt 5 ]; do i=$((i+1)); seq 1 200000; sleep 0.02; echo small $i;"
		" sleep 0.02; done",
		NULL, &out, NULL);
	auto_buf struct buf expected = {.max = 10 * 1024 * 1024};

	for (int i = 1; i <= 5; i++) {
		for (int n = 1; n <= 200000; n++)
			assert_int_equal(buf_printf(&expected, "%d\n", n), 0);
		assert_int_equal(buf_printf(&expected, "small %d\n", i), 0);
	}
	guest_await(g, &out.ended);
	assert_int_equal(out.total, expected.len);
	assert_memory_equal(buf_data(&out.data), buf_data(&expected), expected.len);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

/* A process that reads its own output while it is being sent: what is left is sent whole. */
static void test_output_stolen(void **state)
{
	struct guest *g = *state;
	struct inbox out = {.discard = true};
	auto_free char *path = home_path(g, "stolen");
	int64_t pid = spawn_shell(g,
		"timeout 1 dd if=/proc/$$/fd/1 of=stolen bs=64k count=40 2>/dev/null &"
		" head -c 20000000 /dev/zero; wait",
		NULL, &out, NULL);
	struct stat st;

	guest_await(g, &out.ended);
	expect_end(g, pid, 0, NULL);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 0);
	/* The thief may have been stopped with a piece in its hands. */
	assert_in_range(out.total + (size_t)st.st_size, 20000000 - 65536, 20000000);
	inbox_free(&out);
}

/* A reader that takes nothing stops the process, not the agent. */
static void test_slow_reader(void **state)
{
	struct guest *g = *state;
	struct inbox out = {.hold = true, .discard = true};
	struct rpc_env_key key = {"HOME"};
	int64_t pid;

	pid = spawn_shell(g, "head -c 20000000 /dev/zero; echo done >marker", NULL, &out, NULL);
	guest_turn(g, 200);
	assert_int_equal(out.total, CHANNEL_WINDOW);
	guest_ok(g, RPC_ENV_GET, &key, NULL);
	guest_fails(g, RPC_STAT, &(struct rpc_path){"marker"}, ENOENT, NULL, "marker");
	inbox_release(&out);
	guest_await(g, &out.ended);
	assert_int_equal(out.total, 20000000);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

/* Many streams that nobody reads do not stop one that somebody does. */
static void test_many_held(void **state)
{
	struct inbox held[20] = {0}, out = {0};
	struct guest *g = *state;
	int64_t pids[20], pid;

	for (size_t i = 0; i < 20; i++) {
		held[i].hold = true;
		held[i].discard = true;
		pids[i] = spawn_shell(g, "exec head -c 2000000 /dev/zero", NULL, &held[i], NULL);
	}
	pid = spawn_shell(g, "echo through", NULL, &out, NULL);
	guest_await(g, &out.ended);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
	for (size_t i = 0; i < 20; i++) {
		inbox_release(&held[i]);
		guest_await(g, &held[i].ended);
		assert_int_equal(held[i].total, 2000000);
		expect_end(g, pids[i], 0, NULL);
		inbox_free(&held[i]);
	}
}

/* The daemon gives a stream up: the process runs on as if somebody read it. */
static void test_reset_drains(void **state)
{
	struct guest *g = *state;
	struct inbox out = {.hold = true, .discard = true};
	int64_t pid =
		spawn_shell(g, "head -c 50000000 /dev/zero && echo done >marker", NULL, &out, NULL);

	guest_turn(g, 50);
	channel_reset(&out.stream, NULL, 0);
	expect_end(g, pid, 0, NULL);
	guest_ok(g, RPC_STAT, &(struct rpc_path){"marker"}, NULL);
	inbox_free(&out);
}

static void test_reset_at_once(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0}, err = {0};
	int64_t pid = spawn_shell(g, "sleep 0.1; echo a; echo b >&2; exit 9", NULL, &out, &err);

	channel_reset(&out.stream, NULL, 0);
	channel_reset(&err.stream, NULL, 0);
	expect_end(g, pid, 9, NULL);
	inbox_free(&out);
	inbox_free(&err);
}

/* The status comes when the process ends, the stream's end when its pipe is closed. */
static void test_grandchild_holds_pipe(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0};
	int64_t pid = spawn_shell(g, "(sleep 0.3; echo late) & echo early", NULL, &out, NULL);

	expect_end(g, pid, 0, NULL);
	assert_false(out.ended);
	guest_await(g, &out.ended);
	assert_memory_equal(buf_data(&out.data), "early\nlate\n", 11);
	inbox_free(&out);
}

static void test_stdin_closed_by_child(void **state)
{
	struct guest *g = *state;
	struct outbox in = {.data = "x", .len = 1, .keep_open = true};
	int64_t pid = spawn_shell(g, "exec <&-; sleep 0.2; exit 5", &in, NULL, NULL);

	/* Noticed without anything being written. */
	guest_await(g, &in.reset);
	assert_int_equal(in.failure.err, EPIPE);
	assert_string_equal(in.failure.context, "write stdin");
	expect_end(g, pid, 5, NULL);
	rpc_clear(&rpc_failure_schema, &in.failure);
}

static void test_stdin_child_gone(void **state)
{
	auto_free char *block = mem_zalloc(65536);
	struct outbox in = {.data = block, .len = 65536, .repeat = 1000};
	struct guest *g = *state;
	int64_t pid = spawn_shell(g, "exec head -c 100000", &in, NULL, NULL);

	outbox_start(&in);
	guest_await(g, &in.reset);
	assert_int_equal(in.failure.err, EPIPE);
	expect_end(g, pid, 0, NULL);
	rpc_clear(&rpc_failure_schema, &in.failure);
}

/* A child that does not read stops its own stream after a window and a pipe, nothing else. */
static void test_stdin_not_read(void **state)
{
	auto_free char *block = mem_zalloc(65536);
	struct outbox in = {.data = block, .len = 65536, .repeat = 1000};
	struct guest *g = *state;
	int64_t pid = spawn_shell(g, "read line; wc -c", &in, NULL, NULL);
	struct rpc_env_key key = {"HOME"};

	expect_end(g, spawn_shell(g, "exit 0", NULL, NULL, NULL), 0, NULL);
	guest_ok(g, RPC_PROCESS_KILL, &(struct rpc_process_kill){pid, "SIGSTOP"}, NULL);
	outbox_start(&in);
	guest_turn(g, 200);
	assert_in_range(in.sent, CHANNEL_WINDOW, CHANNEL_WINDOW + 2 * 1024 * 1024);
	guest_ok(g, RPC_ENV_GET, &key, NULL);
	guest_ok(g, RPC_PROCESS_KILL, &(struct rpc_process_kill){pid, "SIGKILL"}, NULL);
	expect_end(g, pid, 137, "SIGKILL");
	guest_await(g, &in.reset);
	rpc_clear(&rpc_failure_schema, &in.failure);
}

/* The source of the input failed: the child gets what came, and the end. */
static void test_stdin_reset(void **state)
{
	struct outbox in = {.data = "partial", .len = 7, .keep_open = true};
	struct guest *g = *state;
	struct inbox out = {0};
	int64_t pid = spawn_shell(g, "exec cat", &in, &out, NULL);

	outbox_start(&in);
	channel_reset(&in.stream, NULL, 0);
	guest_await(g, &out.ended);
	assert_memory_equal(buf_data(&out.data), "partial", 7);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

static void test_stdin_empty(void **state)
{
	struct outbox in = {.data = "", .len = 0};
	struct guest *g = *state;
	struct inbox out = {0};
	int64_t pid = spawn_shell(g, "wc -c", &in, &out, NULL);

	outbox_start(&in);
	guest_await(g, &out.ended);
	assert_memory_equal(buf_data(&out.data), "0\n", 2);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

/* /dev/stdout opens the pipe anew: it must belong to the user. */
static void as_user(struct agent_config *config)
{
	config->become = true;
	config->uid = 12345;
	config->gid = 12346;
}

static void test_dev_stdout(void **state)
{
	struct guest *g = guest_new(as_user);
	struct inbox out = {0};
	int64_t pid = spawn_shell(g, "echo again >/dev/stdout", NULL, &out, NULL);

	guest_await(g, &out.ended);
	assert_memory_equal(buf_data(&out.data), "again\n", 6);
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
	guest_free(g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_both_outputs),
		TEST(test_output_before_status),
		TEST(test_null),
		TEST(test_cat),
		TEST(test_cat_large),
		TEST(test_big_output),
		TEST(test_bulk_and_trickle),
		TEST(test_output_stolen),
		TEST(test_slow_reader),
		TEST(test_many_held),
		TEST(test_reset_drains),
		TEST(test_reset_at_once),
		TEST(test_grandchild_holds_pipe),
		TEST(test_stdin_closed_by_child),
		TEST(test_stdin_child_gone),
		TEST(test_stdin_not_read),
		TEST(test_stdin_reset),
		TEST(test_stdin_empty),
		cmocka_unit_test(test_dev_stdout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
