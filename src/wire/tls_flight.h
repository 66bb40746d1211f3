/*
 * The first flight of a TLS server, read while it passes by: up to TLS 1.2 its certificate is there
 * for everybody to see.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TLS_FLIGHT_MAX 65536 /* looked at, at most */

/* 1: *ret_cert (heap, the caller's) and *ret_len are the host's certificate in DER. 0: there is
 * none to be seen: TLS 1.3, a resumed session, an alert, or no TLS. -EAGAIN: more bytes are
 * needed. */
int tls_flight_certificate(const uint8_t *data, size_t len, uint8_t **ret_cert, size_t *ret_len);
