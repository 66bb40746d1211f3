/* Opening the database, and running statements on it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/store_priv.h"

#define BUSY_MS 500
/* Pages of log after which a write empties it; that waits for the disk, so not too often. */
#define CHECKPOINT_PAGES "4000"

static const char *const sql[STMT_COUNT] = {
	[STMT_BEGIN] = "BEGIN IMMEDIATE",
	[STMT_COMMIT] = "COMMIT",
	[STMT_ROLLBACK] = "ROLLBACK",
	[STMT_ORG_INSERT] = "INSERT INTO org (uuid, slug, created_ms) VALUES (?1, ?2, ?3)",
	[STMT_ORG_FIND] = "SELECT id, uuid, slug, created_ms FROM org WHERE slug = ?1",
	[STMT_ORG_COUNT] = "SELECT count(*) FROM org",
	[STMT_TOKEN_INSERT] = "INSERT INTO token (org_id, name, hint, hash, created_ms, expires_ms)"
			      " SELECT id, ?2, ?3, ?4, ?5, ?6 FROM org WHERE id = ?1",
	[STMT_TOKEN_BY_HASH] =
		"SELECT token.id, org_id, slug, name, hint, token.created_ms, expires_ms, "
		"revoked_ms,"
		" last_used_ms FROM token JOIN org ON org.id = org_id WHERE hash = ?1",
	[STMT_TOKEN_USED] = "UPDATE token SET last_used_ms = ?2 WHERE id = ?1",
	[STMT_TOKEN_REVOKE] = "UPDATE token SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms = 0",
	[STMT_SANDBOX_INSERT] =
		"INSERT INTO sandbox (id, org_id, region, level, memory_mb, status, end_reason,"
		" end_detail, session, created_ms, stop_at_ms, stopped_ms)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
	[STMT_LABEL_INSERT] = "INSERT INTO label (sandbox_id, key, value) VALUES (?1, ?2, ?3)",
	[STMT_LABELS] = "SELECT key, value FROM label WHERE sandbox_id = ?1 ORDER BY position",
	[STMT_SANDBOX_FIND] = "SELECT id, org_id, region, level, memory_mb, status, end_reason, "
			      "end_detail, session,"
			      " created_ms, stop_at_ms, stopped_ms FROM sandbox"
			      " WHERE id = ?1 AND (?2 = 0 OR org_id = ?2)",
	[STMT_SANDBOX_RUNNING] = "UPDATE sandbox SET status = 1 WHERE id = ?1 AND end_reason = 0",
	[STMT_SANDBOX_STOP_AT] =
		"UPDATE sandbox SET stop_at_ms = ?2 WHERE id = ?1 AND end_reason = 0",
	[STMT_SANDBOX_END] =
		"UPDATE sandbox SET status = 2, end_reason = ?2, end_detail = ?3, stopped_ms = ?4"
		" WHERE id = ?1 AND end_reason = 0",
	[STMT_SANDBOX_END_ALL] =
		"UPDATE sandbox SET status = 2, end_reason = ?1, end_detail = ?2, stopped_ms = ?3"
		" WHERE end_reason = 0",
	[STMT_SANDBOX_PRUNE] = "DELETE FROM sandbox WHERE id IN (SELECT id FROM sandbox"
			       " WHERE end_reason <> 0 AND stopped_ms < ?1"
			       " AND NOT EXISTS (SELECT 1 FROM event WHERE sandbox_id = sandbox.id)"
			       " ORDER BY stopped_ms LIMIT ?2)",
	[STMT_EVENT_INSERT] = "INSERT INTO event (sandbox_id, org_id, time_ms, type, details)"
			      " SELECT id, org_id, ?2, ?3, ?4 FROM sandbox WHERE id = ?1",
	[STMT_EVENT_LIST] = "SELECT id, sandbox_id, time_ms, type, details FROM event"
			    " WHERE sandbox_id = ?1 AND (?2 = 0 OR org_id = ?2) AND id > ?3"
			    " AND (?4 = 0 OR id < ?4) AND (?5 IS NULL OR type = ?5)"
			    " ORDER BY id LIMIT ?6",
	[STMT_EVENT_PRUNE_OLD] = "DELETE FROM event WHERE id IN (SELECT id FROM event"
				 " WHERE time_ms < ?1 ORDER BY time_ms LIMIT ?2)",
	[STMT_EVENT_PRUNE_ENDED] = "DELETE FROM event WHERE id IN (SELECT event.id FROM sandbox"
				   " JOIN event ON event.sandbox_id = sandbox.id"
				   " WHERE end_reason <> 0 AND stopped_ms < ?1 LIMIT ?2)",
	[STMT_EVENT_TRIM] =
		"DELETE FROM event WHERE sandbox_id = ?1 AND id <= (SELECT id FROM event"
		" WHERE sandbox_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
};

