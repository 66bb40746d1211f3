/* processWait, processKill, reaping. */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

static void send_signal(struct guest *g, int64_t pid, const char *name)
{
	struct rpc_process_kill params = {pid, (char *)(uintptr_t)name};

	guest_ok(g, RPC_PROCESS_KILL, &params, NULL);
}

static void test_exit_codes(void **state)
{
	struct guest *g = *state;

	expect_end(g, spawn_shell(g, "exit 0", NULL, NULL, NULL), 0, NULL);
	expect_end(g, spawn_shell(g, "exit 1", NULL, NULL, NULL), 1, NULL);
	expect_end(g, spawn_shell(g, "exit 255", NULL, NULL, NULL), 255, NULL);
	expect_end(g, spawn_shell(g, "kill -9 $$", NULL, NULL, NULL), 137, "SIGKILL");
	expect_end(g, spawn_shell(g, "kill -s SEGV $$", NULL, NULL, NULL), 139, "SIGSEGV");
	expect_end(g, spawn_shell(g, "kill -34 $$", NULL, NULL, NULL), 162, "SIG34");
}

static void test_wait_again(void **state)
{
	struct guest *g = *state;
	int64_t pid = spawn_shell(g, "exit 7", NULL, NULL, NULL);

	for (int i = 0; i < 5; i++)
		expect_end(g, pid, 7, NULL);
}

static void test_several_waiters(void **state)
{
	struct guest *g = *state;
	int64_t pid = spawn_shell(g, "exec sleep 30", NULL, NULL, NULL);
	const struct rpc_pid params = {.pid = pid};
	struct answer *waits[10];

	for (size_t i = 0; i < array_len(waits); i++)
		waits[i] = guest_send(g, RPC_PROCESS_WAIT, &params);
	/* One of them is given up; the others are not disturbed. */
	assert_int_equal(channel_cancel(&g->channel, waits[3]->id), 0);
	guest_await(g, &waits[3]->done);
	answer_check_failed(waits[3], ECANCELED, NULL, "processwait");
	send_signal(g, pid, NULL);
	for (size_t i = 0; i < array_len(waits); i++) {
		guest_await(g, &waits[i]->done);
		assert_int_equal(waits[i]->failed, i == 3);
		answer_free(waits[i]);
	}
	expect_end(g, pid, 143, "SIGTERM");
}

static void test_signals(void **state)
{
	static const struct {
		const char *name;
		int code;
	} rows[] = {{"SIGTERM", 143}, {"SIGHUP", 129}, {"SIGUSR1", 138}, {"SIGINT", 130},
		{"SIGQUIT", 131}, {"SIGPIPE", 141}};
	struct guest *g = *state;

	for (size_t i = 0; i < array_len(rows); i++) {
		int64_t pid = spawn_shell(g, "ulimit -c 0; exec sleep 30", NULL, NULL, NULL);

		send_signal(g, pid, rows[i].name);
		expect_end(g, pid, rows[i].code, rows[i].name);
	}
}

static void test_stop_and_continue(void **state)
{
	struct guest *g = *state;
	int64_t pid = spawn_shell(g, "sleep 0.1; exit 0", NULL, NULL, NULL);
	const struct rpc_pid params = {.pid = pid};
	struct answer *wait;

	send_signal(g, pid, "SIGSTOP");
	wait = guest_send(g, RPC_PROCESS_WAIT, &params);
	guest_turn(g, 300);
	assert_false(wait->done);
	send_signal(g, pid, "SIGCONT");
	guest_await(g, &wait->done);
	expect_end(g, pid, 0, NULL);
}

/* Clients know "has ended already" by this pair. */
static void test_kill_ended(void **state)
{
	struct guest *g = *state;
	int64_t pid = spawn_shell(g, "exit 0", NULL, NULL, NULL);
	struct rpc_process_kill params = {.pid = pid};

	expect_end(g, pid, 0, NULL);
	guest_fails(g, RPC_PROCESS_KILL, &params, ENOENT, "TypeError",
		"Child process has already terminated");
	params.signal = "SIGKILL";
	guest_fails(g, RPC_PROCESS_KILL, &params, ENOENT, "TypeError",
		"Child process has already terminated");
	expect_end(g, pid, 0, NULL);
}

static void test_unknown(void **state)
{
	static const int64_t pids[] = {
		0, 1, -1, -1000, 3999999, RPC_STREAM_ID_MAX, -RPC_STREAM_ID_MAX};
	struct guest *g = *state;

	for (size_t i = 0; i < array_len(pids); i++) {
		struct rpc_process_kill kill_params = {.pid = pids[i]};
		struct rpc_pid wait_params = {.pid = pids[i]};

		guest_fails(
			g, RPC_PROCESS_KILL, &kill_params, ENOENT, "NotFound", "no such process");
		guest_fails(
			g, RPC_PROCESS_WAIT, &wait_params, ENOENT, "NotFound", "no such process");
	}
	/* Processes that spawn did not start are none of a client's business. */
	guest_fails(g, RPC_PROCESS_KILL, &(struct rpc_process_kill){getpid(), "SIGCONT"}, ENOENT,
		"NotFound", "no such process");
}

