#include "wire/base64.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "wire/base64_kernel.h"

/* Above the 24 bits of a group. */
#define BAD (UINT32_C(1) << 31)

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static struct {
	const struct base64_kernel *kernel;
	uint32_t values[4]
		       [256]; /* of a character at each place of a group, shifted there, or BAD */
	char pairs[4096][2];  /* the two characters for 12 bits */
} state;

/* --- choosing --------------------------------------------------------------------------------- */

/* The scalar code finds nothing done and does all. */
static size_t encode_nothing(char *out, const uint8_t *in, size_t len)
{
	(void)out, (void)in, (void)len;
	return 0;
}

static size_t decode_nothing(uint8_t *out, const char *in, size_t len)
{
	(void)out, (void)in, (void)len;
	return 0;
}

static const struct base64_kernel scalar = {"scalar", encode_nothing, decode_nothing};

/* Best last. */
static const struct base64_kernel *const kernels[] = {
	&scalar,
#ifdef __x86_64__
	&base64_avx2,
	&base64_vbmi,
#endif
};
#define KERNEL_COUNT (sizeof(kernels) / sizeof(kernels[0]))

static bool supported(const struct base64_kernel *k)
{
#ifdef __x86_64__
	if (k == &base64_avx2)
		return __builtin_cpu_supports("avx2");
	if (k == &base64_vbmi)
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512vbmi");
#endif
	return k == &scalar;
}

static void fill_tables(void)
{
	for (size_t place = 0; place < 4; place++) {
		for (size_t i = 0; i < 256; i++)
			state.values[place][i] = BAD;
		for (uint32_t i = 0; i < sizeof(alphabet); i++)
			state.values[place][(uint8_t)alphabet[i]] = i << (18 - 6 * place);
	}
	for (size_t i = 0; i < 4096; i++) {
		state.pairs[i][0] = alphabet[i >> 6];
		state.pairs[i][1] = alphabet[i & 63];
	}
}

static const struct base64_kernel *ready(void)
{
	if (state.kernel)
		return state.kernel;
	fill_tables();
	for (size_t i = 0; i < KERNEL_COUNT; i++)
		if (supported(kernels[i]))
			state.kernel = kernels[i];
	return state.kernel;
}

int base64_select(const char *name)
{
	ready();
	for (size_t i = 0; i < KERNEL_COUNT; i++) {
		if (strcmp(kernels[i]->name, name) != 0)
			continue;
		if (!supported(kernels[i]))
			return -ENOTSUP;
		state.kernel = kernels[i];
		return 0;
	}
	return strcmp(name, "avx2") == 0 || strcmp(name, "avx512vbmi") == 0 ? -ENOTSUP : -EINVAL;
}

/* --- encoding --------------------------------------------------------------------------------- */

static void encode_group(char *out, const uint8_t *in)
{
	uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

	memcpy(out, state.pairs[v >> 12], 2);
	memcpy(out + 2, state.pairs[v & 0xfff], 2);
}

size_t base64_encode(char *out, const void *in, size_t len)
{
	const uint8_t *p = in;
	size_t done = ready()->encode(out, p, len);
	char *o = out + done / 3 * 4;
	uint8_t last[3] = {0};
	size_t left;

	for (; len - done >= 3; done += 3, o += 4)
		encode_group(o, p + done);
	left = len - done;
	if (left == 0)
		return base64_encoded_len(len);
	memcpy(last, p + done, left);
	encode_group(o, last);
	o[3] = '=';
	if (left == 1)
		o[2] = '=';
	return base64_encoded_len(len);
}

/* --- decoding --------------------------------------------------------------------------------- */

/* Three bytes from four characters; false when one is not of the alphabet. */
static bool decode_group(uint8_t *out, const uint8_t *in)
{
	uint32_t v = state.values[0][in[0]] | state.values[1][in[1]] | state.values[2][in[2]] |
		     state.values[3][in[3]];

	if (v & BAD)
		return false;
	out[0] = (uint8_t)(v >> 16);
	out[1] = (uint8_t)(v >> 8);
	out[2] = (uint8_t)v;
	return true;
}

/* The last group, which alone may end in padding: 1 to 3 bytes, or -EINVAL. */
static int decode_last(uint8_t *out, const uint8_t *in)
{
	size_t pad = in[3] != '=' ? 0 : in[2] != '=' ? 1 : 2;
	uint8_t group[4];
	uint8_t bytes[3];
	size_t size = 3 - pad;

	memcpy(group, in, 4);
	memset(group + 4 - pad, 'A', pad);
	if (!decode_group(bytes, group))
		return -EINVAL;
	/* Bits that no byte takes must be zero, or one text would have several spellings. */
	if (pad > 0 && bytes[size] != 0)
		return -EINVAL;
	memcpy(out, bytes, size);
	return (int)size;
}

ssize_t base64_decode(void *out, const char *in, size_t len)
{
	const uint8_t *p = (const uint8_t *)in;
	uint8_t *o = out;
	size_t done;
	int n;

	if (len % 4 != 0)
		return -EINVAL;
	if (len == 0)
		return 0;
	done = ready()->decode(o, in, len);
	o += done / 4 * 3;
	for (; len - done > 4; done += 4, o += 3)
		if (!decode_group(o, p + done))
			return -EINVAL;
	n = decode_last(o, p + done);
	return n < 0 ? n : o + n - (uint8_t *)out;
}
