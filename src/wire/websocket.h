/*
 * WebSocket (RFC 6455), server side, no extensions: handshake key, frames in, frames out.
 *
 * Reading works in place on the connection's receive buffer: a message in one frame is unmasked
 * where it lies and handed out as a view (zero copy); fragments are collected in a bounded side
 * buffer. Control frames may come between fragments.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

enum ws_opcode {
	WS_OP_CONTINUATION = 0x0,
	WS_OP_TEXT = 0x1,
	WS_OP_BINARY = 0x2,
	WS_OP_CLOSE = 0x8,
	WS_OP_PING = 0x9,
	WS_OP_PONG = 0xa,
};

#define WS_CLOSE_NORMAL 1000
#define WS_CLOSE_GOING_AWAY 1001
#define WS_CLOSE_PROTOCOL 1002
#define WS_CLOSE_UNSUPPORTED 1003
#define WS_CLOSE_NO_STATUS 1005 /* never sent: stands for a close frame without a code */
#define WS_CLOSE_BAD_DATA 1007
#define WS_CLOSE_POLICY 1008
#define WS_CLOSE_TOO_BIG 1009
#define WS_CLOSE_INTERNAL 1011

#define WS_ACCEPT_SIZE 29 /* 28 characters and NUL */
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; -EINVAL unless the key is base64 of 16 bytes, -EIO
 * when the crypto library has no SHA-1. */
int ws_accept_key(const char *key, size_t len, char ret_accept[WS_ACCEPT_SIZE]);

enum ws_event_type {
	WS_EVENT_NONE,    /* more bytes are needed */
	WS_EVENT_MESSAGE, /* a whole text or binary message; text is NOT yet checked for UTF-8 */
	WS_EVENT_PING,
	WS_EVENT_PONG,
	WS_EVENT_CLOSE, /* code (WS_CLOSE_NO_STATUS when absent) and reason in data (valid UTF-8) */
	WS_EVENT_ERROR, /* the peer broke the protocol: close with code; text says why */
};

struct ws_event {
	enum ws_event_type type;
	bool text;     /* message: text, not binary */
	uint8_t *data; /* view, writable, valid until the buffer or the reader is touched */
	size_t len;
	uint16_t code;
	const char *reason; /* WS_EVENT_ERROR: static text */
};

struct ws_reader {
	size_t message_max;
	struct buf fragments; /* payload of a message that comes in several frames */
	bool fragmented;      /* in the middle of such a message */
	bool fragment_text;
	bool handed_out; /* fragments were handed out: clear on the next call */
};

void ws_reader_init(struct ws_reader *r, size_t message_max);
void ws_reader_done(struct ws_reader *r);
/* Looks at the bytes at the start of data and returns one event; *ret_used is how many bytes it
 * covers: drop them from the buffer AFTER using the event's view. With WS_EVENT_NONE, *ret_used
 * counts the fragments that were put aside, and *ret_need is how many bytes in all the frame
 * behind them wants (0: not known yet). Unmasked client frames, reserved bits and opcodes, lengths
 * not in their shortest form, bad control frames, bad close codes and messages above message_max
 * are WS_EVENT_ERROR, as soon as the header shows it; nothing may be read after one. */
struct ws_event ws_read(
	struct ws_reader *r, uint8_t *data, size_t len, size_t *ret_used, size_t *ret_need);

#define WS_HEADER_MAX 10
/* Writes the header of an unmasked, final frame; returns its length. */
size_t ws_put_header(uint8_t out[WS_HEADER_MAX], enum ws_opcode opcode, uint64_t len);
/* Builds a close frame (code 0 or WS_CLOSE_NO_STATUS: no code, no reason) into out; returns its
 * length. reason (NULL: none) is valid UTF-8 and is cut to fit between two characters. */
size_t ws_put_close(uint8_t out[WS_HEADER_MAX + 125], uint16_t code, const char *reason);
