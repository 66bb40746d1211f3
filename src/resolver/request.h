/*
 * Asking warren-resolver: all gates hold the same end of one SOCK_DGRAM pair. A request is one
 * datagram with a socket (SOCK_SEQPACKET or SOCK_DGRAM, the asker's own pair) as SCM_RIGHTS; the
 * answer is one message on that socket, and its end without a message means that the resolver has
 * died: ask again. Requests that are malformed are dropped with their socket.
 *
 * An asker is told by its uid: how much it may wait for at once is bounded (RESOLVER_BUSY), and so
 * is how many lookups run for it. One that closes its socket has given up.
 */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#define RESOLVER_NAME_SIZE 254
#define RESOLVER_ADDRESSES_MAX 16

struct resolver_request {
	char name[RESOLVER_NAME_SIZE]; /* NUL-terminated, normalised (policy/rules.h) */
};

enum resolver_result {
	RESOLVER_OK,
	RESOLVER_NO_NAME, /* there is no such name, or it has no address */
	RESOLVER_FAILED,  /* no answer now: servers silent or broken */
	RESOLVER_BUSY     /* too many requests wait, or too many of this asker's */
};

struct resolver_answer {
	uint32_t result; /* enum resolver_result */
	uint32_t count;
	struct in6_addr addresses[RESOLVER_ADDRESSES_MAX]; /* IPv4 as ::ffff:a.b.c.d; in the order
							    * in which the host prefers them */
};
