/* Randomness of the kernel. These calls end the process when it has none to give. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *p, size_t len);
uint64_t random_u64(void);
/* Uniform in [0, bound), bound > 0. */
uint64_t random_below(uint64_t bound);
/* n symbols drawn uniformly from alphabet, plus NUL. */
void random_text(char *ret_text, size_t n, const char *alphabet);
/* 2 * n lower-case hex digits plus NUL. */
void random_hex(char *ret_text, size_t n);
