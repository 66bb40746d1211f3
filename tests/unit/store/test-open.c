#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"

static int reopen(struct fixture *f, struct error *err)
{
	memset(err, 0, sizeof(*err));
	store_close(f->store);
	f->store = NULL;
	return store_open(f->path, &f->store, err);
}

/* Runs SQL with SQLite itself, past the store. */
static void run_sql(const char *path, const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_modes(void **state)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	struct fixture *f = *state;
	struct store_org org;

	assert_int_equal(store_org_create(f->store, "home", &org, NULL), 0);
	for (size_t i = 0; i < array_len(suffixes); i++) {
		auto_free char *path = mem_printf("%s%s", f->path, suffixes[i]);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
}

static void test_contents_stay(void **state)
{
	struct fixture *f = *state;
	struct store_org org;
	struct store_org again;
	struct error err;

	assert_int_equal(store_org_create(f->store, "home", &org, NULL), 0);
	assert_int_equal(reopen(f, &err), 0);
	assert_int_equal(store_org_find(f->store, "home", &again), 0);
	assert_int_equal(again.id, org.id);
	assert_string_equal(again.uuid, org.uuid);
	assert_int_equal(again.created_ms, org.created_ms);
	assert_int_equal(store_checkpoint(f->store), 0);
}

static void test_symlink_refused(void **state)
{
	struct fixture *f = *state;
	auto_free char *link = mem_printf("%s/link", f->dir);
	struct store *store;
	struct error err = {0};

	assert_int_equal(symlink("warren.db", link), 0);
	assert_int_equal(store_open(link, &store, &err), -ELOOP);
	assert_non_null(strstr(err.message, "symbolic link"));
	unlink(link);
	assert_int_equal(store_open(f->dir, &store, &err), -EMEDIUMTYPE);
	assert_int_equal(store_open("/nonexistent/warren.db", &store, &err), -ENOENT);
	assert_non_null(strstr(err.message, "/nonexistent/warren.db"));
}

static void overwrite(const char *path, off_t at, const void *data, size_t len)
{
	auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, at), (ssize_t)len);
}

static void test_no_database(void **state)
{
	struct fixture *f = *state;
	struct error err;

	store_close(f->store);
	f->store = NULL;
	overwrite(f->path, 0, "This is something quite different", 33);
	assert_int_equal(reopen(f, &err), -EMEDIUMTYPE);
	assert_non_null(strstr(err.message, "damaged or not a database of Warren"));
	assert_non_null(strstr(err.message, f->path));
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	char noise[4000];
	struct store_org org;
	struct error err;
	struct stat st;

	for (int i = 0; i < 100; i++) {
		auto_free char *slug = mem_printf("org-%d", i);

		assert_int_equal(store_org_create(f->store, slug, &org, NULL), 0);
	}
	store_close(f->store);
	f->store = NULL;
	assert_int_equal(stat(f->path, &st), 0);
	memset(noise, 0x5a, sizeof(noise));
	/* Every page but the one with the schema. */
	for (off_t at = 4096; at < st.st_size; at += 4096)
		overwrite(f->path, at, noise, sizeof(noise));
	assert_int_equal(reopen(f, &err), -EUCLEAN);
	assert_non_null(strstr(err.message, "is damaged"));
	assert_non_null(strstr(err.message, "move it away"));
}

static void test_newer_refused(void **state)
{
	struct fixture *f = *state;
	struct error err;

	store_close(f->store);
	f->store = NULL;
	run_sql(f->path, "PRAGMA user_version = 99");
	assert_int_equal(reopen(f, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.message, "newer Warren (schema 99"));
	/* Nothing was changed on the way. */
	run_sql(f->path, "PRAGMA user_version = 2");
	assert_int_equal(reopen(f, &err), 0);
}

