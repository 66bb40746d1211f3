/*
 * HTTP/2 between two legs, by nghttp2: a server towards the program, a client towards the host, one
 * upstream stream for each stream. Authority is checked for each request, header lists, numbers of
 * streams, resets and CONTINUATION frames are bounded, flow control is passed through so that a
 * slow side holds the other, trailers, 1xx, resets and GOAWAY go both ways. Server push is off, and
 * so is CONNECT, extended CONNECT (RFC 8441) included.
 */
#pragma once

#include "gate/http/exchange.h"

/* As http1_flow_new() and http1_flow_free(). */
struct exchange *http2_flow_new(
	const struct exchange_params *params, struct leg *client, struct leg *upstream);
void http2_flow_free(struct exchange *x);
