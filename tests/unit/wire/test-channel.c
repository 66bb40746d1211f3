/* Two ends of a channel in one loop. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/channel.h"
#include "wire/turns.h"

#define TURNS 20000
#define STREAMS 64
#define ECHO 7
#define REFUSE 8

/* What the last callback of each kind was given. */
struct seen {
	uint32_t hello;
	uint32_t request_id;
	uint16_t method;
	uint32_t cancelled;
	uint32_t response_id;
	bool failed;
	int closes;
	int close_err;
	int responses;
	struct buf message;
};

struct pair {
	struct loop *loop;
	struct channel *daemon; /* on the heap: tests free them inside callbacks */
	struct channel *agent;
	struct seen seen;
	bool hold; /* the agent answers later */
	void (*in_callback)(void);
};

static struct pair p;

static void maybe_act(void)
{
	void (*act)(void) = p.in_callback;

	p.in_callback = NULL;
	if (act)
		act();
}

static void remember(const uint8_t *data, size_t len)
{
	buf_done(&p.seen.message);
	buf_init(&p.seen.message, CHANNEL_MESSAGE_MAX);
	assert_int_equal(buf_append(&p.seen.message, data, len), 0);
}

static void on_hello(struct channel *ch, uint32_t version)
{
	assert_ptr_equal(ch, p.daemon);
	p.seen.hello = version;
	maybe_act();
}

static void on_request(
	struct channel *ch, uint32_t id, uint16_t method, const uint8_t *data, size_t len)
{
	assert_ptr_equal(ch, p.agent);
	p.seen.request_id = id;
	p.seen.method = method;
	if (!p.hold)
		assert_int_equal(channel_respond(ch, id, method == REFUSE, data, len), 0);
	maybe_act();
}

static void on_cancel(struct channel *ch, uint32_t id)
{
	assert_ptr_equal(ch, p.agent);
	p.seen.cancelled = id;
	maybe_act();
}

static void on_response(
	struct channel *ch, uint32_t id, bool failed, const uint8_t *data, size_t len)
{
	assert_ptr_equal(ch, p.daemon);
	p.seen.response_id = id;
	p.seen.failed = failed;
	p.seen.responses++;
	remember(data, len);
	maybe_act();
}

static void on_close(struct channel *ch, int err)
{
	(void)ch;
	p.seen.closes++;
	p.seen.close_err = err;
	maybe_act();
}

static const struct channel_ops ops = {
	.on_hello = on_hello,
	.on_request = on_request,
	.on_cancel = on_cancel,
	.on_response = on_response,
	.on_close = on_close,
};

static int setup(void **state)
{
	int sv[2];

	memset(&p, 0, sizeof(p));
	p.loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	p.daemon = mem_new(struct channel);
	p.agent = mem_new(struct channel);
	assert_int_equal(channel_init(p.daemon, p.loop, sv[0], false, &ops), 0);
	assert_int_equal(channel_init(p.agent, p.loop, sv[1], true, &ops), 0);
	turns_run(p.loop, 4, NULL);
	assert_int_equal(p.seen.hello, CHANNEL_VERSION);
	return 0;
}

static void drop(struct channel **ch)
{
	if (*ch)
		channel_done(*ch);
	free(*ch);
	*ch = NULL;
}

static int teardown(void **state)
{
	drop(&p.daemon);
	drop(&p.agent);
	buf_done(&p.seen.message);
	loop_free(p.loop);
	return 0;
}

static void settle(void)
{
	turns_run(p.loop, 50, NULL);
}

/* --- messages --------------------------------------------------------------------------------- */

