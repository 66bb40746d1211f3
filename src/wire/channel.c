/*
 * Both ends of the agent channel: frames, and the life of a channel.
 *
 * States of a channel: open (error 0, stream readable and writable) -> over (error set, socket
 * closed, on_close called once) -> done (zeroed). Only channel_over() moves it from open to over,
 * and always from the loop; a failure noticed elsewhere is put off with channel_fail().
 *
 * Callbacks may end the channel at any time and free the object it is embedded in. Each dispatch
 * loop therefore hangs a flag of its own into ch->gone and looks at that before it touches the
 * channel again.
 */
#include "wire/channel.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "wire/channel_priv.h"

/* A few frames, so that one read(2) brings several. */
#define IN_MAX (1024 * 1024)
#define OUT_HIGH (1024 * 1024)
/* The largest message with its headers, behind a queue that is as full as data makes it, and room
 * for control frames. */
#define OUT_MAX (CHANNEL_MESSAGE_MAX + OUT_HIGH + 2 * CHANNEL_WINDOW + 512 * 1024)
/* Frames sent with one writev(2). */
#define BATCH 16
/* Frames of the agent up to this size wait for the end of the turn. */
#define SMALL_MAX 4096
#define HELLO_MAX 64

enum sender { FROM_NOBODY, FROM_AGENT, FROM_DAEMON, FROM_BOTH };

struct frame_rule {
	enum sender sender;
	uint8_t flags; /* that may be set */
	bool has_id;
	bool has_method;
	uint32_t min;
	uint32_t max;
	int (*handle)(struct channel *ch, const struct channel_header *h, const uint8_t *data);
};

static void put_header(uint8_t out[CHANNEL_HEADER_SIZE], const struct channel_header *h)
{
	store_u32le(out, h->length);
	out[4] = h->type;
	out[5] = h->flags;
	store_u16le(out + 6, h->method);
	store_u32le(out + 8, h->id);
}

static void get_header(const uint8_t *p, struct channel_header *ret_header)
{
	ret_header->length = load_u32le(p);
	ret_header->type = p[4];
	ret_header->flags = p[5];
	ret_header->method = load_u16le(p + 6);
	ret_header->id = load_u32le(p + 8);
}

/* --- the end of a channel --------------------------------------------------------------------- */

static void channel_over(struct channel *ch, int err)
{
	loop_defer_cancel(&ch->failing);
	ch->error = err ? err : -EPIPE;
	stream_done(&ch->stream);
	ch->ops->on_close(ch, err);
}

static void run_failing(struct loop_defer *defer)
{
	struct channel *ch = container_of(defer, struct channel, failing);

	channel_over(ch, ch->error);
}

/* Ends the channel from the loop; callers may be deep inside their owner's code. */
static void channel_fail(struct channel *ch, int err)
{
	if (ch->error)
		return;
	ch->error = err;
	loop_defer(ch->loop, &ch->failing, run_failing);
}

/* --- sending ---------------------------------------------------------------------------------- */

static int put_batch(struct channel *ch, const struct channel_header *head, const uint8_t **data,
	size_t *len, bool *ret_last)
{
	bool message = head->type == CHANNEL_REQUEST || head->type == CHANNEL_RESPONSE;
	uint8_t headers[BATCH][CHANNEL_HEADER_SIZE];
	struct iovec iov[2 * BATCH];
	bool last = false;
	int count = 0;

	for (size_t i = 0; i < BATCH && !last; i++) {
		struct channel_header h = *head;

		h.length = (uint32_t)(*len < CHANNEL_PAYLOAD_MAX ? *len : CHANNEL_PAYLOAD_MAX);
		last = h.length == *len;
		if (message && !last)
			h.flags |= CHANNEL_FLAG_MORE;
		put_header(headers[i], &h);
		iov[count++] = (struct iovec){headers[i], CHANNEL_HEADER_SIZE};
		if (h.length > 0)
			iov[count++] = (struct iovec){(void *)(uintptr_t)*data, h.length};
		*data += h.length;
		*len -= h.length;
	}
	*ret_last = last;
	return stream_writev(&ch->stream, iov, count);
}

/* Small frames of one turn go out together: a program that ends is an END per stream and a
 * response, and the peer need not wake up for each. */
static int put_small(
	struct channel *ch, const struct channel_header *head, const void *data, size_t len)
{
	struct channel_header h = *head;
	uint8_t *p = stream_reserve(&ch->stream, CHANNEL_HEADER_SIZE + len);

	if (!p)
		return ch->stream.error < 0 ? ch->stream.error : -ENOBUFS;
	h.length = (uint32_t)len;
	put_header(p, &h);
	if (len > 0)
		memcpy(p + CHANNEL_HEADER_SIZE, data, len);
	return stream_commit(&ch->stream, CHANNEL_HEADER_SIZE + len);
}

