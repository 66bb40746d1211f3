/* Events of sandboxes. */
#include <errno.h>
#include <string.h>

#include "store/store_priv.h"

static int insert_one(struct store *store, struct store_event *event)
{
	sqlite3_stmt *stmt = store_stmt(store, STMT_EVENT_INSERT);
	int r;

	store_bind_text(stmt, 1, event->sandbox_id);
	sqlite3_bind_int64(stmt, 2, event->time_ms);
	store_bind_text(stmt, 3, event->type);
	store_bind_text(stmt, 4, event->details);
	r = store_run(stmt);
	event->id = r == 0 && sqlite3_changes(store->db) == 1 ? sqlite3_last_insert_rowid(store->db)
							      : 0;
	return r;
}

int store_event_insert(struct store *store, struct store_event *events, size_t count)
{
	int r = count > 0 ? store_begin(store) : 0;

	if (r < 0 || count == 0)
		return r;
	for (size_t i = 0; i < count && r == 0; i++)
		r = insert_one(store, &events[i]);
	return store_end(store, r);
}

int store_event_list(
	struct store *store, const struct store_event_query *query, store_event_fn fn, void *data)
{
	auto_reset sqlite3_stmt *stmt = store_stmt(store, STMT_EVENT_LIST);
	int r;

	if (stmt == NULL)
		return -ENOMEM;
	store_bind_text(stmt, 1, query->sandbox_id);
	sqlite3_bind_int64(stmt, 2, query->org_id);
	sqlite3_bind_int64(stmt, 3, query->after_id);
	sqlite3_bind_int64(stmt, 4, query->before_id);
	if (query->type != NULL)
		store_bind_text(stmt, 5, query->type);
	sqlite3_bind_int64(stmt, 6, query->limit > 0 ? (int64_t)query->limit : -1);
	while ((r = store_step(stmt)) == 1) {
		struct store_event event = {.id = sqlite3_column_int64(stmt, 0)};

		store_column_text(stmt, 1, event.sandbox_id, sizeof(event.sandbox_id));
		event.time_ms = sqlite3_column_int64(stmt, 2);
		store_column_text(stmt, 3, event.type, sizeof(event.type));
		event.details = (const char *)sqlite3_column_text(stmt, 4);
		if (event.details == NULL)
			return -ENOMEM;
		r = fn(&event, data);
		if (r != 0)
			return r;
	}
	return r;
}

static int run_prune(struct store *store, enum store_stmt which, int64_t before_ms, unsigned limit)
{
	sqlite3_stmt *stmt = store_stmt(store, which);
	int r;

	sqlite3_bind_int64(stmt, 1, before_ms);
	sqlite3_bind_int64(stmt, 2, limit);
	r = store_run(stmt);
	return r < 0 ? r : sqlite3_changes(store->db);
}

int store_event_prune(
	struct store *store, int64_t before_ms, int64_t stopped_before_ms, unsigned limit)
{
	int old = run_prune(store, STMT_EVENT_PRUNE_OLD, before_ms, limit);
	int ended;

	if (old < 0)
		return old;
	ended = run_prune(store, STMT_EVENT_PRUNE_ENDED, stopped_before_ms, limit);
	return ended < 0 ? ended : old + ended;
}

int store_event_trim(struct store *store, const char *sandbox_id, unsigned keep)
{
	sqlite3_stmt *stmt = store_stmt(store, STMT_EVENT_TRIM);
	int r;

	store_bind_text(stmt, 1, sandbox_id);
	sqlite3_bind_int64(stmt, 2, keep);
	r = store_run(stmt);
	return r < 0 ? r : sqlite3_changes(store->db);
}
