/*
 * A small blocking WebSocket client for measuring: no library between the clock and the socket.
 * Every failure ends the program with a message; a measurement that half works is worth nothing.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct ws_client {
	int fd;
	struct buf in;
	char sandbox_id[64];
};

struct ws_server {
	const char *address; /* IPv4 */
	uint16_t port;
	const char *token;
};

/* Connects and upgrades. path e.g. "/api/v3/sandboxes/create"; config: JSON or NULL. */
void ws_client_open(
	struct ws_client *c, const struct ws_server *server, const char *path, const char *config);
/* Close frame, wait for the server's end of the connection. */
void ws_client_close(struct ws_client *c);
void ws_client_send(struct ws_client *c, const char *text, size_t len);
/* Sends a ready masked frame made by ws_client_frame(). */
void ws_client_send_raw(struct ws_client *c, const void *frame, size_t len);
/* Appends a masked text frame (mask 0: the bytes stay as they are, which is allowed). */
void ws_client_frame(struct buf *b, const char *text, size_t len);
/* The next text message; a view that lives until the next call. */
const char *ws_client_recv(struct ws_client *c, size_t *ret_len);
/* Waits for the answer to request id; other messages are dropped. */
const char *ws_client_answer(struct ws_client *c, int id, size_t *ret_len);
