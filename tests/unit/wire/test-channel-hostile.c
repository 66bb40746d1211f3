/* One end of a channel, and bytes that no honest peer would send. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "wire/channel.h"
#include "wire/turns.h"

#define OPEN 1 /* stands for: the channel lives on */

/* What both ends have before the frames of a case come: ids 1 and 2 are streams (the end under
 * test receives on 1 and sends on 2), 3 was a stream and is closed, 4 is an open request, 5 was
 * one. Nothing above 5 is known. */
enum { RECV = 1, SEND, CLOSED, REQUEST, ANSWERED, NEXT };

struct victim {
	struct loop *loop;
	struct channel ch;
	struct channel_stream recv;
	struct channel_stream send;
	int fd; /* the peer's end */
	bool over;
	int err;
	int hellos;
	int messages;
	size_t message_len;
	size_t received;
	bool ended;
	int resets;
};

static struct victim v;

static void on_hello(struct channel *ch, uint32_t version)
{
	v.hellos++;
}

static void on_request(
	struct channel *ch, uint32_t id, uint16_t method, const uint8_t *data, size_t len)
{
	v.messages++;
	v.message_len = len;
}

static void on_cancel(struct channel *ch, uint32_t id)
{
}

static void on_response(
	struct channel *ch, uint32_t id, bool failed, const uint8_t *data, size_t len)
{
	v.messages++;
	v.message_len = len;
}

static void on_close(struct channel *ch, int err)
{
	assert_false(v.over);
	v.over = true;
	v.err = err;
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
	v.received += len;
}

static void on_end(struct channel_stream *s)
{
	v.ended = true;
}

static void on_reset(struct channel_stream *s, const uint8_t *data, size_t len)
{
	v.resets++;
}

static const struct channel_stream_ops stream_ops = {
	.on_data = on_data,
	.on_end = on_end,
	.on_reset = on_reset,
};

/* --- frames ----------------------------------------------------------------------------------- */

static void frame(struct buf *b, uint8_t type, uint8_t flags, uint16_t method, uint32_t id,
	const void *data, uint32_t len)
{
	assert_int_equal(buf_append_u32le(b, len), 0);
	assert_int_equal(buf_append_byte(b, type), 0);
	assert_int_equal(buf_append_byte(b, flags), 0);
	assert_int_equal(buf_append_u16le(b, method), 0);
	assert_int_equal(buf_append_u32le(b, id), 0);
	assert_int_equal(buf_append(b, data, data ? len : 0), 0);
}

static void hello(struct buf *b, uint32_t version)
{
	uint8_t payload[4];

	store_u32le(payload, version);
	frame(b, CHANNEL_HELLO, 0, 0, 0, payload, 4);
}

static void victim_settle(void)
{
	turns_run(v.loop, 3, NULL);
}

static void give(const struct buf *b, size_t step)
{
	for (size_t done = 0; done < b->len && !v.over;) {
		size_t n = b->len - done < step ? b->len - done : step;

		assert_int_equal(send(v.fd, buf_data(b) + done, n, MSG_NOSIGNAL), n);
		done += n;
		victim_settle();
	}
}

static void victim_init(bool agent)
{
	int sv[2];

	v = (struct victim){.loop = loop_new()};
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	v.fd = sv[0];
	assert_int_equal(channel_init(&v.ch, v.loop, sv[1], agent, &ops), 0);
}

/* Brings the end to the state that the enum describes. */
static void victim_prepare(bool agent)
{
	struct channel_stream closed = {0};
	auto_buf struct buf b;
	uint32_t id = 0;

	buf_init(&b, 1000);
	victim_init(agent);
	if (agent) {
		frame(&b, CHANNEL_REQUEST, 0, 9, REQUEST, NULL, 0);
		frame(&b, CHANNEL_REQUEST, 0, 9, ANSWERED, NULL, 0);
		give(&b, b.len);
	} else {
		hello(&b, CHANNEL_VERSION);
		for (uint32_t i = RECV; i <= CLOSED; i++)
			assert_int_equal(channel_next_stream(&v.ch), i);
		assert_int_equal(channel_request(&v.ch, 9, "", 0, &id), 0);
		assert_int_equal(id, REQUEST);
		assert_int_equal(channel_request(&v.ch, 9, "", 0, &id), 0);
		assert_int_equal(id, ANSWERED);
		frame(&b, CHANNEL_RESPONSE, 0, 0, ANSWERED, NULL, 0);
		give(&b, b.len);
		assert_int_equal(v.hellos, 1);
	}
	assert_int_equal(channel_open_recv(&v.ch, &v.recv, RECV, &stream_ops), 0);
	assert_int_equal(channel_open_send(&v.ch, &v.send, SEND, &stream_ops), 0);
	assert_int_equal(channel_open_send(&v.ch, &closed, CLOSED, &stream_ops), 0);
	channel_stream_close(&closed);
	v.messages = 0;
	assert_false(v.over);
}

