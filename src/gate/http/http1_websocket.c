#include "gate/http/http1_websocket.h"

#include <errno.h>
#include <string.h>

#include "wire/websocket.h"
#include "wire/ws_mask.h"

/* A piece, and what the scrubber may have held of those before it. */
#define CLEAN_MAX ((size_t)1024 * 1024)
#define WATCH_PIECE 4096
#define CONTROL_MAX 125

#define FIN 0x80
#define RESERVED 0x70
#define OPCODE 0x0f
#define CONTROL 0x08
#define MASKED 0x80

struct frame {
	bool fin;
	uint8_t opcode;
	size_t header;
	uint64_t len;
};

/* Bytes of the extended length behind the first two of a header. */
static size_t length_bytes(uint8_t second)
{
	uint8_t len = second & ~MASKED;

	return len == 127 ? 8 : len == 126 ? 2 : 0;
}

static uint64_t read_length(const uint8_t *head)
{
	size_t n = length_bytes(head[1]);
	uint64_t len = n == 0 ? head[1] & ~MASKED : 0;

	for (size_t i = 0; i < n; i++)
		len = len << 8 | head[2 + i];
	return len;
}

/* --- from the host ---------------------------------------------------------------------------- */

void websocket_scrub_init(struct websocket_scrub *w, const struct scrub_set *set)
{
	*w = (struct websocket_scrub){.set = set, .scrub = scrub_new(set)};
	buf_init(&w->clean, CLEAN_MAX);
}

void websocket_scrub_done(struct websocket_scrub *w)
{
	scrub_free(w->scrub);
	buf_done(&w->clean);
	w->scrub = NULL;
}

uint64_t websocket_scrub_found(const struct websocket_scrub *w)
{
	return scrub_found(w->scrub) | w->controls;
}

static bool start_ok(const struct websocket_scrub *w, const uint8_t *head)
{
	uint8_t op = head[0] & OPCODE;

	if (head[0] & RESERVED || head[1] & MASKED)
		return false;
	if (op & CONTROL)
		return op <= WS_OP_PONG && head[0] & FIN && head[1] <= CONTROL_MAX;
	if (op == WS_OP_CONTINUATION)
		return w->message;
	return op <= WS_OP_BINARY && !w->message;
}

/* 1, 0 when it is not whole, -EBADMSG. */
static int read_header(
	const struct websocket_scrub *w, const uint8_t *data, size_t len, struct frame *ret_frame)
{
	static const uint64_t least[] = {[0] = 0, [2] = 126, [8] = 65536};
	size_t extended;

	if (len < 2)
		return 0;
	if (!start_ok(w, data))
		return -EBADMSG;
	extended = length_bytes(data[1]);
	if (len < 2 + extended)
		return 0;
	*ret_frame = (struct frame){
		.fin = data[0] & FIN,
		.opcode = data[0] & OPCODE,
		.header = 2 + extended,
		.len = read_length(data),
	};
	return ret_frame->len < least[extended] || ret_frame->len >> 63 ? -EBADMSG : 1;
}

static int put_frame(struct buf *out, uint8_t opcode, bool fin, const uint8_t *data, size_t len)
{
	uint8_t head[WS_HEADER_MAX];
	size_t n = ws_put_header(head, opcode, len);

	if (!fin)
		head[0] &= (uint8_t)~FIN;
	if (!buf_reserve(out, n + len, NULL))
		return -ENOBUFS;
	buf_append(out, head, n);
	return len > 0 ? buf_append(out, data, len) : 0;
}

/* Scrubs a piece of the message and writes what is clean of it. */
static int pass(
	struct websocket_scrub *w, const uint8_t *data, size_t len, bool end, struct buf *out)
{
	int r = scrub_feed(w->scrub, data, len, &w->clean);

	if (r == 0 && end)
		r = scrub_finish(w->scrub, &w->clean);
	if (r == 0 && (end || w->clean.len > 0)) {
		r = put_frame(out, w->opcode, end, buf_data(&w->clean), w->clean.len);
		w->opcode = WS_OP_CONTINUATION;
	}
	buf_clear(&w->clean);
	w->message = !end;
	return r;
}

