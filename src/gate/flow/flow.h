/*
 * One connection from inside the sandbox, from its accept to its end:
 *
 *   READING   allowed: what it speaks is being found out, while the host is dialled
 *   DENIED    not allowed: what it speaks is being found out, to say no in that language
 *   REFUSING  no is being said
 *   OPENING   TLS to the host, and then to the program, is being set up
 *   RUNNING   bytes flow: as they are (relay.h), or as HTTP (exchange.h)
 *
 * A flow reports itself to the audit when it ends, and only then stops existing.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

struct gate;
struct flow;

/* Takes fd over: a connection that was accepted. */
void flow_new(struct gate *g, int fd);
/* The rules have changed: whether the flow was ended for that. */
bool flow_recheck(struct flow *f);
/* Ends all of a gate's without a report. */
void flows_free(struct gate *g);
/* The first flow of the gate, or the next one. */
struct flow *flow_next(struct gate *g, const struct flow *f);
/* Connections with this context are resumed where that is possible, see sessions.h. */
void flow_keep_sessions(SSL_CTX *ctx);