int channel_put(struct channel *ch, const struct channel_header *head, const void *data, size_t len)
{
	static const uint8_t nothing[1];
	size_t frames = len / CHANNEL_PAYLOAD_MAX + 1;
	const uint8_t *p = len > 0 ? data : nothing;
	bool last = false;
	int r;

	if (ch->error)
		return ch->error;
	if (len + frames * CHANNEL_HEADER_SIZE > ch->stream.out.max - ch->stream.out.len)
		return -ENOBUFS;
	if (ch->agent && len <= SMALL_MAX)
		return put_small(ch, head, data, len);
	while (!last) {
		/* The queue has room, so this fails only with the stream, which reports it. */
		r = put_batch(ch, head, &p, &len, &last);
		if (r < 0)
			return r;
	}
	return 0;
}

int channel_put_pipe(struct channel *ch, const struct channel_header *head, int pipe)
{
	uint8_t header[CHANNEL_HEADER_SIZE];

	if (ch->error)
		return ch->error;
	put_header(header, head);
	return stream_write_pipe(&ch->stream, header, sizeof(header), pipe, head->length);
}

void channel_put_control(
	struct channel *ch, uint8_t type, uint32_t id, const void *data, size_t len)
{
	struct channel_header head = {.type = type, .id = id};
	int r = channel_put(ch, &head, data, len);

	if (r == -ENOBUFS)
		channel_fail(ch, r);
}

/* --- ids -------------------------------------------------------------------------------------- */

static uint32_t next_id(struct channel *ch)
{
	uint32_t id;

	do {
		id = ch->next_id++;
		if (ch->next_id == 0) {
			ch->next_id = 1;
			ch->wrapped = true;
		}
	} while (table_find_u64(&ch->streams, id) || table_find_u64(&ch->requests, id));
	return id;
}

bool channel_id_seen(const struct channel *ch, uint32_t id)
{
	if (ch->wrapped)
		return true;
	return ch->agent ? id <= ch->highest_id : id < ch->next_id;
}

/* --- receiving -------------------------------------------------------------------------------- */

static int handle_hello(struct channel *ch, const struct channel_header *h, const uint8_t *data)
{
	uint32_t version = load_u32le(data);

	if (ch->greeted)
		return -EPROTO;
	if (version != CHANNEL_VERSION)
		return -EPROTONOSUPPORT;
	if (h->length != sizeof(version))
		return -EPROTO;
	ch->greeted = true;
	ch->ops->on_hello(ch, version);
	return 0;
}

#define MORE CHANNEL_FLAG_MORE
#define FAILED CHANNEL_FLAG_FAILED
#define PAYLOAD CHANNEL_PAYLOAD_MAX

static const struct frame_rule rules[CHANNEL_FRAME_COUNT] = {
	/*                  sender     flags       id   method min max   */
	[CHANNEL_HELLO] = {FROM_AGENT, 0, false, false, 4, HELLO_MAX, handle_hello},
	[CHANNEL_REQUEST] = {FROM_DAEMON, MORE, true, true, 0, PAYLOAD, channel_handle_request},
	[CHANNEL_RESPONSE] = {FROM_AGENT, MORE | FAILED, true, false, 0, PAYLOAD,
		channel_handle_response},
	[CHANNEL_CANCEL] = {FROM_DAEMON, 0, true, false, 0, 0, channel_handle_cancel},
	[CHANNEL_DATA] = {FROM_BOTH, 0, true, false, 1, PAYLOAD, channel_stream_data},
	[CHANNEL_END] = {FROM_BOTH, 0, true, false, 0, 0, channel_stream_end},
	[CHANNEL_RESET] = {FROM_BOTH, 0, true, false, 0, PAYLOAD, channel_stream_reset},
	[CHANNEL_CREDIT] = {FROM_BOTH, 0, true, false, 4, 4, channel_stream_credit},
};

/* Judges a header before its payload is here, so that a wrong length cannot make us wait. */
static const struct frame_rule *check_header(
	const struct channel *ch, const struct channel_header *h)
{
	enum sender peer = ch->agent ? FROM_DAEMON : FROM_AGENT;
	const struct frame_rule *rule;

	if (h->type >= CHANNEL_FRAME_COUNT)
		return NULL;
	rule = &rules[h->type];
	if (rule->sender != peer && rule->sender != FROM_BOTH)
		return NULL;
	if (h->length < rule->min || h->length > rule->max || (h->flags & ~rule->flags))
		return NULL;
	if ((h->id != 0) != rule->has_id || (h->method != 0 && !rule->has_method))
		return NULL;
	if (!ch->agent && !ch->greeted && h->type != CHANNEL_HELLO)
		return NULL;
	return rule;
}

