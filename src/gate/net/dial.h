/*
 * Connections from the host's side: to a name, whose real addresses are asked for, or to a literal
 * address; directly, or through a proxy that is asked with CONNECT. Nothing is dialled that
 * refused.h closes or that is an address of this host, whatever name led there: so a name that
 * points inside gains nothing. (What a proxy reaches is the proxy's to decide.)
 */
#pragma once

#include "gate/net/proxy.h"
#include "gate/net/resolve.h"
#include "loop/loop.h"
#include "policy/address.h"

#define DIAL_ATTEMPT_NS (UINT64_C(4) * 1000 * 1000 * 1000)
#define DIAL_TOTAL_NS (UINT64_C(20) * 1000 * 1000 * 1000)

struct dial_params {
	struct loop *loop;
	struct resolve *resolve;
	const char *name; /* copied; NULL: address */
	struct address address;
	uint16_t port;
	const struct proxy *proxy;          /* NULL: directly; outlives the dial */
	bool tunnel;                        /* proxy: ask for a tunnel with CONNECT first */
	const struct address_range *opened; /* outlives the dial */
	size_t opened_count;
};

struct dial;
/* fd >= 0: connected, the callee's; *address is the peer. Else fd is -1 and reason (static text, a
 * code for gate_event.reason) and detail (a sentence, valid during the call) say why. The dial is
 * freed after the call. */
typedef void (*dial_fn)(struct dial *d, int fd, const struct address *address, const char *reason,
	const char *detail, void *data);

/* fn is called once, from the loop, unless cancelled. */
struct dial *dial_start(const struct dial_params *params, dial_fn fn, void *data);
/* NULL is fine. */
void dial_cancel(struct dial *d);
