/*
 * The secrets of this sandbox: value and placeholder of each, and the hosts it is for. Values lie
 * in locked memory that no core dump holds, and are wiped when replaced or freed. Nothing in here
 * logs or formats a value.
 *
 * Sets of secrets are bit masks, bit i for secret i.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "policy/rules.h"

#define VAULT_SECRETS_MAX 64
#define VAULT_VALUE_MAX 16384
#define PLACEHOLDER_PREFIX "DENO_SECRET_PLACEHOLDER_"
#define PLACEHOLDER_HEX 64
#define PLACEHOLDER_LEN (sizeof(PLACEHOLDER_PREFIX) - 1 + PLACEHOLDER_HEX)

struct vault;

struct vault *vault_new(void);
/* Wipes. NULL is fine. */
void vault_free(struct vault *v);
/* Copies everything. hosts: at least one. -EINVAL (placeholder not of the form above with digits
 * 0-9 a-f, or another secret's as well; empty value; host), -E2BIG (too many secrets, value too
 * long).
 */
int vault_add(struct vault *v, const char *name, const char *placeholder, const void *value,
	size_t value_len, const char *const *hosts, size_t host_count, struct error *ret_err);
size_t vault_count(const struct vault *v);
const char *vault_name(const struct vault *v, unsigned index);
/* The value; borrowed. For the scrubber. */
const uint8_t *vault_value(const struct vault *v, unsigned index, size_t *ret_len);

/* The secrets for a host by name and port. A literal address never has any. */
uint64_t vault_for_host(const struct vault *v, const char *name, uint16_t port);
/* Those of the name on any port: what a host may have been told. */
uint64_t vault_for_name(const struct vault *v, const char *name);

/* Whether a request header may carry a secret: not those that servers echo, that frame the message
 * or that name the host (table in vault.c). name in any case. */
bool vault_header_ok(const char *name, size_t len);

/*
 * Puts values in for placeholders in one header value: wherever a placeholder of a secret in
 * `allowed` stands, and inside the base64 of "Basic ..." when the header is Authorization
 * (decoded, replaced, encoded anew). Appends the whole resulting value to out. A placeholder is the
 * prefix and its digits; nothing is asked of what stands in front and behind. In a header that
 * vault_header_ok() refuses none is put in.
 */
struct vault_swap {
	uint64_t used;  /* values put in */
	uint64_t stray; /* placeholders seen (in any form of vault_watch()), but not put in */
};
/* 0, -ENOBUFS (out is full), -EINVAL (a value holds bytes that no header may have: controls but for
 * tabs). out and *ret are as before then. */
int vault_substitute(const struct vault *v, uint64_t allowed, const char *header_name,
	size_t name_len, const char *value, size_t value_len, struct buf *out,
	struct vault_swap *ret);

/*
 * Looks for placeholders in a byte stream that is passed on as it is: plain, with any of their
 * characters percent-encoded, and in base64 at any alignment (percent-encoded as well), across
 * borders of chunks. Zero-initialised. Returns the set of secrets whose placeholder ended in this
 * chunk; what follows its last digit makes no difference here.
 */
struct vault_watch_form {
	uint32_t places; /* beginnings of the fixed part that end here */
	uint8_t left;    /* bytes of the rest that are still to come */
	uint8_t bits;    /* base64: of rest that are no byte yet */
	uint16_t rest;
	uint8_t digits[PLACEHOLDER_HEX];
};
struct vault_watch {
	struct vault_watch_form raw[4], decoded[4];
	uint8_t escape[3]; /* "%4" */
	uint8_t escape_len;
};
uint64_t vault_watch(const struct vault *v, struct vault_watch *w, const uint8_t *data, size_t len);
