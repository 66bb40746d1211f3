/*
 * Placeholders: the first byte chooses how the text is cut, the second which secrets are allowed.
 * In the text 0xfe stands for the first placeholder and 0xff for the second. The watch sees the
 * same however the text is cut, and whatever is put in was seen by it; with nothing allowed a
 * header is left as it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "gate/secrets/vault.h"

#define SIZE_MAX_HERE 4096
#define OUT_MAX ((size_t)1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const placeholders[] = {
	PLACEHOLDER_PREFIX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
	PLACEHOLDER_PREFIX "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100",
};

static const struct vault *vault(void)
{
	static const char *const hosts[] = {"a.example"};
	static struct vault *v;

	if (v == NULL) {
		v = vault_new();
		check(vault_add(v, "A", placeholders[0], "value", 5, hosts, 1, NULL) == 0);
		check(vault_add(v, "B", placeholders[1], "val\nue", 6, hosts, 1, NULL) == 0);
	}
	return v;
}

static uint64_t watch(const struct vault *v, const struct buf *text, size_t step)
{
	struct vault_watch w = {0};
	uint64_t found = 0;

	for (size_t done = 0; done < text->len; done += step) {
		size_t n = text->len - done < step ? text->len - done : step;

		found |= vault_watch(v, &w, buf_data(text) + done, n);
	}
	return found;
}

static void check_substitute(
	const struct vault *v, uint64_t allowed, const struct buf *text, uint64_t seen)
{
	struct vault_swap swap = {.used = 99};
	struct buf out;
	int err;

	buf_init(&out, OUT_MAX);
	err = vault_substitute(v, allowed, "authorization", 13, (const char *)buf_data(text),
		text->len, &out, &swap);
	check(err == 0 || err == -EINVAL);
	if (err == 0) {
		check((swap.used & swap.stray) == 0 && (swap.used & ~allowed) == 0);
		check((swap.used & ~seen) == 0 && (swap.stray & ~seen) == 0);
		check(swap.used != 0 ||
			(out.len == text->len &&
				(out.len == 0 ||
					memcmp(buf_data(&out), buf_data(text), out.len) == 0)));
		/* The second value cannot stand in a header. */
		check((swap.used & 2) == 0);
	} else {
		check((allowed & 2) != 0 && out.len == 0 && swap.used == 99);
	}
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vault *v = vault();
	struct buf text;
	uint64_t seen;

	if (size < 2 || size > SIZE_MAX_HERE)
		return 0;
	buf_init(&text, OUT_MAX);
	for (size_t i = 2; i < size; i++) {
		if (data[i] >= 0xfe)
			check(buf_append_str(&text, placeholders[data[i] - 0xfe]) == 0);
		else
			check(buf_append_byte(&text, data[i]) == 0);
	}
	if (text.len > 0) {
		seen = watch(v, &text, text.len);
		check(watch(v, &text, 1 + data[0] % 64) == seen);
		check_substitute(v, data[1] & 3, &text, seen);
		check_substitute(v, 0, &text, seen);
	}
	buf_done(&text);
	return 0;
}
