/*
 * The API front: listener, HTTP/1.1 connections, routes, WebSocket sessions. Bytes from clients
 * come in here and nowhere else; what they ask is decided in src/sandbox.
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "loop/loop.h"
#include "sandbox/sandbox.h"
#include "store/store.h"

struct server;

struct server_params {
	struct loop *loop; /* all borrowed */
	struct store *store;
	struct sandboxes *sandboxes;
	const struct config *config;
	int spool_fd; /* folder for spilled client data */
};

/* Accepts on listen_fd (taken over; listening, non-blocking). */
struct server *server_new(const struct server_params *params, int listen_fd);
/* Stops accepting; connections without a session are closed. Sessions end with their sandbox. */
void server_stop(struct server *server);
/* Closes everything at once. */
void server_free(struct server *server);
