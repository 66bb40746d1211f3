/* Query strings of list requests. */
#include <stdint.h>

#include "server/rest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http1_view query = {(const char *)data, size};
	struct label_filter f = {0};
	struct error err = {0};

	(void)label_filter_parse(&query, &f, &err);
	label_filter_done(&f);
	return 0;
}
