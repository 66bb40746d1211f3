/*
 * One side of a connection that the gate opens: a byte stream to the program inside or to the host
 * outside, with or without TLS. What flows through legs is plain text.
 *
 * Reading: bytes collect in leg_in() (bounded by LEG_IN_MAX); on_data consumes what it understands
 * with buf_consume() and leaves the rest. leg_pause() stops reading at the socket, leg_resume()
 * goes on and has on_data called (from the loop) for what is there already. Writing: leg_write()
 * queues; when leg_congested() the owner stops its source until on_drain. Ending: on_close comes
 * once, from the loop, when the peer has ended or failed; what it had sent before has been
 * delivered, as far as the owner was not pausing. The owner may call leg_free() at any time, also
 * inside the leg's callbacks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include "base/buf.h"
#include "loop/loop.h"

#define LEG_IN_MAX ((size_t)128 * 1024)
#define LEG_OUT_HIGH ((size_t)256 * 1024)
#define LEG_OUT_MAX ((size_t)4 * 1024 * 1024)

struct leg;

struct leg_ops {
	/* The leg can be used: after the handshake with TLS, else from the loop at once. */
	void (*on_open)(struct leg *l, void *data);
	void (*on_data)(struct leg *l, void *data);
	void (*on_drain)(struct leg *l, void *data); /* may be NULL */
	/* err: 0 orderly end (with TLS: close_notify came); -EPROTO TLS failure, leg_error_text()
	 * says which; -ECONNABORTED a TLS connection ended without close_notify; else errno. */
	void (*on_close)(struct leg *l, int err, void *data);
};

/* Takes fd over, also on failure. early: bytes that were read from it before (may be NULL). ssl:
 * NULL, or a fresh SSL (taken over, also on failure) with SSL_set_accept_state() or
 * SSL_set_connect_state() called. 0 or a negative errno. */
int leg_new(struct loop *loop, int fd, const void *early, size_t early_len, SSL *ssl,
	const struct leg_ops *ops, void *data, struct leg **ret);
/* Closes at once. NULL is fine. */
void leg_free(struct leg *l);
/* Another owner, for instance an engine that takes an open leg over. on_data comes for bytes that
 * are there already when the new owner calls leg_resume(). */
void leg_set_owner(struct leg *l, const struct leg_ops *ops, void *data);

/* The plain text received and not yet consumed. */
struct buf *leg_in(struct leg *l);
/* 0, -ENOBUFS (more than LEG_OUT_MAX would be queued, nothing is written), -EPIPE after
 * leg_close_after_flush(), or the leg's error. The bytes are copied. */
int leg_write(struct leg *l, const void *data, size_t len);
bool leg_congested(const struct leg *l);
void leg_pause(struct leg *l);
void leg_resume(struct leg *l);
/* Sends what is queued (and close_notify), then closes; on_close follows with 0. No on_data comes
 * any more. */
void leg_close_after_flush(struct leg *l);
/* The next leg_free() resets the connection (TCP RST), so that the peer cannot take what it got for
 * the whole. */
void leg_set_abort(struct leg *l);
/* What went wrong, for a person: "certificate has expired". */
const char *leg_error_text(const struct leg *l);
/* The protocol agreed by ALPN: "h2", "http/1.1", or "". */
const char *leg_alpn(const struct leg *l);
