/* Whole commands, each in a child because it may change its user and prints its answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "rpc/json.h"
#include "store/store.h"

#define UID 61171
#define TEXT_MAX 65536

struct fixture {
	char dir[32];
	char *state_flag;
	char *db;
	char *out; /* what the last command wrote */
	char *err;
};

static void put(struct fixture *f, const char *name, const char *text)
{
	auto_free char *path = mem_printf("%s/%s", f->dir, name);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

/* A state folder as the server leaves it, of an unprivileged user when this is root. */
static int setup(void **state)
{
	struct fixture *f = mem_new(struct fixture);
	struct store *store;

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-cli-XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		return -1;
	f->state_flag = mem_printf("--state-dir=%s", f->dir);
	f->db = mem_printf("%s/warren.db", f->dir);
	if (store_open(f->db, &store, NULL) < 0)
		return -1;
	store_close(store);
	if (geteuid() == 0 && (chown(f->dir, UID, UID) < 0 || chown(f->db, UID, UID) < 0))
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	DIR *dir = opendir(f->dir);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
		(void)unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(f->dir);
	free(f->state_flag);
	free(f->db);
	free(f->out);
	free(f->err);
	free(f);
	return 0;
}

static char *read_back(int fd)
{
	char *text = mem_zalloc(TEXT_MAX);
	ssize_t n = pread(fd, text, TEXT_MAX - 1, 0);

	assert_true(n >= 0);
	return text;
}

/* Runs `warren words...` and returns its exit code; its answers are in f->out and f->err. */
static int run(struct fixture *f, const char *const *words)
{
	static char *const envp[] = {(char *)"PATH=/usr/bin:/bin", NULL};
	FILE *out = tmpfile();
	FILE *err = tmpfile();
	char *argv[16] = {(char *)"warren"};
	int argc = 1;
	int status;
	pid_t pid;

	for (; *words != NULL; words++)
		argv[argc++] = (char *)*words;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int code;

		(void)dup2(fileno(out), STDOUT_FILENO);
		(void)dup2(fileno(err), STDERR_FILENO);
		code = cli_main(argc, argv, envp);
		fflush(stdout);
		fflush(stderr);
		_exit(code);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	free(f->out);
	free(f->err);
	f->out = read_back(fileno(out));
	f->err = read_back(fileno(err));
	fclose(out);
	fclose(err);
	return WEXITSTATUS(status);
}

#define RUN(...) run(f, (const char *const[]){__VA_ARGS__, NULL})

static int check_token(struct fixture *f, const char *text, struct store_token *ret)
{
	struct store *store;
	int r;

	assert_int_equal(store_open(f->db, &store, NULL), 0);
	r = store_token_check(store, text, strcspn(text, "\n"), clock_real_ms(), ret);
	store_close(store);
	return r;
}

static void test_token_life(void **state)
{
	struct fixture *f = *state;
	struct store_token token;
	auto_free char *text = NULL;
	auto_free char *id = NULL;

	assert_int_equal(RUN("token", "create", f->state_flag, "--name", "laptop"), 0);
	assert_int_equal(strlen(f->out), 45);
	assert_memory_equal(f->out, "ddo_", 4);
	assert_non_null(strstr(f->err, "made the organisation default"));
	assert_non_null(strstr(f->err, "token 1 (laptop) of organisation default, expires: never"));
	assert_null(strstr(f->err, f->out));
	text = mem_strdup(f->out);
	assert_int_equal(check_token(f, text, &token), 0);
	assert_string_equal(token.org_slug, "default");

	assert_int_equal(RUN("token", "list", f->state_flag), 0);
	assert_non_null(strstr(f->out, "laptop"));
	assert_non_null(strstr(f->out, token.hint));
	assert_non_null(strstr(f->out, "valid"));
	text[strcspn(text, "\n")] = '\0';
	assert_null(strstr(f->out, text));

	id = mem_printf("%d", (int)token.id);
	assert_int_equal(RUN("token", "revoke", f->state_flag, id), 0);
	assert_string_equal(f->out, "");
	assert_int_equal(check_token(f, text, &token), -ENOENT);
	assert_int_equal(RUN("token", "revoke", f->state_flag, id), CLI_FAILURE);
	assert_non_null(strstr(f->err, "no valid token 1"));
	assert_int_equal(RUN("token", "list", f->state_flag), 0);
	assert_non_null(strstr(f->out, "revoked"));
}

static void test_token_options(void **state)
{
	struct fixture *f = *state;
	struct store_token token;
	int64_t now = clock_real_ms();

	assert_int_equal(
		RUN("token", "create", f->state_flag, "--org=acme", "--expires", "30d"), 0);
	assert_int_equal(check_token(f, f->out, &token), 0);
	assert_string_equal(token.org_slug, "acme");
	assert_string_equal(token.name, "token");
	assert_in_range(token.expires_ms, now + INT64_C(2592000000), now + INT64_C(2592060000));
	assert_int_equal(RUN("token", "create", f->state_flag, "--org", "acme"), 0);
	assert_null(strstr(f->err, "made the organisation"));
	assert_int_equal(RUN("token", "create", f->state_flag, "--org", "Not A Slug"), CLI_FAILURE);
	assert_int_equal(RUN("token", "create", f->state_flag, "--expires", "soon"), CLI_USAGE);
	assert_int_equal(RUN("token", "create", f->state_flag, "--expires", "0s"), CLI_USAGE);
	assert_int_equal(RUN("token", "create", f->state_flag, "extra"), CLI_USAGE);
	assert_int_equal(RUN("token", "revoke", f->state_flag, "x1"), CLI_USAGE);
	assert_int_equal(RUN("token", "revoke", f->state_flag, "99999999999999999999"), CLI_USAGE);
	assert_int_equal(RUN("token", "revoke", f->state_flag), CLI_USAGE);
}

static void test_token_json(void **state)
{
	struct fixture *f = *state;
	struct json_object *list;
	struct json_object *member;

	assert_int_equal(RUN("token", "list", "--json", f->state_flag), 0);
	assert_string_equal(f->out, "[]\n");
	assert_int_equal(RUN("token", "create", f->state_flag, "--name", "a\"b\\c"), 0);
	assert_int_equal(RUN("token", "create", f->state_flag, "--org", "acme"), 0);
	assert_int_equal(RUN("token", "list", "--json", f->state_flag), 0);
	list = rpc_json_parse(f->out, strlen(f->out), NULL);
	assert_non_null(list);
	assert_int_equal(json_object_array_length(list), 2);
	assert_true(json_object_object_get_ex(json_object_array_get_idx(list, 0), "name", &member));
	assert_string_equal(json_object_get_string(member), "a\"b\\c");
	assert_true(json_object_object_get_ex(
		json_object_array_get_idx(list, 0), "expiresAt", &member));
	assert_null(member);
	json_object_put(list);
	assert_int_equal(RUN("token", "list", "--json", "--org", "acme", f->state_flag), 0);
	assert_null(strstr(f->out, "default"));
	assert_int_equal(RUN("token", "list", "--org", "nobody", f->state_flag), CLI_FAILURE);
	assert_non_null(strstr(f->err, "no organisation nobody"));
}

/* Whatever root does here, the server must be able to write afterwards. */
static void test_owner_stays(void **state)
{
	struct fixture *f = *state;
	static const char *const suffixes[] = {"", "-wal", "-shm"};

	if (geteuid() != 0)
		skip();
	assert_int_equal(RUN("token", "create", f->state_flag), 0);
	for (size_t i = 0; i < array_len(suffixes); i++) {
		auto_free char *path = mem_printf("%s%s", f->db, suffixes[i]);
		struct stat st;

		if (stat(path, &st) == 0)
			assert_int_equal(st.st_uid, UID);
	}
	/* Records of root are not the server's. */
	assert_int_equal(chown(f->db, 0, 0), 0);
	assert_int_equal(RUN("token", "list", f->state_flag), CLI_FAILURE);
	assert_non_null(strstr(f->err, "not a file of an unprivileged server"));
}

static void test_no_records(void **state)
{
	struct fixture *f = *state;

	unlink(f->db);
	assert_int_equal(RUN("token", "list", f->state_flag), CLI_FAILURE);
	assert_non_null(strstr(f->err, "there are no records"));
	assert_int_equal(access(f->db, F_OK), -1);
}

static void test_env(void **state)
{
	struct fixture *f = *state;
	auto_free char *endpoint = mem_printf(
		"url=http://0.0.0.0:4711\npid=%d\ndomain=localhost:4711\n", (int)getpid());
	char name[16];

	assert_int_equal(RUN("env", f->state_flag), CLI_FAILURE);
	assert_string_equal(f->out, "");
	assert_non_null(strstr(f->err, "no server is running"));
	put(f, "endpoint", endpoint);
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, "warrend");
	assert_int_equal(RUN("env", f->state_flag), CLI_FAILURE);
	assert_non_null(strstr(f->err, "/token"));
	put(f, "token", "ddo_0123456789\n");
	assert_int_equal(RUN("env", f->state_flag), 0);
	prctl(PR_SET_NAME, name);
	assert_string_equal(f->out, "export DENO_DEPLOY_TOKEN=ddo_0123456789\n"
				    "export DENO_SANDBOX_ENDPOINT=http://127.0.0.1:4711\n"
				    "export DENO_DEPLOY_ENDPOINT=http://127.0.0.1:4711\n"
				    "export DENO_SANDBOX_BASE_DOMAIN=localhost:4711\n");
}

