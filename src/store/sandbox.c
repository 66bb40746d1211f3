/* Records of sandboxes. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "store/store_priv.h"

#define COLUMNS \
	"id, org_id, region, level, memory_mb, status, end_reason, end_detail, session, " \
	"created_ms," \
	" stop_at_ms, stopped_ms"
#define SQL_MAX 2048

const char *store_end_reason_name(enum store_end_reason reason)
{
	static const char *const names[STORE_END_COUNT] = {
		[STORE_END_NONE] = "",
		[STORE_END_CLIENT_CLOSED] = "client-closed",
		[STORE_END_TIMEOUT] = "timeout",
		[STORE_END_KILLED] = "killed-by",
		[STORE_END_OOM] = "oom",
		[STORE_END_CRASHED] = "crashed",
		[STORE_END_START_FAILED] = "start-failed",
		[STORE_END_HOST_RESTART] = "host-restart",
		[STORE_END_EVICTED] = "evicted",
	};

	return (unsigned)reason < STORE_END_COUNT ? names[reason] : "";
}

void store_sandbox_done(struct store_sandbox *rec)
{
	for (size_t i = 0; i < STORE_LABELS_MAX; i++) {
		free(rec->labels[i].key);
		free(rec->labels[i].value);
		rec->labels[i] = (struct store_label){0};
	}
	rec->label_count = 0;
}

/* --- writing ----------------------------------------------------------------------------- */

static int insert_record(struct store *store, const struct store_sandbox *rec)
{
	sqlite3_stmt *stmt = store_stmt(store, STMT_SANDBOX_INSERT);

	store_bind_text(stmt, 1, rec->id);
	sqlite3_bind_int64(stmt, 2, rec->org_id);
	store_bind_text(stmt, 3, rec->region);
	store_bind_text(stmt, 4, rec->level);
	sqlite3_bind_int64(stmt, 5, rec->memory_mb);
	sqlite3_bind_int(stmt, 6, (int)rec->status);
	sqlite3_bind_int(stmt, 7, (int)rec->end_reason);
	store_bind_text(stmt, 8, rec->end_detail);
	sqlite3_bind_int(stmt, 9, rec->session);
	sqlite3_bind_int64(stmt, 10, rec->created_ms);
	sqlite3_bind_int64(stmt, 11, rec->stop_at_ms);
	sqlite3_bind_int64(stmt, 12, rec->stopped_ms);
	return store_run(stmt);
}

static int insert_labels(struct store *store, const struct store_sandbox *rec)
{
	int r = 0;

	for (size_t i = 0; i < rec->label_count && r == 0; i++) {
		sqlite3_stmt *stmt = store_stmt(store, STMT_LABEL_INSERT);

		store_bind_text(stmt, 1, rec->id);
		store_bind_text(stmt, 2, rec->labels[i].key);
		store_bind_text(stmt, 3, rec->labels[i].value);
		r = store_run(stmt);
	}
	return r;
}

int store_sandbox_insert(struct store *store, const struct store_sandbox *rec)
{
	int r;

	if (rec->label_count > STORE_LABELS_MAX || rec->id[0] == '\0')
		return -EINVAL;
	r = store_begin(store);
	if (r < 0)
		return r;
	r = insert_record(store, rec);
	if (r == 0)
		r = insert_labels(store, rec);
	return store_end(store, r);
}

/* An update that hit no row: there is none, or it has ended. */
static int none_changed(struct store *store, const char *id)
{
	auto_reset sqlite3_stmt *stmt = store_stmt(store, STMT_SANDBOX_FIND);
	int r;

	if (stmt == NULL)
		return -ENOMEM;
	store_bind_text(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, 0);
	r = store_step(stmt);
	if (r < 0)
		return r;
	return r == 1 ? -EALREADY : -ENOENT;
}

static int run_update(struct store *store, sqlite3_stmt *stmt, const char *id)
{
	int r = store_run(stmt);

	if (r == 0 && sqlite3_changes(store->db) == 0)
		return none_changed(store, id);
	return r;
}

int store_sandbox_set_running(struct store *store, const char *id)
{
	sqlite3_stmt *stmt = store_stmt(store, STMT_SANDBOX_RUNNING);

	store_bind_text(stmt, 1, id);
	return run_update(store, stmt, id);
}

