/*
 * The certificate authority of one sandbox: an ECDSA P-256 key that exists in this process only and
 * a certificate that the sandbox trusts. It vouches for the hosts of secrets and, by its name
 * constraints, for no others. Leaves share one key and are kept by name.
 */
#pragma once

#include <openssl/ssl.h>

#include "base/error.h"

#define AUTHORITY_LEAVES_MAX 32
#define AUTHORITY_HASH_SIZE 9

struct authority;

/* hosts: rules of the secrets (policy/rules.h), for the name constraints. NULL with *ret_err. */
struct authority *authority_new(
	const char *sandbox_id, const char *const *hosts, size_t count, struct error *ret_err);
void authority_free(struct authority *a);
/* Certificate as PEM, borrowed; its name in a folder of certificates (8 hex digits). */
const char *authority_pem(const struct authority *a);
const char *authority_hash(const struct authority *a);
/*
 * A server side for a connection to name (normalised), in accept state. It agrees to the protocol
 * alpn ("h2", "http/1.1") when the client offers that, to none for "". The caller's; NULL when out
 * of memory.
 */
SSL *authority_accept(struct authority *a, const char *name, const char *alpn);
