/*
 * Base64 with 32-byte vectors. A shuffle is a table of 16 entries looked up for every byte at
 * once, multiplications shift the 6-bit fields to their places (after ideas published by Wojciech
 * Mula and Alfred Klomp).
 */
#include "wire/base64_kernel.h"

#ifdef __x86_64__

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* 24 bytes in the middle 12 + 12 of the lanes -> 32 values of 6 bits. */
AVX2 static inline __m256i split(__m256i v)
{
	/* Bytes b0 b1 b2 become b1 b0 b2 b1: each 16-bit half holds two fields whole. */
	const __m256i spread = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10,
		1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
	__m256i even;
	__m256i odd;

	v = _mm256_shuffle_epi8(v, spread);
	even = _mm256_and_si256(v, _mm256_set1_epi32(0x0fc0fc00));
	even = _mm256_mulhi_epu16(even, _mm256_set1_epi32(0x04000040));
	odd = _mm256_and_si256(v, _mm256_set1_epi32(0x003f03f0));
	odd = _mm256_mullo_epi16(odd, _mm256_set1_epi32(0x01000010));
	return _mm256_or_si256(even, odd);
}

/* Values of 6 bits -> characters. */
AVX2 static inline __m256i to_text(__m256i v)
{
	/* What to add, by range: 0 a-z, 1..10 digits, 11 '+', 12 '/', 13 A-Z. */
	const __m256i offsets = _mm256_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
		'0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A',
		0, 0, 'a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
		'0' - 52, '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
	__m256i range = _mm256_subs_epu8(v, _mm256_set1_epi8(51));
	__m256i upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), v);

	range = _mm256_or_si256(range, _mm256_and_si256(upper, _mm256_set1_epi8(13)));
	return _mm256_add_epi8(v, _mm256_shuffle_epi8(offsets, range));
}

/* 24 bytes from in as split() wants them: reads 28. */
AVX2 static inline __m256i load_24(const uint8_t *in)
{
	__m128i low = _mm_loadu_si128((const __m128i *)in);
	__m128i high = _mm_loadu_si128((const __m128i *)(in + 12));

	return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

AVX2 static size_t encode(char *out, const uint8_t *in, size_t len)
{
	size_t done = 0;

	for (; len - done >= 28; done += 24, out += 32)
		_mm256_storeu_si256((__m256i *)out, to_text(split(load_24(in + done))));
	return done;
}

/* Characters -> values of 6 bits. *bad gets a bit set in each byte that is not of the alphabet. */
AVX2 static inline __m256i to_values(__m256i text, __m256i *bad)
{
	/*
	 * A character is wrong when its two nibbles share a bit in these tables. By high nibble:
	 * 2: bit 0, 3: bit 1, 4 and 6: bit 2, 5 and 7: bit 3, others: bit 4. The low nibble has the
	 * bits of those rows in which its column holds no character of the alphabet.
	 */
	const __m256i by_low = _mm256_setr_epi8(0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
		0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a, 0x15, 0x11, 0x11, 0x11, 0x11, 0x11,
		0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a);
	const __m256i by_high = _mm256_setr_epi8(0x10, 0x10, 0x01, 0x02, 0x04, 0x08, 0x04, 0x08,
		0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x01, 0x02, 0x04, 0x08,
		0x04, 0x08, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x10);
	/* What to add, by high nibble; '/' takes the entry in front of its row. */
	const __m256i offsets = _mm256_setr_epi8(0, 63 - '/', 62 - '+', 52 - '0', -'A', -'A',
		26 - 'a', 26 - 'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 63 - '/', 62 - '+', 52 - '0', -'A',
		-'A', 26 - 'a', 26 - 'a', 0, 0, 0, 0, 0, 0, 0, 0);
	const __m256i nibble = _mm256_set1_epi8(0x0f);
	__m256i high = _mm256_and_si256(_mm256_srli_epi32(text, 4), nibble);
	__m256i low = _mm256_and_si256(text, nibble);
	__m256i slash = _mm256_cmpeq_epi8(text, _mm256_set1_epi8('/'));

	*bad = _mm256_and_si256(
		_mm256_shuffle_epi8(by_low, low), _mm256_shuffle_epi8(by_high, high));
	return _mm256_add_epi8(text, _mm256_shuffle_epi8(offsets, _mm256_add_epi8(high, slash)));
}

/* 32 values of 6 bits -> 24 bytes at the start of the vector, then zeros. */
AVX2 static inline __m256i join(__m256i v)
{
	const __m256i order = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1,
		-1, 2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);

	v = _mm256_maddubs_epi16(v, _mm256_set1_epi32(0x01400140));
	v = _mm256_madd_epi16(v, _mm256_set1_epi32(0x00011000));
	v = _mm256_shuffle_epi8(v, order);
	return _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
}

AVX2 static size_t decode(uint8_t *out, const char *in, size_t len)
{
	size_t done = 0;

	/*
	 * A store writes 8 bytes more than it decodes. The 16 characters behind a block give at
	 * least 10 more bytes, so it stays inside the output; and it ends at or before the end of
	 * the block's characters, so decoding in place never destroys what is still to be read.
	 */
	for (; len - done >= 144; done += 128, out += 96) {
		const __m256i *p = (const __m256i *)(in + done);
		__m256i bad[4];
		__m256i a = to_values(_mm256_loadu_si256(p), &bad[0]);
		__m256i b = to_values(_mm256_loadu_si256(p + 1), &bad[1]);
		__m256i c = to_values(_mm256_loadu_si256(p + 2), &bad[2]);
		__m256i d = to_values(_mm256_loadu_si256(p + 3), &bad[3]);

		bad[0] = _mm256_or_si256(
			_mm256_or_si256(bad[0], bad[1]), _mm256_or_si256(bad[2], bad[3]));
		if (!_mm256_testz_si256(bad[0], bad[0]))
			return done;
		_mm256_storeu_si256((__m256i *)out, join(a));
		_mm256_storeu_si256((__m256i *)(out + 24), join(b));
		_mm256_storeu_si256((__m256i *)(out + 48), join(c));
		_mm256_storeu_si256((__m256i *)(out + 72), join(d));
	}
	for (; len - done >= 48; done += 32, out += 24) {
		__m256i bad;
		__m256i v = _mm256_loadu_si256((const __m256i *)(in + done));

		v = to_values(v, &bad);
		if (!_mm256_testz_si256(bad, bad))
			break;
		_mm256_storeu_si256((__m256i *)out, join(v));
	}
	return done;
}

const struct base64_kernel base64_avx2 = {"avx2", encode, decode};

#endif
