/*
 * Bodies: the first byte chooses the framing, the second how the rest is cut. However it is cut,
 * the payload, the bytes used and the verdict are the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "wire/http1.h"

#define SIZE_MAX_HERE 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	bool done;
	size_t used;
	size_t len;
	uint8_t payload[SIZE_MAX_HERE];
};

static int read_body(const struct http1_request *req, const uint8_t *data, size_t size, size_t step,
	struct outcome *o)
{
	struct http1_body_reader r;
	size_t here = 0;

	o->used = o->len = 0;
	http1_body_init(&r, req);
	while (!r.done && here < size) {
		size_t used = 1;

		here = size - here < step ? size : here + step;
		while (!r.done && used > 0) {
			const uint8_t *payload;
			size_t n;
			int err = http1_body_read(
				&r, data + o->used, here - o->used, &used, &payload, &n);

			if (err < 0)
				return err;
			check(used <= here - o->used);
			check(n <= used && payload >= data + o->used);
			check(payload + n <= data + o->used + used);
			if (n > 0)
				memcpy(o->payload + o->len, payload, n);
			o->len += n;
			o->used += used;
		}
		check(r.done || o->used == here);
	}
	o->done = r.done;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole;
	static struct outcome cut;
	struct http1_request req = {.body = HTTP1_BODY_CHUNKED};
	size_t step;
	int r;

	if (size < 2 || size > SIZE_MAX_HERE)
		return 0;
	if (data[0] & 1) {
		req.body = HTTP1_BODY_LENGTH;
		req.content_length = data[0] >> 1;
	}
	step = 1 + data[1] % 64;
	data += 2;
	size -= 2;
	r = read_body(&req, data, size, size + 1, &whole);
	check(read_body(&req, data, size, step, &cut) == r);
	if (r < 0)
		return 0;
	check(cut.done == whole.done && cut.used == whole.used && cut.len == whole.len);
	check(memcmp(cut.payload, whole.payload, whole.len) == 0);
	if (req.body == HTTP1_BODY_LENGTH)
		check(whole.len == (size < req.content_length ? size : req.content_length));
	return 0;
}
