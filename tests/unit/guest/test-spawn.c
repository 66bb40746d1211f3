/* spawn: what a child is started with, and what is said when it cannot be. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "harness.h"

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

/* Runs a program and compares what it writes. */
static void check_output(struct guest *g, struct rpc_spawn *params, const char *expected)
{
	struct rpc_spawned result;
	struct inbox out = {0};

	inbox_open(g, &out);
	params->stdout_channel = out.stream.id;
	guest_ok(g, RPC_SPAWN, params, &result);
	guest_await(g, &out.ended);
	buf_append_byte(&out.data, 0);
	assert_string_equal((char *)buf_data(&out.data), expected);
	expect_end(g, result.pid, 0, NULL);
	inbox_free(&out);
}

static void check_shell(
	struct guest *g, struct rpc_spawn *params, const char *script, const char *expected)
{
	char *args[] = {"-c", (char *)(uintptr_t)script};

	params->command = "/bin/sh";
	params->args = (struct rpc_strings){args, array_len(args)};
	check_output(g, params, expected);
}

static void test_arguments(void **state)
{
	char *args[] = {"%s|%s|%s", "", "two words", "$HOME"};
	struct rpc_spawn params;

	spawn_params(*state, &params, "printf", NULL, NULL, NULL);
	params.args = (struct rpc_strings){args, array_len(args)};
	check_output(*state, &params, "|two words|$HOME");
}

static void test_environment(void **state)
{
	struct rpc_env_set set = {"FOO", "sandbox"};
	struct rpc_pair pairs[] = {{"BAR", "child"}, {"FOO", "override"}, {"BAR", "last"}};
	struct guest *g = *state;
	struct rpc_spawn params;

	guest_ok(g, RPC_ENV_SET, &set, NULL);
	spawn_params(g, &params, NULL, NULL, NULL, NULL);
	check_shell(g, &params, "echo $FOO,$BAR,$USER", "sandbox,,app\n");
	params.env = (struct rpc_map){pairs, array_len(pairs)};
	check_shell(g, &params, "echo $FOO,$BAR,$USER", "override,last,app\n");
	params.clear_env = true;
	check_shell(g, &params, "echo $FOO,$BAR,$USER", "override,last,\n");
}

static void test_environment_cleared(void **state)
{
	struct rpc_spawn params;

	spawn_params(*state, &params, "env", NULL, NULL, NULL);
	params.clear_env = true;
	/* Without PATH the usual folders are searched. */
	check_output(*state, &params, "");
}

static void test_cwd(void **state)
{
	struct guest *g = *state;
	auto_free char *sub = home_path(g, "sub");
	auto_free char *in_home = mem_printf("%s\n", g->home);
	auto_free char *in_sub = mem_printf("%s\n", sub);
	struct rpc_spawn params;

	assert_int_equal(mkdir(sub, 0755), 0);
	spawn_params(g, &params, "pwd", NULL, NULL, NULL);
	check_output(g, &params, in_home);
	params.cwd = "sub";
	check_output(g, &params, in_sub);
	params.cwd = "/";
	check_output(g, &params, "/\n");
}

static void test_search(void **state)
{
	struct guest *g = *state;
	auto_free char *bin = home_path(g, "bin");
	auto_free char *tool = home_path(g, "bin/tool");
	auto_free char *shadow = home_path(g, "shadow");
	auto_free char *shadow_tool = home_path(g, "shadow/tool");
	auto_free char *path = mem_printf("/nowhere:%s:%s:/usr/bin:/bin", shadow, bin);
	struct rpc_pair pairs[] = {{"PATH", path}};
	struct rpc_spawn params;

	assert_int_equal(mkdir(bin, 0755), 0);
	assert_int_equal(mkdir(shadow, 0755), 0);
	home_write(g, "bin/tool", "#!/bin/sh\necho found\n");
	assert_int_equal(chmod(tool, 0755), 0);
	/* One that may not be executed does not end the search. */
	home_write(g, "shadow/tool", "");
	spawn_params(g, &params, "tool", NULL, NULL, NULL);
	params.env = (struct rpc_map){pairs, 1};
	check_output(g, &params, "found\n");
	/* It is what is reported when there is nothing else. */
	assert_int_equal(unlink(tool), 0);
	params.stdout_channel = 0;
	guest_fails(g, RPC_SPAWN, &params, EACCES, NULL, "spawn 'tool'");
	assert_int_equal(unlink(shadow_tool), 0);
	guest_fails(g, RPC_SPAWN, &params, ENOENT, NULL, "spawn 'tool'");
}

static void test_script_without_interpreter(void **state)
{
	struct guest *g = *state;
	auto_free char *script = home_path(g, "script");
	char *args[] = {"x", "y"};
	struct rpc_spawn params;

	home_write(g, "script", "echo script $1 $2\n");
	assert_int_equal(chmod(script, 0755), 0);
	spawn_params(g, &params, "./script", NULL, NULL, NULL);
	params.args = (struct rpc_strings){args, array_len(args)};
	check_output(g, &params, "script x y\n");
}

static void check_refused(
	struct guest *g, const char *command, const char *cwd, int err, const char *text)
{
	struct outbox in = {0};
	struct inbox out = {0}, errs = {0};
	struct rpc_spawn params;

	spawn_params(g, &params, command, &in, &out, &errs);
	params.cwd = (char *)(uintptr_t)cwd;
	guest_fails(g, RPC_SPAWN, &params, err, NULL, text);
	/* All streams are given up with the same reason. */
	assert_true(in.reset && out.reset && errs.reset);
	assert_int_equal(out.failure.err, err);
	assert_int_equal(in.failure.err, err);
	rpc_clear(&rpc_failure_schema, &in.failure);
	inbox_free(&out);
	inbox_free(&errs);
}

