/*
 * The schema and its history. PRAGMA user_version counts the steps that were applied; each step is
 * written once and never changed afterwards. A new store runs them all.
 */
#include <errno.h>

#include "base/mem.h"
#include "store/store_priv.h"

/* "WRRN": tells a store from other SQLite files. */
#define APPLICATION_ID 1465012814
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

static const char *const steps[] = {
	/* 1: organisations, tokens, sandboxes */
	"PRAGMA application_id = " TEXT(
		APPLICATION_ID) ";"
				"CREATE TABLE org ("
				" id INTEGER PRIMARY KEY,"
				" uuid TEXT NOT NULL UNIQUE,"
				" slug TEXT NOT NULL UNIQUE,"
				" created_ms INTEGER NOT NULL"
				") STRICT;"
				"CREATE TABLE token ("
				" id INTEGER PRIMARY KEY AUTOINCREMENT," /* the number of a lost
									    token is not used again
									  */
				" org_id INTEGER NOT NULL REFERENCES org (id),"
				" name TEXT NOT NULL,"
				" hint TEXT NOT NULL,"
				" hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
				" created_ms INTEGER NOT NULL,"
				" expires_ms INTEGER NOT NULL DEFAULT 0,"
				" revoked_ms INTEGER NOT NULL DEFAULT 0,"
				" last_used_ms INTEGER NOT NULL DEFAULT 0"
				") STRICT;"
				"CREATE INDEX token_org ON token (org_id);"
				"CREATE TABLE sandbox ("
				" id TEXT NOT NULL PRIMARY KEY,"
				" org_id INTEGER NOT NULL REFERENCES org (id),"
				" region TEXT NOT NULL,"
				" level TEXT NOT NULL,"
				" memory_mb INTEGER NOT NULL,"
				" status INTEGER NOT NULL,"
				" end_reason INTEGER NOT NULL,"
				" end_detail TEXT NOT NULL,"
				" session INTEGER NOT NULL,"
				" created_ms INTEGER NOT NULL,"
				" stop_at_ms INTEGER NOT NULL,"
				" stopped_ms INTEGER NOT NULL"
				") STRICT;"
				"CREATE INDEX sandbox_list ON sandbox (org_id, created_ms, id);"
				"CREATE INDEX sandbox_open ON sandbox (id) WHERE end_reason = 0;"
				"CREATE INDEX sandbox_ended ON sandbox (stopped_ms) WHERE "
				"end_reason <> 0;"
				"CREATE TABLE label ("
				" position INTEGER PRIMARY KEY,"
				" sandbox_id TEXT NOT NULL REFERENCES sandbox (id) ON DELETE "
				"CASCADE,"
				" key TEXT NOT NULL,"
				" value TEXT NOT NULL,"
				" UNIQUE (sandbox_id, key)"
				") STRICT;",
	/* 2: events */
	"CREATE TABLE event ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT," /* a cursor: never the same number twice */
	" sandbox_id TEXT NOT NULL REFERENCES sandbox (id) ON DELETE CASCADE,"
	" org_id INTEGER NOT NULL REFERENCES org (id),"
	" time_ms INTEGER NOT NULL,"
	" type TEXT NOT NULL,"
	" details TEXT NOT NULL"
	") STRICT;"
	"CREATE INDEX event_sandbox ON event (sandbox_id, id);"
	"CREATE INDEX event_time ON event (time_ms);",
};

#define LATEST ((int)array_len(steps))

static int read_number(struct store *store, const char *pragma, int *ret)
{
	auto_finalize sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(store->db, pragma, -1, &stmt, NULL);
	int r = rc == SQLITE_OK ? store_step(stmt) : store_errno(rc);

	if (r < 0)
		return r;
	*ret = sqlite3_column_int(stmt, 0);
	return 0;
}

static int apply(struct store *store, int from)
{
	for (int i = from; i < LATEST; i++) {
		auto_free char *version = mem_printf("PRAGMA user_version = %d", i + 1);
		int rc = sqlite3_exec(store->db, steps[i], NULL, NULL, NULL);

		if (rc == SQLITE_OK)
			rc = sqlite3_exec(store->db, version, NULL, NULL, NULL);
		if (rc != SQLITE_OK)
			return store_errno(rc);
	}
	return 0;
}

/* A file with version 0 is new, or of another program: the latter has tables. */
static int refuse_foreign(struct store *store, int version, const char *path, struct error *ret_err)
{
	int application = 0;
	int tables = 0;
	int r = read_number(store, "PRAGMA application_id", &application);

	if (r == 0)
		r = read_number(store, "SELECT count(*) FROM sqlite_schema", &tables);
	if (r < 0)
		return error_set(
			ret_err, r, "", "cannot read %s: %s", path, sqlite3_errmsg(store->db));
	if (version == 0 ? tables > 0 : application != APPLICATION_ID)
		return error_set(
			ret_err, -EMEDIUMTYPE, "", "%s is a database of another program", path);
	return 0;
}

int store_migrate(struct store *store, const char *path, struct error *ret_err)
{
	int version = 0;
	int r = read_number(store, "PRAGMA user_version", &version);

	if (r == 0 && version == LATEST)
		return refuse_foreign(store, version, path, ret_err);
	/* Read again under the lock: another process may be doing the same. */
	if (r == 0)
		r = store_begin(store);
	if (r < 0)
		return error_set(
			ret_err, r, "", "cannot read %s: %s", path, sqlite3_errmsg(store->db));
	r = read_number(store, "PRAGMA user_version", &version);
	if (r == 0)
		r = refuse_foreign(store, version, path, ret_err);
	if (r < 0)
		return store_end(store, r);
	if (version > LATEST || version < 0)
		return store_end(store,
			error_set(ret_err, -EPROTONOSUPPORT, "",
				"%s was made by a newer Warren (schema %d; this one knows %d)",
				path, version, LATEST));
	r = store_end(store, apply(store, version));
	if (r < 0)
		return error_set(ret_err, r, "", "cannot bring %s up to date: %s", path,
			sqlite3_errmsg(store->db));
	return 0;
}
