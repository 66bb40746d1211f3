/* UTF-8 as RFC 3629 defines it (no surrogates, no overlong forms, at most U+10FFFF). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

bool utf8_valid(const void *data, size_t len);
/* Appends data with every maximal invalid part replaced by U+FFFD, as the WHATWG decoder does.
 * 0, or -ENOBUFS with the queue unchanged. */
int utf8_append_lossy(struct buf *b, const void *data, size_t len);
