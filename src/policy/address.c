#include "policy/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define V4_OFFSET 12 /* of the four bytes in the 128-bit form */
#define V4_BITS 96   /* of the prefix that all IPv4 addresses have */
#define ALL_BITS 128

static const uint8_t v4_prefix[V4_OFFSET] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void set_v4(struct address *a, const void *bytes)
{
	memcpy(a->bytes, v4_prefix, V4_OFFSET);
	memcpy(a->bytes + V4_OFFSET, bytes, 4);
}

/* inet_pton() is as strict as the contract; what it cannot know is where text ends. */
int address_parse(const char *text, size_t len, struct address *ret)
{
	char copy[ADDRESS_TEXT_SIZE];
	uint8_t bytes[16];

	if (len >= sizeof(copy) || memchr(text, '\0', len))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET, copy, bytes) == 1)
		set_v4(ret, bytes);
	else if (inet_pton(AF_INET6, copy, bytes) == 1)
		memcpy(ret->bytes, bytes, sizeof(bytes));
	else
		return -EINVAL;
	return 0;
}

void address_format(const struct address *a, char ret_text[ADDRESS_TEXT_SIZE])
{
	const char *text;

	if (address_is_v4(a))
		text = inet_ntop(AF_INET, a->bytes + V4_OFFSET, ret_text, ADDRESS_TEXT_SIZE);
	else
		text = inet_ntop(AF_INET6, a->bytes, ret_text, ADDRESS_TEXT_SIZE);
	assert(text != NULL);
	(void)text;
}

bool address_is_v4(const struct address *a)
{
	return memcmp(a->bytes, v4_prefix, V4_OFFSET) == 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

int address_from_sockaddr(const struct sockaddr *sa, struct address *ret, uint16_t *ret_port)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&in, sa, sizeof(in));
		set_v4(ret, &in.sin_addr);
		*ret_port = ntohs(in.sin_port);
		return 0;
	case AF_INET6:
		memcpy(&in6, sa, sizeof(in6));
		memcpy(ret->bytes, &in6.sin6_addr, sizeof(ret->bytes));
		*ret_port = ntohs(in6.sin6_port);
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

socklen_t address_to_sockaddr(const struct address *a, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	memset(ret, 0, sizeof(*ret));
	if (address_is_v4(a)) {
		memcpy(&in.sin_addr, a->bytes + V4_OFFSET, sizeof(in.sin_addr));
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(&in6.sin6_addr, a->bytes, sizeof(in6.sin6_addr));
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

/* --- ranges ----------------------------------------------------------------------------------- */

/* Length of a prefix: decimal without leading zeros. */
static int parse_bits(const char *text, size_t len, unsigned max, unsigned *ret)
{
	unsigned n = 0;

	if (len == 0 || len > 3 || (len > 1 && text[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		n = n * 10 + (unsigned)(text[i] - '0');
	}
	if (n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

/* The part of byte i that lies within a prefix. */
static uint8_t prefix_mask(unsigned bits, unsigned i)
{
	if (bits >= (i + 1) * 8)
		return 0xff;
	return bits <= i * 8 ? 0 : (uint8_t)(0xff << (8 - bits % 8));
}

int address_range_parse(const char *text, size_t len, struct address_range *ret)
{
	const char *slash = memchr(text, '/', len);
	size_t address_len = slash ? (size_t)(slash - text) : len;
	struct address_range range = {.bits = ALL_BITS};

	if (address_parse(text, address_len, &range.base) < 0)
		return -EINVAL;
	if (slash) {
		/* An IPv4 address in the notation of IPv6 has a prefix of that notation. */
		unsigned skipped = memchr(text, ':', address_len) ? 0 : V4_BITS;

		if (parse_bits(slash + 1, len - address_len - 1, ALL_BITS - skipped, &range.bits))
			return -EINVAL;
		range.bits += skipped;
	}
	for (unsigned i = 0; i < sizeof(range.base.bytes); i++) {
		if (range.base.bytes[i] & ~prefix_mask(range.bits, i))
			return -EINVAL;
	}
	*ret = range;
	return 0;
}

bool address_range_has(const struct address_range *range, const struct address *a)
{
	if (range->bits < V4_BITS && address_is_v4(a))
		return false;
	for (unsigned i = 0; i < sizeof(a->bytes); i++) {
		if ((range->base.bytes[i] ^ a->bytes[i]) & prefix_mask(range->bits, i))
			return false;
	}
	return true;
}
