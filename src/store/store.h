/*
 * Records: organisations, tokens, sandboxes and their events. Calls are synchronous and take
 * microseconds (SQLite, WAL, synchronous=NORMAL: survives kill -9 of the daemon at any moment; a
 * power cut may lose the last moments, but then the sandboxes are gone as well).
 *
 * The schema has a version; store_open() brings an older one up to date in one transaction and
 * refuses a newer one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct store;

#define STORE_ID_SIZE 40
#define STORE_SLUG_SIZE 33
#define STORE_TOKEN_HASH_SIZE 32 /* SHA-256 */
#define STORE_DETAIL_SIZE 128

/* Opens or makes `path` (mode 0600); several processes may have it open at once. Checks the file:
 * -EUCLEAN when it is damaged, -EMEDIUMTYPE when it is no store, -EPROTONOSUPPORT when a newer
 * Warren made it, -ELOOP for a symbolic link. 0 or a negative errno with the reason. */
int store_open(const char *path, struct store **ret, struct error *ret_err);
/* NULL is fine. */
void store_close(struct store *store);
/* Moves what the write-ahead log holds into the database file. Waits for the disk: for a quiet
 * moment. Without it the log is emptied by every few hundredth write. 0 or a negative errno. */
int store_checkpoint(struct store *store);

/*
 * Errors of all calls below, beside those they name: -EBUSY when another process kept the database
 * locked for half a second, -ENOSPC, -EIO, -EROFS, -EUCLEAN (damaged). A call that fails has
 * changed nothing.
 */

/* --- organisations and tokens ------------------------------------------------------------ */

struct store_org {
	int64_t id;
	char uuid[37];
	char slug[STORE_SLUG_SIZE];
	int64_t created_ms;
};

/* slug: 2..32 of a-z0-9-, no edge hyphen. -EEXIST when taken, -EINVAL for a bad slug. */
int store_org_create(
	struct store *store, const char *slug, struct store_org *ret, struct error *ret_err);
/* -ENOENT when absent. */
int store_org_find(struct store *store, const char *slug, struct store_org *ret);
/* Number of organisations, or a negative errno. */
int store_org_count(struct store *store);

struct store_token {
	int64_t id;
	int64_t org_id;
	char org_slug[STORE_SLUG_SIZE];
	char name[65];
	char hint[9]; /* prefix and first characters, to recognise it in a list */
	int64_t created_ms;
	int64_t expires_ms;   /* 0: never */
	int64_t revoked_ms;   /* 0: valid */
	int64_t last_used_ms; /* 0: never; kept to the minute */
};

#define STORE_TOKEN_TEXT_SIZE 64
/* Makes a token "ddo_" + 40 characters; the text is returned once and only its SHA-256 is kept.
 * name: up to 64 bytes of UTF-8 without control characters, else -EINVAL. expires_ms 0: never.
 * -ENOENT when there is no such organisation. Wipe ret_text after use. */
int store_token_create(struct store *store, int64_t org_id, const char *name, int64_t expires_ms,
	struct store_token *ret, char ret_text[STORE_TOKEN_TEXT_SIZE], struct error *ret_err);
/* The organisation behind a token text. -ENOENT unknown or revoked, -EKEYEXPIRED expired (from
 * expires_ms on). The look-up is by hash, so its time tells nothing about stored tokens. */
int store_token_check(
	struct store *store, const char *text, size_t len, int64_t now_ms, struct store_token *ret);
/* -ENOENT when there is no such token or it is revoked already. */
int store_token_revoke(struct store *store, int64_t token_id, int64_t now_ms);
typedef int (*store_token_fn)(const struct store_token *token, void *data);
/* Calls fn for each token of org_id (0: of all), revoked ones too, oldest first; stops when it
 * returns non-zero and returns that. fn must not change the store. */
int store_token_list(struct store *store, int64_t org_id, store_token_fn fn, void *data);

/* --- sandboxes --------------------------------------------------------------------------- */

/* The numbers of both enums are stored: append only. */
enum store_sandbox_status { STORE_STARTING, STORE_RUNNING, STORE_STOPPED };

/* Why a sandbox ended: exactly one, kept for ever. */
enum store_end_reason {
	STORE_END_NONE,          /* still running */
	STORE_END_CLIENT_CLOSED, /* session: the creating connection ended */
	STORE_END_TIMEOUT,
	STORE_END_KILLED,  /* by a client */
	STORE_END_OOM,     /* its first process was killed for memory */
	STORE_END_CRASHED, /* its first process or its channel ended unasked */
	STORE_END_START_FAILED,
	STORE_END_HOST_RESTART, /* the daemon was stopped or died */
	STORE_END_EVICTED,
	STORE_END_COUNT
};
/* "client-closed", "timeout", "killed-by", "oom", "crashed", "start-failed", "host-restart",
 * "evicted"; "" for NONE. */
