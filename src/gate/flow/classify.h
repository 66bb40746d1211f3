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

/* waited: no more bytes have come for a while, decide on what is there. */
enum traffic classify(const uint8_t *data, size_t len, bool waited);
/* "tls", "http", "tcp" */
const char *traffic_name(enum traffic t);