static void victim_free(void)
{
	channel_done(&v.ch);
	close(v.fd);
	loop_free(v.loop);
}

/* Gives the bytes to a fresh end, whole and one by one. */
static void check_bytes(bool agent, const struct buf *b, int wanted)
{
	for (int slowly = 0; slowly < 2; slowly++) {
		victim_prepare(agent);
		give(b, slowly ? 1 : b->len);
		victim_settle();
		assert_int_equal(v.over, wanted != OPEN);
		if (v.over) {
			assert_int_equal(v.err, wanted);
			assert_int_equal(v.ch.stream.fd, -EBADF);
		}
		victim_free();
	}
}

/* --- single frames ---------------------------------------------------------------------------- */

#define MORE CHANNEL_FLAG_MORE
#define FAILED CHANNEL_FLAG_FAILED
#define BAD (-EPROTO)
#define ANY UINT32_MAX /* length in the header without a payload behind it */

static const struct {
	const char *name;
	struct {
		uint8_t type;
		uint8_t flags;
		uint16_t method;
		uint32_t id;
		const char *data;
		uint32_t len;
	} f;
	int daemon; /* verdict of either end */
	int agent;
} cases[] = {
	/* types and directions */
	{"type 0", {0, 0, 0, 1, "", 0}, BAD, BAD},
	{"first unknown type", {CHANNEL_FRAME_COUNT, 0, 0, 1, "", 0}, BAD, BAD},
	{"type 255", {255, 0, 0, 1, "", 0}, BAD, BAD},
	{"second HELLO", {CHANNEL_HELLO, 0, 0, 0, "\1\0\0\0", 4}, BAD, BAD},
	{"request", {CHANNEL_REQUEST, 0, 9, NEXT, "x", 1}, BAD, OPEN},
	{"response", {CHANNEL_RESPONSE, 0, 0, REQUEST, "x", 1}, OPEN, BAD},
	{"failed response", {CHANNEL_RESPONSE, FAILED, 0, REQUEST, "x", 1}, OPEN, BAD},
	{"cancel", {CHANNEL_CANCEL, 0, 0, REQUEST, "", 0}, BAD, OPEN},
	{"cancel of an answered request", {CHANNEL_CANCEL, 0, 0, ANSWERED, "", 0}, BAD, OPEN},
	/* ids of messages */
	{"request 0", {CHANNEL_REQUEST, 0, 9, 0, "x", 1}, BAD, BAD},
	{"response to nothing", {CHANNEL_RESPONSE, 0, 0, NEXT, "x", 1}, BAD, BAD},
	{"response to id 0", {CHANNEL_RESPONSE, 0, 0, 0, "x", 1}, BAD, BAD},
	{"second response", {CHANNEL_RESPONSE, 0, 0, ANSWERED, "x", 1}, BAD, BAD},
	{"response to a stream", {CHANNEL_RESPONSE, 0, 0, RECV, "x", 1}, BAD, BAD},
	{"begun response to nothing", {CHANNEL_RESPONSE, MORE, 0, NEXT, "x", 1}, BAD, BAD},
	{"cancel of nothing", {CHANNEL_CANCEL, 0, 0, NEXT, "", 0}, BAD, BAD},
	/* flags and method */
	{"unknown flag", {CHANNEL_RESPONSE, 4, 0, REQUEST, "x", 1}, BAD, BAD},
	{"unknown flag of a request", {CHANNEL_REQUEST, 0x80, 9, NEXT, "x", 1}, BAD, BAD},
	{"failed request", {CHANNEL_REQUEST, FAILED, 9, NEXT, "x", 1}, BAD, BAD},
	{"DATA with more", {CHANNEL_DATA, MORE, 0, RECV, "x", 1}, BAD, BAD},
	{"END with a flag", {CHANNEL_END, FAILED, 0, RECV, "", 0}, BAD, BAD},
	{"RESET with a flag", {CHANNEL_RESET, FAILED, 0, RECV, "", 0}, BAD, BAD},
	{"CREDIT with a flag", {CHANNEL_CREDIT, MORE, 0, SEND, "\1\0\0\0", 4}, BAD, BAD},
	{"CANCEL with a flag", {CHANNEL_CANCEL, MORE, 0, REQUEST, "", 0}, BAD, BAD},
	{"response with a method", {CHANNEL_RESPONSE, 0, 9, REQUEST, "x", 1}, BAD, BAD},
	{"DATA with a method", {CHANNEL_DATA, 0, 1, RECV, "x", 1}, BAD, BAD},
	/* lengths */
	{"frame too long", {CHANNEL_DATA, 0, 0, RECV, NULL, CHANNEL_PAYLOAD_MAX + 1}, BAD, BAD},
	{"frame of 4 GiB", {CHANNEL_DATA, 0, 0, RECV, NULL, ANY}, BAD, BAD},
	{"late frame of 4 GiB", {CHANNEL_DATA, 0, 0, CLOSED, NULL, ANY}, BAD, BAD},
	{"response too long", {CHANNEL_RESPONSE, 0, 0, REQUEST, NULL, ANY}, BAD, BAD},
	{"request too long", {CHANNEL_REQUEST, 0, 9, NEXT, NULL, ANY}, BAD, BAD},
	{"RESET too long", {CHANNEL_RESET, 0, 0, RECV, NULL, CHANNEL_PAYLOAD_MAX + 1}, BAD, BAD},
	{"cancel with a payload", {CHANNEL_CANCEL, 0, 0, REQUEST, "x", 1}, BAD, BAD},
	{"END with a payload", {CHANNEL_END, 0, 0, RECV, "x", 1}, BAD, BAD},
	{"empty DATA", {CHANNEL_DATA, 0, 0, RECV, "", 0}, BAD, BAD},
	{"CREDIT of three bytes", {CHANNEL_CREDIT, 0, 0, SEND, "\1\0\0", 3}, BAD, BAD},
	{"CREDIT of five bytes", {CHANNEL_CREDIT, 0, 0, SEND, "\1\0\0\0\0", 5}, BAD, BAD},
	{"begun message without progress", {CHANNEL_RESPONSE, MORE, 0, REQUEST, "", 0}, BAD, BAD},
	{"begun request without progress", {CHANNEL_REQUEST, MORE, 9, NEXT, "", 0}, BAD, BAD},
	/* streams */
	{"DATA", {CHANNEL_DATA, 0, 0, RECV, "x", 1}, OPEN, OPEN},
	{"END", {CHANNEL_END, 0, 0, RECV, "", 0}, OPEN, OPEN},
	{"RESET of a receiver", {CHANNEL_RESET, 0, 0, RECV, "why", 3}, OPEN, OPEN},
	{"RESET of a sender", {CHANNEL_RESET, 0, 0, SEND, "", 0}, OPEN, OPEN},
	{"CREDIT", {CHANNEL_CREDIT, 0, 0, SEND, "\1\0\0\0", 4}, OPEN, OPEN},
	{"DATA to a sender", {CHANNEL_DATA, 0, 0, SEND, "x", 1}, BAD, BAD},
	{"END to a sender", {CHANNEL_END, 0, 0, SEND, "", 0}, BAD, BAD},
	{"CREDIT to a receiver", {CHANNEL_CREDIT, 0, 0, RECV, "\1\0\0\0", 4}, BAD, BAD},
	{"CREDIT of nothing", {CHANNEL_CREDIT, 0, 0, SEND, "\0\0\0\0", 4}, BAD, BAD},
	{"CREDIT above 2^31", {CHANNEL_CREDIT, 0, 0, SEND, "\0\0\0\x80", 4}, BAD, BAD},
	{"CREDIT 2^32 - 1", {CHANNEL_CREDIT, 0, 0, SEND, "\xff\xff\xff\xff", 4}, BAD, BAD},
	{"CREDIT up to 2^31", {CHANNEL_CREDIT, 0, 0, SEND, "\0\0\xfc\x7f", 4}, OPEN, OPEN},
	{"CREDIT one above", {CHANNEL_CREDIT, 0, 0, SEND, "\1\0\xfc\x7f", 4}, BAD, BAD},
	{"DATA of stream 0", {CHANNEL_DATA, 0, 0, 0, "x", 1}, BAD, BAD},
	{"late DATA", {CHANNEL_DATA, 0, 0, CLOSED, "x", 1}, OPEN, OPEN},
	{"late END", {CHANNEL_END, 0, 0, CLOSED, "", 0}, OPEN, OPEN},
	{"late RESET", {CHANNEL_RESET, 0, 0, CLOSED, "x", 1}, OPEN, OPEN},
	{"late CREDIT", {CHANNEL_CREDIT, 0, 0, CLOSED, "\1\0\0\0", 4}, OPEN, OPEN},
	{"wild DATA", {CHANNEL_DATA, 0, 0, NEXT, "x", 1}, BAD, BAD},
	{"wild END", {CHANNEL_END, 0, 0, NEXT, "", 0}, BAD, BAD},
	{"wild RESET", {CHANNEL_RESET, 0, 0, NEXT, "x", 1}, BAD, BAD},
	{"wild CREDIT", {CHANNEL_CREDIT, 0, 0, NEXT, "\1\0\0\0", 4}, BAD, BAD},
	{"wildest DATA", {CHANNEL_DATA, 0, 0, UINT32_MAX, "x", 1}, BAD, BAD},
};

