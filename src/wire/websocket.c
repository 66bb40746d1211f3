/*
 * WebSocket frames, server side.
 *
 * Reader: between messages (fragmented false) -> inside a fragmented message (true) -> message
 * handed out (handed_out true: the next call empties the side buffer). A frame is looked at only
 * as a whole, so incomplete bytes are never changed and a call may be repeated with more of them;
 * its header is judged at once, so that no peer can announce more than it may send.
 */
#include "wire/websocket.h"

#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/utf8.h"
#include "wire/base64.h"
#include "wire/ws_mask.h"

#define KEY_LEN 24 /* base64 of 16 bytes */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define SHA1_LEN 20
#define CONTROL_MAX 125

#define FIN 0x80
#define RESERVED 0x70
#define OPCODE 0x0f
#define MASKED 0x80

struct frame {
	bool fin;
	bool control;
	uint8_t opcode;
	size_t header; /* bytes, mask included */
	uint64_t len;  /* of the payload */
};

/* --- handshake -------------------------------------------------------------------------------- */

int ws_accept_key(const char *key, size_t len, char ret_accept[WS_ACCEPT_SIZE])
{
	uint8_t nonce[KEY_LEN / 4 * 3];
	char text[KEY_LEN + sizeof(GUID) - 1];
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int digest_len;

	if (len != KEY_LEN || base64_decode(nonce, key, len) != 16)
		return -EINVAL;
	memcpy(text, key, KEY_LEN);
	memcpy(text + KEY_LEN, GUID, sizeof(GUID) - 1);
	if (EVP_Digest(text, sizeof(text), digest, &digest_len, EVP_sha1(), NULL) != 1 ||
		digest_len != SHA1_LEN)
		return -EIO;
	ret_accept[base64_encode(ret_accept, digest, SHA1_LEN)] = '\0';
	return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

void ws_reader_init(struct ws_reader *r, size_t message_max)
{
	memset(r, 0, sizeof(*r));
	r->message_max = message_max;
	buf_init(&r->fragments, message_max);
}

void ws_reader_done(struct ws_reader *r)
{
	buf_done(&r->fragments);
}

static struct ws_event broken(uint16_t code, const char *reason)
{
	return (struct ws_event){.type = WS_EVENT_ERROR, .code = code, .reason = reason};
}

static uint64_t load_be(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/* What is wrong with the first two bytes of a frame, or NULL. */
static const char *check_start(const struct ws_reader *r, const uint8_t *data)
{
	uint8_t op = data[0] & OPCODE;
	bool control = op & 0x8;

	if (data[0] & RESERVED)
		return "reserved bit is set";
	if (control ? op > WS_OP_PONG : op > WS_OP_BINARY)
		return "unknown opcode";
	if (control && !(data[0] & FIN))
		return "fragmented control frame";
	if (control && (data[1] & ~MASKED) > CONTROL_MAX)
		return "control frame is too long";
	if (!(data[1] & MASKED))
		return "frame is not masked";
	if (op == WS_OP_CONTINUATION && !r->fragmented)
		return "continuation without a message";
	if (!control && op != WS_OP_CONTINUATION && r->fragmented)
		return "new message inside a fragmented one";
	return NULL;
}

/* Parses a frame header. Returns true when it is whole; else, or when it is wrong, *ret_event is
 * what ws_read() answers. */
static bool read_header(const struct ws_reader *r, const uint8_t *data, size_t len,
	struct frame *ret_frame, struct ws_event *ret_event)
{
	static const struct {
		uint8_t bytes;
		uint64_t min;
	} forms[] = {[0] = {0, 0}, [126 - 125] = {2, 126}, [127 - 125] = {8, 65536}};
	const char *reason;
	struct frame f;
	size_t form;

	*ret_event = (struct ws_event){.type = WS_EVENT_NONE};
	if (len < 2)
		return false;
	reason = check_start(r, data);
	if (reason) {
		*ret_event = broken(WS_CLOSE_PROTOCOL, reason);
		return false;
	}
	f.fin = data[0] & FIN;
	f.opcode = data[0] & OPCODE;
	f.control = f.opcode & 0x8;
	f.len = data[1] & ~MASKED;
	form = f.len > CONTROL_MAX ? f.len - CONTROL_MAX : 0;
	f.header = 2 + forms[form].bytes + 4u;
	if (len < f.header - 4)
		return false;
	if (form > 0)
		f.len = load_be(data + 2, forms[form].bytes);
	if (f.len < forms[form].min || f.len >> 63) {
		*ret_event = broken(WS_CLOSE_PROTOCOL, "length is not in its shortest form");
		return false;
	}
	if (!f.control && f.len > r->message_max - r->fragments.len) {
		*ret_event = broken(WS_CLOSE_TOO_BIG, "message is too big");
		return false;
	}
	*ret_frame = f;
	return true;
}

static bool close_code_valid(uint16_t code)
{
	/* 1012 to 1014 are in IANA's registry; 3000 to 4999 belong to libraries and programs. */
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
	       (code >= 3000 && code <= 4999);
}

static struct ws_event close_event(uint8_t *data, size_t len)
{
	struct ws_event ev = {.type = WS_EVENT_CLOSE, .code = WS_CLOSE_NO_STATUS, .data = data};

	if (len == 0)
		return ev;
	if (len == 1)
		return broken(WS_CLOSE_PROTOCOL, "close frame of one byte");
	ev.code = (uint16_t)load_be(data, 2);
	if (!close_code_valid(ev.code))
		return broken(WS_CLOSE_PROTOCOL, "invalid close code");
	ev.data += 2;
	ev.len = len - 2;
	if (!utf8_valid(ev.data, ev.len))
		return broken(WS_CLOSE_BAD_DATA, "close reason is not UTF-8");
	return ev;
}

static struct ws_event control_event(uint8_t opcode, uint8_t *data, size_t len)
{
	if (opcode == WS_OP_CLOSE)
		return close_event(data, len);
	return (struct ws_event){
		.type = opcode == WS_OP_PING ? WS_EVENT_PING : WS_EVENT_PONG,
		.data = data,
		.len = len,
	};
}

/* A data frame, unmasked. WS_EVENT_NONE: it was put aside. */
static struct ws_event data_event(struct ws_reader *r, const struct frame *f, uint8_t *data)
{
	size_t len = (size_t)f->len;
	struct ws_event ev = {.type = WS_EVENT_MESSAGE, .data = data, .len = len};

	if (f->opcode != WS_OP_CONTINUATION) {
		ev.text = f->opcode == WS_OP_TEXT;
		if (f->fin)
			return ev;
		r->fragmented = true;
		r->fragment_text = ev.text;
	}
	if (buf_append(&r->fragments, data, len) < 0)
		return broken(WS_CLOSE_INTERNAL, "out of memory");
	if (!f->fin)
		return (struct ws_event){.type = WS_EVENT_NONE};
	r->fragmented = false;
	r->handed_out = true;
	ev.text = r->fragment_text;
	/* Never NULL, also when every fragment was empty. */
	ev.data = r->fragments.len > 0 ? buf_data(&r->fragments) : data;
	ev.len = r->fragments.len;
	return ev;
}

struct ws_event ws_read(
	struct ws_reader *r, uint8_t *data, size_t len, size_t *ret_used, size_t *ret_need)
{
	struct ws_event ev;
	struct frame f;
	size_t used = 0;

	if (r->handed_out) {
		buf_clear(&r->fragments);
		r->handed_out = false;
	}
	*ret_need = 0;
	do {
		uint8_t *p = data + used;

		if (!read_header(r, p, len - used, &f, &ev))
			break;
		if (f.len > SIZE_MAX - f.header) {
			ev = broken(WS_CLOSE_TOO_BIG, "message is too big");
			break;
		}
		if (len - used < f.header + f.len) {
			*ret_need = f.header + (size_t)f.len;
			break;
		}
		ws_unmask(p + f.header, (size_t)f.len, p + f.header - 4);
		used += f.header + (size_t)f.len;
		ev = f.control ? control_event(f.opcode, p + f.header, (size_t)f.len)
			       : data_event(r, &f, p + f.header);
	} while (ev.type == WS_EVENT_NONE);
	*ret_used = used;
	return ev;
}

/* --- writing ---------------------------------------------------------------------------------- */

size_t ws_put_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t len)
{
	size_t bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;

	out[0] = (uint8_t)(FIN | opcode);
	out[1] = (uint8_t)(bytes == 0 ? len : bytes == 2 ? 126 : 127);
	for (size_t i = 0; i < bytes; i++)
		out[2 + i] = (uint8_t)(len >> (8 * (bytes - 1 - i)));
	return 2 + bytes;
}

size_t ws_put_close(uint8_t out[WS_HEADER_MAX + 125], uint16_t code, const char *reason)
{
	size_t len = reason ? strlen(reason) : 0;
	size_t header;

	if (code == 0 || code == WS_CLOSE_NO_STATUS)
		return ws_put_header(out, WS_OP_CLOSE, 0);
	if (len > CONTROL_MAX - 2) {
		len = CONTROL_MAX - 2;
		while (len > 0 && ((uint8_t)reason[len] & 0xc0) == 0x80)
			len--;
	}
	header = ws_put_header(out, WS_OP_CLOSE, 2 + len);
	out[header] = (uint8_t)(code >> 8);
	out[header + 1] = (uint8_t)code;
	if (len > 0)
		memcpy(out + header + 2, reason, len);
	return header + 2 + len;
}
