/*
 * Bytes as they are, between the program inside and the host outside: half-closed connections stay
 * half-closed, a reset stays a reset, a slow side holds the other.
 */
#pragma once

#include "gate/secrets/vault.h"
#include "loop/loop.h"

struct relay;

struct relay_ops {
	/* What the host has sent so far, before any of it goes on: 0 it may, and nothing more is
	 * asked; -EAGAIN wait for more; another negative errno ends the relay with it. May be
	 * NULL. */
	int (*inspect)(struct relay *r, const uint8_t *data, size_t len, void *owner);
	/* Placeholders went out as they are: TLS is not looked into, so this is plain text. */
	void (*on_stray)(struct relay *r, uint64_t secrets, void *data);
	/* Both directions are over (err 0), the connection broke, or what relay_guard() looks for
	 * has come (-EPROTO). Once, from the loop; the owner calls relay_free() in it or later. */
	void (*on_done)(struct relay *r, int err, void *data);
};

/* Takes both descriptors over. early: bytes that were read from client before. vault: NULL: nothing
 * is looked for. Never fails at once. */
struct relay *relay_new(struct loop *loop, int client, int upstream, const void *early,
	size_t early_len, const struct vault *vault, const struct relay_ops *ops, void *data);
/* Right after relay_new(): nothing is passed on that ends a request line of HTTP, should the first
 * line from inside become one after all. */
void relay_guard(struct relay *r);
/* Resets both when they are still open. NULL is fine. */
void relay_free(struct relay *r);
uint64_t relay_bytes_up(const struct relay *r);
uint64_t relay_bytes_down(const struct relay *r);
