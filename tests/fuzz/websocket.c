/*
 * Client frames: the first byte chooses how they are cut. However they are cut the events are the
 * same, no message is above the limit, and a close reason is UTF-8.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "check.h"
#include "wire/websocket.h"

#define MESSAGE_MAX 500
#define INPUT_MAX 16384

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event(const struct ws_event *ev)
{
	check(ev->len == 0 || ev->data != NULL);
	switch (ev->type) {
	case WS_EVENT_MESSAGE:
		check(ev->len <= MESSAGE_MAX);
		break;
	case WS_EVENT_PING:
	case WS_EVENT_PONG:
		check(ev->len <= 125);
		break;
	case WS_EVENT_CLOSE:
		check(ev->len <= 123 && utf8_valid(ev->data, ev->len));
		break;
	case WS_EVENT_ERROR:
		check(ev->reason && ev->code >= 1002);
		break;
	case WS_EVENT_NONE:
		break;
	}
}

static void note_event(const struct ws_event *ev, struct buf *trace)
{
	int r = buf_append_byte(trace, (uint8_t)ev->type);

	r |= buf_append_byte(trace, ev->text);
	r |= buf_append_u16le(trace, ev->code);
	r |= buf_append_u32le(trace, (uint32_t)ev->len);
	r |= buf_append(trace, ev->data, ev->len);
	check(r == 0);
}

static void read_frames(const uint8_t *data, size_t size, size_t step, struct buf *trace)
{
	struct ws_reader reader;
	struct ws_event ev = {.type = WS_EVENT_NONE};
	auto_buf struct buf in;

	buf_init(&in, INPUT_MAX);
	ws_reader_init(&reader, MESSAGE_MAX);
	for (size_t fed = 0; fed < size && ev.type != WS_EVENT_ERROR;) {
		size_t n = size - fed < step ? size - fed : step;

		check(buf_append(&in, data + fed, n) == 0);
		fed += n;
		do {
			size_t used;
			size_t need;

			ev = ws_read(&reader, buf_data(&in), in.len, &used, &need);
			check(used <= in.len);
			check(need == 0 || need > in.len - used);
			check(need <= MESSAGE_MAX + 14);
			check_event(&ev);
			if (ev.type != WS_EVENT_NONE)
				note_event(&ev, trace);
			buf_consume(&in, used);
		} while (in.len > 0 && ev.type != WS_EVENT_NONE && ev.type != WS_EVENT_ERROR);
	}
	ws_reader_done(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct buf whole = {0};
	auto_buf struct buf cut = {0};

	if (size < 1 || size > INPUT_MAX)
		return 0;
	buf_init(&whole, 64 * INPUT_MAX);
	buf_init(&cut, 64 * INPUT_MAX);
	read_frames(data + 1, size - 1, size, &whole);
	read_frames(data + 1, size - 1, 1 + data[0] % 32, &cut);
	check(whole.len == cut.len);
	check(whole.len == 0 || memcmp(buf_data(&whole), buf_data(&cut), cut.len) == 0);
	return 0;
}
