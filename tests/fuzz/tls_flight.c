/* What a TLS server sends first: whatever comes in, a certificate that is found lies in it, and
 * more bytes do not change one that was found. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "wire/tls_flight.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free uint8_t *cert = NULL;
	size_t len = 0;
	int r = tls_flight_certificate(data, size, &cert, &len);

	check(r == 0 || r == 1 || r == -EAGAIN);
	check((r == 1) == (cert != NULL));
	check(r != -EAGAIN || size < TLS_FLIGHT_MAX);
	check(len <= size);
	if (r == 1) {
		auto_free uint8_t *longer = mem_zalloc(size + 100);
		auto_free uint8_t *again = NULL;
		size_t again_len = 0;

		memcpy(longer, data, size);
		check(tls_flight_certificate(longer, size + 100, &again, &again_len) == 1);
		check(again_len == len && memcmp(again, cert, len) == 0);
	}
	return 0;
}