static void test_messages(void **state)
{
	static const size_t sizes[] = {0, 1, 100, CHANNEL_PAYLOAD_MAX - 1, CHANNEL_PAYLOAD_MAX,
		CHANNEL_PAYLOAD_MAX + 1, 3 * CHANNEL_PAYLOAD_MAX, 1500000, CHANNEL_MESSAGE_MAX};
	auto_free uint8_t *data = mem_zalloc(CHANNEL_MESSAGE_MAX + 1);
	uint32_t id = 0;

	for (size_t i = 0; i < CHANNEL_MESSAGE_MAX; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	for (size_t i = 0; i < array_len(sizes); i++) {
		uint16_t method = i % 2 ? REFUSE : ECHO;

		p.seen.response_id = 0;
		assert_int_equal(channel_request(p.daemon, method, data, sizes[i], &id), 0);
		for (int k = 0; k < 200 && p.seen.response_id == 0; k++)
			settle();
		assert_int_equal(p.seen.request_id, id);
		assert_int_equal(p.seen.method, method);
		assert_int_equal(p.seen.response_id, id);
		assert_int_equal(p.seen.failed, method == REFUSE);
		assert_int_equal(p.seen.message.len, sizes[i]);
		if (sizes[i] > 0)
			assert_memory_equal(buf_data(&p.seen.message), data, sizes[i]);
	}
	assert_int_equal(
		channel_request(p.daemon, ECHO, data, CHANNEL_MESSAGE_MAX + 1, &id), -E2BIG);
	assert_int_equal(
		channel_respond(p.agent, id, false, data, CHANNEL_MESSAGE_MAX + 1), -E2BIG);
	assert_int_equal(p.seen.closes, 0);
}

/* The queue is bounded, a refused request leaves no trace, and the channel lives on. */
static void test_queue_full(void **state)
{
	auto_free uint8_t *data = mem_zalloc(CHANNEL_MESSAGE_MAX);
	uint32_t id = 0;
	int sent = 0;
	int r;

	while ((r = channel_request(p.daemon, ECHO, data, CHANNEL_MESSAGE_MAX / 2, &id)) == 0)
		sent++;
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(sent, 2, 3);
	assert_int_equal(p.daemon->requests.count, sent);
	assert_true(stream_congested(&p.daemon->stream));
	for (int k = 0; k < 200 && p.seen.responses < sent; k++)
		settle();
	assert_int_equal(p.seen.responses, sent);
	assert_int_equal(channel_request(p.daemon, ECHO, "x", 1, &id), 0);
	settle();
	assert_int_equal(p.seen.response_id, id);
	assert_int_equal(p.seen.closes, 0);
}

static void test_cancel(void **state)
{
	uint32_t id = 0;

	p.hold = true;
	assert_int_equal(channel_cancel(p.daemon, 1), -ENOENT);
	assert_int_equal(channel_request(p.daemon, ECHO, "x", 1, &id), 0);
	assert_int_equal(channel_cancel(p.daemon, id), 0);
	settle();
	assert_int_equal(p.seen.cancelled, id);
	assert_int_equal(channel_respond(p.agent, id, true, "gone", 4), 0);
	settle();
	assert_int_equal(p.seen.response_id, id);
	assert_true(p.seen.failed);
	assert_int_equal(channel_cancel(p.daemon, id), -ENOENT);
}

/* --- streams ---------------------------------------------------------------------------------- */

/* One stream with a source that makes a pattern and a sink that checks it. */
struct flow {
	struct channel_stream send;
	struct channel_stream recv;
	uint32_t total;
	uint32_t made;
	uint32_t got;
	uint32_t held;  /* received, not yet consumed */
	uint32_t piece; /* what the sink consumes at a time; 0: nothing by itself */
	int writable;
	int resets;
	bool ended;
	uint8_t reset_text[16];
	size_t reset_len;
};

static uint8_t pattern(const struct flow *f, uint32_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) + f->send.id);
}

static void produce(struct flow *f)
{
	static uint8_t chunk[CHANNEL_WINDOW];
	size_t room;

	while (f->made < f->total && (room = channel_send_room(&f->send)) > 0) {
		size_t n = f->total - f->made < room ? f->total - f->made : room;

		assert_true(n <= CHANNEL_WINDOW);
		for (size_t i = 0; i < n; i++)
			chunk[i] = pattern(f, f->made + (uint32_t)i);
		if (channel_send(&f->send, chunk, n) < 0) {
			assert_true(!p.daemon || !p.agent);
			return;
		}
		f->made += (uint32_t)n;
	}
	if (f->made == f->total)
		channel_send_end(&f->send);
}

static void flow_writable(struct channel_stream *s)
{
	struct flow *f = container_of(s, struct flow, send);

	f->writable++;
	produce(f);
	maybe_act();
}

