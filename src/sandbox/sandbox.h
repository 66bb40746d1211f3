/*
 * Sandboxes: machines with an identity, an owner, a time to live and a record. This room decides
 * when a sandbox starts, who may use it and why it ends; it knows nothing of HTTP, WebSockets or
 * JSON.
 *
 *   MAKING      the machine is being made
 *   BOOTING     its agent has not greeted yet
 *   SPARE       ready, without identity, in the pool
 *   CONFIGURING has an identity and a record; the agent is told its environment
 *   RUNNING     usable
 *   ENDING      over; its clients have been told, its machine is being destroyed
 *
 * A sandbox moves only downwards in this list. sandbox_end() may be called in any state; the first
 * call decides the reason. Pointers to a sandbox are valid until its clients' on_end has returned.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/table.h"
#include "isolation/isolation.h"
#include "rpc/methods.h"
#include "store/store.h"
#include "wire/channel.h"

struct sandboxes;
struct sandbox;

struct sandboxes_params {
	struct loop *loop;           /* borrowed */
	struct store *store;         /* borrowed */
	struct isolation *isolation; /* borrowed */
	int64_t max_lifetime_ms;
	int64_t stopped_retention_ms;
	unsigned max_per_org;
	unsigned pool;
	unsigned pids_max;
	bool egress_allow;          /* what a sandbox without rules of its own may do */
	const char *egress_private; /* comma-separated ranges; these strings are borrowed */
	const char *http_proxy, *https_proxy, *no_proxy; /* NULL or "": none */
	int64_t event_retention_ms;
	unsigned max_events; /* of a sandbox */
};

struct sandboxes *sandboxes_new(const struct sandboxes_params *params);
/* All sandboxes must have ended (sandboxes_shutdown()). NULL is fine. */
void sandboxes_free(struct sandboxes *all);

/* Ends every sandbox and the pool; fn is called when the last machine is gone. New creates are
 * refused from now on. */
void sandboxes_shutdown(
	struct sandboxes *all, enum store_end_reason reason, void (*fn)(void *data), void *data);
/* The keeper is gone: ends every sandbox without waiting for machines. */
void sandboxes_lost(struct sandboxes *all);

/* --- creating ------------------------------------------------------------------------------- */

/* Something only the gate may know; the sandbox sees a placeholder for it. */
struct sandbox_secret {
	char *name;
	char *value; /* wiped when freed */
	struct rpc_strings hosts;
	char *placeholder; /* this room's */
};

struct sandbox_options {
	char region[4];
	unsigned memory_mb;
	bool session;       /* ends with its creator */
	int64_t stop_at_ms; /* 0: none given */
	struct store_label labels[5];
	size_t label_count;
	struct rpc_map env;
	bool net_given;         /* else the server's default counts */
	struct rpc_strings net; /* rules (policy/rules.h), checked; none: nothing is allowed */
	struct sandbox_secret *secrets; /* names that are not in env */
	size_t secret_count;
};
/* Wipes what is secret. Accepts a zeroed struct. */
void sandbox_options_done(struct sandbox_options *o);

struct sandbox_create;
/* sb on success (RUNNING, nobody attached yet: attach before returning), else err. */
typedef void (*sandbox_create_fn)(struct sandbox *sb, const struct error *err, void *data);
/* Starts or takes a sandbox; fn is called from the loop exactly once unless cancelled. options are
 * copied. NULL with ret_err when refused at once: TOO_MANY_SANDBOXES (-EDQUOT), shutting down
 * (-ESHUTDOWN). */
struct sandbox_create *sandbox_create(struct sandboxes *all, int64_t org_id, const char *org_uuid,
	const struct sandbox_options *options, sandbox_create_fn fn, void *data,
	struct error *ret_err);
/* The client does not want it any more; what was made is ended. */
void sandbox_create_cancel(struct sandbox_create *create);

/* --- using ---------------------------------------------------------------------------------- */

/* A running sandbox of the organisation, or NULL. */
struct sandbox *sandbox_find(struct sandboxes *all, const char *id, int64_t org_id);
const char *sandbox_id(const struct sandbox *sb);
const struct store_sandbox *sandbox_record(const struct sandbox *sb);
struct channel *sandbox_channel(struct sandbox *sb);

/* Somebody connected to a sandbox. Embedded in the owner's object. */
struct sandbox_client {
	struct list node;
	struct sandbox *sb; /* NULL: not attached */
	bool primary;
	/* The sandbox is over. The client is detached before the call; the channel is still there
	 * during it but carries nothing any more. */
	void (*on_end)(
		struct sandbox_client *client, enum store_end_reason reason, const char *detail);
};
void sandbox_attach(struct sandbox *sb, struct sandbox_client *client, bool primary);
/* Detaching the primary client of a session sandbox ends it. Safe when not attached. */
void sandbox_detach(struct sandbox_client *client);

