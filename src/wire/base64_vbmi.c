/*
 * Base64 with 64-byte vectors and the byte permutations of AVX-512 VBMI: the whole alphabet is one
 * table lookup. Tests also compile this file against a model of the instructions, for machines
 * that lack them.
 */
#include "wire/base64_kernel.h"

#ifdef __x86_64__

#include <immintrin.h>

#ifndef VBMI
#define VBMI __attribute__((target("avx512f,avx512bw,avx512vbmi")))
#endif

#define TEXT 64
#define BYTES 48
/* The low 48 of 64 bytes. */
#define FIRST_48 UINT64_C(0x0000ffffffffffff)

static const char alphabet[64] __attribute__((aligned(64))) =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Bytes b0 b1 b2 become b1 b0 b2 b1, so that every field is whole in a 32-bit word. */
#define SPREAD(n) 3 * (n) + 1, 3 * (n), 3 * (n) + 2, 3 * (n) + 1
/* The three bytes of a 32-bit word, most significant first. */
#define GATHER(n) 4 * (n) + 2, 4 * (n) + 1, 4 * (n)
#define FOUR(m, n) m(n), m((n) + 1), m((n) + 2), m((n) + 3)
#define SIXTEEN(m) FOUR(m, 0), FOUR(m, 4), FOUR(m, 8), FOUR(m, 12)

static const uint8_t spread[64] __attribute__((aligned(64))) = {SIXTEEN(SPREAD)};
static const uint8_t gather[64] __attribute__((aligned(64))) = {SIXTEEN(GATHER)};

/* Value of each ASCII character; 0x80 marks those that are not of the alphabet. */
#define BAD8 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80
static const uint8_t values[128] __attribute__((aligned(64))) = {
	BAD8, BAD8, BAD8, BAD8, BAD8,               /* controls, blank to '\'' */
	0x80, 0x80, 0x80, 62, 0x80, 0x80, 0x80, 63, /* ( ) * + , - . / */
	52, 53, 54, 55, 56, 57, 58, 59,             /* 0 to 7 */
	60, 61, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, /* 8 9 : ; < = > ? */
	0x80, 0, 1, 2, 3, 4, 5, 6,                  /* @ A to G */
	7, 8, 9, 10, 11, 12, 13, 14,                /* H to O */
	15, 16, 17, 18, 19, 20, 21, 22,             /* P to W */
	23, 24, 25, 0x80, 0x80, 0x80, 0x80, 0x80,   /* X Y Z [ \ ] ^ _ */
	0x80, 26, 27, 28, 29, 30, 31, 32,           /* ` a to g */
	33, 34, 35, 36, 37, 38, 39, 40,             /* h to o */
	41, 42, 43, 44, 45, 46, 47, 48,             /* p to w */
	49, 50, 51, 0x80, 0x80, 0x80, 0x80, 0x80,   /* x y z { | } ~ DEL */
};

VBMI static size_t encode(char *out, const uint8_t *in, size_t len)
{
	/* Bit offsets of the four fields in each 32-bit word of a 64-bit one. */
	const __m512i shifts = _mm512_set1_epi64(0x3036242a1016040a);
	const __m512i text = _mm512_loadu_si512(alphabet);
	const __m512i order = _mm512_loadu_si512(spread);
	size_t done = 0;

	for (; len - done >= BYTES; done += BYTES, out += TEXT) {
		__m512i v = _mm512_maskz_loadu_epi8(FIRST_48, in + done);

		v = _mm512_permutexvar_epi8(order, v);
		v = _mm512_multishift_epi64_epi8(shifts, v);
		/* The lookup takes the low 6 bits of each byte and ignores the others. */
		v = _mm512_permutexvar_epi8(v, text);
		_mm512_storeu_si512(out, v);
	}
	return done;
}

VBMI static size_t decode(uint8_t *out, const char *in, size_t len)
{
	const __m512i low = _mm512_loadu_si512(values);
	const __m512i high = _mm512_loadu_si512(values + 64);
	const __m512i order = _mm512_loadu_si512(gather);
	size_t done = 0;

	/* The store ends before the block's characters do: decoding in place is safe. */
	for (; len - done > TEXT; done += TEXT, out += BYTES) {
		__m512i text = _mm512_loadu_si512(in + done);
		__m512i v = _mm512_permutex2var_epi8(low, text, high);

		/* The lookup ignores bit 7 of a character, which no valid one has. */
		if (_mm512_movepi8_mask(_mm512_or_si512(text, v)) != 0)
			break;
		v = _mm512_maddubs_epi16(v, _mm512_set1_epi32(0x01400140));
		v = _mm512_madd_epi16(v, _mm512_set1_epi32(0x00011000));
		v = _mm512_permutexvar_epi8(order, v);
		_mm512_mask_storeu_epi8(out, FIRST_48, v);
	}
	return done;
}

const struct base64_kernel base64_vbmi = {"avx512vbmi", encode, decode};

#endif
