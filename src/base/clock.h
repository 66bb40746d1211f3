/* Time: monotonic nanoseconds for intervals, milliseconds since 1970 for the outside. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CLOCK_MS UINT64_C(1000000)
#define CLOCK_SEC UINT64_C(1000000000)

uint64_t clock_mono_ns(void);
int64_t clock_real_ms(void);

/* "2026-11-23T15:55:24.123Z" (24 characters and NUL). Years outside 0..9999 are clamped. */
#define CLOCK_ISO_SIZE 25
void clock_format_iso(int64_t real_ms, char ret_text[CLOCK_ISO_SIZE]);
/* ISO 8601 date and time with Z or an offset, fraction optional. 0 or -EINVAL. */
int clock_parse_iso(const char *text, int64_t *ret_real_ms);
/* "30s", "5m", "2h", "1d", "500ms" or a plain number of seconds. 0, -EINVAL, or -ERANGE above
 * ten years. */
int clock_parse_duration(const char *text, int64_t *ret_ms);
