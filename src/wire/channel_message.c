/*
 * Messages of the agent channel: requests and responses are put together from their frames, within
 * one bound for all that are in assembly, and handed out whole.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "wire/channel_priv.h"

struct request {
	struct table_entry entry;
};

struct partial {
	struct table_entry entry;
	struct buf data;
	uint16_t method;
	uint8_t flags;
};

static void note_id(struct channel *ch, uint32_t id)
{
	if (id < ch->highest_id && ch->highest_id - id > UINT32_MAX / 2)
		ch->wrapped = true;
	if (id > ch->highest_id)
		ch->highest_id = id;
}

static struct partial *find_partial(struct channel *ch, uint32_t id)
{
	struct table_entry *e = table_find_u64(&ch->partial, id);

	return e ? container_of(e, struct partial, entry) : NULL;
}

static void free_partial(struct channel *ch, struct partial *p)
{
	table_remove(&ch->partial, &p->entry);
	ch->partial_bytes -= p->data.len;
	buf_done(&p->data);
	free(p);
}

static struct partial *new_partial(struct channel *ch, const struct channel_header *h)
{
	struct partial *p;

	if (ch->partial.count >= CHANNEL_PARTIAL_MAX)
		return NULL;
	p = mem_new(struct partial);
	buf_init(&p->data, CHANNEL_MESSAGE_MAX);
	p->method = h->method;
	p->flags = h->flags & (uint8_t)~CHANNEL_FLAG_MORE;
	table_insert_u64(&ch->partial, &p->entry, h->id);
	return p;
}

/* Adds one frame to a message that comes in several. *ret_whole is left alone until the last. */
static int add_partial(struct channel *ch, const struct channel_header *h, const uint8_t *data,
	struct partial **ret_whole)
{
	bool more = h->flags & CHANNEL_FLAG_MORE;
	struct partial *p = find_partial(ch, h->id);

	if (more && h->length == 0)
		return -EPROTO;
	if (!p)
		p = new_partial(ch, h);
	if (!p)
		return -EPROTO;
	if (p->method != h->method || p->flags != (h->flags & (uint8_t)~CHANNEL_FLAG_MORE))
		return -EPROTO;
	if (h->length > CHANNEL_MESSAGE_MAX - ch->partial_bytes)
		return -EPROTO;
	if (buf_append(&p->data, data, h->length) < 0)
		return -ENOMEM;
	ch->partial_bytes += h->length;
	if (!more)
		*ret_whole = p;
	return 0;
}

static void deliver(
	struct channel *ch, const struct channel_header *h, const uint8_t *data, size_t len)
{
	struct table_entry *e;

	if (ch->agent) {
		ch->ops->on_request(ch, h->id, h->method, data, len);
		return;
	}
	e = table_find_u64(&ch->requests, h->id);
	table_remove(&ch->requests, e);
	free(container_of(e, struct request, entry));
	ch->ops->on_response(ch, h->id, h->flags & CHANNEL_FLAG_FAILED, data, len);
}

static int take_message(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	struct partial *whole = NULL;
	auto_buf struct buf message = {0};
	int r;

	if (!(h->flags & CHANNEL_FLAG_MORE) && !find_partial(ch, h->id)) {
		deliver(ch, h, data, h->length);
		return 0;
	}
	r = add_partial(ch, h, data, &whole);
	if (r < 0 || !whole)
		return r;
	message = whole->data;
	ch->partial_bytes -= message.len;
	whole->data = (struct buf){0};
	free_partial(ch, whole);
	deliver(ch, h, buf_data(&message), message.len);
	return 0;
}

int channel_handle_request(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	note_id(ch, h->id);
	return take_message(ch, h, data);
}

int channel_handle_response(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	if (!table_find_u64(&ch->requests, h->id))
		return -EPROTO;
	return take_message(ch, h, data);
}

int channel_handle_cancel(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	(void)data;
	if (!channel_id_seen(ch, h->id))
		return -EPROTO;
	ch->ops->on_cancel(ch, h->id);
	return 0;
}

void channel_message_expect(struct channel *ch, uint32_t id)
{
	struct request *req = mem_new(struct request);

	table_insert_u64(&ch->requests, &req->entry, id);
}

void channel_messages_done(struct channel *ch)
{
	struct table_entry *e;

	while ((e = table_any(&ch->requests))) {
		table_remove(&ch->requests, e);
		free(container_of(e, struct request, entry));
	}
	while ((e = table_any(&ch->partial)))
		free_partial(ch, container_of(e, struct partial, entry));
	table_done(&ch->requests);
	table_done(&ch->partial);
}