int store_sandbox_set_stop_at(struct store *store, const char *id, int64_t stop_at_ms)
{
	sqlite3_stmt *stmt = store_stmt(store, STMT_SANDBOX_STOP_AT);

	store_bind_text(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, stop_at_ms);
	return run_update(store, stmt, id);
}

/* The detail as it fits a record, cut between characters. */
static void cut_detail(const char *detail, char ret_text[STORE_DETAIL_SIZE])
{
	size_t max = STORE_DETAIL_SIZE - 1;
	size_t len = detail != NULL ? strlen(detail) : 0;

	if (len > max)
		for (len = max; len > 0 && ((unsigned char)detail[len] & 0xc0) == 0x80;)
			len--;
	if (len > 0)
		memcpy(ret_text, detail, len);
	ret_text[len] = '\0';
}

int store_sandbox_set_end(struct store *store, const char *id, enum store_end_reason reason,
	const char *detail, int64_t stopped_ms)
{
	char text[STORE_DETAIL_SIZE];
	sqlite3_stmt *stmt;

	if (reason == STORE_END_NONE || (unsigned)reason >= STORE_END_COUNT)
		return -EINVAL;
	cut_detail(detail, text);
	stmt = store_stmt(store, STMT_SANDBOX_END);
	store_bind_text(stmt, 1, id);
	sqlite3_bind_int(stmt, 2, (int)reason);
	store_bind_text(stmt, 3, text);
	sqlite3_bind_int64(stmt, 4, stopped_ms);
	return run_update(store, stmt, id);
}

int store_sandbox_end_all(
	struct store *store, enum store_end_reason reason, const char *detail, int64_t now_ms)
{
	char text[STORE_DETAIL_SIZE];
	sqlite3_stmt *stmt;
	int r;

	if (reason == STORE_END_NONE || (unsigned)reason >= STORE_END_COUNT)
		return -EINVAL;
	cut_detail(detail, text);
	stmt = store_stmt(store, STMT_SANDBOX_END_ALL);
	sqlite3_bind_int(stmt, 1, (int)reason);
	store_bind_text(stmt, 2, text);
	sqlite3_bind_int64(stmt, 3, now_ms);
	r = store_run(stmt);
	return r < 0 ? r : sqlite3_changes(store->db);
}

int store_sandbox_prune(struct store *store, int64_t before_ms, unsigned limit)
{
	sqlite3_stmt *stmt = store_stmt(store, STMT_SANDBOX_PRUNE);
	int r;

	sqlite3_bind_int64(stmt, 1, before_ms);
	sqlite3_bind_int64(stmt, 2, limit);
	r = store_run(stmt);
	return r < 0 ? r : sqlite3_changes(store->db);
}

/* --- reading ----------------------------------------------------------------------------- */

static int read_labels(struct store *store, struct store_sandbox *rec)
{
	auto_reset sqlite3_stmt *stmt = store_stmt(store, STMT_LABELS);
	int r;

	if (stmt == NULL)
		return -ENOMEM;
	store_bind_text(stmt, 1, rec->id);
	while ((r = store_step(stmt)) == 1 && rec->label_count < STORE_LABELS_MAX) {
		struct store_label *label = &rec->labels[rec->label_count++];

		label->key = mem_strdup((const char *)sqlite3_column_text(stmt, 0));
		label->value = mem_strdup((const char *)sqlite3_column_text(stmt, 1));
	}
	return r < 0 ? r : 0;
}

/* A row of COLUMNS. On failure *ret owns nothing. */
static int read_record(struct store *store, sqlite3_stmt *stmt, struct store_sandbox *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	store_column_text(stmt, 0, ret->id, sizeof(ret->id));
	ret->org_id = sqlite3_column_int64(stmt, 1);
	store_column_text(stmt, 2, ret->region, sizeof(ret->region));
	store_column_text(stmt, 3, ret->level, sizeof(ret->level));
	ret->memory_mb = (unsigned)sqlite3_column_int64(stmt, 4);
	ret->status = (enum store_sandbox_status)sqlite3_column_int(stmt, 5);
	ret->end_reason = (enum store_end_reason)sqlite3_column_int(stmt, 6);
	store_column_text(stmt, 7, ret->end_detail, sizeof(ret->end_detail));
	ret->session = sqlite3_column_int(stmt, 8) != 0;
	ret->created_ms = sqlite3_column_int64(stmt, 9);
	ret->stop_at_ms = sqlite3_column_int64(stmt, 10);
	ret->stopped_ms = sqlite3_column_int64(stmt, 11);
	r = read_labels(store, ret);
	if (r < 0)
		store_sandbox_done(ret);
	return r;
}