static void test_single_frames(void **state)
{
	for (size_t i = 0; i < array_len(cases); i++) {
		auto_buf struct buf b;

		buf_init(&b, 1000);
		frame(&b, cases[i].f.type, cases[i].f.flags, cases[i].f.method, cases[i].f.id,
			cases[i].f.data, cases[i].f.len);
		print_message("# %s\n", cases[i].name);
		check_bytes(false, &b, cases[i].daemon);
		check_bytes(true, &b, cases[i].agent);
	}
}

/* The length is judged with the header, not when the payload is here. */
static void test_judged_early(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	frame(&b, CHANNEL_END, 0, 0, RECV, NULL, 60000);
	check_bytes(false, &b, -EPROTO);
	check_bytes(true, &b, -EPROTO);
}

/* --- greeting --------------------------------------------------------------------------------- */

static void test_greeting(void **state)
{
	static const struct {
		const char *name;
		uint8_t type;
		uint32_t id;
		const char *data;
		uint32_t len;
		int verdict;
	} greetings[] = {
		{"ours", CHANNEL_HELLO, 0, "\1\0\0\0", 4, OPEN},
		{"version 0", CHANNEL_HELLO, 0, "\0\0\0\0", 4, -EPROTONOSUPPORT},
		{"next version", CHANNEL_HELLO, 0, "\2\0\0\0", 4, -EPROTONOSUPPORT},
		{"next version says more", CHANNEL_HELLO, 0, "\2\0\0\0moremore", 12,
			-EPROTONOSUPPORT},
		{"ours says more", CHANNEL_HELLO, 0, "\1\0\0\0more", 8, -EPROTO},
		{"too short", CHANNEL_HELLO, 0, "\1\0\0", 3, -EPROTO},
		{"too long", CHANNEL_HELLO, 0, NULL, 65, -EPROTO},
		{"with an id", CHANNEL_HELLO, 1, "\1\0\0\0", 4, -EPROTO},
		{"none", CHANNEL_RESPONSE, 1, "", 0, -EPROTO},
		{"none, data", CHANNEL_DATA, 1, "x", 1, -EPROTO},
		{"text", 'H', 1, "", 0, -EPROTO},
	};

	for (size_t i = 0; i < array_len(greetings); i++) {
		auto_buf struct buf b;

		buf_init(&b, 1000);
		frame(&b, greetings[i].type, 0, 0, greetings[i].id, greetings[i].data,
			greetings[i].len);
		print_message("# %s\n", greetings[i].name);
		victim_init(false);
		give(&b, b.len);
		assert_int_equal(v.over, greetings[i].verdict != OPEN);
		assert_int_equal(v.hellos, greetings[i].verdict == OPEN);
		if (v.over)
			assert_int_equal(v.err, greetings[i].verdict);
		victim_free();
	}
}

