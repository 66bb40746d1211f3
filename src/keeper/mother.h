/*
 * Between warren-keeper and the mother of the gates (warren-gate before it has forked): fixed
 * binary messages over a SOCK_SEQPACKET pair, descriptors as SCM_RIGHTS. The mother is started by
 * the keeper as
 *
 *   warren-gate --socket-fd N --resolver-fd N [--extra-ca FILE] [--log-level LEVEL]
 *
 * says MOTHER_READY (cookie 0) when it has read the certificates it trusts, and then forks one gate
 * for each request. The end of its socket ends it, and its end ends every gate (parent-death
 * signal).
 */
#pragma once

#include <stdint.h>

/* Descriptors of a request, in this order: the gate's end of the socket to the daemon (rpc/gate.h),
 * and sockets bound in the sandbox's network namespace: TCP (not yet listening) and UDP for DNS,
 * each for IPv4 and IPv6. */
enum mother_fd {
	MOTHER_FD_CONTROL,
	MOTHER_FD_TCP4,
	MOTHER_FD_TCP6,
	MOTHER_FD_DNS4,
	MOTHER_FD_DNS6,
	MOTHER_FD_COUNT
};

struct mother_request {
	uint64_t cookie; /* not 0 */
	uint32_t uid;    /* user and group of the gate: its own */
	uint32_t reserved;
};

/* With err 0 and a cookie a pidfd of the gate comes along. */
struct mother_reply {
	uint64_t cookie;
	int32_t err; /* 0 or a negative errno */
	int32_t pid; /* in the keeper's pid namespace */
};
