/*
 * The packet rules of a machine's network: one nf_tables table that sends every TCP connection and
 * every DNS query to the sockets of the gate (network.h) and refuses all else at once. As text:
 *
 *   table inet warren {
 *           chain raw_out {
 *                   type filter hook output priority -300; policy accept;
 *                   ip saddr 127.0.0.0/8 ip daddr 127.0.0.0/8 notrack
 *                   ip6 saddr ::1 ip6 daddr ::1 notrack
 *           }
 *           chain nat_out {
 *                   type nat hook output priority -100; policy accept;
 *                   fib daddr type local return
 *                   meta nfproto ipv4 udp dport 53 dnat ip to 10.200.0.2:15053
 *                   meta nfproto ipv6 udp dport 53 dnat ip6 to [fd00:5b::2]:15053
 *                   meta nfproto ipv4 meta l4proto tcp dnat ip to 10.200.0.2:15001
 *                   meta nfproto ipv6 meta l4proto tcp dnat ip6 to [fd00:5b::2]:15001
 *           }
 *           chain filter_out {
 *                   type filter hook output priority 0; policy drop;
 *                   fib daddr type local accept
 *                   meta l4proto tcp reject with tcp reset
 *                   reject with icmpx admin-prohibited
 *           }
 *   }
 *
 * The first chain keeps what a machine says to itself out of the table of connections, which has
 * room for so many, outlives them by minutes, and loses packets when it is full.
 *
 * It is the same for every machine, so the keeper encodes it once, as the messages that nft would
 * send, and a first process has only to send it: a program to run would cost more than all the rest
 * of its network.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define NETRULES_SIZE 4096

struct netrules {
	size_t len;
	uint32_t last; /* sequence number of the message that is acknowledged */
	char batch[NETRULES_SIZE];
};

/* Does no system call. */
void netrules_build(struct netrules *r);
/* Loads them, all or none, into the caller's network namespace, which must have none. 0 or a
 * negative errno: -EPROTONOSUPPORT, -EOPNOTSUPP or -ENOENT when the kernel lacks a part of it. */
int netrules_load(const struct netrules *r);
