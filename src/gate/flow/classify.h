/* What a program speaks, from the first bytes it sends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum traffic {
	TRAFFIC_UNKNOWN, /* too few bytes to tell */
	TRAFFIC_TLS,
	TRAFFIC_HTTP1, /* a request line, or what some server might take for one */
	TRAFFIC_HTTP2, /* the preface of a client with prior knowledge */
	TRAFFIC_OTHER,
	TRAFFIC_COUNT
};

/* A line longer than this is no request line. */
#define CLASSIFY_LINE_MAX 16384
/* Nor does any server read one that is longer than this. */
#define CLASSIFY_LATE_MAX 65536

/* waited: no more bytes have come for a while, decide on what is there. */
enum traffic classify(const uint8_t *data, size_t len, bool waited);
/* For TRAFFIC_OTHER, which may have been decided on the beginning of a line: data is everything
 * from the start. 1: it has become a request line; 0: it has not, and never will; -EAGAIN: ask
 * again with more. */
int classify_late(const uint8_t *data, size_t len);
/* "tls", "http", "tcp" */
const char *traffic_name(enum traffic t);