static void flow_data(struct channel_stream *s, const uint8_t *data, size_t len)
{
	struct flow *f = container_of(s, struct flow, recv);

	for (size_t i = 0; i < len; i++)
		if (data[i] != pattern(f, f->got + (uint32_t)i))
			fail_msg("stream %u: byte %zu is wrong", s->id, f->got + i);
	f->got += (uint32_t)len;
	f->held += (uint32_t)len;
	assert_true(f->held <= CHANNEL_WINDOW);
	maybe_act();
}

static void flow_end(struct channel_stream *s)
{
	struct flow *f = container_of(s, struct flow, recv);

	f->ended = true;
	channel_stream_close(s);
	maybe_act();
}

static void flow_reset(struct flow *f, const uint8_t *data, size_t len)
{
	f->resets++;
	f->reset_len = len;
	if (len > 0)
		memcpy(f->reset_text, data, len < 16 ? len : 16);
	maybe_act();
}

static void flow_send_reset(struct channel_stream *s, const uint8_t *data, size_t len)
{
	assert_null(s->channel);
	flow_reset(container_of(s, struct flow, send), data, len);
}

static void flow_recv_reset(struct channel_stream *s, const uint8_t *data, size_t len)
{
	assert_null(s->channel);
	flow_reset(container_of(s, struct flow, recv), data, len);
}

static const struct channel_stream_ops send_ops = {
	.on_writable = flow_writable,
	.on_reset = flow_send_reset,
};

static const struct channel_stream_ops recv_ops = {
	.on_data = flow_data,
	.on_end = flow_end,
	.on_reset = flow_recv_reset,
};

/* Opens a stream as a request would: the id goes to the agent in one. */
static void flow_open(struct flow *f, bool from_agent, uint32_t total)
{
	uint32_t id = channel_next_stream(p.daemon);
	uint32_t request;

	assert_int_not_equal(id, 0);
	*f = (struct flow){.total = total};
	assert_int_equal(channel_request(p.daemon, ECHO, "", 0, &request), 0);
	settle();
	if (!p.daemon || !p.agent)
		return;
	assert_int_equal(
		channel_open_send(from_agent ? p.agent : p.daemon, &f->send, id, &send_ops), 0);
	assert_int_equal(
		channel_open_recv(from_agent ? p.daemon : p.agent, &f->recv, id, &recv_ops), 0);
}

static void flow_consume(struct flow *f, uint32_t n)
{
	n = n < f->held ? n : f->held;
	f->held -= n;
	channel_consume(&f->recv, n);
}

/* Without consumption a sender gets exactly the window; each consumed quarter moves it on. */
static void check_window(bool from_agent)
{
	struct flow f;

	flow_open(&f, from_agent, 10 * CHANNEL_WINDOW);
	produce(&f);
	for (int i = 0; i < 20; i++)
		settle();
	assert_int_equal(f.made, CHANNEL_WINDOW);
	assert_int_equal(f.got, CHANNEL_WINDOW);
	assert_int_equal(channel_send_room(&f.send), 0);
	assert_int_equal(channel_send(&f.send, "x", 1), -EINVAL);
	flow_consume(&f, 1);
	settle();
	assert_int_equal(f.made, CHANNEL_WINDOW);
	flow_consume(&f, CHANNEL_WINDOW / 2);
	settle();
	assert_int_equal(f.made, CHANNEL_WINDOW + CHANNEL_WINDOW / 2 + 1);
	while (!f.ended) {
		flow_consume(&f, CHANNEL_WINDOW);
		settle();
	}
	assert_int_equal(f.got, f.total);
	assert_null(f.send.channel);
	/* Safe when closed. */
	channel_consume(&f.recv, 1);
	channel_send_end(&f.send);
	channel_reset(&f.send, "x", 1);
	channel_stream_close(&f.recv);
	assert_int_equal(channel_send(&f.send, "x", 1), -EPIPE);
	assert_int_equal(channel_send_room(&f.send), 0);
	settle();
	assert_int_equal(p.seen.closes, 0);
}

static void test_window(void **state)
{
	check_window(false);
	check_window(true);
}

