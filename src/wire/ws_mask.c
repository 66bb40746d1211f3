#include "wire/ws_mask.h"

#include <stdbool.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

void ws_unmask_words(uint8_t *data, size_t len, const uint8_t mask[4])
{
	uint64_t word;
	uint64_t mask64;
	size_t i = 0;

	memcpy(&mask64, mask, 4);
	memcpy((uint8_t *)&mask64 + 4, mask, 4);
	for (; len - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, data + i, sizeof(word));
		word ^= mask64;
		memcpy(data + i, &word, sizeof(word));
	}
	for (; i < len; i++)
		data[i] ^= mask[i % 4];
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static void unmask_avx2(
	uint8_t *data, size_t len, const uint8_t mask[4])
{
	int32_t word;
	__m256i m;
	size_t i = 0;

	memcpy(&word, mask, sizeof(word));
	m = _mm256_set1_epi32(word);
	for (; len - i >= 128; i += 128) {
		__m256i *p = (__m256i *)(data + i);
		__m256i a = _mm256_xor_si256(_mm256_loadu_si256(p), m);
		__m256i b = _mm256_xor_si256(_mm256_loadu_si256(p + 1), m);
		__m256i c = _mm256_xor_si256(_mm256_loadu_si256(p + 2), m);
		__m256i d = _mm256_xor_si256(_mm256_loadu_si256(p + 3), m);

		_mm256_storeu_si256(p, a);
		_mm256_storeu_si256(p + 1, b);
		_mm256_storeu_si256(p + 2, c);
		_mm256_storeu_si256(p + 3, d);
	}
	/* i is a multiple of 4: the mask starts over. */
	ws_unmask_words(data + i, len - i, mask);
}
#endif

void ws_unmask(uint8_t *data, size_t len, const uint8_t mask[4])
{
#ifdef __x86_64__
	if (len >= 128 && __builtin_cpu_supports("avx2")) {
		unmask_avx2(data, len, mask);
		return;
	}
#endif
	ws_unmask_words(data, len, mask);
}
