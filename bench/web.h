/*
 * What the measuring client and server of HTTP share: blocking connections with or without TLS, a
 * thread for each, so that nothing but sockets lies between the clock and the other side.
 */
#pragma once

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEB_HEAD_MAX 16384

struct web {
	int fd;
	SSL *ssl; /* NULL: plain */
};

/* How many bytes came; 0: the other side has ended or failed. */
size_t web_read(struct web *w, void *data, size_t room);
/* All of it, or false. */
bool web_write(struct web *w, const void *data, size_t len);
void web_close(struct web *w);
/* The HTTP/2 frames that are due, in few writes. */
bool web_flush(struct web *w, nghttp2_session *session);
/* A header of HTTP/2; the texts have to live until it was submitted. */
nghttp2_nv web_header(const char *name, const char *value);
/* Whether a header of HTTP/2 has this name. */
bool web_is(const uint8_t *name, size_t len, const char *want);
