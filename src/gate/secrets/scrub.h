/*
 * Takes secrets out of what comes back from a host. Every occurrence of a value is overwritten with
 * '*', byte for byte, so that lengths (Content-Length, chunks, frames) stay true. Found are:
 * the value itself; with any of its bytes percent-encoded; JSON-escaped (\uXXXX, \/ and the
 * like); in hexadecimal (either case, also mixed); in base64 (both alphabets, at each of the three
 * alignments, so also inside a longer text such as "user:value"), the base64 also percent-encoded,
 * JSON-escaped or broken into lines. Of base64 the characters go that depend on the value alone: up
 * to one at either end, which a neighbouring byte shares, stays. Values of less than 4 bytes are
 * found as they are only; what was encoded twice in one way is not found.
 *
 * A stream is fed in pieces of any size: bytes that may be the beginning of a value are held back
 * until it is clear, and no others.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "gate/secrets/vault.h"

/* What is looked for: made once for each set of secrets and shared by its streams. */
struct scrub_set;
/* NULL when secrets is 0. Holds copies of values in memory like the vault's. */
struct scrub_set *scrub_set_new(const struct vault *v, uint64_t secrets);
void scrub_set_free(struct scrub_set *set);

struct scrub;
/* set must outlive it; NULL set: a scrubber that passes everything on. */
struct scrub *scrub_new(const struct scrub_set *set);
/* NULL is fine. */
void scrub_free(struct scrub *s);
/* Appends to out what is safe to pass on; the rest is held. 0, or -ENOBUFS (nothing was taken). */
int scrub_feed(struct scrub *s, const uint8_t *data, size_t len, struct buf *out);
/* The stream has ended: appends what was held. The scrubber is as new afterwards. */
int scrub_finish(struct scrub *s, struct buf *out);
/* Secrets found and overwritten so far. */
uint64_t scrub_found(const struct scrub *s);
/* A whole text at once, in place (header values, reasons). Returns the secrets found. */
uint64_t scrub_text(const struct scrub_set *set, uint8_t *data, size_t len);
