/*
 * TLS sessions with hosts, so that a new connection to the same host need not check its certificate
 * once more: most of what such a connection costs. A session belongs to the name and port whose
 * certificate was verified when it was made, and is used for nothing else; after
 * SESSIONS_LIFE_NS the certificate is looked at again. A bounded number is kept, the latest.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdint.h>

#include "base/clock.h"

#define SESSIONS_MAX 8
#define SESSIONS_LIFE_NS (300 * CLOCK_SEC)

struct sessions;

struct sessions *sessions_new(void);
/* NULL is fine. */
void sessions_free(struct sessions *s);
/* Takes the session over. verified_ns: when the certificate behind it was verified, on the
 * monotonic clock; a session that was resumed does not become younger by it. */
void sessions_keep(struct sessions *s, const char *host, uint16_t port, SSL_SESSION *session,
	uint64_t verified_ns);
/* A session with that host, valid until the next call, or NULL. *ret_verified_ns as it was given.
 */
SSL_SESSION *sessions_find(struct sessions *s, const char *host, uint16_t port, uint64_t now_ns,
	uint64_t *ret_verified_ns);