/* Many streams in both directions; the sinks consume in pieces of different sizes, late. */
static void test_parallel(void **state)
{
	auto_free struct flow *flows = mem_zalloc_array(STREAMS, sizeof(*flows));
	bool all = false;

	for (size_t i = 0; i < STREAMS; i++) {
		flow_open(&flows[i], i % 2, 300000 + (uint32_t)i * 7919);
		flows[i].piece = i % 8 == 7 ? 3000 : 20000 + (uint32_t)i * 1000;
	}
	for (size_t i = 0; i < STREAMS; i++)
		produce(&flows[i]);
	for (int round = 0; round < TURNS && !all; round++) {
		turns_run(p.loop, 2, NULL);
		all = true;
		for (size_t i = 0; i < STREAMS; i++) {
			flow_consume(&flows[i], flows[i].piece);
			all = all && flows[i].ended;
		}
	}
	assert_true(all);
	for (size_t i = 0; i < STREAMS; i++)
		assert_int_equal(flows[i].got, flows[i].total);
	assert_int_equal(p.daemon->streams.count, 0);
	assert_int_equal(p.agent->streams.count, 0);
	assert_int_equal(p.seen.closes, 0);
}

/* A full socket stops all senders; they go on when it drains, and messages pass meanwhile. */
static void test_congestion(void **state)
{
	auto_free uint8_t *big = mem_zalloc(4 * 1024 * 1024);
	static struct flow f[2];
	uint32_t id;

	flow_open(&f[0], false, 100000);
	flow_open(&f[1], false, 100000);
	assert_int_equal(channel_request(p.daemon, ECHO, big, 4 * 1024 * 1024, &id), 0);
	assert_true(stream_congested(&p.daemon->stream));
	produce(&f[0]);
	produce(&f[1]);
	assert_int_equal(f[0].made + f[1].made, 0);
	/* Asking twice does not count twice; a closed stream is not called. */
	assert_int_equal(channel_send_room(&f[0].send), 0);
	channel_reset(&f[1].send, NULL, 0);
	for (int k = 0; k < 100 && p.seen.response_id != id; k++)
		settle();
	assert_int_equal(p.seen.response_id, id);
	assert_true(f[0].ended);
	assert_int_equal(f[0].writable, 1);
	assert_int_equal(f[1].writable, 0);
	assert_int_equal(f[1].resets, 1);
}

static void test_reset(void **state)
{
	static struct flow f;

	for (int from_agent = 0; from_agent < 2; from_agent++) {
		for (int by_sender = 0; by_sender < 2; by_sender++) {
			flow_open(&f, from_agent, 10 * CHANNEL_WINDOW);
			produce(&f);
			/* By the receiver: all of a window of frames is still on its way. */
			if (by_sender)
				settle();
			channel_reset(by_sender ? &f.send : &f.recv, "why", 3);
			for (int i = 0; i < 20; i++)
				settle();
			assert_int_equal(f.resets, 1);
			assert_int_equal(f.reset_len, 3);
			assert_memory_equal(f.reset_text, "why", 3);
			assert_null(f.send.channel);
			assert_null(f.recv.channel);
			assert_int_equal(f.got, by_sender ? CHANNEL_WINDOW : 0);
			/* Late credit for a sender that is gone. */
			assert_int_equal(p.seen.closes, 0);
		}
	}
}

static void test_reset_crossing(void **state)
{
	static struct flow f;

	flow_open(&f, true, 100);
	channel_reset(&f.send, "a", 1);
	channel_reset(&f.recv, "b", 1);
	settle();
	assert_int_equal(f.resets, 0);
	assert_int_equal(p.seen.closes, 0);
}

/* A reason longer than a frame is left out rather than cut. */
static void test_reset_long(void **state)
{
	static uint8_t reason[CHANNEL_PAYLOAD_MAX + 1];
	static struct flow f;

	flow_open(&f, true, 100);
	channel_reset(&f.send, reason, sizeof(reason));
	settle();
	assert_int_equal(f.resets, 1);
	assert_int_equal(f.reset_len, 0);
}

