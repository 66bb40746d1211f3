/* What the user may, and what stays the agent's. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "guest/identity.h"
#include "harness.h"

#define USER 12345
#define GROUP 12346

static void as_user(struct agent_config *config)
{
	config->become = true;
	config->uid = USER;
	config->gid = GROUP;
}

static int setup(void **state)
{
	*state = guest_new(as_user);
	return 0;
}

static int teardown(void **state)
{
	guest_free(*state);
	return 0;
}

/* --- the group file --------------------------------------------------------------------------- */

static void check_groups(const char *text, size_t count, const gid_t *expected)
{
	gid_t groups[IDENTITY_GROUPS_MAX];

	assert_int_equal(identity_groups(text, "app", 1000, groups), count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(groups[i], expected[i]);
}

static void test_groups(void **state)
{
	static const gid_t only[] = {1000}, two[] = {1000, 27}, three[] = {1000, 27, 44};

	check_groups("", 1, only);
	check_groups("root:x:0:\napp:x:1000:\n", 1, only);
	check_groups("sudo:x:27:app\n", 2, two);
	check_groups("sudo:x:27:app", 2, two);
	check_groups("sudo:x:27:me,app,you\nvideo:x:44:app\nsudo:x:27:app\n", 3, three);
	/* Names that only contain ours, and lines that make no sense. */
	check_groups("a:x:1:apple\nb:x:2:myapp,app2\nc:x:3:,\nd:x\ne\n:::\nf:x::app\n", 1, only);
	check_groups("g:x:-5:app\nh:x:5x:app\ni:x:99999999999:app\nj:x:4294967295:app\n", 1, only);
	check_groups("self:x:1000:app\n", 1, only);
}

static void test_many_groups(void **state)
{
	gid_t groups[IDENTITY_GROUPS_MAX];
	auto_buf struct buf b = {.max = 100000};

	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_printf(&b, "g%d:x:%d:app\n", i, 2000 + i), 0);
	assert_int_equal(buf_append_byte(&b, 0), 0);
	assert_int_equal(
		identity_groups((char *)buf_data(&b), "app", 1000, groups), IDENTITY_GROUPS_MAX);
}

/* --- the user --------------------------------------------------------------------------------- */

static void test_process_identity(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0};
	int64_t pid = spawn_shell(g,
		"id -u; id -g; id -G; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 |"
		" sort -u; grep -c 'CapBnd:.*0000000000000000$' /proc/self/status; touch made",
		NULL, &out, NULL);

	guest_await(g, &out.ended);
	buf_append_byte(&out.data, 0);
	assert_string_equal(
		(char *)buf_data(&out.data), "12345\n12346\n12346\n0000000000000000\n0\n");
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

static void check_owner(struct guest *g, const char *name)
{
	auto_free char *path = home_path(g, name);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_uid, USER);
	assert_int_equal(st.st_gid, GROUP);
}

static void test_files_belong_to_user(void **state)
{
	struct guest *g = *state;
	struct outbox out = {.data = "x", .len = 1};
	struct rpc_write_file write = {.path = "file", .options = {.create = true, .mode = 0640}};
	struct rpc_mkdir mkdir_params = {"a/b", {true, -1}};
	struct rpc_symlink link = {"file", "link", {.type = -1}};
	struct rpc_remove remove_params = {"a", {true}};
	struct answer *a;

	outbox_open(g, &out);
	write.channel = out.stream.id;
	a = guest_send(g, RPC_WRITE_FILE, &write);
	outbox_start(&out);
	guest_await(g, &a->done);
	assert_false(a->failed);
	guest_ok(g, RPC_MKDIR, &mkdir_params, NULL);
	guest_ok(g, RPC_SYMLINK, &link, NULL);
	check_owner(g, "file");
	check_owner(g, "a/b");
	check_owner(g, "link");
	guest_ok(g, RPC_REMOVE, &remove_params, NULL);
}

static void refused_read(struct guest *g, const char *path, int err)
{
	struct rpc_read_file params = {.path = (char *)(uintptr_t)path};
	struct inbox in = {0};

	inbox_open(g, &in);
	params.channel = in.stream.id;
	guest_fails(g, RPC_READ_FILE, &params, err, NULL, path);
	inbox_free(&in);
}