/* Ends a sandbox; the first reason wins. detail may be NULL. */
void sandbox_end(struct sandbox *sb, enum store_end_reason reason, const char *detail);
/* Moves the end to requested_ms, never earlier than it is now, never beyond the longest life time
 * from now. The first call for a session sandbox gives it an end beside its creator's. 0 or
 * -ERANGE when requested_ms is no future time. */
int sandbox_extend(struct sandbox *sb, int64_t requested_ms, int64_t *ret_stop_at_ms);

/* --- network -------------------------------------------------------------------------------- */

/* A sandbox has a gate, and with it a network, since it first had a rule. When the gate ends, the
 * network has ended with it. */
struct sandbox_network_info {
	bool given;                      /* somebody chose the rules; else they are the server's */
	const struct rpc_strings *rules; /* borrowed until the next turn */
	const struct rpc_strings *secrets; /* names of those that the gate puts in */
	const char *gate;                  /* "none", "opening", "open", "ended" */
};
void sandbox_get_network(const struct sandbox *sb, struct sandbox_network_info *ret);

/* A change of the rules under way. */
struct sandbox_policy {
	struct sandbox *sb; /* NULL: not under way */
	void (*fn)(struct sandbox_policy *policy, const struct error *err, int64_t closed);
};
/* Makes rules (NULL: the server's default) count from now on, for open connections too; closed is
 * how many of these had to end. Opens a gate when there is none and a rule: that one has no
 * secrets, for nobody knows their values any more. A gate that does not obey is ended. fn comes
 * once, from the loop, also when the sandbox ends. -EBUSY with the reason when another change is
 * under way; 1 when there was nothing to be done but to remember, and fn does not come; else 0. */
int sandbox_set_rules(struct sandbox *sb, struct sandbox_policy *policy,
	const struct rpc_strings *rules,
	void (*fn)(struct sandbox_policy *policy, const struct error *err, int64_t closed),
	struct error *ret_err);
/* fn does not come. Safe when not under way. */
void sandbox_policy_drop(struct sandbox_policy *policy);

/* --- events --------------------------------------------------------------------------------- */

/* What happens to sandboxes is in the store (store_event_list()); this tells when there is more. */
struct sandbox_watch {
	struct list node;
	struct sandbox *sb; /* NULL: not watching */
	/* Events were stored. ended: these were the last; the watch is over before the call. */
	void (*fn)(struct sandbox_watch *watch, bool ended);
};
void sandbox_watch_events(struct sandbox *sb, struct sandbox_watch *watch,
	void (*fn)(struct sandbox_watch *watch, bool ended));
/* Safe when not watching. */
void sandbox_watch_drop(struct sandbox_watch *watch);
/* Stores what waits to be stored now rather than a moment later. */
void sandbox_events_flush(struct sandboxes *all);

/* --- calling the agent ------------------------------------------------------------------------ */

struct sandbox_call;
/* data is the packed result, or a packed rpc_failure; valid during the call. */
typedef void (*sandbox_call_fn)(
	struct sandbox_call *call, bool failed, const uint8_t *data, size_t len);

struct sandbox_call {
	struct table_entry entry;
	struct sandbox *sb; /* NULL: not in flight */
	uint32_t request;
	sandbox_call_fn fn;
};

/* Packs params (may be NULL) and sends the request. fn comes once, from the loop, unless the
 * sandbox ends or the call is dropped first. 0; -E2BIG, -ENOBUFS, -EPIPE. */
int sandbox_call(struct sandbox *sb, struct sandbox_call *call, const struct rpc_method *method,
	const void *params, sandbox_call_fn fn);
/* Asks the agent to give up; fn still comes. Safe when not in flight. */
void sandbox_call_cancel(struct sandbox_call *call);
/* Forgets the call: fn does not come. Safe when not in flight. */
void sandbox_call_drop(struct sandbox_call *call);

/* --- out of memory -------------------------------------------------------------------------- */

/* Whether a process that ended by SIGKILL (or a shell's 137) was taken by the kernel for memory:
 * fn gets "high-confidence", "low-confidence" or NULL. Cached by pid. The caller sets started_at.
 */
struct sandbox_oom_query {
	struct list node;
	struct sandbox *sb; /* NULL: not pending */
	int64_t pid;
	bool by_signal;      /* the process itself got SIGKILL */
	uint64_t started_at; /* monotonic ns; 0: not known */
	void (*fn)(struct sandbox_oom_query *query, const char *verdict);
};
void sandbox_query_oom(struct sandbox *sb, struct sandbox_oom_query *query, int64_t pid,
	bool by_signal, void (*fn)(struct sandbox_oom_query *query, const char *verdict));
void sandbox_oom_query_drop(struct sandbox_oom_query *query);
/* A process has ended otherwise. */
void sandbox_note_exit(struct sandbox *sb);
/* A client sent SIGKILL to pid: its end is no OOM. */
void sandbox_note_killed(struct sandbox *sb, int64_t pid);
