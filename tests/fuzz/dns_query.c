/*
 * One DNS message. What is understood has the question where the message has it and a name that
 * can be printed; every answer to it fits, is no query, and begins with the question as it came.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "check.h"
#include "wire/dns.h"

#define HEADER_SIZE 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_query(const struct dns_query *q, const uint8_t *data, size_t size)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_*.";
	size_t len = strlen(q->name);
	uint8_t address[4];

	check(size <= DNS_MESSAGE_MAX);
	check(q->wire_len >= 1 && q->wire_len <= sizeof(q->wire_name));
	check(HEADER_SIZE + q->wire_len + 4 <= size);
	check(memcmp(q->wire_name, data + HEADER_SIZE, q->wire_len) == 0);
	check(q->wire_name[q->wire_len - 1] == 0);
	check(strspn(q->name, plain) == len);
	check(q->odd ? len == 0 : len == (q->wire_len > 2 ? q->wire_len - 2 : 0));
	check(q->edns == (HEADER_SIZE + q->wire_len + 4 < size));
	if (dns_reverse_address(q->name, address) == 0) {
		auto_free char *again = mem_printf(
			"%u.%u.%u.%u.in-addr.arpa", address[3], address[2], address[1], address[0]);

		check(strcasecmp(again, q->name) == 0);
	}
}

static void check_answer(const struct dns_query *q, const uint8_t *address, const char *target)
{
	auto_free uint8_t *answer = mem_zalloc(DNS_ANSWER_MAX);
	struct dns_query again;
	size_t len = dns_put_answer(q, DNS_NOERROR, address, target, 60, answer);

	check(len >= HEADER_SIZE && len <= DNS_ANSWER_MAX);
	check(dns_parse_query(answer, len, &again) == -EBADMSG);
	check((answer[0] << 8 | answer[1]) == q->id);
	check(answer[5] == (q->wire_len > 0) && answer[7] <= answer[5]);
	if (q->wire_len == 0) {
		check(len == HEADER_SIZE);
		return;
	}
	check(memcmp(answer + HEADER_SIZE, q->wire_name, q->wire_len) == 0);
	check(!address || answer[7] == 1);
	/* Without its answer it would be the query once more. */
	answer[2] &= 0x7f;
	if (answer[7] == 0) {
		check(dns_parse_query(answer, len, &again) == 0);
		check(strcmp(again.name, q->name) == 0 && again.type == q->type);
		check(again.edns == q->edns);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t address[4] = {198, 18, 0, 1};
	struct dns_query q = {.id = 1, .wire_len = SIZE_MAX};
	int r = dns_parse_query(data, size, &q);

	if (r == -EBADMSG) {
		check(q.wire_len == SIZE_MAX);
		return 0;
	}
	check(r == 0 || r == -EINVAL || r == -ENOSYS);
	check(q.id == (data[0] << 8 | data[1]) && q.flags == (data[2] << 8 | data[3]));
	if (r == 0)
		check_query(&q, data, size);
	else
		check(q.wire_len == 0);
	check_answer(&q, NULL, NULL);
	check_answer(&q, address, NULL);
	check_answer(&q, NULL, q.name);
	return 0;
}