static void test_help_and_version(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(RUN("--version"), 0);
	assert_string_equal(f->out, "warren " WARREN_VERSION "\n");
	assert_int_equal(RUN("version"), 0);
	assert_int_equal(RUN("help"), 0);
	assert_non_null(strstr(f->out, "token create"));
	assert_int_equal(RUN("--help"), 0);
	assert_int_equal(RUN("help", "token", "create"), 0);
	assert_non_null(strstr(f->out, "--expires DURATION"));
	assert_int_equal(RUN("token", "create", "--help"), 0);
	assert_non_null(strstr(f->out, "--expires DURATION"));
	assert_int_equal(RUN("serve", "--help"), 0);
	assert_non_null(strstr(f->out, "--max-lifetime DURATION"));
	assert_int_equal(RUN("help", "token"), 0);
	assert_non_null(strstr(f->out, "token revoke"));
	assert_null(strstr(f->out, "doctor"));
	assert_int_equal(RUN("token", "--help"), 0);
}

static void test_usage(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(run(f, (const char *const[]){NULL}), CLI_USAGE);
	assert_string_equal(f->out, "");
	assert_non_null(strstr(f->err, "usage: warren COMMAND"));
	assert_int_equal(RUN("nonsense"), CLI_USAGE);
	assert_non_null(strstr(f->err, "no command \"nonsense\""));
	assert_int_equal(RUN("help", "nonsense"), CLI_USAGE);
	assert_int_equal(RUN("token"), CLI_USAGE);
	assert_non_null(strstr(f->err, "token revoke"));
	assert_int_equal(RUN("token", "nonsense"), CLI_USAGE);
	assert_int_equal(RUN("version", "--nonsense"), CLI_USAGE);
	assert_non_null(strstr(f->err, "usage: warren version"));
	assert_int_equal(RUN("env", "--state-dir"), CLI_USAGE);
	assert_int_equal(RUN("env", "--config", "/nonexistent"), CLI_FAILURE);
	assert_non_null(strstr(f->err, "/nonexistent"));
}

static void test_images(void **state)
{
	struct fixture *f = *state;
	auto_free char *flag = mem_printf("--image-dir=%s/none", f->dir);

	assert_int_equal(RUN("image", "list", flag), 0);
	assert_string_equal(f->out, "");
	assert_non_null(strstr(f->err, "no image in"));
}

int main(void)
{
#define WITH_STATE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_STATE(test_token_life),
		WITH_STATE(test_token_options),
		WITH_STATE(test_token_json),
		WITH_STATE(test_owner_stays),
		WITH_STATE(test_no_records),
		WITH_STATE(test_env),
		WITH_STATE(test_help_and_version),
		WITH_STATE(test_usage),
		WITH_STATE(test_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
