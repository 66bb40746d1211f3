/* What the files of this room share and nobody else sees. */
#pragma once

#include "sandbox/egress.h"
#include "sandbox/sandbox.h"

enum sandbox_state {
	SANDBOX_MAKING,
	SANDBOX_BOOTING,
	SANDBOX_SPARE,
	SANDBOX_CONFIGURING,
	SANDBOX_RUNNING,
	SANDBOX_ENDING,
	SANDBOX_STATE_COUNT
};

/* Verdict on a process that may have been killed for memory, kept for the sandbox's life. */
struct sandbox_oom_verdict {
	struct table_entry entry; /* by pid */
	const char *verdict;      /* static text or NULL */
};

enum network_state {
	NETWORK_NONE,        /* no gate yet */
	NETWORK_AHEAD,       /* nobody's sandbox: the keeper makes a gate for it */
	NETWORK_WAITING,     /* nobody's sandbox: its gate waits to be told whose it is */
	NETWORK_OPENING,     /* the keeper makes it */
	NETWORK_CONFIGURING, /* it is told the rules and secrets */
	NETWORK_TRUSTING,    /* the agent is told whom to trust */
	NETWORK_OPEN,
	NETWORK_ENDED
};

#define DENIALS_PER_SECOND 20

struct network {
	enum network_state state;
	bool asked; /* the keeper has not answered yet */
	struct egress egress;
	struct loop_timer limit; /* of opening */
	struct loop_timer retry; /* of asking the keeper */
	bool given;
	struct rpc_strings rules;
	struct rpc_strings secrets; /* names */
	struct sandbox_call trust;
	/* A change under way, and what it changes to. */
	bool changing;
	struct sandbox_policy *policy; /* NULL: nobody waits for it any more */
	bool next_given;
	struct rpc_strings next;
	/* Refusals on their way to the agent: DENIALS_PER_SECOND of them, or NULL. */
	struct sandbox_call *denials;
	uint64_t denials_since;
	unsigned denial_count;
};

struct sandbox {
	struct sandboxes *all;
	struct list node;         /* in all->sandboxes */
	struct table_entry by_id; /* while RUNNING */
	enum sandbox_state state;
	struct machine *machine; /* NULL: none or being destroyed */
	struct channel channel;
	bool channel_open;
	unsigned memory_mb; /* limit the machine has now */

	struct sandbox_create *create; /* who waits for it, while CONFIGURING or earlier */
	struct store_sandbox record;
	bool recorded;
	bool unbounded; /* nobody asked for an end: stop_at_ms is only the longest life time */
	struct list clients;
	struct table calls; /* struct sandbox_call by request id */
	struct sandbox_call configure;
	struct loop_timer stop_timer;
	struct loop_timer boot_timer;
	struct loop_defer free_later;

	struct network network;
	unsigned unready;     /* what RUNNING waits for: the agent, the network */
	struct list watches;  /* struct sandbox_watch */
	unsigned event_count; /* stored or waiting, about */
	bool event_news;      /* some wait to be stored */

	struct table oom_verdicts;
	struct list oom_queries;
	uint64_t oom_seen;      /* kills the kernel had counted when last read */
	uint64_t oom_seen_at;   /* when it last rose: monotonic ns */
	uint64_t oom_claimable; /* of them, not yet given to a process */
	uint64_t oom_read_at;   /* when the counter was last read: monotonic ns */
	bool oom_reading;       /* machine_get_usage() is under way */
};

struct sandbox_create {
	struct sandbox *sb;
	struct sandbox_options options;
	int64_t org_id;
	char org_uuid[40];
	sandbox_create_fn fn;
	void *data;
};

/* Events that are not stored yet. */
struct event_queue {
	struct store_event *items; /* details are heap */
	size_t count;
	struct loop_timer timer;
	unsigned lost; /* could not be stored */
};

struct sandboxes {
	struct sandboxes_params params;
	struct list sandboxes; /* every struct sandbox, in any state */
	uint64_t networked_at; /* last create with network: monotonic ns, 0: none so far */
	struct table by_id;
	unsigned spares;   /* MAKING, BOOTING or SPARE and nobody's */
	unsigned machines; /* not yet reported gone */
	bool stopping;
	bool lost;
	void (*stopped_fn)(void *data);
	void *stopped_data;
	struct loop_timer refill_timer;
	struct loop_timer prune_timer;
	struct loop_defer stopped_defer;
	struct event_queue events;
};

/* options.c */
void sandbox_strings_done(struct rpc_strings *s);
void sandbox_strings_copy(struct rpc_strings *to, const struct rpc_strings *from);
void sandbox_options_copy(struct sandbox_options *to, const struct sandbox_options *from);
/* Wipes and frees the values of the secrets; the rest stays. */
void sandbox_options_forget_values(struct sandbox_options *o);

/* events.c */
/* Queues an event. details: heap text of a JSON object, taken over. */
void sandbox_event(struct sandbox *sb, const char *type, int64_t time_ms, char *details);
/* The last one: stores everything and ends the watches. */
void sandbox_event_ended(struct sandbox *sb, enum store_end_reason reason, const char *detail);
/* How the details of an event are written: JSON text that begins with '{'. */
void event_begin(struct buf *b);
void event_text(struct buf *b, const char *key, const char *value); /* NULL: left out */
void event_number(struct buf *b, const char *key, int64_t value);
void event_list(struct buf *b, const char *key, const struct rpc_strings *values);
/* Ends the object and returns it; b is empty afterwards. */
char *event_finish(struct buf *b);
/* Drops what waits, without a word. */
void sandbox_events_done(struct sandboxes *all);

/* network.c */
/* The rules that count for options. */
void network_choose_rules(
	const struct sandboxes *all, const struct sandbox_options *o, struct rpc_strings *ret);
/* A spare: gives it a gate ahead when sandboxes with network are being asked for. */
void network_prepare(struct sandbox *sb);
/* While CONFIGURING: opens a gate for sb->create if it has a rule. Calls sandbox_part_ready() or
 * sandbox_start_failed() later. The values of the secrets are forgotten when they are handed over,
 * or at once without a gate. Returns whether there will be a gate. */
bool network_begin(struct sandbox *sb);
/* The sandbox ends. */
void network_end(struct sandbox *sb);
/* After its calls have been dropped. */
void network_done(struct sandbox *sb);

/* network_events.c */
void network_event(struct sandbox *sb, const struct gate_event *event);
void network_dropped(struct sandbox *sb, uint64_t count);

/* create.c */
/* One of the things that RUNNING waits for is there. */
void sandbox_part_ready(struct sandbox *sb);
void sandbox_refill(struct sandboxes *all);
/* The machine or its agent failed before the sandbox ran. */
void sandbox_start_failed(struct sandbox *sb, const struct error *err);
/* The agent has greeted. */
void sandbox_booted(struct sandbox *sb);
/* Running sandboxes and creates under way of an organisation. */
unsigned sandbox_count_org(const struct sandboxes *all, int64_t org_id);

/* call.c */
extern const struct channel_ops sandbox_channel_ops;
void sandbox_calls_drop_all(struct sandbox *sb);

/* oom.c */
void sandbox_oom_done(struct sandbox *sb);

/* sandbox.c */
extern const struct machine_ops sandbox_machine_ops;
void sandbox_arm_stop(struct sandbox *sb);
