/* Character classes of RFC 9110 and 9112, shared by the files of the HTTP reader. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	HTTP1_TOKEN = 1,  /* field names, methods */
	HTTP1_TARGET = 2, /* request targets: visible ASCII without '#' */
	HTTP1_VALUE = 4,  /* field values: no control bytes but HTAB */
	HTTP1_HOST = 8,   /* host and port */
};

extern const uint8_t http1_classes[256];

static inline bool http1_is(uint8_t c, uint8_t class)
{
	return http1_classes[c] & class;
}
