/* The XOR mask of client frames. Private to the room, open to its tests and benchmarks. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* data[i] ^= mask[i % 4], in place. */
void ws_unmask(uint8_t *data, size_t len, const uint8_t mask[4]);
/* The same without vector instructions. */
void ws_unmask_words(uint8_t *data, size_t len, const uint8_t mask[4]);