/* --- sequences -------------------------------------------------------------------------------- */

static uint8_t zeros[CHANNEL_PAYLOAD_MAX];

static void test_credit_overrun(void **state)
{
	for (int agent = 0; agent < 2; agent++) {
		auto_buf struct buf b;

		buf_init(&b, 2 * CHANNEL_WINDOW);
		for (size_t sent = 0; sent < CHANNEL_WINDOW; sent += CHANNEL_PAYLOAD_MAX)
			frame(&b, CHANNEL_DATA, 0, 0, RECV, zeros, CHANNEL_PAYLOAD_MAX);
		victim_prepare(agent);
		give(&b, 100000);
		assert_false(v.over);
		assert_int_equal(v.received, CHANNEL_WINDOW);
		buf_clear(&b);
		frame(&b, CHANNEL_DATA, 0, 0, RECV, zeros, 1);
		give(&b, b.len);
		assert_true(v.over);
		assert_int_equal(v.err, -EPROTO);
		assert_int_equal(v.received, CHANNEL_WINDOW);
		victim_free();
	}
}

static void check_after_end(uint8_t type, uint32_t len)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	frame(&b, CHANNEL_END, 0, 0, RECV, NULL, 0);
	frame(&b, type, 0, 0, RECV, zeros, len);
	check_bytes(false, &b, -EPROTO);
	check_bytes(true, &b, -EPROTO);
}

