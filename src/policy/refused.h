/*
 * Destinations that are refused whatever the rules say: addresses that mean this host, its
 * networks, or nobody (RFC 6890 and the metadata services of clouds). The ranges reserved for
 * documentation are not among them: closed networks use them for mirrors. The host's own other
 * addresses are the gate's to find out.
 */
#pragma once

#include "policy/address.h"

struct refused_range {
	const char *range;
	const char *why; /* "private network": completes "is refused: " */
	bool always;     /* nobody can open it: it is no address of one host */
};

/* The table, ends with a NULL range; the first row that has an address says why.
 * docs/man/warren-egress.7 shows it. */
extern const struct refused_range refused_ranges[];

/* Why a is refused (static text), or NULL. opened: ranges that the operator has opened
 * (egress-private). */
const char *refused_address(
	const struct address *a, const struct address_range *opened, size_t opened_count);
