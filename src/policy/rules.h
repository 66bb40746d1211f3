/*
 * The rules of allowNet and of a secret's hosts:
 *
 *   example.com            that name, any port        example.com:443      that port
 *   *.example.com          names below it, not itself example.com:8000-8999 ports of a span
 *   192.0.2.1  [2001:db8::1]     that address (with optional :port or :span)
 *   192.0.2.0/24  [2001:db8::/32] addresses of a range (extension)
 *   *                      every name and address (extension; still subject to refused.h), also
 *                          with a port or span
 *
 * Names match connections that were made by name, addresses those that were made to a literal
 * address; neither stands for the other.
 */
#pragma once

#include "base/error.h"
#include "policy/address.h"

#define RULES_MAX 1000
#define RULE_TEXT_MAX 300
#define HOST_NAME_SIZE 254 /* 253 characters and NUL */

/* Brings a host name to the form in which names are compared: lower case, no final dot. -EINVAL
 * unless it is one: labels of letters, digits, '-' and '_' of 1 to 63 characters; not the text of
 * an IPv4 address (in any notation that inet_aton knows: the last label must not be a number). */
int host_name_normalise(const char *text, size_t len, char ret_name[HOST_NAME_SIZE]);

enum rule_kind { RULE_ALL, RULE_NAME, RULE_BELOW, RULE_RANGE, RULE_KIND_COUNT };

struct rule {
	enum rule_kind kind;
	char *text; /* as it was written */
	char *name; /* NAME, BELOW (without "*."): normalised */
	struct address_range range;
	uint16_t port_min, port_max; /* 0..65535: any */
};

/* An ordered list; a zeroed one allows nothing. */
struct rules {
	struct rule *items;
	size_t count;
};

/* Parses texts[0..count). 0, or -EINVAL / -E2BIG with *ret_err saying which rule is wrong and why
 * (field: the caller's name for the list); *ret is untouched then. */
int rules_parse(const char *const *texts, size_t count, const char *field, struct rules *ret,
	struct error *ret_err);
void rules_done(struct rules *r);

/* The first rule that allows a connection by name (normalised) to port, or to an address; NULL:
 * none. */
const struct rule *rules_match_name(const struct rules *r, const char *name, uint16_t port);
const struct rule *rules_match_address(
	const struct rules *r, const struct address *a, uint16_t port);
/* Whether any port of the name is allowed. */
bool rules_know_name(const struct rules *r, const char *name);
