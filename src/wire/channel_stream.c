/*
 * Stream ends of the agent channel: credit and the states open, ended (receiver only), closed.
 *
 * A sender without credit waits for a CREDIT frame; one with credit but a full socket waits in
 * ch->blocked for the drain. `blocked` says that the owner was told 0 and is owed on_writable.
 */
#include <assert.h>
#include <errno.h>

#include "base/mem.h"
#include "wire/channel_priv.h"

/* Credit goes back in pieces of this size: often enough that a sender never stands still, seldom
 * enough that CREDIT frames do not matter. */
#define GRANT_AT (CHANNEL_WINDOW / 4)
#define CREDIT_MAX (UINT32_C(1) << 31)

static int open_end(struct channel *ch, struct channel_stream *s, uint32_t id,
	const struct channel_stream_ops *ops, bool sender)
{
	int r;

	if (ch->error)
		return ch->error;
	if (id == 0)
		return -EINVAL;
	*s = (struct channel_stream){
		.ops = ops,
		.id = id,
		.sender = sender,
		.credit = CHANNEL_WINDOW,
	};
	list_init(&s->blocked_node);
	r = table_insert_u64(&ch->streams, &s->entry, id);
	if (r < 0)
		return r;
	s->channel = ch;
	if (id > ch->highest_id)
		ch->highest_id = id;
	return 0;
}

int channel_open_send(struct channel *ch, struct channel_stream *s, uint32_t id,
	const struct channel_stream_ops *ops)
{
	return open_end(ch, s, id, ops, true);
}

int channel_open_recv(struct channel *ch, struct channel_stream *s, uint32_t id,
	const struct channel_stream_ops *ops)
{
	return open_end(ch, s, id, ops, false);
}

void channel_stream_close(struct channel_stream *s)
{
	if (!s->channel)
		return;
	list_del(&s->blocked_node);
	table_remove(&s->channel->streams, &s->entry);
	s->blocked = false;
	s->channel = NULL;
}

/* --- sending ---------------------------------------------------------------------------------- */

size_t channel_send_room(struct channel_stream *s)
{
	struct channel *ch = s->channel;

	if (!ch || ch->error || !s->sender)
		return 0;
	if (s->credit > 0 && !stream_congested(&ch->stream))
		return s->credit < CHANNEL_WINDOW ? s->credit : CHANNEL_WINDOW;
	s->blocked = true;
	if (s->credit > 0 && list_empty(&s->blocked_node))
		list_push_back(&ch->blocked, &s->blocked_node);
	return 0;
}

int channel_send(struct channel_stream *s, const void *data, size_t len)
{
	struct channel_header head = {.type = CHANNEL_DATA, .id = s->id};
	int r;

	if (!s->channel)
		return -EPIPE;
	if (!s->sender || len > s->credit || len > CHANNEL_WINDOW)
		return -EINVAL;
	if (len == 0)
		return 0;
	r = channel_put(s->channel, &head, data, len);
	if (r == 0)
		s->credit -= (uint32_t)len;
	return r;
}

int channel_send_pipe(struct channel_stream *s, int pipe, size_t len)
{
	struct channel_header head = {.type = CHANNEL_DATA, .id = s->id, .length = (uint32_t)len};
	int r;

	if (!s->channel)
		return -EPIPE;
	if (!s->sender || len == 0 || len > s->credit || len > CHANNEL_PAYLOAD_MAX)
		return -EINVAL;
	r = channel_put_pipe(s->channel, &head, pipe);
	if (r == 0)
		s->credit -= (uint32_t)len;
	return r;
}

void channel_send_end(struct channel_stream *s)
{
	struct channel *ch = s->channel;

	if (!ch)
		return;
	channel_stream_close(s);
	channel_put_control(ch, CHANNEL_END, s->id, NULL, 0);
}

void channel_reset(struct channel_stream *s, const void *data, size_t len)
{
	struct channel *ch = s->channel;

	if (!ch)
		return;
	channel_stream_close(s);
	/* After END the peer has forgotten the stream. */
	if (!s->ended)
		channel_put_control(ch, CHANNEL_RESET, s->id, data,
			data && len <= CHANNEL_PAYLOAD_MAX ? len : 0);
}

void channel_consume(struct channel_stream *s, size_t n)
{
	uint8_t grant[4];

	if (!s->channel)
		return;
	assert(!s->sender && n <= CHANNEL_WINDOW - s->credit - s->ungranted);
	s->ungranted += (uint32_t)n;
	if (s->ended || s->ungranted < GRANT_AT)
		return;
	store_u32le(grant, s->ungranted);
	s->credit += s->ungranted;
	s->ungranted = 0;
	channel_put_control(s->channel, CHANNEL_CREDIT, s->id, grant, sizeof(grant));
}

/* --- receiving -------------------------------------------------------------------------------- */

/* The stream a frame is for: *ret_stream is NULL for a late frame, which is dropped. */
static int find_stream(struct channel *ch, uint32_t id, struct channel_stream **ret_stream)
{
	struct table_entry *e = table_find_u64(&ch->streams, id);

	if (!e && !channel_id_seen(ch, id))
		return -EPROTO;
	*ret_stream = e ? container_of(e, struct channel_stream, entry) : NULL;
	return 0;
}

int channel_stream_data(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	struct channel_stream *s;
	int r = find_stream(ch, h->id, &s);

	if (r < 0 || !s)
		return r;
	if (s->sender || s->ended || h->length > s->credit)
		return -EPROTO;
	s->credit -= h->length;
	s->ops->on_data(s, data, h->length);
	return 0;
}

int channel_stream_end(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	struct channel_stream *s;
	int r = find_stream(ch, h->id, &s);

	(void)data;
	if (r < 0 || !s)
		return r;
	if (s->sender || s->ended)
		return -EPROTO;
	s->ended = true;
	s->ops->on_end(s);
	return 0;
}

int channel_stream_reset(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	struct channel_stream *s;
	int r = find_stream(ch, h->id, &s);

	if (r < 0 || !s)
		return r;
	if (s->ended)
		return -EPROTO;
	channel_stream_close(s);
	if (s->ops->on_reset)
		s->ops->on_reset(s, data, h->length);
	return 0;
}

static void call_writable(struct channel_stream *s)
{
	s->blocked = false;
	list_del(&s->blocked_node);
	if (s->ops->on_writable)
		s->ops->on_writable(s);
}

int channel_stream_credit(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	uint32_t n = load_u32le(data);
	struct channel_stream *s;
	int r = find_stream(ch, h->id, &s);

	if (r < 0 || !s)
		return r;
	if (!s->sender || n == 0 || n > CREDIT_MAX - s->credit)
		return -EPROTO;
	s->credit += n;
	if (!s->blocked)
		return 0;
	if (!stream_congested(&ch->stream))
		call_writable(s);
	else if (list_empty(&s->blocked_node))
		list_push_back(&ch->blocked, &s->blocked_node);
	return 0;
}

void channel_stream_unblock(struct channel *ch, const bool *gone)
{
	struct channel_stream *s;

	while (!*gone && !ch->error && !stream_congested(&ch->stream)) {
		s = list_first(&ch->blocked, struct channel_stream, blocked_node);
		if (!s)
			return;
		call_writable(s);
	}
}
