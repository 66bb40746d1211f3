/*
 * Base64 with every kernel of this machine: all give the same bytes and verdicts, what decodes is
 * the only spelling of its bytes, decoding in place changes nothing, and no byte is written behind
 * the result.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "wire/base64.h"

#define INPUT_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const kernels[] = {"scalar", "avx2", "avx512vbmi"};

static char *encode_copy(const uint8_t *data, size_t size)
{
	char *text = mem_zalloc(base64_encoded_len(size));

	check(base64_encode(text, data, size) == base64_encoded_len(size));
	return text;
}

/* The bytes in a block of exactly their size. */
static uint8_t *decode_exact(const char *text, size_t size, ssize_t n)
{
	uint8_t *plain = mem_zalloc((size_t)n);

	check(base64_decode(plain, text, size) == n);
	return plain;
}

static void check_text(const uint8_t *data, size_t size)
{
	auto_free char *text = mem_dup(data, size);
	ssize_t n = base64_decode(text, text, size);

	for (size_t i = 0; i < array_len(kernels); i++) {
		auto_free uint8_t *plain = NULL;
		auto_free char *again = NULL;

		if (base64_select(kernels[i]) < 0)
			continue;
		memcpy(text, data, size);
		check(base64_decode(text, text, size) == n);
		if (n < 0)
			continue;
		plain = decode_exact((const char *)data, size, n);
		check(memcmp(plain, text, (size_t)n) == 0);
		again = encode_copy(plain, (size_t)n);
		check(base64_encoded_len((size_t)n) == size);
		check(memcmp(again, data, size) == 0);
	}
}

static void check_bytes(const uint8_t *data, size_t size)
{
	auto_free char *first = NULL;

	for (size_t i = 0; i < array_len(kernels); i++) {
		auto_free char *text = NULL;
		auto_free uint8_t *plain = NULL;

		if (base64_select(kernels[i]) < 0)
			continue;
		text = encode_copy(data, size);
		plain = decode_exact(text, base64_encoded_len(size), (ssize_t)size);
		check(memcmp(plain, data, size) == 0);
		if (!first)
			first = take_ptr(text);
		else
			check(memcmp(first, text, base64_encoded_len(size)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > INPUT_MAX)
		return 0;
	check_text(data, size);
	check_bytes(data, size);
	return 0;
}
