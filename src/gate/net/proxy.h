/*
 * Upstream proxies of the host: which connections go through one, and how it is asked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "policy/rules.h"

/* An HTTP proxy. */
struct proxy {
	char *host; /* normalised name, or NULL: address */
	struct address address;
	uint16_t port;
	char *authorization; /* value of Proxy-Authorization, or NULL */
};

struct proxies {
	struct proxy *http, *https; /* NULL: none */
	char *no_proxy;             /* comma-separated, as curl has it; or NULL */
};

/* Texts as in struct gate_config, NULL or "": none. 0, or -EINVAL with *ret_err (never holding the
 * password). */
int proxies_parse(struct proxies *p, const char *http, const char *https, const char *no_proxy,
	struct error *ret_err);
void proxies_done(struct proxies *p);
/* The proxy for a connection to a name; NULL: dial directly. Literal addresses, localhost and what
 * no_proxy lists (a name stands for those below it, "*" for all) go directly. */
const struct proxy *proxies_for(const struct proxies *p, const char *name, bool https);
