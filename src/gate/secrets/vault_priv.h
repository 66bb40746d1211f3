/* Inside of the vault. */
#pragma once

#include "gate/secrets/vault.h"

#define PLACEHOLDER_PREFIX_LEN (sizeof(PLACEHOLDER_PREFIX) - 1)

struct secret {
	char *name;
	char *placeholder;
	uint8_t *value; /* locked */
	size_t len;
	struct rules hosts;
};

/* What the watch looks for (vault_watch.c): the fixed part of a placeholder as it is, and in base64
 * at each of the three alignments. */
#define WATCH_FORMS 4
struct watch_table {
	/* For each byte: at which places of the form it stands, a bit for each. */
	uint32_t places[WATCH_FORMS][256];
	/* Pairs of bytes (first << 8 | second) at which a form may begin. */
	uint32_t pairs[65536 / 32];
	bool wakes[256]; /* first bytes of them */
};

struct vault {
	struct secret secrets[VAULT_SECRETS_MAX];
	size_t count;
	struct watch_table watch;
};

void watch_table_init(struct watch_table *t);
bool vault_is_digit(uint8_t c); /* lower-case hexadecimal */
/* The secret with these PLACEHOLDER_HEX digits in its placeholder, or -1. */
int vault_find(const struct vault *v, const uint8_t *digits);