/* --- statements -------------------------------------------------------------------------- */

int store_errno(int rc)
{
	static const struct {
		int rc;
		int err;
	} exact[] = {
		{SQLITE_CONSTRAINT_UNIQUE, -EEXIST},
		{SQLITE_CONSTRAINT_PRIMARYKEY, -EEXIST},
		{SQLITE_IOERR_NOMEM, -ENOMEM},
	};
	static const struct {
		int rc;
		int err;
	} primary[] = {
		{SQLITE_OK, 0},
		{SQLITE_ROW, 0},
		{SQLITE_DONE, 0},
		{SQLITE_BUSY, -EBUSY},
		{SQLITE_LOCKED, -EBUSY},
		{SQLITE_NOMEM, -ENOMEM},
		{SQLITE_READONLY, -EROFS},
		{SQLITE_IOERR, -EIO},
		{SQLITE_CORRUPT, -EUCLEAN},
		{SQLITE_NOTADB, -EMEDIUMTYPE},
		{SQLITE_FULL, -ENOSPC},
		{SQLITE_CANTOPEN, -EACCES},
		{SQLITE_PERM, -EACCES},
		{SQLITE_AUTH, -EACCES},
		{SQLITE_TOOBIG, -E2BIG},
		{SQLITE_CONSTRAINT, -EINVAL},
	};

	for (size_t i = 0; i < array_len(exact); i++)
		if (exact[i].rc == rc)
			return exact[i].err;
	for (size_t i = 0; i < array_len(primary); i++)
		if (primary[i].rc == (rc & 0xff))
			return primary[i].err;
	return -EIO;
}

sqlite3_stmt *store_stmt(struct store *store, enum store_stmt which)
{
	sqlite3_stmt **stmt = &store->stmts[which];

	if (*stmt == NULL)
		(void)sqlite3_prepare_v3(
			store->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
	if (*stmt != NULL) {
		(void)sqlite3_reset(*stmt);
		(void)sqlite3_clear_bindings(*stmt);
	}
	return *stmt;
}

void store_reset_ptr(sqlite3_stmt **stmt)
{
	(void)sqlite3_reset(*stmt);
}

void store_finalize_ptr(sqlite3_stmt **stmt)
{
	(void)sqlite3_finalize(*stmt);
}

int store_step(sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	return rc == SQLITE_ROW ? 1 : store_errno(rc);
}

int store_run(sqlite3_stmt *stmt)
{
	int r = stmt != NULL ? store_step(stmt) : -ENOMEM;

	(void)sqlite3_reset(stmt);
	return r < 0 ? r : 0;
}

int store_begin(struct store *store)
{
	return store_run(store_stmt(store, STMT_BEGIN));
}

int store_end(struct store *store, int r)
{
	if (r >= 0) {
		int commit = store_run(store_stmt(store, STMT_COMMIT));

		if (commit == 0)
			return r;
		r = commit;
	}
	/* Some errors have rolled back already; a second time does no harm. */
	(void)store_run(store_stmt(store, STMT_ROLLBACK));
	return r;
}

int store_bind_text(sqlite3_stmt *stmt, int index, const char *text)
{
	return store_errno(sqlite3_bind_text(stmt, index, text, -1, SQLITE_STATIC));
}

void store_column_text(sqlite3_stmt *stmt, int column, char *ret_text, size_t size)
{
	const unsigned char *text = sqlite3_column_text(stmt, column);
	size_t len = (size_t)sqlite3_column_bytes(stmt, column);

	if (len >= size)
		len = size - 1;
	if (text != NULL)
		memcpy(ret_text, text, len);
	ret_text[text != NULL ? len : 0] = '\0';
}

/* --- opening ----------------------------------------------------------------------------- */

/*
 * The file is made by us for its mode; SQLite gives its log files the same one. An existing file is
 * looked at by name only: to close a descriptor of it would drop the locks that another connection
 * of this process holds on it.
 */
static int prepare_file(const char *path, struct error *ret_err)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = -errno;

	if (fd >= 0) {
		fd_close(fd);
		return 0;
	}
	if (err != -EEXIST)
		return error_set(ret_err, err, "", "cannot make %s: %s", path, strerror(-err));
	if (lstat(path, &st) < 0)
		return error_set(
			ret_err, -errno, "", "cannot look at %s: %s", path, strerror(errno));
	if (S_ISLNK(st.st_mode))
		return error_set(ret_err, -ELOOP, "", "%s is a symbolic link", path);
	if (!S_ISREG(st.st_mode))
		return error_set(ret_err, -EMEDIUMTYPE, "", "%s is no regular file", path);
	return 0;
}