static void test_refused(void **state)
{
	struct guest *g = *state;
	auto_free char *name = mem_zalloc(300);

	home_write(g, "plain", "text");
	check_refused(g, "no-such-program", NULL, ENOENT, "spawn 'no-such-program'");
	check_refused(g, "./nothing", NULL, ENOENT, "spawn './nothing'");
	check_refused(g, "/no/such/folder/x", NULL, ENOENT, "spawn '/no/such/folder/x'");
	check_refused(g, "", NULL, ENOENT, "spawn ''");
	check_refused(g, "./plain", NULL, EACCES, "spawn './plain'");
	check_refused(g, "/", NULL, EACCES, "spawn '/'");
	check_refused(g, "true", "missing", ENOENT, "chdir 'missing'");
	check_refused(g, "true", "", ENOENT, "chdir ''");
	check_refused(g, "true", "plain", ENOTDIR, "chdir 'plain'");
	check_refused(g, "plain/x", NULL, ENOTDIR, "spawn 'plain/x'");
	memset(name, 'n', 299);
	check_refused(g, name, NULL, ENAMETOOLONG, "spawn 'nnn");
}

static void test_too_long(void **state)
{
	struct guest *g = *state;
	size_t size = 131000;
	auto_free char *big = mem_zalloc(size + 1);
	struct rpc_spawn params;
	char *args[40];

	memset(big, 'x', size);
	for (size_t i = 0; i < array_len(args); i++)
		args[i] = big;
	spawn_params(g, &params, "true", NULL, NULL, NULL);
	params.args = (struct rpc_strings){args, array_len(args)};
	guest_fails(g, RPC_SPAWN, &params, E2BIG, NULL, "spawn 'true'");
}

static void test_bad_environment(void **state)
{
	auto_free char *big = mem_zalloc(131001);
	struct rpc_pair pairs[10];
	struct rpc_spawn params;

	memset(big, 'x', 131000);
	spawn_params(*state, &params, "true", NULL, NULL, NULL);
	for (size_t i = 0; i < array_len(pairs); i++)
		pairs[i] = (struct rpc_pair){mem_printf("V%zu", i), big};
	params.env = (struct rpc_map){pairs, array_len(pairs)};
	guest_fails(*state, RPC_SPAWN, &params, E2BIG, NULL, "spawn 'true'");
	for (size_t i = 0; i < array_len(pairs); i++)
		free(pairs[i].key);
}

/* Dispositions, mask, session, descriptors, umask. */
static void test_clean_start(void **state)
{
	struct guest *g = *state;
	struct rpc_spawn params;

	spawn_params(g, &params, NULL, NULL, NULL, NULL);
	check_shell(g, &params, "cat /proc/self/status | grep -E '^Sig(Blk|Ign|Cgt)' | cut -f2",
		"0000000000000000\n0000000000000000\n0000000000000000\n");
	check_shell(g, &params, "umask; ls -l /proc/self/fd | wc -l; readlink /proc/self/fd/0",
		"0022\n5\n/dev/null\n");
	check_shell(
		g, &params, "[ $(cut -d' ' -f6 /proc/$$/stat) = $$ ] && echo leader", "leader\n");
	check_shell(g, &params, "sleep 0.05; cat /proc/$$/oom_score_adj", "500\n");
	check_shell(g, &params, "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t0\n");
}

static void few_processes(struct agent_config *config)
{
	config->processes_max = 2;
}

static void test_process_limit(void **state)
{
	struct guest *g = guest_new(few_processes);
	struct rpc_spawn params;
	int64_t first, second;

	first = spawn_shell(g, "exec sleep 30", NULL, NULL, NULL);
	second = spawn_shell(g, "exec sleep 30", NULL, NULL, NULL);
	spawn_params(g, &params, "true", NULL, NULL, NULL);
	guest_fails(g, RPC_SPAWN, &params, EAGAIN, NULL, "spawn 'true'");
	guest_ok(g, RPC_PROCESS_KILL, &(struct rpc_process_kill){.pid = first}, NULL);
	expect_end(g, first, 143, "SIGTERM");
	expect_end(g, spawn_shell(g, "exit 3", NULL, NULL, NULL), 3, NULL);
	guest_ok(g, RPC_PROCESS_KILL, &(struct rpc_process_kill){second, "SIGKILL"}, NULL);
	expect_end(g, second, 137, "SIGKILL");
	guest_free(g);
}

static void few_streams(struct agent_config *config)
{
	config->streams_max = 2;
}

static void test_stream_limit(void **state)
{
	struct guest *g = guest_new(few_streams);
	struct inbox out = {0};

	check_refused(g, "true", NULL, EAGAIN, "spawn 'true'");
	expect_end(g, spawn_shell(g, "echo x", NULL, &out, NULL), 0, NULL);
	guest_await(g, &out.ended);
	inbox_free(&out);
	guest_free(g);
}

static void test_many(void **state)
{
	struct guest *g = *state;

	for (int i = 0; i < 200; i++) {
		struct inbox out = {0};
		int64_t pid = spawn_shell(g, "echo hello", NULL, &out, NULL);

		guest_await(g, &out.ended);
		assert_int_equal(out.total, 6);
		expect_end(g, pid, 0, NULL);
		inbox_free(&out);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_arguments),
		TEST(test_environment),
		TEST(test_environment_cleared),
		TEST(test_cwd),
		TEST(test_search),
		TEST(test_script_without_interpreter),
		TEST(test_refused),
		TEST(test_too_long),
		TEST(test_bad_environment),
		TEST(test_clean_start),
		cmocka_unit_test(test_process_limit),
		cmocka_unit_test(test_stream_limit),
		TEST(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
