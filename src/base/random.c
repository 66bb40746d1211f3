#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void random_bytes(void *p, size_t len)
{
	uint8_t *at = p;

	while (len > 0) {
		ssize_t n = getrandom(at, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		at += n;
		len -= (size_t)n;
	}
}

uint64_t random_u64(void)
{
	uint64_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

uint64_t random_below(uint64_t bound)
{
	/* Values below 2^64 mod bound would make some results likelier than others. */
	uint64_t floor = (UINT64_MAX - bound + 1) % bound;
	uint64_t v;

	do {
		v = random_u64();
	} while (v < floor);
	return v % bound;
}

void random_text(char *ret_text, size_t n, const char *alphabet)
{
	size_t symbols = strlen(alphabet);

	for (size_t i = 0; i < n; i++)
		ret_text[i] = alphabet[random_below(symbols)];
	ret_text[n] = '\0';
}

void random_hex(char *ret_text, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t raw[32];

	for (size_t i = 0; i < n; i++) {
		if (i % sizeof(raw) == 0)
			random_bytes(raw, n - i < sizeof(raw) ? n - i : sizeof(raw));
		ret_text[2 * i] = digits[raw[i % sizeof(raw)] >> 4];
		ret_text[2 * i + 1] = digits[raw[i % sizeof(raw)] & 15];
	}
	ret_text[2 * n] = '\0';
}