static void refused_write(struct guest *g, const char *path, int64_t mode)
{
	struct rpc_write_file params = {
		.path = (char *)(uintptr_t)path,
		.options = {.create = true, .mode = mode},
	};
	struct outbox out = {0};

	outbox_open(g, &out);
	params.channel = out.stream.id;
	guest_fails(g, RPC_WRITE_FILE, &params, mode < 0 ? EACCES : EPERM, NULL, path);
	rpc_clear(&rpc_failure_schema, &out.failure);
}

/* Folders of root, made for the test: what is in them is not the user's. */
static void test_refused(void **state)
{
	struct guest *g = *state;
	auto_free char *root = mem_printf("%s-root", g->home);
	auto_free char *inside = mem_printf("%s/inside", root);
	auto_free char *tree = mem_printf("%s/tree", g->home);
	auto_free char *of_root = mem_printf("%s/tree/root", g->home);
	auto_free char *in_root = mem_printf("%s/tree/root/x", g->home);
	auto_free char *wide = mem_printf("%s/wide", g->home);

	assert_int_equal(mkdir(root, 0700), 0);
	assert_int_equal(mkdir(inside, 0755), 0);
	refused_read(g, inside, EACCES);
	refused_write(g, inside, -1);
	guest_fails(g, RPC_READ_DIR, &(struct rpc_path){root}, EACCES, NULL, "readdir");
	guest_fails(g, RPC_STAT, &(struct rpc_path){inside}, EACCES, NULL, "stat");
	guest_fails(g, RPC_MKDIR, &(struct rpc_mkdir){inside, {false, -1}}, EACCES, NULL, "mkdir");
	guest_fails(g, RPC_REMOVE, &(struct rpc_remove){root, {true}}, EPERM, NULL, "remove");
	guest_fails(g, RPC_REMOVE, &(struct rpc_remove){inside, {true}}, EACCES, NULL, "remove");
	/* A folder of somebody else in one's own. */
	assert_int_equal(mkdir(tree, 0777), 0);
	assert_int_equal(chown(tree, USER, GROUP), 0);
	assert_int_equal(mkdir(of_root, 0755), 0);
	assert_int_equal(mkdir(in_root, 0755), 0);
	guest_fails(g, RPC_REMOVE, &(struct rpc_remove){tree, {true}}, EACCES, NULL, "remove");
	assert_int_equal(rmdir(in_root), 0);
	assert_int_equal(chmod(of_root, 0700), 0);
	/* One that may not be read but is empty can go. */
	guest_ok(g, RPC_REMOVE, &(struct rpc_remove){tree, {true}}, NULL);
	/* May be written, but its mode is its owner's. */
	home_write(g, "wide", "");
	assert_int_equal(chmod(wide, 0666), 0);
	refused_write(g, wide, 0600);
	assert_int_equal(rmdir(inside), 0);
	assert_int_equal(rmdir(root), 0);
}

/* The agent's own files in /proc: "self" in a path is the agent. */
static void test_agent_is_closed(void **state)
{
	static const char *const names[] = {"mem", "environ", "auxv"};
	struct guest *g = *state;

	for (size_t i = 0; i < array_len(names); i++) {
		auto_free char *self = mem_printf("/proc/self/%s", names[i]);
		auto_free char *by_pid = mem_printf("/proc/%d/%s", (int)g->pid, names[i]);

		refused_read(g, self, EACCES);
		refused_read(g, by_pid, EACCES);
	}
	refused_write(g, "/proc/self/mem", -1);
	refused_write(g, "/proc/self/oom_score_adj", -1);
	guest_fails(g, RPC_READ_DIR, &(struct rpc_path){"/proc/1/fd"}, EACCES, NULL, "readdir");
}

/* A process of the user can neither signal nor read the agent. */
static void test_agent_is_out_of_reach(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0};
	auto_free char *script = mem_printf(
		"kill -0 %d 2>/dev/null && echo signalled; cat /proc/%d/environ 2>/dev/null && echo"
		" read; ls /proc/%d/fd >/dev/null 2>&1 && echo listed; echo end",
		(int)g->pid, (int)g->pid, (int)g->pid);
	int64_t pid = spawn_shell(g, script, NULL, &out, NULL);

	guest_await(g, &out.ended);
	buf_append_byte(&out.data, 0);
	assert_string_equal((char *)buf_data(&out.data), "end\n");
	expect_end(g, pid, 0, NULL);
	inbox_free(&out);
}