int store_sandbox_find(
	struct store *store, const char *id, int64_t org_id, struct store_sandbox *ret)
{
	auto_reset sqlite3_stmt *stmt = store_stmt(store, STMT_SANDBOX_FIND);
	struct store_sandbox rec;
	int r;

	if (stmt == NULL)
		return -ENOMEM;
	store_bind_text(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, org_id);
	r = store_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = read_record(store, stmt, &rec);
	if (r == 0)
		*ret = rec;
	return r;
}

/* Whether labels[i] asks for the same as an earlier one. */
static bool is_repeated(const struct store_label *labels, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(labels[k].key, labels[i].key) == 0 &&
			strcmp(labels[k].value, labels[i].value) == 0)
			return true;
	return false;
}

/* The question of a list. Parameters: 1 organisation, 2 stopped since, 3 and 4 cursor, 5 limit,
 * then key and value of each label. */
static int build_list(char *text, const struct store_label *labels, size_t label_count,
	bool one_org, bool after, struct store_label *ret_wanted, size_t *ret_count)
{
	struct buf sql;
	size_t count = 0;

	buf_init(&sql, SQL_MAX - 1);
	buf_append_str(
		&sql, "SELECT " COLUMNS " FROM sandbox WHERE (end_reason = 0 OR stopped_ms >= ?2)");
	if (one_org)
		buf_append_str(&sql, " AND org_id = ?1");
	if (after)
		buf_append_str(&sql, " AND (created_ms, id) < (?3, ?4)");
	for (size_t i = 0; i < label_count; i++) {
		if (is_repeated(labels, i))
			continue;
		/* No record has more labels than that. */
		if (count == STORE_LABELS_MAX) {
			buf_done(&sql);
			return -ENOENT;
		}
		buf_printf(&sql,
			" AND EXISTS (SELECT 1 FROM label WHERE sandbox_id = sandbox.id AND key = "
			"?%zu AND"
			" value = ?%zu)",
			6 + 2 * count, 7 + 2 * count);
		ret_wanted[count++] = labels[i];
	}
	buf_append_str(&sql, " ORDER BY created_ms DESC, id DESC LIMIT ?5");
	memcpy(text, buf_data(&sql), sql.len);
	text[sql.len] = '\0';
	buf_done(&sql);
	*ret_count = count;
	return 0;
}

int store_sandbox_list(struct store *store, int64_t org_id, const struct store_label *labels,
	size_t label_count, int64_t stopped_since_ms, int64_t before_ms, const char *before_id,
	unsigned limit, store_sandbox_fn fn, void *data)
{
	auto_finalize sqlite3_stmt *stmt = NULL;
	struct store_label wanted[STORE_LABELS_MAX];
	size_t wanted_count = 0;
	char sql[SQL_MAX];
	int r = build_list(
		sql, labels, label_count, org_id != 0, before_id != NULL, wanted, &wanted_count);
	int rc;

	if (r == -ENOENT)
		return 0;
	rc = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);
	if (rc != SQLITE_OK)
		return store_errno(rc);
	sqlite3_bind_int64(stmt, 1, org_id);
	sqlite3_bind_int64(stmt, 2, stopped_since_ms);
	sqlite3_bind_int64(stmt, 3, before_ms);
	store_bind_text(stmt, 4, before_id);
	sqlite3_bind_int64(stmt, 5, limit > 0 ? (int64_t)limit : -1);
	for (size_t i = 0; i < wanted_count; i++) {
		store_bind_text(stmt, 6 + 2 * (int)i, wanted[i].key);
		store_bind_text(stmt, 7 + 2 * (int)i, wanted[i].value);
	}
	while ((r = store_step(stmt)) == 1) {
		struct store_sandbox rec;

		r = read_record(store, stmt, &rec);
		if (r < 0)
			return r;
		r = fn(&rec, data);
		store_sandbox_done(&rec);
		if (r != 0)
			return r;
	}
	return r;
}
