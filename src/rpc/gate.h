/*
 * Messages between warrend and a sandbox's warren-gate, over a SOCK_SEQPACKET pair: one byte (enum
 * gate_message) and the packed form (pack.h) of the struct of that number. The gate trusts the
 * daemon; the daemon takes the gate for hostile: it has parsed what came from everywhere.
 * docs/protocol/gate.md is the text. The end of the socket ends the gate.
 */
#pragma once

#include "rpc/schema.h"

#define GATE_MESSAGE_MAX (192 * 1024)
#define GATE_SECRETS_MAX 64
#define GATE_RULES_MAX 1000
#define GATE_RULE_MAX 300
#define GATE_TEXT_MAX 1024
#define GATE_PEM_MAX 8192

enum gate_message {
	GATE_CONFIG = 1, /* daemon -> gate, first and once */
	GATE_POLICY,     /* daemon -> gate: other rules from now on, for open connections too */
	GATE_READY,      /* gate -> daemon: answers CONFIG */
	GATE_APPLIED,    /* gate -> daemon: answers POLICY */
	GATE_EVENT,      /* gate -> daemon */
	GATE_MESSAGE_COUNT
};

struct gate_secret {
	char *name;
	char *placeholder;
	struct rpc_bytes value;
	struct rpc_strings hosts;
};
extern const struct rpc_schema gate_secret_schema;

struct gate_config {
	char *sandbox_id;
	struct rpc_strings rules;   /* policy/rules.h */
	struct rpc_strings opened;  /* ranges of refused.h that the operator has opened */
	struct rpc_objects secrets; /* struct gate_secret */
	char *http_proxy;           /* "http://[user:password@]host:port" or NULL */
	char *https_proxy;
	char *no_proxy; /* comma-separated names and addresses, as curl has it */
};
extern const struct rpc_schema gate_config_schema;

struct gate_policy {
	struct rpc_strings rules;
};
extern const struct rpc_schema gate_policy_schema;

struct gate_ready {
	char *ca_pem;  /* certificate of the sandbox's CA; NULL without secrets */
	char *ca_hash; /* 8 hex digits: its name in an OpenSSL certificate folder */
};
extern const struct rpc_schema gate_ready_schema;

struct gate_applied {
	int64_t closed; /* connections that the new rules ended */
};
extern const struct rpc_schema gate_applied_schema;

enum gate_event_kind {
	GATE_EVENT_FLOW,     /* an allowed connection has ended (or could not be made) */
	GATE_EVENT_DENIED,   /* a connection, a request or a DNS query was refused */
	GATE_EVENT_STRAY,    /* a placeholder went where no secret is put in */
	GATE_EVENT_SCRUBBED, /* a secret was taken out of an answer */
	GATE_EVENT_DROPPED,  /* count events were not reported, for there were too many */
	GATE_EVENT_KIND_COUNT
};

/* What happened. Strings may be NULL. */
struct gate_event {
	int64_t kind;    /* enum gate_event_kind */
	int64_t time_ms; /* when it began */
	int64_t duration_ms;
	char *protocol; /* "tls", "https" (opened), "http", "tcp", "dns" */
	char *host;     /* name, or literal address */
	int64_t port;
	char *address; /* dialled */
	int64_t bytes_up, bytes_down;
	char *rule;   /* the rule that allowed it */
	char *reason; /* code: "not-allowed", "refused-range", "host-mismatch", "unreachable"... */
	char *detail; /* a sentence */
	struct rpc_strings secrets; /* names */
	int64_t requests;           /* HTTP requests in it */
	int64_t count;              /* DROPPED; DENIED: how many alike, at least 1 */
};
extern const struct rpc_schema gate_event_schema;