const char *store_end_reason_name(enum store_end_reason reason);

#define STORE_LABELS_MAX 5

struct store_label {
	char *key;
	char *value;
};

struct store_sandbox {
	char id[STORE_ID_SIZE];
	int64_t org_id;
	char region[4];
	char level[16]; /* isolation it got */
	unsigned memory_mb;
	enum store_sandbox_status status;
	enum store_end_reason end_reason;
	char end_detail[STORE_DETAIL_SIZE];
	bool session; /* ends with its creator's connection */
	int64_t created_ms;
	int64_t stop_at_ms; /* 0: none */
	int64_t stopped_ms; /* 0: running */
	struct store_label labels[STORE_LABELS_MAX];
	size_t label_count;
};

/* Frees what the record owns. Accepts a zeroed one. */
void store_sandbox_done(struct store_sandbox *rec);

/* Writes a new record; it is on its way to disk when the call returns. -EEXIST for a used id or a
 * label key that is there twice. */
int store_sandbox_insert(struct store *store, const struct store_sandbox *rec);
/* Both: -ENOENT for an unknown id, -EALREADY when the sandbox has ended. */
int store_sandbox_set_running(struct store *store, const char *id);
int store_sandbox_set_stop_at(struct store *store, const char *id, int64_t stop_at_ms);
/* The first end wins: -EALREADY when it has one, -ENOENT for an unknown id. detail (may be NULL) is
 * cut to what struct store_sandbox can hold. */
int store_sandbox_set_end(struct store *store, const char *id, enum store_end_reason reason,
	const char *detail, int64_t stopped_ms);
/* -ENOENT when unknown or of another organisation (org_id 0: any). */
int store_sandbox_find(
	struct store *store, const char *id, int64_t org_id, struct store_sandbox *ret);
typedef int (*store_sandbox_fn)(const struct store_sandbox *rec, void *data);
/* Records of org_id (0: of all), newest first: running ones and those stopped at or after
 * stopped_since_ms, with every given label. before_ms/before_id (0/NULL: from the top) continue
 * after that record; at most limit (0: all). Stops when fn returns non-zero and returns that; fn
 * must not change the store, and the record is only lent to it. */
int store_sandbox_list(struct store *store, int64_t org_id, const struct store_label *labels,
	size_t label_count, int64_t stopped_since_ms, int64_t before_ms, const char *before_id,
	unsigned limit, store_sandbox_fn fn, void *data);
/* Ends every record that has no end yet (after a crash of the daemon). Returns how many, or a
 * negative errno. */
int store_sandbox_end_all(
	struct store *store, enum store_end_reason reason, const char *detail, int64_t now_ms);
/* Forgets records stopped before before_ms, oldest first, at most limit of them; those that still
 * have events wait until store_event_prune() has taken these. Returns how many, or a negative
 * errno. */
int store_sandbox_prune(struct store *store, int64_t before_ms, unsigned limit);

/* --- events ------------------------------------------------------------------------------ */

#define STORE_EVENT_TYPE_SIZE 24

/* Something that happened to a sandbox. An event goes away with its sandbox's record. */
struct store_event {
	int64_t id; /* grows with every event of the server: the cursor */
	char sandbox_id[STORE_ID_SIZE];
	int64_t time_ms;
	char type[STORE_EVENT_TYPE_SIZE];
	const char *details; /* text of a JSON object; borrowed */
};

/* Writes them in one transaction and sets their ids; 0 for those whose sandbox is not known any
 * more, which are left out. */
int store_event_insert(struct store *store, struct store_event *events, size_t count);

struct store_event_query {
	const char *sandbox_id;
	int64_t org_id;    /* 0: any */
	int64_t after_id;  /* only later ones; 0: from the first */
	int64_t before_id; /* only earlier ones; 0: to the last */
	const char *type;  /* NULL: all */
	unsigned limit;    /* 0: all */
};
/* Lent to fn for the call. fn must not change the store. */
typedef int (*store_event_fn)(const struct store_event *event, void *data);
/* Oldest first; stops when fn returns non-zero and returns that. */
int store_event_list(
	struct store *store, const struct store_event_query *query, store_event_fn fn, void *data);
/* Forgets events older than before_ms and those of sandboxes stopped before stopped_before_ms, at
 * most limit of each. Returns how many, or a negative errno. */
int store_event_prune(
	struct store *store, int64_t before_ms, int64_t stopped_before_ms, unsigned limit);
/* Forgets all but the newest keep (> 0) events of a sandbox. Returns how many, or a negative
 * errno. */
int store_event_trim(struct store *store, const char *sandbox_id, unsigned keep);
