/*
 * Content encodings: the first byte chooses them, the second how the rest is cut, the third how
 * much may come out at once. However it is cut, the bytes are the same, and whether they are right.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "gate/secrets/decode.h"

#define SIZE_MAX_HERE 65536
#define OUT_MAX ((size_t)128 * 1024 * 1024)
/* What is compared: the rest of what a small input can blow up to adds only time. */
#define OUT_ENOUGH ((size_t)1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const values[] = {"gzip", "deflate", "br", "zstd", "gzip, gzip", "deflate, br",
	"br, zstd", "zstd, gzip, deflate"};

static int read_all(const char *value, const uint8_t *data, size_t size, size_t step,
	size_t max_out, struct buf *out)
{
	struct decode *d = NULL;
	size_t used = 0;
	int err = 0;

	check(decode_new(value, strlen(value), &d) == 0 && d != NULL);
	for (size_t done = 0; out->len < OUT_ENOUGH; done += used) {
		size_t n = size - done < step ? size - done : step;
		size_t before = out->len;

		err = decode_feed(d, data + done, n, max_out, out, &used);
		check(out->len - before <= max_out);
		if (err < 0)
			break;
		check(used <= n && (used == n || out->len - before == max_out));
		if (n == 0 && out->len == before)
			break;
	}
	if (err == 0 && out->len < OUT_ENOUGH)
		err = decode_finish(d);
	else if (err < 0)
		check(decode_finish(d) == err);
	check(err == 0 || err == -EBADMSG || err == -E2BIG);
	decode_free(d);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole;
	struct buf cut;
	const char *value;
	int err;

	if (size < 3 || size > SIZE_MAX_HERE)
		return 0;
	value = values[data[0] % array_len(values)];
	buf_init(&whole, OUT_MAX);
	buf_init(&cut, OUT_MAX);
	err = read_all(value, data + 3, size - 3, size, OUT_MAX, &whole);
	if (whole.len < OUT_ENOUGH) {
		int cut_err = read_all(
			value, data + 3, size - 3, 1 + data[1], 1 + 16 * (size_t)data[2], &cut);
		size_t n = cut.len < whole.len ? cut.len : whole.len;

		/* Of several mistakes, the pieces decide which is met first, and how much comes out
		 * before; how far a layer has blown up is measured where it stops. */
		check((cut_err < 0) == (err < 0) || cut_err == -E2BIG || err == -E2BIG ||
			cut.len >= OUT_ENOUGH);
		check(cut_err < 0 || err < 0 || cut.len == whole.len);
		check(n == 0 || memcmp(buf_data(&cut), buf_data(&whole), n) == 0);
	}
	buf_done(&whole);
	buf_done(&cut);
	return 0;
}
