/*
 * The start of a client's bytes. The verdict does not change with what follows it, does not depend
 * on how the message is cut into records, and agrees with the first guess.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "check.h"
#include "wire/tls_hello.h"

#define RECORD_HEADER 5
/* Longest input of which each beginning is given as well. */
#define SLOW_MAX 700

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parse_copy(const uint8_t *data, size_t size, struct tls_hello *h)
{
	auto_free uint8_t *copy = mem_dup(data, size);

	return tls_hello_parse(copy, size, h);
}

static void check_hello(const struct tls_hello *h)
{
	check(memchr(h->name, '\0', sizeof(h->name)));
	for (const char *p = h->name; *p; p++)
		check(*p > 0x20 && *p < 0x7f);
	check(h->has_alpn || (!h->offers_h2 && !h->offers_http1));
}

/* The first record's bytes as the body of a message of their length, in records of step bytes. */
static int parse_framed(const uint8_t *data, size_t size, size_t step, struct tls_hello *h)
{
	auto_buf struct buf flight = {.max = 2 * TLS_HELLO_MAX};
	auto_free uint8_t *message = mem_zalloc(4 + size);

	message[0] = 1;
	message[2] = (uint8_t)(size >> 8);
	message[3] = (uint8_t)size;
	memcpy(message + 4, data, size);
	for (size_t at = 0; at < 4 + size; at += step) {
		size_t n = 4 + size - at < step ? 4 + size - at : step;
		uint8_t header[RECORD_HEADER] = {22, 3, 1, (uint8_t)(n >> 8), (uint8_t)n};

		check(buf_append(&flight, header, sizeof(header)) == 0);
		check(buf_append(&flight, message + at, n) == 0);
	}
	return parse_copy(buf_data(&flight), flight.len, h);
}

static void check_framed(const uint8_t *data, size_t size)
{
	static const size_t steps[] = {2, 7, 1000};
	struct tls_hello whole = {.name = ""};
	int verdict;

	if (size > 8192)
		return;
	verdict = parse_framed(data, size, 16384, &whole);
	check(verdict == 1 || verdict == -EBADMSG);
	check_hello(&whole);
	for (size_t i = 0; i < array_len(steps); i++) {
		struct tls_hello h = {.name = ""};

		check(parse_framed(data, size, steps[i], &h) == verdict);
		check(memcmp(&h, &whole, sizeof(h)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_hello h = {.name = ""};
	int verdict = tls_hello_parse(data, size, &h);
	int likely = tls_hello_likely(data, size);

	check(verdict == 1 || verdict == -EAGAIN || verdict == -EBADMSG || verdict == -E2BIG);
	check(likely != 0 || verdict == -EBADMSG);
	check(verdict != 1 || likely == 1);
	check_hello(&h);
	for (size_t len = 0; len <= size && size <= SLOW_MAX; len++) {
		struct tls_hello part = {.name = ""};
		int early = parse_copy(data, len, &part);

		if (early == -EAGAIN)
			continue;
		check(early == verdict && memcmp(&part, &h, sizeof(h)) == 0);
		break;
	}
	check_framed(data, size);
	if (size > 9)
		check_framed(data + 9, size - 9);
	return 0;
}