static int pass_large(struct websocket_scrub *w, const uint8_t *data, size_t len, struct buf *out,
	size_t *ret_used)
{
	if (len > WEBSOCKET_WHOLE_MAX)
		len = WEBSOCKET_WHOLE_MAX;
	if (len > w->left)
		len = (size_t)w->left;
	*ret_used = len;
	w->left -= len;
	w->large = w->left > 0;
	return len > 0 ? pass(w, data, len, !w->large && w->large_fin, out) : 0;
}

static int pass_control(
	struct websocket_scrub *w, uint8_t opcode, uint8_t *data, size_t len, struct buf *out)
{
	/* The code of a close frame is a number, not text. */
	size_t skip = opcode == WS_OP_CLOSE && len >= 2 ? 2 : 0;

	w->controls |= scrub_text(w->set, data + skip, len - skip);
	return put_frame(out, opcode, true, data, len);
}

int websocket_scrub_read(
	struct websocket_scrub *w, uint8_t *data, size_t len, struct buf *out, size_t *ret_used)
{
	struct frame f;
	int r;

	*ret_used = 0;
	if (w->large)
		return pass_large(w, data, len, out, ret_used);
	r = read_header(w, data, len, &f);
	if (r <= 0)
		return r;
	if (f.len <= WEBSOCKET_WHOLE_MAX && len - f.header < f.len)
		return 0;
	*ret_used = f.header;
	if (!(f.opcode & CONTROL) && f.opcode != WS_OP_CONTINUATION)
		w->opcode = f.opcode;
	if (f.len > WEBSOCKET_WHOLE_MAX) {
		w->message = w->large = true;
		w->large_fin = f.fin;
		w->left = f.len;
		return 0;
	}
	*ret_used += (size_t)f.len;
	if (f.opcode & CONTROL)
		return pass_control(w, f.opcode, data + f.header, (size_t)f.len, out);
	return pass(w, data + f.header, (size_t)f.len, f.fin, out);
}

/* --- to the host ------------------------------------------------------------------------------ */

/* Collects a header byte by byte; payload follows when it is whole. */
static void head_byte(struct websocket_watch *w, uint8_t c)
{
	size_t n;

	w->head[w->head_len++] = c;
	if (w->head_len < 2)
		return;
	n = 2 + length_bytes(w->head[1]);
	if (w->head_len < n + (w->head[1] & MASKED ? 4 : 0))
		return;
	w->left = read_length(w->head);
	w->lost = w->left >> 63;
	memset(w->mask, 0, sizeof(w->mask));
	if (w->head[1] & MASKED)
		memcpy(w->mask, w->head + n, sizeof(w->mask));
	w->head_len = 0;
}

/* Up to a small buffer of payload. Returns how much was looked at. */
static size_t watch_payload(struct websocket_watch *w, const struct vault *v, const uint8_t *data,
	size_t len, uint64_t *found)
{
	uint8_t plain[WATCH_PIECE];
	uint8_t mask[4];
	size_t n = len < sizeof(plain) ? len : sizeof(plain);

	if (n > w->left)
		n = (size_t)w->left;
	memcpy(plain, data, n);
	ws_unmask(plain, n, w->mask);
	*found |= vault_watch(v, &w->watch, plain, n);
	w->left -= n;
	/* The next piece starts within the mask. */
	for (size_t i = 0; i < sizeof(mask); i++)
		mask[i] = w->mask[(i + n) % sizeof(mask)];
	memcpy(w->mask, mask, sizeof(mask));
	return n;
}

uint64_t websocket_watch(
	struct websocket_watch *w, const struct vault *v, const uint8_t *data, size_t len)
{
	uint64_t found = 0;
	size_t at = 0;

	while (at < len && !w->lost) {
		if (w->left > 0)
			at += watch_payload(w, v, data + at, len - at, &found);
		else
			head_byte(w, data[at++]);
	}
	return found;
}
