/*
 * Internet addresses in one canonical form: 128 bits, IPv4 as ::ffff:a.b.c.d. Whatever spelling an
 * address comes in, two spellings of one address compare equal, so that no rule can be evaded by
 * another notation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
	uint8_t bytes[16]; /* network order */
};

#define ADDRESS_TEXT_SIZE 46

/* Strict: "192.0.2.1" (four decimal parts without leading zeros), or an IPv6 address as RFC 4291
 * has it, without brackets and zone. 0 or -EINVAL. text need not end in NUL. */
int address_parse(const char *text, size_t len, struct address *ret);
/* IPv4 as dotted quad, IPv6 as RFC 5952. */
void address_format(const struct address *a, char ret_text[ADDRESS_TEXT_SIZE]);
bool address_is_v4(const struct address *a);
bool address_equal(const struct address *a, const struct address *b);
/* -EAFNOSUPPORT for other families. *ret_port is in host order. */
int address_from_sockaddr(const struct sockaddr *sa, struct address *ret, uint16_t *ret_port);
/* An AF_INET address for IPv4, else AF_INET6. Returns its length. */
socklen_t address_to_sockaddr(const struct address *a, uint16_t port, struct sockaddr_storage *ret);

struct address_range {
	struct address base; /* bits behind the prefix are 0 */
	unsigned bits;       /* length of the prefix in the 128-bit form, 0..128 */
};

/* "10.0.0.0/8", "2001:db8::/32" or a single address. -EINVAL, also when bits behind the prefix are
 * set: what was meant is not clear then. */
int address_range_parse(const char *text, size_t len, struct address_range *ret);
/* "::/0" and other ranges of IPv6 that are wider than all of IPv4 have no IPv4 address. */
bool address_range_has(const struct address_range *range, const struct address *a);
