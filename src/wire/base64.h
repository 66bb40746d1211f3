/*
 * Base64 (RFC 4648, standard alphabet, padded) at memory speed: scalar, AVX2 and AVX-512 VBMI
 * kernels, chosen once at start. Used only at the edge of the daemon; a guest never sees base64.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes that encoding len bytes gives (without NUL). */
static inline size_t base64_encoded_len(size_t len)
{
	return (len + 2) / 3 * 4;
}

/* Upper bound of the bytes that decoding len characters gives. */
static inline size_t base64_decoded_max(size_t len)
{
	return len / 4 * 3 + 3;
}

/* Writes base64_encoded_len(len) characters to out (no NUL) and returns their number. in and out
 * must not overlap. */
size_t base64_encode(char *out, const void *in, size_t len);
/* Strict decode: length a multiple of 4, canonical padding, zero trailing bits, no white space.
 * out may equal in (decoding in place); else they must not overlap. Writes nothing behind the
 * decoded bytes. Returns their number, or -EINVAL (what out holds then means nothing). */
ssize_t base64_decode(void *out, const char *in, size_t len);

/* Kernels by name for tests and benchmarks: "scalar", "avx2", "avx512vbmi". Selects one for the
 * process; -ENOTSUP when the CPU lacks it, -EINVAL for an unknown name. Without a call the best one
 * is used. */
int base64_select(const char *name);
