/*
 * A model of the AVX-512 instructions that src/wire/base64_vbmi.c uses, byte by byte after the
 * descriptions in Intel's Software Developer's Manual. Found in place of the compiler's header.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#define VBMI /* no target attribute: the kernel must run on any machine */

typedef struct {
	uint8_t b[64];
} __m512i;

static inline __m512i _mm512_loadu_si512(const void *p)
{
	__m512i r;

	memcpy(r.b, p, 64);
	return r;
}

static inline void _mm512_storeu_si512(void *p, __m512i v)
{
	memcpy(p, v.b, 64);
}

/* VMOVDQU8 with zeroing: bytes not in the mask are not touched. */
static inline __m512i _mm512_maskz_loadu_epi8(uint64_t mask, const void *p)
{
	__m512i r = {{0}};

	for (int i = 0; i < 64; i++)
		if (mask >> i & 1)
			r.b[i] = ((const uint8_t *)p)[i];
	return r;
}

static inline void _mm512_mask_storeu_epi8(void *p, uint64_t mask, __m512i v)
{
	for (int i = 0; i < 64; i++)
		if (mask >> i & 1)
			((uint8_t *)p)[i] = v.b[i];
}

static inline __m512i _mm512_set1_epi64(long long v)
{
	__m512i r;

	for (int i = 0; i < 64; i++)
		r.b[i] = (uint8_t)((unsigned long long)v >> 8 * (i % 8));
	return r;
}

static inline __m512i _mm512_set1_epi32(int v)
{
	__m512i r;

	for (int i = 0; i < 64; i++)
		r.b[i] = (uint8_t)((unsigned)v >> 8 * (i % 4));
	return r;
}

/* VPERMB: the low 6 bits of each index. */
static inline __m512i _mm512_permutexvar_epi8(__m512i index, __m512i v)
{
	__m512i r;

	for (int i = 0; i < 64; i++)
		r.b[i] = v.b[index.b[i] & 63];
	return r;
}

/* VPERMI2B: bit 6 of an index chooses the table. */
static inline __m512i _mm512_permutex2var_epi8(__m512i low, __m512i index, __m512i high)
{
	__m512i r;

	for (int i = 0; i < 64; i++)
		r.b[i] = (index.b[i] & 64 ? high : low).b[index.b[i] & 63];
	return r;
}

/* VPMULTISHIFTQB: each result byte is eight bits of its own 64-bit word, from a bit offset on,
 * going round. */
static inline __m512i _mm512_multishift_epi64_epi8(__m512i control, __m512i v)
{
	__m512i r;

	for (int i = 0; i < 64; i++)
		for (int bit = r.b[i] = 0; bit < 8; bit++) {
			int from = (control.b[i] + bit) & 63;

			r.b[i] |= (uint8_t)((v.b[i / 8 * 8 + from / 8] >> from % 8 & 1) << bit);
		}
	return r;
}

static inline __m512i _mm512_or_si512(__m512i a, __m512i b)
{
	for (int i = 0; i < 64; i++)
		a.b[i] |= b.b[i];
	return a;
}

static inline uint64_t _mm512_movepi8_mask(__m512i v)
{
	uint64_t mask = 0;

	for (int i = 0; i < 64; i++)
		mask |= (uint64_t)(v.b[i] >> 7) << i;
	return mask;
}

static inline int16_t model_word(__m512i v, int i)
{
	return (int16_t)(v.b[2 * i] | v.b[2 * i + 1] << 8);
}

/* VPMADDUBSW: unsigned times signed bytes, neighbours added, saturated. */
static inline __m512i _mm512_maddubs_epi16(__m512i a, __m512i b)
{
	__m512i r;

	for (int i = 0; i < 32; i++) {
		int sum = a.b[2 * i] * (int8_t)b.b[2 * i] + a.b[2 * i + 1] * (int8_t)b.b[2 * i + 1];

		sum = sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum;
		r.b[2 * i] = (uint8_t)sum;
		r.b[2 * i + 1] = (uint8_t)(sum >> 8);
	}
	return r;
}

/* VPMADDWD: signed words, neighbours added. */
static inline __m512i _mm512_madd_epi16(__m512i a, __m512i b)
{
	__m512i r;

	for (int i = 0; i < 16; i++) {
		int64_t sum = (int64_t)model_word(a, 2 * i) * model_word(b, 2 * i) +
			      (int64_t)model_word(a, 2 * i + 1) * model_word(b, 2 * i + 1);

		for (int byte = 0; byte < 4; byte++)
			r.b[4 * i + byte] = (uint8_t)((uint64_t)sum >> 8 * byte);
	}
	return r;
}
