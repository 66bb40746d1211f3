/* What channel.c (frames), channel_message.c (requests and responses) and channel_stream.c (stream
 * ends, credit) share. */
#pragma once

#include "wire/channel.h"

struct channel_header {
	uint32_t length;
	uint8_t type;
	uint8_t flags;
	uint16_t method;
	uint32_t id;
};

/* Sends data as one or more frames that repeat head's type, flags, method and id; messages get
 * CHANNEL_FLAG_MORE on all but the last. All or nothing: -ENOBUFS leaves the channel as it was. */
int channel_put(
	struct channel *ch, const struct channel_header *head, const void *data, size_t len);
/* Sends one frame whose payload waits in a pipe: as stream_write_pipe(). */
int channel_put_pipe(struct channel *ch, const struct channel_header *head, int pipe);
/* Sends a small frame that must not get lost: when it cannot be queued the channel fails. */
void channel_put_control(
	struct channel *ch, uint8_t type, uint32_t id, const void *data, size_t len);
/* True when the daemon has given this id out, as far as this end can know. */
bool channel_id_seen(const struct channel *ch, uint32_t id);

/* Handlers of frames: 0, -EPROTO or -ENOMEM. The header has been checked against the frame's rule;
 * callbacks may have ended the channel when they return. */
int channel_handle_request(struct channel *ch, const struct channel_header *h, const uint8_t *data);
int channel_handle_response(
	struct channel *ch, const struct channel_header *h, const uint8_t *data);
int channel_handle_cancel(struct channel *ch, const struct channel_header *h, const uint8_t *data);
int channel_stream_data(struct channel *ch, const struct channel_header *h, const uint8_t *data);
int channel_stream_end(struct channel *ch, const struct channel_header *h, const uint8_t *data);
int channel_stream_reset(struct channel *ch, const struct channel_header *h, const uint8_t *data);
int channel_stream_credit(struct channel *ch, const struct channel_header *h, const uint8_t *data);
/* The socket takes bytes again: calls on_writable of the senders that wait for it. *gone is set
 * when one of them ended the channel. */
void channel_stream_unblock(struct channel *ch, const bool *gone);

/* Daemon: a response to id may come. */
void channel_message_expect(struct channel *ch, uint32_t id);
/* Frees what is open or in assembly, and the tables. */
void channel_messages_done(struct channel *ch);