/* Credit that comes after END was sent is late and dropped, and so is RESET after END. */
static void test_end_then_late_frames(void **state)
{
	static struct flow f;

	flow_open(&f, true, CHANNEL_WINDOW);
	produce(&f);
	/* The receiver has not seen END yet when it grants. */
	for (int i = 0; i < 20 && f.got < f.total; i++)
		turns_run(p.loop, 1, NULL);
	flow_consume(&f, CHANNEL_WINDOW);
	settle();
	assert_true(f.ended);
	assert_int_equal(p.seen.closes, 0);
}

static void end_and_keep(struct channel_stream *s)
{
	container_of(s, struct flow, recv)->ended = true;
}

/* After END the owner may still consume and reset; nothing goes to the peer. */
static void test_use_after_end(void **state)
{
	static const struct channel_stream_ops keep_ops = {
		.on_data = flow_data,
		.on_end = end_and_keep,
		.on_reset = flow_recv_reset,
	};
	static struct flow f;

	flow_open(&f, true, CHANNEL_WINDOW);
	f.recv.ops = &keep_ops;
	produce(&f);
	for (int i = 0; i < 20; i++)
		settle();
	assert_true(f.ended);
	assert_non_null(f.recv.channel);
	channel_consume(&f.recv, CHANNEL_WINDOW);
	channel_reset(&f.recv, "x", 1);
	assert_int_equal(p.daemon->stream.out.len, 0);
	assert_null(f.recv.channel);
	settle();
	assert_int_equal(p.seen.closes, 0);
}

static void test_open(void **state)
{
	struct channel_stream a = {0};
	struct channel_stream b = {0};
	uint32_t id = channel_next_stream(p.daemon);

	assert_int_equal(channel_open_send(p.daemon, &a, 0, &send_ops), -EINVAL);
	assert_null(a.channel);
	assert_int_equal(channel_open_send(p.daemon, &a, id, &send_ops), 0);
	assert_int_equal(channel_open_recv(p.daemon, &b, id, &recv_ops), -EEXIST);
	assert_null(b.channel);
	channel_stream_close(&a);
	assert_int_equal(channel_open_recv(p.daemon, &b, id, &recv_ops), 0);
	assert_int_equal(channel_send_room(&b), 0);
	assert_int_equal(channel_send(&b, "x", 1), -EINVAL);
	channel_done(p.daemon);
	assert_null(b.channel);
}

/* The daemon sends on a stream whose request the agent refuses. */
static void test_refused_stream(void **state)
{
	struct channel_stream s = {0};
	uint32_t stream = channel_next_stream(p.daemon);
	uint32_t id = 0;

	assert_int_equal(channel_request(p.daemon, REFUSE, "", 0, &id), 0);
	assert_true(stream < id);
	assert_int_equal(channel_open_send(p.daemon, &s, stream, &send_ops), 0);
	assert_int_equal(channel_send(&s, "input", 5), 0);
	channel_send_end(&s);
	settle();
	assert_true(p.seen.failed);
	assert_int_equal(p.seen.closes, 0);
}

