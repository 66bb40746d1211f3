/*
 * HTTP/1.1 between two legs: every request is parsed strictly, checked, changed where secrets
 * stand, and written anew; every answer is parsed, scrubbed and written anew. Nothing is passed on
 * that was not understood, so no two parsers can disagree about where a message ends.
 *
 * Keep-alive, pipelining (requests are handled one after another), chunked bodies (trailers are
 * dropped, as any intermediary may), HEAD, 1xx, 204/304, Expect: 100-continue, answers that end
 * with the connection, and upgrade to WebSocket work; other upgrades are not passed on. Bodies
 * stream in both directions with backpressure. After a 101 the frames of both directions are passed
 * on, those from the host scrubbed (where there is something to scrub, Sec-WebSocket-Extensions is
 * stripped, so frames are never compressed).
 */
#pragma once

#include "gate/http/exchange.h"

/* Takes both (open) legs over and becomes their owner; reading starts from the loop. */
struct exchange *http1_flow_new(
	const struct exchange_params *params, struct leg *client, struct leg *upstream);
/* Ends it at once without a callback; both connections are reset. NULL is fine. */
void http1_flow_free(struct exchange *x);
