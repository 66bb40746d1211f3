/*
 * What a connection speaks, from its first bytes: a verdict stays when more bytes come, and what
 * was passed on as something else is caught as soon as its first line is a request's.
 */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "gate/flow/classify.h"

#define SLOW_MAX 600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_late(const uint8_t *data, size_t size)
{
	int before = -EAGAIN;

	for (size_t n = 0; n <= size; n++) {
		int now = classify_late(data, n);

		check(now == 0 || now == 1 || now == -EAGAIN);
		check(before == -EAGAIN || now == before);
		before = now;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum traffic before = TRAFFIC_UNKNOWN;

	if (size > SLOW_MAX) {
		check(classify(data, size, true) < TRAFFIC_COUNT);
		return 0;
	}
	for (size_t n = 0; n <= size; n++) {
		enum traffic now = classify(data, n, false);

		if (before == TRAFFIC_OTHER && now == TRAFFIC_HTTP1)
			check(classify_late(data, n) == 1);
		else
			check(before == TRAFFIC_UNKNOWN || now == before);
		check(n == 0 || classify(data, n, true) != TRAFFIC_UNKNOWN);
		before = now;
	}
	check_late(data, size);
	/* What is HTTP at once is HTTP when it is looked at late. */
	if (before == TRAFFIC_HTTP1 && memchr(data, '\n', size) != NULL)
		check(classify_late(data, size) != 0);
	return 0;
}
