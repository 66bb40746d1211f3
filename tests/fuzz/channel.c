/*
 * One end of an agent channel under the bytes of a hostile peer. The first byte chooses the end and
 * what its owner does; the rest is sent whole and in pieces, with the same outcome. It is either
 * the bytes themselves or frames in a short form, which a fuzzer gets right more often.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"
#include "wire/channel.h"

#define INPUT_MAX (128 * 1024)
#define STREAMS 4
#define REQUESTS 4
#define IDS (STREAMS + REQUESTS)

/* Bits of the first byte. */
#define AGENT 1       /* the end under test */
#define CONSUME 2     /* the owner takes data at once */
#define RESET_DATA 4  /* the owner gives streams up when data comes */
#define DONE_EARLY 8  /* the owner ends the channel in the third callback */
#define ANSWER 16     /* agent: answers; daemon: cancels */
#define SHORT_FORM 32 /* see expand() */
#define STEP_SHIFT 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
	int callbacks;
	bool over;
	int err;
	uint64_t sum; /* of what the callbacks were given */
};

struct end {
	struct loop *loop;
	struct channel *ch; /* on the heap, freed when done */
	struct channel_stream streams[STREAMS];
	struct loop_defer defer;
	int turns;
	uint8_t mode;
	struct outcome o;
};

static struct end end;

static void note(uint64_t kind, uint64_t id, const uint8_t *data, size_t len)
{
	uint64_t sum = end.o.sum * 31 + kind * 7 + id;

	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + data[i];
	end.o.sum = sum;
	if (++end.o.callbacks == 3 && (end.mode & DONE_EARLY)) {
		channel_done(end.ch);
		free(take_ptr(end.ch));
	}
}

static void on_hello(struct channel *ch, uint32_t version)
{
	(void)ch;
	check(version == CHANNEL_VERSION);
	note(1, version, NULL, 0);
}

static void on_request(
	struct channel *ch, uint32_t id, uint16_t method, const uint8_t *data, size_t len)
{
	check(ch->agent && id != 0 && len <= CHANNEL_MESSAGE_MAX);
	if (end.mode & ANSWER)
		(void)channel_respond(ch, id, method & 1, data, len);
	note(2, id, data, len);
}

static void on_cancel(struct channel *ch, uint32_t id)
{
	check(ch->agent);
	note(3, id, NULL, 0);
}

static void on_response(
	struct channel *ch, uint32_t id, bool failed, const uint8_t *data, size_t len)
{
	check(!ch->agent && id > STREAMS && id <= IDS);
	check(channel_cancel(ch, id) == -ENOENT);
	note(4 + failed, id, data, len);
}

static void on_close(struct channel *ch, int err)
{
	(void)ch;
	check(!end.o.over);
	check(err == 0 || err == -EPROTO || err == -ECONNRESET || err == -EPROTONOSUPPORT);
	end.o.over = true;
	end.o.err = err;
	loop_stop(end.loop, 0);
}

static const struct channel_ops ops = {
	.on_hello = on_hello,
	.on_request = on_request,
	.on_cancel = on_cancel,
	.on_response = on_response,
	.on_close = on_close,
};

static void on_data(struct channel_stream *s, const uint8_t *data, size_t len)
{
	check(!s->sender && len > 0 && len <= CHANNEL_PAYLOAD_MAX);
	check(s->credit <= CHANNEL_WINDOW);
	if (end.mode & CONSUME)
		channel_consume(s, len);
	if (end.mode & RESET_DATA)
		channel_reset(s, data, len);
	note(6, s->id, data, len);
}

static void on_end(struct channel_stream *s)
{
	if (end.mode & CONSUME)
		channel_stream_close(s);
	note(7, s->id, NULL, 0);
}

static void on_reset(struct channel_stream *s, const uint8_t *data, size_t len)
{
	check(s->channel == NULL);
	note(8, s->id, data, len);
}

static void on_writable(struct channel_stream *s)
{
	static const uint8_t zeros[1000];
	size_t room = channel_send_room(s);

	check(s->credit <= UINT32_C(1) << 31);
	if (room > 0)
		(void)channel_send(s, zeros, room < sizeof(zeros) ? room : sizeof(zeros));
	note(9, s->id, NULL, 0);
}

