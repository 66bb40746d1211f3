/*
 * Well-known public resolvers that take queries over HTTPS or TLS. Where everything is allowed (the
 * rule "*") they stay closed on those ports, so that names are asked of the gate. A rule that names
 * one opens it. The list cannot be complete; who may reach everything can also ask anybody.
 */
#pragma once

#include <stdbool.h>

#include "policy/address.h"

/* name is normalised. Names below a listed one count as well. */
bool resolvers_has_name(const char *name);
bool resolvers_has_address(const struct address *a);
/* The ports of DNS over HTTPS and over TLS. */
bool resolvers_port(uint16_t port);
