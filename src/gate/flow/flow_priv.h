/* What flow.c (from accept to decision), flow_run.c (bytes) and flow_dns.c share. */
#pragma once

#include "gate/flow/classify.h"
#include "gate/flow/flow.h"
#include "gate/flow/refuse.h"
#include "gate/flow/relay.h"
#include "gate/gate.h"
#include "gate/http/exchange.h"
#include "gate/net/dial.h"
#include "gate/tls/leg.h"
#include "wire/tls_hello.h"

enum flow_state {
	FLOW_READING,
	FLOW_DENIED,
	FLOW_REFUSING,
	FLOW_OPENING,
	FLOW_RUNNING,
	FLOW_ENDED,
	FLOW_STATE_COUNT
};

struct flow {
	struct list node;
	struct gate *gate;
	int64_t began_ms;
	uint64_t began_ns;
	uint64_t verified_ns; /* the session resumed with the host: see sessions.h */
	enum flow_state state;
	enum traffic traffic;

	struct address target; /* what the program connected to */
	uint16_t port;
	char host[HOST_NAME_SIZE]; /* a name when named, else the text of target */
	char *rule;                /* text of the rule that allowed it */

	struct loop_io client_io;
	struct buf early;        /* read from client so far */
	struct loop_timer timer; /* patience for the first bytes */
	uint64_t secrets;        /* that may be put in: TLS is opened */
	struct tls_hello hello;

	struct dial *dial;
	const struct proxy *proxy;
	struct loop_io upstream_io;
	int client;
	int upstream; /* connected, not yet given to a leg or relay */
	struct address peer;

	struct leg *client_leg, *upstream_leg; /* while OPENING */
	struct exchange *exchange;
	void (*exchange_free)(struct exchange *x);
	struct relay *relay;
	struct refuse *refuse;
	struct loop_defer defer;

	/* for the report */
	uint64_t bytes_up, bytes_down;
	uint64_t used;      /* secrets put in */
	uint64_t strayed;   /* secrets whose placeholder was reported */
	const char *reason; /* static text, NULL: fine */
	unsigned requests;
	char detail[256];

	bool named;
	bool client_eof;
	bool dialled;     /* peer is valid */
	bool denied;      /* ended by a refusal, which was reported */
	bool dial_failed; /* the host could not be reached */
};

/* --- flow.c */

/* Says no and ends. status: 403 or 502. */
void flow_refuse(struct flow *f, int status, const char *reason, const char *detail);
/* Reports and frees; from the loop only. */
void flow_end(struct flow *f);
/* Reports a refusal that leaves the flow as it is. */
void flow_report_denied(
	struct flow *f, const char *protocol, const char *reason, const char *detail);

/* --- flow_run.c: the host is connected, what the program speaks is known. */

void flow_run(struct flow *f);
/* Frees what runs. */
void flow_stop(struct flow *f);

/* --- flow_dns.c: DNS over TCP, answered by the gate itself. */

void flow_answer_dns(struct flow *f);