static void test_bad_signal(void **state)
{
	struct guest *g = *state;
	int64_t pid = spawn_shell(g, "exec sleep 30", NULL, NULL, NULL);
	struct rpc_process_kill params = {pid, "SIGBREAK"};

	guest_fails(g, RPC_PROCESS_KILL, &params, EINVAL, "TypeError", "SIGBREAK");
	params.signal = "";
	guest_fails(g, RPC_PROCESS_KILL, &params, EINVAL, "TypeError", "unknown signal");
	params.signal = "KILL";
	guest_fails(g, RPC_PROCESS_KILL, &params, EINVAL, "TypeError", "KILL");
	send_signal(g, pid, "SIGKILL");
	expect_end(g, pid, 137, "SIGKILL");
}

/* A grandchild that is left behind comes to the agent and is reaped without a word. */
static void test_orphans(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0};
	int64_t pid = spawn_shell(g, "sh -c 'sleep 0.1' >/dev/null & echo $!", NULL, &out, NULL);
	char path[64];

	expect_end(g, pid, 0, NULL);
	guest_await(g, &out.ended);
	buf_append_byte(&out.data, 0);
	snprintf(path, sizeof(path), "/proc/%ld", strtol((char *)buf_data(&out.data), NULL, 10));
	assert_int_equal(access(path, F_OK), 0);
	for (int i = 0; i < 100 && access(path, F_OK) == 0; i++)
		guest_turn(g, 20);
	assert_int_not_equal(access(path, F_OK), 0);
	inbox_free(&out);
}

static void few_results(struct agent_config *config)
{
	config->results_max = 3;
}

static void test_results_limit(void **state)
{
	struct guest *g = guest_new(few_results);
	int64_t pids[5];

	for (size_t i = 0; i < array_len(pids); i++) {
		pids[i] = spawn_shell(g, "exit 4", NULL, NULL, NULL);
		expect_end(g, pids[i], 4, NULL);
	}
	for (size_t i = 0; i < 2; i++)
		guest_fails(g, RPC_PROCESS_WAIT, &(struct rpc_pid){pids[i]}, ENOENT, "NotFound",
			"no such process");
	for (size_t i = 2; i < array_len(pids); i++)
		expect_end(g, pids[i], 4, NULL);
	guest_free(g);
}

static void few_requests(struct agent_config *config)
{
	config->requests_max = 4;
}

static void test_requests_limit(void **state)
{
	struct guest *g = guest_new(few_requests);
	int64_t pid = spawn_shell(g, "exec sleep 30", NULL, NULL, NULL);
	const struct rpc_pid params = {.pid = pid};
	struct answer *waits[4];

	for (size_t i = 0; i < array_len(waits); i++)
		waits[i] = guest_send(g, RPC_PROCESS_WAIT, &params);
	guest_fails(g, RPC_PROCESS_WAIT, &params, EAGAIN, NULL, "processwait");
	send_signal(g, pid, NULL);
	for (size_t i = 0; i < array_len(waits); i++) {
		guest_await(g, &waits[i]->done);
		assert_false(waits[i]->failed);
	}
	guest_free(g);
}

/* When the daemon goes, so do all processes. */
static void test_end_kills(void **state)
{
	struct guest *g = guest_new(NULL);
	int64_t pid =
		spawn_shell(g, "trap '' TERM HUP; while :; do sleep 1; done", NULL, NULL, NULL);

	assert_int_equal(kill((pid_t)pid, 0), 0);
	guest_free(g);
	/* Reaped by whoever is left, or still a zombie for a moment. */
	for (int i = 0; i < 100 && kill((pid_t)pid, 0) == 0; i++) {
		char path[64], state_char = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
		f = fopen(path, "r");
		if (!f)
			break;
		if (fscanf(f, "%*d (%*[^)]) %c", &state_char) == 1 && state_char == 'Z') {
			fclose(f);
			return;
		}
		fclose(f);
		usleep(20000);
	}
	assert_int_not_equal(kill((pid_t)pid, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_exit_codes),
		TEST(test_wait_again),
		TEST(test_several_waiters),
		TEST(test_signals),
		TEST(test_stop_and_continue),
		TEST(test_kill_ended),
		TEST(test_unknown),
		TEST(test_bad_signal),
		TEST(test_orphans),
		cmocka_unit_test(test_results_limit),
		cmocka_unit_test(test_requests_limit),
		cmocka_unit_test(test_end_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