static const struct channel_stream_ops stream_ops = {
	.on_data = on_data,
	.on_end = on_end,
	.on_reset = on_reset,
	.on_writable = on_writable,
};

/* Streams 1 and 3 are received, 2 is sent, 4 is closed; 5 to 8 are requests. */
static void prepare(void)
{
	for (uint32_t i = 0; i < STREAMS; i++) {
		struct channel_stream *s = &end.streams[i];
		uint32_t id = channel_next_stream(end.ch);

		if (i % 2)
			check(channel_open_send(end.ch, s, id, &stream_ops) == 0);
		else
			check(channel_open_recv(end.ch, s, id, &stream_ops) == 0);
	}
	channel_stream_close(&end.streams[STREAMS - 1]);
	/* Nothing to send until credit comes. */
	end.streams[1].credit = 0;
	check(channel_send_room(&end.streams[1]) == 0);
	for (int i = 0; i < REQUESTS && !(end.mode & AGENT); i++) {
		uint32_t id;

		check(channel_request(end.ch, 1, "", 0, &id) == 0);
		if (end.mode & ANSWER)
			check(channel_cancel(end.ch, id) == 0);
	}
}

static void count_turn(struct loop_defer *defer)
{
	if (end.turns-- > 0)
		loop_defer(end.loop, defer, count_turn);
	else
		loop_stop(end.loop, 0);
}

static void run_turns(int n)
{
	end.turns = n;
	loop_defer(end.loop, &end.defer, count_turn);
	loop_run(end.loop);
	loop_defer_cancel(&end.defer);
}

/* What the end answers is thrown away. */
static void drain(int fd)
{
	static uint8_t sink[65536];

	while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

static struct outcome run(const uint8_t *data, size_t size, size_t step, uint8_t mode)
{
	int sv[2];

	end = (struct end){.loop = loop_new(), .ch = mem_new(struct channel), .mode = mode};
	check(end.loop && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
	check(channel_init(end.ch, end.loop, sv[1], mode & AGENT, &ops) == 0);
	prepare();
	for (size_t done = 0; done < size && !end.o.over && end.ch;) {
		ssize_t n = send(sv[0], data + done, size - done < step ? size - done : step,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		done += n > 0 ? (size_t)n : 0;
		run_turns(2);
		drain(sv[0]);
	}
	shutdown(sv[0], SHUT_WR);
	if (!end.o.over && end.ch) {
		run_turns(8);
		check(end.o.over || !end.ch);
	}
	if (end.ch)
		channel_done(end.ch);
	free(end.ch);
	loop_free(end.loop);
	close(sv[0]);
	return end.o;
}

/* Short form of a frame: type, flags and method in one byte, id, length; then the payload. */
static void expand(const uint8_t *data, size_t size, struct buf *frames)
{
	while (size >= 4) {
		uint32_t len = data[3] < size - 4 ? data[3] : (uint32_t)(size - 4);
		int r = buf_append_u32le(frames, len);

		r |= buf_append_byte(frames, data[0] % (CHANNEL_FRAME_COUNT + 1));
		r |= buf_append_byte(frames, data[1] & 15);
		r |= buf_append_u16le(frames, data[1] >> 4);
		r |= buf_append_u32le(frames, data[2]);
		r |= buf_append(frames, data + 4, len);
		check(r == 0);
		data += 4 + len;
		size -= 4 + len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct buf frames = {.max = 4 * INPUT_MAX};
	struct outcome whole;
	struct outcome cut;
	uint8_t mode;
	size_t step;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	mode = *data++;
	size--;
	if (mode & SHORT_FORM) {
		expand(data, size, &frames);
		data = frames.len > 0 ? buf_data(&frames) : data;
		size = frames.len;
	}
	whole = run(data, size, size + 1, mode);
	step = 1 + (size_t)(mode >> STEP_SHIFT) * 13;
	if (step < size / 200)
		step = size / 200;
	cut = run(data, size, step, mode);
	check(whole.over == cut.over && whole.err == cut.err);
	check(whole.callbacks == cut.callbacks && whole.sum == cut.sum);
	return 0;
}
