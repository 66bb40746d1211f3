#include "base/utf8.h"

#include <errno.h>
#include <string.h>

/* What may follow a lead byte: how many bytes in all, and the range of the second one. The third
 * and fourth are always 80..bf. */
struct lead {
	uint8_t first, last; /* lead bytes */
	uint8_t size;
	uint8_t low, high; /* second byte */
};

static const struct lead leads[] = {
	{0xc2, 0xdf, 2, 0x80, 0xbf},
	{0xe0, 0xe0, 3, 0xa0, 0xbf},
	{0xe1, 0xec, 3, 0x80, 0xbf},
	{0xed, 0xed, 3, 0x80, 0x9f},
	{0xee, 0xef, 3, 0x80, 0xbf},
	{0xf0, 0xf0, 4, 0x90, 0xbf},
	{0xf1, 0xf3, 4, 0x80, 0xbf},
	{0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct lead *find_lead(uint8_t c)
{
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++) {
		if (c >= leads[i].first && c <= leads[i].last)
			return &leads[i];
	}
	return NULL;
}

/* Length of the sequence at p (n > 0 bytes, the first not ASCII) when it is well-formed; otherwise
 * minus the length of the maximal invalid part. */
static int sequence(const uint8_t *p, size_t n)
{
	const struct lead *lead = find_lead(p[0]);

	if (lead == NULL)
		return -1;
	if (n < 2 || p[1] < lead->low || p[1] > lead->high)
		return -1;
	for (size_t i = 2; i < lead->size; i++) {
		if (i >= n || (p[i] & 0xc0) != 0x80)
			return -(int)i;
	}
	return lead->size;
}

static size_t ascii_prefix(const uint8_t *p, size_t n)
{
	size_t i = 0;

	while (n - i >= 8) {
		uint64_t word;

		memcpy(&word, p + i, 8);
		if ((word & UINT64_C(0x8080808080808080)) != 0)
			break;
		i += 8;
	}
	while (i < n && p[i] < 0x80)
		i++;
	return i;
}

/* Length of the well-formed prefix; *ret_bad is the length of the invalid part behind it (0 at
 * the end). */
static size_t valid_prefix(const uint8_t *p, size_t n, size_t *ret_bad)
{
	size_t i = 0;

	*ret_bad = 0;
	for (;;) {
		i += ascii_prefix(p + i, n - i);
		if (i == n)
			return i;
		int size = sequence(p + i, n - i);
		if (size < 0) {
			*ret_bad = (size_t)-size;
			return i;
		}
		i += (size_t)size;
	}
}

bool utf8_valid(const void *data, size_t len)
{
	size_t bad;

	return len == 0 || (valid_prefix(data, len, &bad) == len && bad == 0);
}

int utf8_append_lossy(struct buf *b, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t before = b->len;

	while (len > 0) {
		size_t bad;
		size_t good = valid_prefix(p, len, &bad);

		if (buf_append(b, p, good) < 0 ||
			(bad > 0 && buf_append(b, "\xef\xbf\xbd", 3) < 0)) {
			b->len = before;
			return -ENOBUFS;
		}
		p += good + bad;
		len -= good + bad;
	}
	return 0;
}