/* Signals reach processes that have become somebody else. */
static void test_kill_setuid(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0};
	auto_free char *tool = home_path(g, "tool");
	struct rpc_spawn params;
	struct rpc_spawned result;
	char *args[] = {"30"};
	struct stat st;

	/* A copy of sleep that runs as root. */
	expect_end(g, spawn_shell(g, "cp /bin/sleep tool", NULL, &out, NULL), 0, NULL);
	assert_int_equal(chown(tool, 0, 0), 0);
	assert_int_equal(chmod(tool, 04755), 0);
	spawn_params(g, &params, "./tool", NULL, NULL, NULL);
	params.args = (struct rpc_strings){args, 1};
	guest_ok(g, RPC_SPAWN, &params, &result);
	{
		auto_free char *proc = mem_printf("/proc/%d", (int)result.pid);

		assert_int_equal(stat(proc, &st), 0);
		assert_int_equal(st.st_uid, 0);
	}
	guest_ok(g, RPC_PROCESS_KILL, &(struct rpc_process_kill){.pid = result.pid}, NULL);
	expect_end(g, result.pid, 143, "SIGTERM");
	inbox_free(&out);
}

static void test_configure(void **state)
{
	struct guest *g = *state;
	struct rpc_pair pairs[] = {{"EXTRA", "1"}, {"LANG", "de_DE.UTF-8"}};
	struct rpc_configure params = {.env = {pairs, 2}};
	struct rpc_env_set set = {"GONE", "x"};
	struct rpc_text text;
	struct rpc_env env;

	guest_ok(g, RPC_ENV_SET, &set, NULL);
	guest_ok(g, RPC_CONFIGURE, &params, NULL);
	guest_ok(g, RPC_ENV_TO_OBJECT, NULL, &env);
	assert_int_equal(env.env.count, 8);
	rpc_clear(&rpc_env_schema, &env);
	guest_ok(g, RPC_ENV_GET, &(struct rpc_env_key){"LANG"}, &text);
	assert_string_equal(text.text, "de_DE.UTF-8");
	rpc_clear(&rpc_text_schema, &text);
	guest_ok(g, RPC_ENV_GET, &(struct rpc_env_key){"HOME"}, &text);
	assert_string_equal(text.text, g->home);
	rpc_clear(&rpc_text_schema, &text);
	guest_ok(g, RPC_ENV_GET, &(struct rpc_env_key){"GONE"}, &text);
	assert_null(text.text);
	rpc_clear(&rpc_text_schema, &text);
}

static void test_env_calls(void **state)
{
	struct guest *g = *state;
	struct rpc_env_set set = {"NAME", "value=x"};
	struct rpc_env_key key = {"NAME"};
	struct rpc_text text;

	guest_ok(g, RPC_ENV_SET, &set, NULL);
	guest_ok(g, RPC_ENV_GET, &key, &text);
	assert_string_equal(text.text, "value=x");
	rpc_clear(&rpc_text_schema, &text);
	guest_ok(g, RPC_ENV_DELETE, &key, NULL);
	guest_ok(g, RPC_ENV_DELETE, &key, NULL);
	guest_ok(g, RPC_ENV_GET, &key, &text);
	assert_null(text.text);
	set.key = "";
	guest_fails(g, RPC_ENV_SET, &set, EINVAL, "TypeError", "envset ''");
	set.key = "A=B";
	guest_fails(g, RPC_ENV_SET, &set, EINVAL, "TypeError", "envset 'A=B'");
	key.key = "";
	guest_fails(g, RPC_ENV_GET, &key, EINVAL, "TypeError", "envget ''");
	key.key = "=";
	guest_fails(g, RPC_ENV_DELETE, &key, EINVAL, "TypeError", "envdelete '='");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest groups[] = {
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_many_groups),
	};
	const struct CMUnitTest as_root[] = {
		TEST(test_process_identity),
		TEST(test_files_belong_to_user),
		TEST(test_refused),
		TEST(test_agent_is_closed),
		TEST(test_agent_is_out_of_reach),
		TEST(test_kill_setuid),
		TEST(test_configure),
		TEST(test_env_calls),
	};
	int r = cmocka_run_group_tests(groups, NULL, NULL);

	/* Becoming another user takes root. */
	if (geteuid() == 0)
		r |= cmocka_run_group_tests(as_root, NULL, NULL);
	return r;
}
