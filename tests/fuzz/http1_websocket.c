/*
 * WebSocket frames from a host; the first byte says how the rest is cut. However it is cut, what
 * leaves are frames by the rules, the same messages in the same order, and the secret's value
 * stands in none of them. The same bytes are given to the watch on the other direction.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "gate/http/http1_websocket.h"

#define SECRET "s3cr3t/value"
#define PLACEHOLDER \
	PLACEHOLDER_PREFIX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define INPUT_MAX ((size_t)256 * 1024)
#define OUT_MAX ((size_t)4 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vault *vault;
static struct scrub_set *set;

/* 0 or the error that ended it. */
static int run(const uint8_t *data, size_t size, size_t step, struct buf *out)
{
	struct websocket_scrub w;
	size_t from = 0;
	size_t here = 0;
	int r = 0;

	websocket_scrub_init(&w, set);
	while (here < size && r == 0) {
		size_t used = 1;

		here = size - here < step ? size : here + step;
		while (used > 0 && r == 0) {
			auto_free uint8_t *exact = mem_dup(data + from, here - from);

			r = websocket_scrub_read(&w, exact, here - from, out, &used);
			check(r == 0 || r == -EBADMSG);
			check(used <= here - from);
			from += r == 0 ? used : 0;
		}
	}
	websocket_scrub_done(&w);
	return r;
}

/* Appends the messages of frames to data messages and to control messages, each as opcode, payload
 * and an end mark; a message that is not over has no mark. */
static void read_frames(const struct buf *frames, struct buf *messages, struct buf *controls)
{
	const uint8_t *p = buf_data(frames);
	const uint8_t *end = p + frames->len;
	bool inside = false;

	while (p < end) {
		bool control = p[0] & 8;
		struct buf *to = control ? controls : messages;
		uint64_t len = p[1];
		size_t header = len == 127 ? 10 : len == 126 ? 4 : 2;

		check(end - p >= (ptrdiff_t)header && !(p[0] & 0x70) && len < 128);
		for (size_t i = 2; i < header; i++)
			len = (i == 2 ? 0 : len << 8) | p[i];
		check(len <= (size_t)(end - p) - header);
		check(control || (p[0] & 0xf) == 0 ? control || inside : !inside);
		if (control || (p[0] & 0xf) != 0)
			buf_append_byte(to, p[0] & 0xf);
		buf_append(to, p + header, (size_t)len);
		check(!memmem(p + header, (size_t)len, SECRET, strlen(SECRET)));
		if (p[0] & 0x80)
			buf_append(to, "|end|", 5);
		if (!control)
			inside = !(p[0] & 0x80);
		p += header + len;
	}
}

static bool same(const struct buf *a, const struct buf *b, bool prefix)
{
	size_t n = prefix && a->len > b->len ? b->len : a->len;

	return (prefix || a->len == b->len) && (n == 0 || memcmp(buf_data(a), buf_data(b), n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = {"a.example"};
	struct websocket_watch watches[2] = {0};
	uint64_t found = 0;
	struct buf bufs[6];
	size_t step;
	int r;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	if (!vault) {
		vault = vault_new();
		check(vault_add(vault, "KEY", PLACEHOLDER, SECRET, strlen(SECRET), hosts, 1,
			      NULL) == 0);
		set = scrub_set_new(vault, 1);
	}
	for (size_t i = 0; i < array_len(bufs); i++)
		buf_init(&bufs[i], OUT_MAX);
	/* Few pieces, for each copies what is there. */
	step = 1 + data[0] * (size / 4096 + 1);
	data++;
	size--;
	r = run(data, size, size + 1, &bufs[0]);
	check(run(data, size, step, &bufs[1]) == r);
	read_frames(&bufs[0], &bufs[2], &bufs[3]);
	read_frames(&bufs[1], &bufs[4], &bufs[5]);
	/* Of a message that is not over, more or less may have left. */
	check(same(&bufs[2], &bufs[4], true) && same(&bufs[3], &bufs[5], false));
	for (size_t at = 0; at < size; at += step)
		found |= websocket_watch(
			&watches[0], vault, data + at, size - at < step ? size - at : step);
	check(websocket_watch(&watches[1], vault, data, size) == found);
	for (size_t i = 0; i < array_len(bufs); i++)
		buf_done(&bufs[i]);
	return 0;
}
