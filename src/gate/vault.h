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
/* Copies everything. hosts: at least one. -EINVAL (placeholder not of the form above, empty value,
 * host), -E2BIG (too many secrets, value too long). */
int vault_add(struct vault *v, const char *name, const char *placeholder, const void *value,
	size_t value_len, const char *const *hosts, size_t host_count, struct error *ret_err);
size_t vault_count(const struct vault *v);
const char *vault_name(const struct vault *v, unsigned index);
/* The value; borrowed. For the scrubber. */
const uint8_t *vault_value(const struct vault *v, unsigned index, size_t *ret_len);

/* The secrets for a host by name and port. A literal address never has any. */
uint64_t vault_for_host(const struct vault *v, const char *name, uint16_t port);

/* Whether a request header may carry a secret: not those that servers echo, that frame the message
 * or that name the host (table in vault.c). name in any case. */
bool vault_header_ok(const char *name, size_t len);

/*
 * Puts values in for placeholders in one header value: wherever a placeholder of a secret in
 * `allowed` stands, and inside the base64 of "Basic ..." when the header is Authorization or
 * Proxy-Authorization (decoded, replaced, encoded anew). Appends the whole resulting value to out.
 */
struct vault_swap {
	uint64_t used;  /* values put in */
	uint64_t stray; /* placeholders of this sandbox seen and left as they are */
};
/* 0, -ENOBUFS (out is full), -EINVAL (a value holds bytes that no header may have: CR, LF, NUL). */
int vault_substitute(const struct vault *v, uint64_t allowed, const char *header_name,
	size_t name_len, const char *value, size_t value_len, struct buf *out,
	struct vault_swap *ret);

/*
 * Looks for placeholders in a byte stream that is passed on as it is, in plain, percent-encoded
 * and base64 form, across borders of chunks. Zero-initialised; *ret gets the set of secrets whose
 * placeholder ended in this chunk.
 */
struct vault_watch {
	uint8_t tail[512];
	size_t tail_len;
};
uint64_t vault_watch(const struct vault *v, struct vault_watch *w, const uint8_t *data, size_t len);
