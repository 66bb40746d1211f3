/*
 * WebSocket frames on their way through the gate (RFC 6455, no extensions).
 *
 * From the host: frames are parsed, scrubbed and written anew. A message is one stream for the
 * scrubber, however it is cut into frames; what may be the beginning of a value stays in the
 * scrubber until the next frame of the message. So frames cannot keep their lengths, and need not:
 * without extensions an intermediary may cut a message as it likes (section 5.4). What the scrubber
 * lets through becomes a frame of the message, and the message's end the final one. A message that
 * comes in a single frame of up to WEBSOCKET_WHOLE_MAX bytes, the usual case, leaves in a single
 * frame; larger frames are passed on in pieces as they come, so that nothing is collected.
 *
 * To the host: bytes are passed on as they are; a watch looks for placeholders in them.
 */
#pragma once

#include "gate/secrets/scrub.h"
#include "gate/secrets/vault.h"

#define WEBSOCKET_WHOLE_MAX ((size_t)64 * 1024)

struct websocket_scrub {
	const struct scrub_set *set;
	struct scrub *scrub;
	struct buf clean;  /* of one piece */
	bool message;      /* in a message */
	uint8_t opcode;    /* of the next frame to be written of it */
	bool large;        /* in a frame that is passed on in pieces */
	bool large_fin;    /* it is the last one of its message */
	uint64_t left;     /* of its payload */
	uint64_t controls; /* secrets found in control frames */
};

/* set must outlive it. */
void websocket_scrub_init(struct websocket_scrub *w, const struct scrub_set *set);
/* Accepts a zeroed struct. */
void websocket_scrub_done(struct websocket_scrub *w);
/* Takes one frame, or one piece of a large one, from the start of data (which it may overwrite) and
 * appends frames to out. *ret_used is how much was taken; 0: more bytes are needed. 0; -EBADMSG the
 * host breaks the protocol (masked frames, reserved bits and opcodes, lengths not in their shortest
 * form, bad control frames, messages inside each other); -ENOBUFS out is full. Errors are final. */
int websocket_scrub_read(
	struct websocket_scrub *w, uint8_t *data, size_t len, struct buf *out, size_t *ret_used);
/* Secrets found and overwritten so far. */
uint64_t websocket_scrub_found(const struct websocket_scrub *w);

/* Zero-initialised. */
struct websocket_watch {
	uint8_t head[14];
	size_t head_len;
	uint64_t left; /* of the payload */
	uint8_t mask[4];
	bool lost; /* these are no frames: nothing is found any more */
	struct vault_watch watch;
};
/* The secrets whose placeholders end in the payload among these bytes. */
uint64_t websocket_watch(
	struct websocket_watch *w, const struct vault *v, const uint8_t *data, size_t len);