/* A store as the first version left it. */
static void test_brought_up_to_date(void **state)
{
	struct fixture *f = *state;
	struct store_sandbox rec = {.region = "ord", .id = "a"};
	struct store_event event = {.sandbox_id = "a", .type = "flow", .details = "{}"};
	struct store_org org;
	struct error err;

	assert_int_equal(store_org_create(f->store, "kept", &org, NULL), 0);
	rec.org_id = org.id;
	assert_int_equal(store_sandbox_insert(f->store, &rec), 0);
	store_close(f->store);
	f->store = NULL;
	run_sql(f->path, "DROP TABLE event; PRAGMA user_version = 1");
	assert_int_equal(reopen(f, &err), 0);
	assert_int_equal(store_org_find(f->store, "kept", &org), 0);
	assert_int_equal(store_event_insert(f->store, &event, 1), 0);
	assert_int_equal(event.id, 1);
}

static void test_foreign_refused(void **state)
{
	struct fixture *f = *state;
	struct error err;

	store_close(f->store);
	f->store = NULL;
	unlink(f->path);
	run_sql(f->path, "CREATE TABLE recipes (name TEXT)");
	assert_int_equal(reopen(f, &err), -EMEDIUMTYPE);
	assert_non_null(strstr(err.message, "another program"));
	unlink(f->path);
	run_sql(f->path, "CREATE TABLE recipes (name TEXT); PRAGMA user_version = 1;");
	assert_int_equal(reopen(f, &err), -EMEDIUMTYPE);
}

static void test_locked(void **state)
{
	struct fixture *f = *state;
	struct store_org org;
	struct error err = {0};
	sqlite3 *db;

	assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_org_create(f->store, "late", &org, &err), -EBUSY);
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_org_create(f->store, "late", &org, NULL), 0);
	sqlite3_close(db);
}

/* Several processes meet a file that does not exist yet, and each adds something. */
static void test_first_openers(void **state)
{
	enum { PROCESSES = 4 };
	struct fixture *f = *state;
	auto_free char *path = mem_printf("%s/new.db", f->dir);
	pid_t pids[PROCESSES];
	struct store *store;
	int status;

	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0) {
			char slug[16];
			struct error err = {0};
			struct store_org org;
			int r = store_open(path, &store, &err);

			snprintf(slug, sizeof(slug), "org-%d", i);
			if (r == 0)
				r = store_org_create(store, slug, &org, &err);
			if (r < 0)
				fprintf(stderr, "process %d: %s\n", i, err.message);
			_exit(r == 0 ? 0 : 1);
		}
	}
	for (int i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(store_open(path, &store, NULL), 0);
	assert_int_equal(store_org_count(store), PROCESSES);
	store_close(store);

	const char *const suffixes[] = {"", "-wal", "-shm"};

	for (size_t i = 0; i < array_len(suffixes); i++) {
		auto_free char *name = mem_printf("%s%s", path, suffixes[i]);

		unlink(name);
	}
}

/* The daemon has it open while an operator makes and revokes a token. */
static void test_second_process(void **state)
{
	struct fixture *f = *state;
	char text[STORE_TOKEN_TEXT_SIZE] = "";
	struct store_token token;
	struct store_token found;
	struct store_org org;
	struct store *other;

	assert_int_equal(store_org_create(f->store, "home", &org, NULL), 0);
	assert_int_equal(store_open(f->path, &other, NULL), 0);
	assert_int_equal(store_token_create(other, org.id, "ops", 0, &token, text, NULL), 0);
	assert_int_equal(store_token_check(f->store, text, strlen(text), 1000, &found), 0);
	assert_int_equal(store_token_revoke(other, token.id, 2000), 0);
	store_close(other);
	assert_int_equal(store_token_check(f->store, text, strlen(text), 3000, &found), -ENOENT);
}

/* A process that dies in the middle leaves what it had committed and nothing else. */
static void test_killed_writer(void **state)
{
	struct fixture *f = *state;
	struct store_org org;
	struct error err;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct store *store;

		if (store_open(f->path, &store, NULL) == 0 &&
			store_org_create(store, "kept", &org, NULL) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(reopen(f, &err), 0);
	assert_int_equal(store_org_find(f->store, "kept", &org), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(test_modes),
		store_test(test_contents_stay),
		store_test(test_symlink_refused),
		store_test(test_no_database),
		store_test(test_damaged),
		store_test(test_brought_up_to_date),
		store_test(test_newer_refused),
		store_test(test_foreign_refused),
		store_test(test_locked),
		store_test(test_first_openers),
		store_test(test_second_process),
		store_test(test_killed_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
