/*
 * Addresses that stand for names. The gate answers a query for a name with an address of
 * 198.18.0.0/15 (set aside for benchmarks, closed outside: refused.h); a connection to such an
 * address is a connection to the name. Names that the policy knows get addresses of the lower half,
 * all others of the upper one, so that asking for many of the latter cannot push out the former.
 * Each half remembers a bounded number of names, the latest used.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "policy/address.h"
#include "policy/rules.h"

#define NAMES_KNOWN_MAX 8192
#define NAMES_OTHER_MAX 1024

struct names;

struct names *names_new(void);
void names_free(struct names *n);
/* The address of a normalised name, a new one if it has none in that half. */
void names_address(struct names *n, const char *name, bool known, uint8_t ret[4]);
/* Whether a is an address that can stand for a name. */
bool names_is_ours(const struct address *a);
/* The name it stands for (valid until the next names_address()), or NULL. */
const char *names_find(struct names *n, const struct address *a);
