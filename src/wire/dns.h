/*
 * DNS messages (RFC 1035), as far as a server that knows only addresses needs them: one question
 * in, an answer out. Strict: lengths, compression, counts and trailing bytes are checked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DNS_NAME_SIZE 254    /* text of a name without final dot, and NUL */
#define DNS_MESSAGE_MAX 4096 /* query taken */
#define DNS_ANSWER_MAX 512   /* answers are never longer */

enum dns_type {
	DNS_A = 1,
	DNS_PTR = 12,
	DNS_AAAA = 28,
	DNS_SVCB = 64,
	DNS_HTTPS = 65,
	DNS_ANY = 255,
};
#define DNS_CLASS_IN 1

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
};

struct dns_query {
	uint16_t id;
	uint16_t flags; /* as received, for RD and CD */
	uint16_t type, class;
	char name[DNS_NAME_SIZE]; /* as sent (case kept); bytes outside of letters, digits, '-', '_'
				   * and '*' make the query one for a name that cannot exist: "" and
				   * odd */
	bool odd;
	bool edns; /* had an OPT record */
	uint8_t wire_name[255];
	size_t wire_len; /* of wire_name: the question's name as received, uncompressed */
};

/* 0; -EBADMSG: no query that can be answered (drop it: too short for a header, or a response);
 * -EINVAL: malformed, answer FORMERR with the id and flags that *ret has; -ENOSYS: another opcode,
 * answer NOTIMP. */
int dns_parse_query(const uint8_t *data, size_t len, struct dns_query *ret);
/* Writes an answer: rcode, and with address (4 bytes, NULL: none) one A record with ttl, or with
 * target (NULL: none) one PTR record. Echoes the question, and OPT when the query had one. The
 * answer is authoritative in nothing and recursion is offered. Returns its length. */
size_t dns_put_answer(const struct dns_query *q, enum dns_rcode rcode, const uint8_t address[4],
	const char *target, uint32_t ttl, uint8_t ret[DNS_ANSWER_MAX]);
/* The IPv4 address in a name like 5.0.18.198.in-addr.arpa. -EINVAL when it is none. */
int dns_reverse_address(const char *name, uint8_t ret[4]);
