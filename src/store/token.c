/* Organisations and tokens. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/utf8.h"
#include "store/store_priv.h"

#define TOKEN_PREFIX "ddo_"
#define TOKEN_SYMBOLS 40
#define HINT_LEN 8
#define USED_STEP_MS 60000

/* --- organisations
 * -------------------------------------------------------------------------------- */

static bool is_slug(const char *slug)
{
	size_t len = strspn(slug, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return slug[len] == '\0' && len >= 2 && len < STORE_SLUG_SIZE && slug[0] != '-' &&
	       slug[len - 1] != '-';
}

/* A random UUID (version 4). */
static void make_uuid(char ret_text[37])
{
	uint8_t b[16];

	random_bytes(b, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(b); i++) {
		bool dash = i == 4 || i == 6 || i == 8 || i == 10;

		ret_text += snprintf(ret_text, 4, "%s%02x", dash ? "-" : "", b[i]);
	}
}

int store_org_create(
	struct store *store, const char *slug, struct store_org *ret, struct error *ret_err)
{
	struct store_org org = {.created_ms = clock_real_ms()};
	sqlite3_stmt *stmt = store_stmt(store, STMT_ORG_INSERT);
	int r;

	if (!is_slug(slug))
		return error_set_field(ret_err, -EINVAL, "", "org",
			"'%.40s' is no name for an organisation: 2 to 32 of a-z, 0-9 and -, not at "
			"the edges",
			slug);
	make_uuid(org.uuid);
	memcpy(org.slug, slug, strlen(slug) + 1);
	store_bind_text(stmt, 1, org.uuid);
	store_bind_text(stmt, 2, org.slug);
	sqlite3_bind_int64(stmt, 3, org.created_ms);
	r = store_run(stmt);
	if (r == -EEXIST)
		return error_set_field(
			ret_err, r, "", "org", "there is an organisation %s already", slug);
	if (r < 0)
		return error_set(ret_err, r, "", "cannot store the organisation: %s", strerror(-r));
	org.id = sqlite3_last_insert_rowid(store->db);
	*ret = org;
	return 0;
}

int store_org_find(struct store *store, const char *slug, struct store_org *ret)
{
	auto_reset sqlite3_stmt *stmt = store_stmt(store, STMT_ORG_FIND);
	int r;

	if (stmt == NULL)
		return -ENOMEM;
	store_bind_text(stmt, 1, slug);
	r = store_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	ret->id = sqlite3_column_int64(stmt, 0);
	store_column_text(stmt, 1, ret->uuid, sizeof(ret->uuid));
	store_column_text(stmt, 2, ret->slug, sizeof(ret->slug));
	ret->created_ms = sqlite3_column_int64(stmt, 3);
	return 0;
}

int store_org_count(struct store *store)
{
	auto_reset sqlite3_stmt *stmt = store_stmt(store, STMT_ORG_COUNT);
	int r = stmt != NULL ? store_step(stmt) : -ENOMEM;

	return r == 1 ? sqlite3_column_int(stmt, 0) : r;
}

/* --- tokens
 * --------------------------------------------------------------------------------------- */

static int hash_token(const char *text, size_t len, uint8_t ret_hash[STORE_TOKEN_HASH_SIZE])
{
	unsigned size = 0;

	if (EVP_Digest(text, len, ret_hash, &size, EVP_sha256(), NULL) != 1 ||
		size != STORE_TOKEN_HASH_SIZE)
		return -EIO;
	return 0;
}

static bool is_token_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= sizeof(((struct store_token *)NULL)->name) || !utf8_valid(name, len))
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return true;
}

static void read_token(sqlite3_stmt *stmt, struct store_token *ret)
{
	ret->id = sqlite3_column_int64(stmt, 0);
	ret->org_id = sqlite3_column_int64(stmt, 1);
	store_column_text(stmt, 2, ret->org_slug, sizeof(ret->org_slug));
	store_column_text(stmt, 3, ret->name, sizeof(ret->name));
	store_column_text(stmt, 4, ret->hint, sizeof(ret->hint));
	ret->created_ms = sqlite3_column_int64(stmt, 5);
	ret->expires_ms = sqlite3_column_int64(stmt, 6);
	ret->revoked_ms = sqlite3_column_int64(stmt, 7);
	ret->last_used_ms = sqlite3_column_int64(stmt, 8);
}

static int find_by_hash(
	struct store *store, const uint8_t hash[STORE_TOKEN_HASH_SIZE], struct store_token *ret)
{
	auto_reset sqlite3_stmt *stmt = store_stmt(store, STMT_TOKEN_BY_HASH);
	int r;

	if (stmt == NULL)
		return -ENOMEM;
	sqlite3_bind_blob(stmt, 1, hash, STORE_TOKEN_HASH_SIZE, SQLITE_STATIC);
	r = store_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	read_token(stmt, ret);
	return 0;
}

