/*
 * What the engines that carry HTTP between two legs (http1_flow.h, http2_flow.h) are given and what
 * they report. They know nothing of how the legs came to be.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gate/secrets/scrub.h"
#include "gate/secrets/vault.h"
#include "gate/tls/leg.h"

struct exchange;

enum exchange_refusal {
	EXCHANGE_HOST_MISMATCH, /* Host or :authority is not the name of the connection */
	EXCHANGE_MALFORMED,     /* the request is ambiguous or broken */
	EXCHANGE_METHOD,        /* CONNECT; TRACE to a host with secrets */
	EXCHANGE_ENCODING,      /* the answer is encoded in a way that cannot be scrubbed */
	EXCHANGE_BAD_ANSWER,    /* the upstream's answer is malformed or too large */
	EXCHANGE_PROXY,         /* the upstream proxy wants to know who asks */
	EXCHANGE_SECRET,        /* a secret's value cannot stand in a header */
	EXCHANGE_REFUSAL_COUNT
};

struct exchange_ops {
	/* A request goes out. path: without its query, cut to fit; valid during the call. */
	void (*on_request)(struct exchange *x, const char *method, const char *path);
	/* The gate has answered a request itself (403, 400, 405, 502) or cut it off; detail is a
	 * sentence for a person. The request was counted as refused. */
	void (*on_refused)(struct exchange *x, enum exchange_refusal what, const char *detail);
	/* Secrets put into a request; placeholders seen where none is put in (header, target,
	 * body); secrets taken out of an answer. where: "header authorization", "target", "body".
	 */
	void (*on_used)(struct exchange *x, uint64_t secrets);
	void (*on_stray)(struct exchange *x, uint64_t secrets, const char *where);
	void (*on_scrubbed)(struct exchange *x, uint64_t secrets);
	/* The connection is over. err 0: orderly. Called once, from the loop; the owner calls the
	 * engine's free function in it or later. */
	void (*on_done)(struct exchange *x, int err);
};

struct exchange_params {
	struct loop *loop;
	const char *host; /* normalised name of the connection, borrowed for its life */
	uint16_t port;
	bool tls;                      /* https: the default port is 443, else 80 */
	const struct vault *vault;     /* may be NULL */
	uint64_t secrets;              /* that may be put in: 0 unless tls */
	const struct scrub_set *scrub; /* NULL: nothing to take out */
	/* Plain HTTP through a proxy: request targets are sent in absolute form, with this
	 * Proxy-Authorization (NULL: none). */
	bool absolute_form;
	const char *proxy_authorization;
	const struct exchange_ops *ops;
	void *data; /* the owner's */
};

/* Engines embed it as their first member; the owner sees only this. */
struct exchange {
	struct exchange_params params;
	uint64_t bytes_up, bytes_down; /* plain text through the legs */
	unsigned requests;
};

/* Whether text (a Host header or :authority) names the connection: the same name (case, final dot
 * and an explicit default port make no difference) and the same port. */
bool exchange_host_ok(const struct exchange_params *p, const char *text, size_t len);
/* Appends the authority of the connection as it is sent upstream: the name (an IPv6 address in
 * brackets), and the port unless it is the default. 0 or -ENOBUFS. */
int exchange_put_authority(const struct exchange_params *p, struct buf *out);
/* The body of the gate's own answers: JSON with error, code, host, port and message, e.g.
 * {"error":"EGRESS_DENIED","code":"host-mismatch","host":"a.example","port":443,"message":"..."}.
 */
void exchange_refusal_body(const struct exchange_params *p, enum exchange_refusal what,
	const char *detail, struct buf *out);
/* "host-mismatch", ... */
const char *exchange_refusal_code(enum exchange_refusal what);
/* The status of that answer: 403, 400 or 502. */
int exchange_refusal_status(enum exchange_refusal what);
