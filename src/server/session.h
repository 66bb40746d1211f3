/*
 * A client's WebSocket session with one sandbox: JSON-RPC requests, notifications and streams in
 * the dialect of the official clients. See session_priv.h for how its parts share the work.
 */
#pragma once

#include "sandbox/sandbox.h"

struct conn;
struct session;

/* Attaches to sb and answers the upgrade. python: the peer is the official Python client, which
 * needs its calls answered before the socket goes away and takes no message above 1 MiB. */
void session_start(struct conn *conn, struct sandbox *sb, bool primary, bool python);
/* The connection is going: detaches and frees. Called by the connection only. */
void session_free(struct session *s);

void session_on_data(struct session *s);
void session_on_drain(struct session *s);
/* The sandbox it serves or served. */
const char *session_sandbox_id(const struct session *s);
