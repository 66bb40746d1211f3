/* What the files of this room share: the connection and its statements. */
#pragma once

#include <sqlite3.h>

#include "store/store.h"

/* Statements that are used again and again, prepared at their first use. */
enum store_stmt {
	STMT_BEGIN,
	STMT_COMMIT,
	STMT_ROLLBACK,
	STMT_ORG_INSERT,
	STMT_ORG_FIND,
	STMT_ORG_COUNT,
	STMT_TOKEN_INSERT,
	STMT_TOKEN_BY_HASH,
	STMT_TOKEN_USED,
	STMT_TOKEN_REVOKE,
	STMT_SANDBOX_INSERT,
	STMT_LABEL_INSERT,
	STMT_LABELS,
	STMT_SANDBOX_FIND,
	STMT_SANDBOX_RUNNING,
	STMT_SANDBOX_STOP_AT,
	STMT_SANDBOX_END,
	STMT_SANDBOX_END_ALL,
	STMT_SANDBOX_PRUNE,
	STMT_EVENT_INSERT,
	STMT_EVENT_LIST,
	STMT_EVENT_PRUNE_OLD,
	STMT_EVENT_PRUNE_ENDED,
	STMT_EVENT_TRIM,
	STMT_COUNT
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmts[STMT_COUNT];
};

/* SQLITE_OK, ROW and DONE are 0, the rest negative errno values. */
int store_errno(int rc);
/* The statement, reset and without bindings. NULL when it cannot be prepared, which store_open()
 * tries for each. */
sqlite3_stmt *store_stmt(struct store *store, enum store_stmt which);
/* Runs a statement that yields no rows, and resets it. 0 or negative errno. */
int store_run(sqlite3_stmt *stmt);
/* Steps to the next row: 1, 0 at the end, or negative errno. */
int store_step(sqlite3_stmt *stmt);

/* One transaction: begin takes the write lock at once. end commits when r is 0 and rolls back
 * otherwise; returns r or the error of the commit. */
int store_begin(struct store *store);
int store_end(struct store *store, int r);

/* Brings the schema up to date. */
int store_migrate(struct store *store, const char *path, struct error *ret_err);

int store_bind_text(sqlite3_stmt *stmt, int index, const char *text);
/* Copies a text column, cut to size. */
void store_column_text(sqlite3_stmt *stmt, int column, char *ret_text, size_t size);

/* A transaction's or iteration's statement must not stay open: it would hold back the log. */
#define auto_reset __attribute__((cleanup(store_reset_ptr)))
void store_reset_ptr(sqlite3_stmt **stmt);
#define auto_finalize __attribute__((cleanup(store_finalize_ptr)))
void store_finalize_ptr(sqlite3_stmt **stmt);