/* Handles the frame at p: its size, 0 when it is not complete, or a negative errno. */
static ssize_t take_frame(struct channel *ch, const uint8_t *p, size_t len)
{
	const struct frame_rule *rule;
	struct channel_header h;
	int r;

	if (len < CHANNEL_HEADER_SIZE)
		return 0;
	get_header(p, &h);
	rule = check_header(ch, &h);
	if (!rule)
		return -EPROTO;
	if (len - CHANNEL_HEADER_SIZE < h.length)
		return 0;
	r = rule->handle(ch, &h, p + CHANNEL_HEADER_SIZE);
	return r < 0 ? r : (ssize_t)(CHANNEL_HEADER_SIZE + h.length);
}

/* After a callback: true when the channel is gone and must not be touched. outer is the flag of a
 * dispatch loop further down the stack. */
static bool leave_dispatch(struct channel *ch, bool gone, bool *outer)
{
	if (!gone)
		ch->gone = outer;
	else if (outer)
		*outer = true;
	return gone;
}

static void on_stream_data(struct stream *s)
{
	struct channel *ch = container_of(s, struct channel, stream);
	bool *outer = ch->gone;
	bool gone = false;
	size_t used = 0;
	ssize_t n;

	ch->gone = &gone;
	do {
		n = take_frame(ch, buf_data(&s->in) + used, s->in.len - used);
		if (n > 0)
			used += (size_t)n;
	} while (n > 0 && !gone && !ch->error);
	if (leave_dispatch(ch, gone, outer))
		return;
	if (n < 0 && !ch->error)
		channel_over(ch, (int)n);
	else
		buf_consume(&s->in, used);
}

static void on_stream_drain(struct stream *s)
{
	struct channel *ch = container_of(s, struct channel, stream);
	bool *outer = ch->gone;
	bool gone = false;

	ch->gone = &gone;
	channel_stream_unblock(ch, &gone);
	leave_dispatch(ch, gone, outer);
}

static void on_stream_close(struct stream *s, int err)
{
	struct channel *ch = container_of(s, struct channel, stream);

	if (err == 0 && s->in.len > 0)
		err = -ECONNRESET;
	channel_over(ch, err);
}

static const struct stream_ops stream_ops = {
	.on_data = on_stream_data,
	.on_drain = on_stream_drain,
	.on_close = on_stream_close,
};

/* --- the public calls ------------------------------------------------------------------------- */

int channel_init(
	struct channel *ch, struct loop *loop, int fd, bool agent, const struct channel_ops *ops)
{
	struct channel_header hello = {.type = CHANNEL_HELLO};
	uint8_t version[4];
	int r;

	memset(ch, 0, sizeof(*ch));
	r = stream_init(&ch->stream, loop, fd, &stream_ops, IN_MAX, OUT_HIGH, OUT_MAX);
	if (r < 0)
		return r;
	ch->loop = loop;
	ch->ops = ops;
	ch->agent = agent;
	ch->next_id = 1;
	table_init(&ch->streams);
	table_init(&ch->requests);
	table_init(&ch->partial);
	list_init(&ch->blocked);
	if (!agent)
		return 0;
	store_u32le(version, CHANNEL_VERSION);
	r = channel_put(ch, &hello, version, sizeof(version));
	if (r < 0)
		channel_done(ch);
	return r;
}

void channel_done(struct channel *ch)
{
	struct table_entry *e;

	if (ch->gone)
		*ch->gone = true;
	while ((e = table_any(&ch->streams)))
		channel_stream_close(container_of(e, struct channel_stream, entry));
	channel_messages_done(ch);
	table_done(&ch->streams);
	loop_defer_cancel(&ch->failing);
	stream_done(&ch->stream);
	memset(ch, 0, sizeof(*ch));
	ch->error = -EPIPE;
}

uint32_t channel_next_stream(struct channel *ch)
{
	return next_id(ch);
}

int channel_request(
	struct channel *ch, uint16_t method, const void *data, size_t len, uint32_t *ret_id)
{
	struct channel_header head = {.type = CHANNEL_REQUEST, .method = method};
	int r;

	if (len > CHANNEL_MESSAGE_MAX)
		return -E2BIG;
	head.id = next_id(ch);
	r = channel_put(ch, &head, data, len);
	if (r < 0)
		return r;
	channel_message_expect(ch, head.id);
	*ret_id = head.id;
	return 0;
}

int channel_cancel(struct channel *ch, uint32_t id)
{
	struct channel_header head = {.type = CHANNEL_CANCEL, .id = id};

	if (!table_find_u64(&ch->requests, id))
		return -ENOENT;
	return channel_put(ch, &head, NULL, 0);
}

int channel_respond(struct channel *ch, uint32_t id, bool failed, const void *data, size_t len)
{
	struct channel_header head = {.type = CHANNEL_RESPONSE, .id = id};

	if (len > CHANNEL_MESSAGE_MAX)
		return -E2BIG;
	if (failed)
		head.flags = CHANNEL_FLAG_FAILED;
	return channel_put(ch, &head, data, len);
}
