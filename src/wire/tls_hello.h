/*
 * The first flight of a TLS client, read without answering it: which name it asks for, which
 * protocols it offers, whether it hides the name (Encrypted Client Hello).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TLS_HELLO_MAX 65536 /* a ClientHello in all its records */

struct tls_hello {
	char name[256]; /* host_name of server_name, NUL-terminated, as sent; "": none */
	bool has_ech; /* encrypted_client_hello (0xfe0d) of the outer form; clients that only feign
		       * it (GREASE) look the same */
	bool offers_h2, offers_http1; /* ALPN: "h2", "http/1.1" */
	bool has_alpn;
};

/* Whether the bytes so far can be the start of TLS: 1 yes, 0 no, -EAGAIN too few to tell. */
int tls_hello_likely(const uint8_t *data, size_t len);
/* 1: *ret is filled in; -EAGAIN: more bytes are needed; -EBADMSG: broken; -E2BIG. Records may be
 * fragmented in any way; what follows the last one is not looked at. A server_name with anything
 * but printable ASCII is -EBADMSG. */
int tls_hello_parse(const uint8_t *data, size_t len, struct tls_hello *ret);

/* A fatal alert record in answer to a ClientHello, before any key: 7 bytes. */
#define TLS_ALERT_SIZE 7
#define TLS_ALERT_ACCESS_DENIED 49
#define TLS_ALERT_HANDSHAKE_FAILURE 40
#define TLS_ALERT_INTERNAL_ERROR 80
#define TLS_ALERT_UNRECOGNIZED_NAME 112
void tls_hello_alert(uint8_t description, uint8_t ret[TLS_ALERT_SIZE]);