/* Ids go round after 2^32; 0 is never given out and an id in use is stepped over. */
static void test_id_wrap(void **state)
{
	static struct flow f;
	struct channel_stream used = {0};
	uint32_t id = 0;

	assert_int_equal(channel_open_send(p.daemon, &used, 2, &send_ops), 0);
	p.daemon->next_id = UINT32_MAX - 2;
	for (int i = 0; i < 6; i++) {
		assert_int_equal(channel_request(p.daemon, ECHO, "", 0, &id), 0);
		assert_true(id != 0 && id != 2);
		settle();
		assert_int_equal(p.seen.response_id, id);
		flow_open(&f, i % 2, 2 * CHANNEL_WINDOW);
		produce(&f);
		channel_reset(&f.recv, NULL, 0);
		settle();
		assert_int_equal(f.resets, 1);
	}
	assert_true(id < 100);
	assert_int_equal(p.seen.closes, 0);
	channel_stream_close(&used);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void drop_daemon(void)
{
	drop(&p.daemon);
}

static void drop_agent(void)
{
	drop(&p.agent);
}

static void drop_both(void)
{
	drop_agent();
	drop_daemon();
}

static void test_peer_ends(void **state)
{
	struct channel_stream s = {0};
	uint32_t id;

	assert_int_equal(
		channel_open_send(p.daemon, &s, channel_next_stream(p.daemon), &send_ops), 0);
	drop_agent();
	settle();
	assert_int_equal(p.seen.closes, 1);
	assert_int_equal(p.seen.close_err, 0);
	/* Until its owner ends it, everything answers with an error and nothing calls back. */
	assert_int_equal(channel_request(p.daemon, ECHO, "", 0, &id), -EPIPE);
	assert_int_equal(channel_send_room(&s), 0);
	assert_int_equal(channel_send(&s, "x", 1), -EPIPE);
	assert_int_equal(
		channel_open_send(p.daemon, &(struct channel_stream){0}, 99, &send_ops), -EPIPE);
	channel_reset(&s, NULL, 0);
	settle();
	assert_int_equal(p.seen.closes, 1);
}

/* Responses that were sent before the peer died still arrive, although our write to it fails. */
static void test_last_words(void **state)
{
	uint32_t id = 0;
	uint32_t late = 0;

	assert_int_equal(channel_request(p.daemon, ECHO, "last", 4, &id), 0);
	p.in_callback = drop_agent;
	/* The agent answers and is gone; the daemon writes before it reads. */
	while (p.agent)
		turns_run(p.loop, 0, NULL);
	assert_int_equal(channel_request(p.daemon, ECHO, "", 0, &late), -EPIPE);
	settle();
	assert_int_equal(p.seen.response_id, id);
	assert_memory_equal(buf_data(&p.seen.message), "last", 4);
	assert_int_equal(p.seen.closes, 1);
}

/* Each callback ends and frees its channel, the other one, or both; ASan and the memory checks
 * watch. */
static void exercise(void)
{
	static struct flow f[2];
	static uint8_t data[200000];
	uint32_t id;

	for (int i = 0; i < 2; i++)
		if (p.daemon && p.agent)
			flow_open(&f[i], i, 3 * CHANNEL_WINDOW);
	for (int i = 0; i < 2; i++)
		if (p.daemon && p.agent)
			produce(&f[i]);
	if (p.daemon && channel_request(p.daemon, ECHO, data, sizeof(data), &id) == 0)
		channel_cancel(p.daemon, id);
	for (int round = 0; round < 40; round++) {
		settle();
		for (int i = 0; i < 2; i++)
			if (f[i].recv.channel)
				flow_consume(&f[i], 100000);
	}
	if (p.daemon && p.agent) {
		flow_open(&f[0], true, 10);
		channel_reset(&f[0].send, NULL, 0);
		settle();
	}
	for (int i = 0; i < 2; i++) {
		channel_stream_close(&f[i].send);
		channel_stream_close(&f[i].recv);
	}
}

static int countdown;
static void (*at_zero)(void);

static void count(void)
{
	if (countdown-- == 0)
		at_zero();
	else
		p.in_callback = count;
}

static void test_done_in_callbacks(void **state)
{
	static void (*const acts[])(void) = {drop_daemon, drop_agent, drop_both};

	for (size_t a = 0; a < array_len(acts); a++) {
		bool acted = true;

		for (int at = 0; acted; at++) {
			teardown(NULL);
			setup(NULL);
			countdown = at;
			at_zero = acts[a];
			p.in_callback = count;
			exercise();
			acted = countdown < 0;
			p.in_callback = NULL;
		}
	}
}

static void test_done_twice(void **state)
{
	struct channel zero = {0};

	channel_done(&zero);
	channel_done(p.daemon);
	channel_done(p.daemon);
	assert_int_equal(channel_request(p.daemon, ECHO, "", 0, &(uint32_t){0}), -EPIPE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_messages),
		TEST(test_queue_full),
		TEST(test_cancel),
		TEST(test_window),
		TEST(test_parallel),
		TEST(test_congestion),
		TEST(test_reset),
		TEST(test_reset_crossing),
		TEST(test_reset_long),
		TEST(test_end_then_late_frames),
		TEST(test_use_after_end),
		TEST(test_open),
		TEST(test_refused_stream),
		TEST(test_id_wrap),
		TEST(test_peer_ends),
		TEST(test_last_words),
		TEST(test_done_in_callbacks),
		TEST(test_done_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