static void test_frames_after_end(void **state)
{
	check_after_end(CHANNEL_DATA, 1);
	check_after_end(CHANNEL_END, 0);
	check_after_end(CHANNEL_RESET, 0);
}

/* A response in pieces: the flags must agree, empty ends are fine. */
static void test_pieces(void **state)
{
	static const struct {
		uint8_t first;
		uint8_t second;
		int verdict;
	} pieces[] = {
		{MORE, 0, OPEN},
		{MORE | FAILED, FAILED, OPEN},
		{MORE | FAILED, 0, -EPROTO},
		{MORE, FAILED, -EPROTO},
		{0, 0, -EPROTO},
	};

	for (size_t i = 0; i < array_len(pieces); i++) {
		auto_buf struct buf b;

		buf_init(&b, 1000);
		frame(&b, CHANNEL_RESPONSE, pieces[i].first, 0, REQUEST, "ab", 2);
		frame(&b, CHANNEL_RESPONSE, pieces[i].second, 0, REQUEST, "", 0);
		check_bytes(false, &b, pieces[i].verdict);
	}
}

static void test_request_changes_method(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	frame(&b, CHANNEL_REQUEST, MORE, 9, NEXT, "a", 1);
	frame(&b, CHANNEL_REQUEST, 0, 10, NEXT, "b", 1);
	check_bytes(true, &b, -EPROTO);
}

/* Pieces of several messages and data in between. */
static void test_interleaved(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	for (uint32_t i = 0; i < CHANNEL_PARTIAL_MAX; i++)
		frame(&b, CHANNEL_REQUEST, MORE, 9, NEXT + i, "a", 1);
	frame(&b, CHANNEL_DATA, 0, 0, RECV, "x", 1);
	for (uint32_t i = 0; i < CHANNEL_PARTIAL_MAX; i++)
		frame(&b, CHANNEL_REQUEST, 0, 9, NEXT + i, "bc", 2);
	victim_prepare(true);
	give(&b, b.len);
	assert_false(v.over);
	assert_int_equal(v.messages, CHANNEL_PARTIAL_MAX);
	assert_int_equal(v.message_len, 3);
	assert_int_equal(v.received, 1);
	assert_int_equal(v.ch.partial_bytes, 0);
	victim_free();
}

static void test_too_many_partial(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	for (uint32_t i = 0; i < CHANNEL_PARTIAL_MAX; i++)
		frame(&b, CHANNEL_REQUEST, MORE, 9, NEXT + i, "a", 1);
	check_bytes(true, &b, OPEN);
	frame(&b, CHANNEL_REQUEST, MORE, 9, NEXT + CHANNEL_PARTIAL_MAX, "a", 1);
	check_bytes(true, &b, -EPROTO);
}

