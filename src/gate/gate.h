/*
 * One gate: everything a sandbox's connections have in common. Made from the daemon's GATE_CONFIG;
 * until then nothing is answered.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "gate/audit.h"
#include "gate/net/names.h"
#include "gate/net/proxy.h"
#include "gate/net/resolve.h"
#include "gate/secrets/scrub.h"
#include "gate/secrets/vault.h"
#include "gate/tls/authority.h"
#include "gate/tls/sessions.h"
#include "loop/loop.h"
#include "policy/rules.h"

#define GATE_FLOWS_MAX 1024
#define GATE_SCRUB_SETS_MAX 16

/* Descriptors of a gate; all are its own but resolver and client_ctx, which it shares. */
struct gate_setup {
	int control;         /* SOCK_SEQPACKET to the daemon */
	int tcp[2];          /* listening, IPv4 and IPv6 */
	int dns[2];          /* UDP */
	int resolver;        /* this end of the resolver's pair */
	SSL_CTX *client_ctx; /* for connections to hosts: trusts what the host trusts */
};

struct gate {
	struct loop *loop;
	struct gate_setup setup;
	struct loop_io control_io;
	struct loop_io tcp_io[2];
	struct loop_io dns_io[2];
	struct loop_timer accept_again;
	struct loop_timer rest; /* armed at the start, and when the last connection has ended */
	bool configured;

	struct rules rules;
	struct address_range *opened;
	size_t opened_count;
	struct proxies proxies;
	struct vault *vault;
	struct authority *authority; /* NULL: no secrets */
	struct {
		uint64_t secrets;
		struct scrub_set *set;
	} scrub[GATE_SCRUB_SETS_MAX];
	size_t scrub_count;
	struct names *names;
	struct resolve *resolve;
	struct sessions *sessions;
	struct audit audit;
	struct list flows; /* struct flow */
	unsigned flow_count;
};

/* Runs a gate until the daemon's end of the socket closes; takes the descriptors over. Returns the
 * exit status of the process. */
int gate_run(const struct gate_setup *setup);
/* What has to be taken out of answers to connections with these secrets; NULL when secrets is 0.
 * Belongs to the gate. */
const struct scrub_set *gate_scrub_set(struct gate *g, uint64_t secrets);

/* The last connection has ended: what it leaves of freed memory goes back soon. */
void gate_rest(struct gate *g);

/* control.c: what the daemon says. -ENOTCONN when it is gone, -EPROTO when it makes no sense. */
int control_read(struct gate *g);

/* dns.c */
void dns_on_udp(struct gate *g, int fd);
/* Answers one query; returns the length of the answer, 0: none. */
size_t dns_answer(struct gate *g, const uint8_t *query, size_t len, uint8_t *ret, size_t room);