static int insert_token(struct store *store, int64_t org_id, const char *name, int64_t expires_ms,
	const char *text, const uint8_t hash[STORE_TOKEN_HASH_SIZE])
{
	sqlite3_stmt *stmt = store_stmt(store, STMT_TOKEN_INSERT);
	int r;

	sqlite3_bind_int64(stmt, 1, org_id);
	store_bind_text(stmt, 2, name);
	sqlite3_bind_text(stmt, 3, text, HINT_LEN, SQLITE_STATIC);
	sqlite3_bind_blob(stmt, 4, hash, STORE_TOKEN_HASH_SIZE, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 5, clock_real_ms());
	sqlite3_bind_int64(stmt, 6, expires_ms);
	r = store_run(stmt);
	if (r == 0 && sqlite3_changes(store->db) == 0)
		return -ENOENT;
	return r;
}

int store_token_create(struct store *store, int64_t org_id, const char *name, int64_t expires_ms,
	struct store_token *ret, char ret_text[STORE_TOKEN_TEXT_SIZE], struct error *ret_err)
{
	static const char alphabet[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint8_t hash[STORE_TOKEN_HASH_SIZE];
	char text[STORE_TOKEN_TEXT_SIZE] = TOKEN_PREFIX;
	struct store_token token;
	int r;

	if (!is_token_name(name))
		return error_set_field(ret_err, -EINVAL, "", "name",
			"the name of a token is 1 to 64 bytes of text without control characters");
	random_text(text + strlen(TOKEN_PREFIX), TOKEN_SYMBOLS, alphabet);
	r = hash_token(text, strlen(text), hash);
	if (r == 0)
		r = insert_token(store, org_id, name, expires_ms, text, hash);
	if (r == 0)
		r = find_by_hash(store, hash, &token);
	if (r == 0) {
		*ret = token;
		memcpy(ret_text, text, sizeof(text));
	}
	mem_wipe(text, sizeof(text));
	if (r == -ENOENT)
		return error_set_field(ret_err, r, "", "org", "there is no such organisation");
	if (r < 0)
		return error_set(ret_err, r, "", "cannot store the token: %s", strerror(-r));
	return 0;
}

/* For lists only: that it cannot be written is no reason to refuse a client. */
static void note_use(struct store *store, struct store_token *token, int64_t now_ms)
{
	sqlite3_stmt *stmt;

	if (now_ms < token->last_used_ms + USED_STEP_MS)
		return;
	stmt = store_stmt(store, STMT_TOKEN_USED);
	sqlite3_bind_int64(stmt, 1, token->id);
	sqlite3_bind_int64(stmt, 2, now_ms - now_ms % USED_STEP_MS);
	if (store_run(stmt) == 0)
		token->last_used_ms = now_ms - now_ms % USED_STEP_MS;
}

int store_token_check(
	struct store *store, const char *text, size_t len, int64_t now_ms, struct store_token *ret)
{
	uint8_t hash[STORE_TOKEN_HASH_SIZE];
	struct store_token token;
	int r;

	if (len >= STORE_TOKEN_TEXT_SIZE)
		return -ENOENT;
	r = hash_token(text, len, hash);
	if (r == 0)
		r = find_by_hash(store, hash, &token);
	if (r < 0)
		return r;
	if (token.revoked_ms != 0)
		return -ENOENT;
	if (token.expires_ms != 0 && now_ms >= token.expires_ms)
		return -EKEYEXPIRED;
	note_use(store, &token, now_ms);
	*ret = token;
	return 0;
}

int store_token_revoke(struct store *store, int64_t token_id, int64_t now_ms)
{
	sqlite3_stmt *stmt = store_stmt(store, STMT_TOKEN_REVOKE);
	int r;

	sqlite3_bind_int64(stmt, 1, token_id);
	sqlite3_bind_int64(stmt, 2, now_ms);
	r = store_run(stmt);
	if (r == 0 && sqlite3_changes(store->db) == 0)
		return -ENOENT;
	return r;
}

int store_token_list(struct store *store, int64_t org_id, store_token_fn fn, void *data)
{
	static const char list[] =
		"SELECT token.id, org_id, slug, name, hint, token.created_ms, expires_ms, "
		"revoked_ms,"
		" last_used_ms FROM token JOIN org ON org.id = org_id WHERE ?1 = 0 OR org_id = ?1"
		" ORDER BY token.id";
	auto_finalize sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(store->db, list, -1, &stmt, NULL);
	int r;

	if (rc != SQLITE_OK)
		return store_errno(rc);
	sqlite3_bind_int64(stmt, 1, org_id);
	while ((r = store_step(stmt)) == 1) {
		struct store_token token;

		read_token(stmt, &token);
		r = fn(&token, data);
		if (r != 0)
			return r;
	}
	return r;
}