/* All messages in assembly together have one bound; what ends as it is reached is delivered. */
static void test_message_bound(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1024 * 1024);
	frame(&b, CHANNEL_RESPONSE, MORE, 0, REQUEST, zeros, CHANNEL_PAYLOAD_MAX);
	for (int over = 0; over < 2; over++) {
		auto_buf struct buf last;

		buf_init(&last, 1000);
		frame(&last, CHANNEL_RESPONSE, 0, 0, REQUEST, zeros, (uint32_t)over);
		victim_prepare(false);
		for (size_t n = 0; n < CHANNEL_MESSAGE_MAX; n += CHANNEL_PAYLOAD_MAX)
			give(&b, b.len);
		assert_false(v.over);
		assert_int_equal(v.ch.partial_bytes, CHANNEL_MESSAGE_MAX);
		give(&last, last.len);
		assert_int_equal(v.over, over);
		assert_int_equal(v.err, over ? -EPROTO : 0);
		assert_int_equal(v.messages, !over);
		if (!over)
			assert_int_equal(v.message_len, CHANNEL_MESSAGE_MAX);
		victim_free();
	}
}

/* Frames behind a broken one are not looked at, those in front are. */
static void test_order(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	frame(&b, CHANNEL_DATA, 0, 0, RECV, "abc", 3);
	frame(&b, CHANNEL_CREDIT, 0, 0, NEXT, "\1\0\0\0", 4);
	frame(&b, CHANNEL_DATA, 0, 0, RECV, "defg", 4);
	victim_prepare(false);
	give(&b, b.len);
	assert_true(v.over);
	assert_int_equal(v.received, 3);
	victim_free();
}

static void test_early_end(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	frame(&b, CHANNEL_DATA, 0, 0, RECV, "abc", 3);
	for (size_t len = 0; len <= b.len; len++) {
		victim_prepare(false);
		if (len > 0)
			assert_int_equal(send(v.fd, buf_data(&b), len, 0), len);
		assert_int_equal(shutdown(v.fd, SHUT_WR), 0);
		victim_settle();
		assert_true(v.over);
		assert_int_equal(v.err, len == 0 || len == b.len ? 0 : -ECONNRESET);
		victim_free();
	}
}

/* A peer that grants without end still gets no more than a window at a time. */
static void test_room_is_bounded(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 1000);
	frame(&b, CHANNEL_CREDIT, 0, 0, SEND, "\0\0\xfc\x7f", 4);
	victim_prepare(false);
	give(&b, b.len);
	assert_int_equal(v.send.credit, UINT32_C(1) << 31);
	assert_int_equal(channel_send_room(&v.send), CHANNEL_WINDOW);
	victim_free();
}

/* A peer that sends but never reads: answers to it pile up to a bound, then the channel ends. */
static void test_deaf_peer(void **state)
{
	auto_free uint8_t *big = mem_zalloc(CHANNEL_MESSAGE_MAX);
	auto_buf struct buf b;
	int r = 0;
	int sent = 0;

	buf_init(&b, 1000);
	victim_prepare(true);
	while (r == 0 && sent < 10) {
		r = channel_respond(&v.ch, REQUEST, false, big, CHANNEL_MESSAGE_MAX / 4);
		sent += r == 0;
	}
	assert_int_equal(r, -ENOBUFS);
	while (channel_respond(&v.ch, REQUEST, false, big, 10000) == 0)
		;
	while (channel_respond(&v.ch, REQUEST, false, big, 0) == 0)
		;
	/* A control frame cannot be left out: without it the peer would wait for ever. */
	assert_false(v.over);
	channel_reset(&v.send, NULL, 0);
	assert_false(v.over);
	assert_int_equal(channel_respond(&v.ch, REQUEST, false, NULL, 0), -ENOBUFS);
	victim_settle();
	assert_true(v.over);
	assert_int_equal(v.err, -ENOBUFS);
	victim_free();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single_frames),
		cmocka_unit_test(test_judged_early),
		cmocka_unit_test(test_greeting),
		cmocka_unit_test(test_credit_overrun),
		cmocka_unit_test(test_frames_after_end),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_request_changes_method),
		cmocka_unit_test(test_interleaved),
		cmocka_unit_test(test_too_many_partial),
		cmocka_unit_test(test_message_bound),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_early_end),
		cmocka_unit_test(test_room_is_bounded),
		cmocka_unit_test(test_deaf_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