static void harden(sqlite3 *db)
{
	static const struct {
		int option;
		int on;
	} options[] = {
		{SQLITE_DBCONFIG_DEFENSIVE, 1},
		{SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
		{SQLITE_DBCONFIG_ENABLE_FKEY, 1},
		{SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
		{SQLITE_DBCONFIG_ENABLE_VIEW, 0},
		{SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
		{SQLITE_DBCONFIG_DQS_DML, 0},
		{SQLITE_DBCONFIG_DQS_DDL, 0},
	};

	for (size_t i = 0; i < array_len(options); i++)
		(void)sqlite3_db_config(db, options[i].option, options[i].on, NULL);
}

/* The change to WAL needs the file alone, and SQLite does not wait for that by itself. */
static int enter_wal(sqlite3 *db)
{
	int rc = SQLITE_BUSY;

	for (int i = 0; i < BUSY_MS / 10 && (rc & 0xff) == SQLITE_BUSY; i++) {
		rc = sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
		if ((rc & 0xff) == SQLITE_BUSY)
			(void)sqlite3_sleep(10);
	}
	return rc;
}

static int set_up(sqlite3 *db)
{
	static const char *const pragmas =
		"PRAGMA cell_size_check = ON;"
		"PRAGMA temp_store = MEMORY;" /* the daemon sees no /tmp */
		"PRAGMA mmap_size = 0;"       /* a damaged disk gives an error, not a signal */
		"PRAGMA synchronous = NORMAL;"
		"PRAGMA foreign_keys = ON;"
		"PRAGMA journal_size_limit = 16777216;"
		"PRAGMA wal_autocheckpoint = " CHECKPOINT_PAGES;
	int rc;

	harden(db);
	rc = sqlite3_busy_timeout(db, BUSY_MS);
	if (rc == SQLITE_OK)
		rc = enter_wal(db);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, pragmas, NULL, NULL, NULL);
	return rc;
}

/* The verdict of quick_check is text, "ok" for a sound file. */
static int check(struct store *store, const char *path, struct error *ret_err)
{
	auto_finalize sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(store->db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
	int r = rc == SQLITE_OK ? store_step(stmt) : store_errno(rc);
	char text[128] = "";

	if (r == 1)
		store_column_text(stmt, 0, text, sizeof(text));
	if (r == 1 && strcmp(text, "ok") == 0)
		return 0;
	if (r >= 0)
		r = -EUCLEAN;
	return error_set(ret_err, r, "",
		"%s is damaged (%s); put back a copy, or move it away to begin with an empty one",
		path, text[0] != '\0' ? text : sqlite3_errmsg(store->db));
}

static int open_failed(struct store *store, int rc, const char *path, struct error *ret_err)
{
	int r = store_errno(rc);

	if (r == -EMEDIUMTYPE)
		return error_set(ret_err, r, "", "%s is damaged or not a database of Warren", path);
	if (r == -EUCLEAN)
		return error_set(ret_err, r, "",
			"%s is damaged; put back a copy, or move it away to begin with an empty "
			"one",
			path);
	return error_set(ret_err, r, "", "cannot open %s: %s", path, sqlite3_errmsg(store->db));
}

/* Now rather than at a request, where nobody could read the reason. */
static int prepare_all(struct store *store, const char *path, struct error *ret_err)
{
	for (int i = 0; i < STMT_COUNT; i++)
		if (store_stmt(store, (enum store_stmt)i) == NULL)
			return open_failed(
				store, sqlite3_extended_errcode(store->db), path, ret_err);
	return 0;
}

int store_open(const char *path, struct store **ret, struct error *ret_err)
{
	struct store *store;
	int r = prepare_file(path, ret_err);
	int rc;

	if (r < 0)
		return r;
	store = mem_new(struct store);
	rc = sqlite3_open_v2(path, &store->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
			SQLITE_OPEN_EXRESCODE,
		NULL);
	if (rc == SQLITE_OK)
		rc = set_up(store->db);
	if (rc != SQLITE_OK)
		r = open_failed(store, rc, path, ret_err);
	if (r == 0)
		r = check(store, path, ret_err);
	if (r == 0)
		r = store_migrate(store, path, ret_err);
	if (r == 0)
		r = prepare_all(store, path, ret_err);
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret = store;
	return 0;
}

void store_close(struct store *store)
{
	if (store == NULL)
		return;
	for (size_t i = 0; i < STMT_COUNT; i++)
		(void)sqlite3_finalize(store->stmts[i]);
	(void)sqlite3_close(store->db);
	free(store);
}

int store_checkpoint(struct store *store)
{
	return store_errno(
		sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
}
