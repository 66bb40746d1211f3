/*
 * The vector kernels of base64. Each works on whole groups (3 bytes, 4 characters) from the start
 * and returns how many bytes of input it has dealt with; the scalar code does the rest, so that
 * all rules about ends, padding and what to refuse stand in one place. A decoder stops in front of
 * a block in which anything is wrong.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct base64_kernel {
	const char *name;
	size_t (*encode)(char *out, const uint8_t *in, size_t len);
	/* out may equal in. Leaves at least the last group. */
	size_t (*decode)(uint8_t *out, const char *in, size_t len);
};

#ifdef __x86_64__
extern const struct base64_kernel base64_avx2;
extern const struct base64_kernel base64_vbmi;
#endif
