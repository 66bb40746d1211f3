/*
 * The network of a machine: loopback with one address more for each family, a default route that
 * leads to itself, and the packet rules that take what goes out to the gate. There is no way out of
 * it but the sockets made here, which the gate gets.
 *
 * The namespace belongs to the initial user namespace: root inside cannot change any of it.
 */
#pragma once

#include <stdint.h>

#include "keeper/netrules.h"

#define NETWORK_ADDRESS4 UINT32_C(0x0ac80002) /* 10.200.0.2, in host byte order */
#define NETWORK_ADDRESS6 \
	{ \
		{ \
			{ \
				0xfd, 0x00, 0x00, 0x5b, [15] = 0x02 \
			} \
		} \
	} /* fd00:5b::2 */
#define NETWORK_PORT_TCP 15001
#define NETWORK_PORT_DNS 15053

/* In the machine's first process, in its new network namespace: raises loopback, adds addresses and
 * routes. 0 or a negative errno. */
int network_raise(void);

enum network_socket {
	NETWORK_TCP4,
	NETWORK_TCP6,
	NETWORK_DNS4,
	NETWORK_DNS6,
	NETWORK_SOCKET_COUNT
};

/* In the keeper: makes the gate's sockets in a machine's network namespace (netns), bound and not
 * listening; fds are the caller's. home is the keeper's own namespace, to which it returns; when
 * that fails, the process ends. 0 or a negative errno. */
int network_make_sockets(int netns, int home, int fds[NETWORK_SOCKET_COUNT]);
