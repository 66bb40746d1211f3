#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "loop/stream.h"

#define IN_MAX 65536
#define OUT_HIGH (64 * 1024)
#define OUT_MAX (1024 * 1024)

enum on_data_does { CONSUME, KEEP, PAUSE, DONE, FREE, CLOSE, CONSUME_FOUR };

/* The stream under test, and the other end as a plain descriptor. */
struct fixture {
	struct loop *loop;
	struct stream *s; /* on the heap, so that ASan sees a use after free */
	int peer;
	struct buf got; /* what on_data consumed */
	int data_calls;
	int drains;
	int closes;
	int close_err;
	enum on_data_does does;
	bool done_on_drain;
	bool stop_on_data;
	struct loop_timer timer;
};

static struct fixture f;

static void on_data(struct stream *s)
{
	f.data_calls++;
	if (f.stop_on_data)
		loop_stop(f.loop, 0);
	switch (f.does) {
	case CONSUME:
		assert_int_equal(buf_append(&f.got, buf_data(&s->in), s->in.len), 0);
		buf_clear(&s->in);
		break;
	case CONSUME_FOUR:
		if (s->in.len >= 4) {
			assert_int_equal(buf_append(&f.got, buf_data(&s->in), 4), 0);
			buf_consume(&s->in, 4);
		}
		break;
	case PAUSE:
		stream_pause(s);
		break;
	case DONE:
		stream_done(s);
		break;
	case FREE:
		stream_done(s);
		free(take_ptr(f.s));
		break;
	case CLOSE:
		stream_close_after_flush(s, CLOCK_SEC);
		break;
	case KEEP:
		break;
	}
}

static void on_drain(struct stream *s)
{
	assert_false(stream_congested(s));
	f.drains++;
	if (f.done_on_drain) {
		stream_done(s);
		free(take_ptr(f.s));
	}
}

static void on_close(struct stream *s, int err)
{
	f.closes++;
	f.close_err = err;
	loop_stop(f.loop, 0);
}

static const struct stream_ops ops = {on_data, on_drain, on_close};

static void start(int fd, int peer)
{
	f = (struct fixture){.loop = loop_new(), .s = mem_new(struct stream), .peer = peer};
	buf_init(&f.got, SIZE_MAX);
	fd_set_nonblock(peer, true);
	assert_int_equal(stream_init(f.s, f.loop, fd, &ops, IN_MAX, OUT_HIGH, OUT_MAX), 0);
}

static int start_unix(void **state)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	start(pair[0], pair[1]);
	return 0;
}

static int start_tcp(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	auto_close int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *)&addr, len) < 0 || listen(listener, 1) < 0 ||
		getsockname(listener, (struct sockaddr *)&addr, &len) < 0)
		return -1;
	int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* Small buffers in the kernel, so that queues fill up here. */
	int size = 32 * 1024;
	setsockopt(peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (connect(peer, (struct sockaddr *)&addr, len) < 0)
		return -1;
	start(accept4(listener, NULL, NULL, SOCK_CLOEXEC), peer);
	return 0;
}

static int finish(void **state)
{
	if (f.s != NULL) {
		stream_done(f.s);
		free(f.s);
	}
	loop_timer_cancel(&f.timer);
	loop_free(f.loop);
	buf_done(&f.got);
	fd_close(f.peer);
	return 0;
}

static void on_timer(struct loop_timer *timer)
{
	loop_stop(f.loop, 0);
}

static void run_for(unsigned ms)
{
	loop_timer_set(f.loop, &f.timer, ms * CLOCK_MS, on_timer);
	loop_run(f.loop);
	loop_timer_cancel(&f.timer);
}

static void run_until_closed(void)
{
	for (int i = 0; i < 100 && f.closes == 0; i++)
		run_for(50);
	assert_int_equal(f.closes, 1);
	run_for(2);
	assert_int_equal(f.closes, 1);
}

static void peer_send(const char *text)
{
	assert_int_equal(write(f.peer, text, strlen(text)), (ssize_t)strlen(text));
}

/* Reads what the peer has got, up to the end of the data there is now. */
static size_t peer_read_all(void)
{
	char data[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = read(f.peer, data, sizeof(data))) > 0)
		total += (size_t)n;
	return total;
}

static void assert_got(const char *text)
{
	assert_int_equal(f.got.len, strlen(text));
	if (f.got.len > 0)
		assert_memory_equal(buf_data(&f.got), text, f.got.len);
}

/* --- reading ------------------------------------------------------------------------------ */

static void test_read(void **state)
{
	peer_send("hello");
	run_for(5);
	assert_got("hello");
	peer_send(" world");
	run_for(5);
	assert_got("hello world");
	assert_int_equal(f.closes, 0);
	/* Idle, it holds no memory to read into. */
	assert_int_equal(f.s->in.cap, 0);
}

static void test_unconsumed_bytes_stay(void **state)
{
	f.does = KEEP;
	peer_send("he");
	run_for(5);
	peer_send("llo");
	run_for(5);
	assert_int_equal(f.s->in.len, 5);
	assert_memory_equal(buf_data(&f.s->in), "hello", 5);
	f.does = CONSUME;
	stream_resume(f.s);
	assert_got(""); /* not from inside the call */
	run_for(5);
	assert_got("hello");
}

/* The peer sends more than `in` may hold and nothing is consumed: reading stops, the rest waits in
 * the kernel, and the loop sleeps. */
static void test_full_buffer_stops_reading(void **state)
{
	auto_free char *data = mem_zalloc(IN_MAX * 4);
	size_t sent = 0;
	ssize_t n;

	f.does = KEEP;
	while (sent < IN_MAX * 4 && (n = write(f.peer, data, IN_MAX * 4 - sent)) > 0) {
		sent += (size_t)n;
		run_for(5);
	}
	assert_true(sent > IN_MAX);
	assert_int_equal(f.s->in.len, IN_MAX);
	int calls = f.data_calls;
	run_for(20);
	assert_int_equal(f.data_calls, calls);
	f.does = CONSUME;
	stream_resume(f.s);
	run_for(20);
	assert_int_equal(f.got.len, sent);
	assert_int_equal(f.closes, 0);
}

static void test_pause(void **state)
{
	f.does = PAUSE;
	peer_send("one");
	run_for(5);
	assert_int_equal(f.data_calls, 1);
	peer_send("two");
	run_for(5);
	assert_int_equal(f.data_calls, 1);
	stream_pause(f.s);
	f.does = CONSUME;
	stream_resume(f.s);
	run_for(5);
	assert_got("onetwo");
}

static void test_resume_then_pause_in_one_turn(void **state)
{
	f.does = PAUSE;
	peer_send("one");
	run_for(5);
	stream_resume(f.s);
	stream_pause(f.s);
	run_for(5);
	assert_int_equal(f.data_calls, 1);
}

/* A fast peer does not keep the loop to itself. */
static void test_turn_is_bounded(void **state)
{
	enum { BIG = 4 * STREAM_TURN_BYTES };
	auto_free char *data = mem_zalloc(BIG);
	int size = BIG;
	size_t sent = 0;
	ssize_t n;

	if (setsockopt(f.peer, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		skip();
	while ((n = write(f.peer, data, BIG - sent)) > 0)
		sent += (size_t)n;
	assert_true(sent > 2 * STREAM_TURN_BYTES);
	/* Stopping takes effect at the end of the turn. */
	f.stop_on_data = true;
	loop_run(f.loop);
	assert_in_range(f.got.len, STREAM_TURN_BYTES, STREAM_TURN_BYTES + IN_MAX);
	f.stop_on_data = false;
	run_for(50);
	assert_int_equal(f.got.len, sent);
}

static void test_done_in_on_data(void **state)
{
	f.does = DONE;
	peer_send("x");
	run_for(5);
	assert_int_equal(f.data_calls, 1);
	assert_int_equal(f.closes, 0);
	assert_int_equal(stream_write(f.s, "x", 1), -EBADF);
	stream_done(f.s);
}

static void test_free_in_on_data(void **state)
{
	f.does = FREE;
	peer_send("x");
	fd_close(take_fd(f.peer));
	run_for(5);
	assert_int_equal(f.closes, 0);
	assert_null(f.s);
}

static void test_free_in_redelivered_on_data(void **state)
{
	f.does = KEEP;
	peer_send("x");
	run_for(5);
	f.does = FREE;
	stream_resume(f.s);
	run_for(5);
	assert_null(f.s);
}

/* --- the peer ends ------------------------------------------------------------------------ */

static void test_eof(void **state)
{
	peer_send("bye");
	fd_close(take_fd(f.peer));
	run_until_closed();
	assert_got("bye");
	assert_int_equal(f.close_err, 0);
	assert_true(f.s->eof);
}

static void test_eof_with_unconsumed_bytes(void **state)
{
	f.does = KEEP;
	peer_send("half a mess");
	fd_close(take_fd(f.peer));
	run_until_closed();
	assert_int_equal(f.close_err, 0);
	assert_int_equal(f.s->in.len, 11);
}

/* The end waits behind the bytes a pausing owner has not taken yet. */
static void test_eof_while_paused(void **state)
{
	f.does = PAUSE;
	peer_send("one");
	run_for(5);
	peer_send("two");
	fd_close(take_fd(f.peer));
	run_for(20);
	assert_int_equal(f.closes, 0);
	f.does = CONSUME;
	stream_resume(f.s);
	run_until_closed();
	assert_got("onetwo");
	assert_int_equal(f.close_err, 0);
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_SEC + (uint64_t)ts.tv_nsec;
}

/* Hang-up cannot be masked in epoll; a paused stream must not make the loop spin on it. */
static void test_hangup_while_paused_does_not_spin(void **state)
{
	stream_pause(f.s);
	fd_close(take_fd(f.peer));
	run_for(5);
	uint64_t before = cpu_ns();
	run_for(100);
	assert_true(cpu_ns() - before < 30 * CLOCK_MS);
	stream_resume(f.s);
	run_until_closed();
	assert_int_equal(f.close_err, 0);
}

/* A peer that only ended its own side still gets what is queued. */
static void test_half_close(void **state)
{
	auto_free char *data = mem_zalloc(OUT_MAX);

	assert_int_equal(stream_write(f.s, data, OUT_MAX), 0);
	assert_true(f.s->out.len > 0);
	peer_send("done");
	shutdown(f.peer, SHUT_WR);
	run_for(20);
	assert_got("done");
	assert_int_equal(f.closes, 0);
	size_t total = 0;
	for (int i = 0; i < 100 && total < OUT_MAX; i++) {
		total += peer_read_all();
		run_for(2);
	}
	assert_int_equal(total, OUT_MAX);
	run_until_closed();
	assert_int_equal(f.close_err, 0);
}

static void test_reset(void **state)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	setsockopt(f.peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	fd_close(take_fd(f.peer));
	run_until_closed();
	assert_int_equal(f.close_err, -ECONNRESET);
	assert_int_equal(stream_write(f.s, "x", 1), -ECONNRESET);
}

/* --- writing ------------------------------------------------------------------------------ */

static void test_write_goes_out_at_once(void **state)
{
	char data[16];

	assert_int_equal(stream_write(f.s, "hello", 5), 0);
	assert_int_equal(f.s->out.len, 0);
	assert_int_equal(read(f.peer, data, sizeof(data)), 5);
	assert_int_equal(stream_write(f.s, NULL, 0), 0);
	assert_int_equal(read(f.peer, data, sizeof(data)), -1);
}

static void test_writev(void **state)
{
	char data[16];
	struct iovec iov[] = {{"ab", 2}, {NULL, 0}, {"cde", 3}};

	assert_int_equal(stream_writev(f.s, iov, 3), 0);
	assert_int_equal(read(f.peer, data, sizeof(data)), 5);
	assert_memory_equal(data, "abcde", 5);
}

static void test_writev_overflow(void **state)
{
	char c = 'x';
	struct iovec iov[] = {{&c, SIZE_MAX}, {&c, 2}};

	assert_int_equal(stream_writev(f.s, iov, 2), -ENOBUFS);
	assert_int_equal(f.s->out.len, 0);
}

/* More parts than one call to the kernel takes, more bytes than the socket holds. */
static void test_writev_keeps_order(void **state)
{
	enum { PARTS = 200, SIZE = 5000 };
	auto_free uint8_t *data = mem_zalloc(PARTS * SIZE);
	auto_free uint8_t *back = mem_zalloc(PARTS * SIZE);
	struct iovec iov[PARTS];
	size_t got = 0;

	for (size_t i = 0; i < PARTS * SIZE; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 9));
	for (int i = 0; i < PARTS; i++)
		iov[i] = (struct iovec){data + i * SIZE, SIZE};
	assert_int_equal(stream_writev(f.s, iov, PARTS), 0);
	for (int i = 0; i < 1000 && got < PARTS * SIZE; i++) {
		ssize_t n = read(f.peer, back + got, PARTS * SIZE - got);

		if (n > 0)
			got += (size_t)n;
		run_for(1);
	}
	assert_int_equal(got, PARTS * SIZE);
	assert_memory_equal(data, back, PARTS * SIZE);
}

static void fill_until_congested(void)
{
	char data[10000] = {0};

	while (!stream_congested(f.s))
		assert_int_equal(stream_write(f.s, data, sizeof(data)), 0);
}

static void test_backpressure(void **state)
{
	fill_until_congested();
	assert_true(f.s->out.len > OUT_HIGH && f.s->out.len <= OUT_HIGH + 10000);
	run_for(5);
	assert_int_equal(f.drains, 0);
	assert_true(stream_congested(f.s));
	peer_read_all();
	run_for(10);
	assert_int_equal(f.drains, 1);
	assert_false(stream_congested(f.s));
	peer_read_all();
	run_for(10);
	assert_int_equal(f.drains, 1);
	assert_int_equal(f.s->out.len, 0);
	/* Sent out, the queue gives its memory back. */
	assert_true(f.s->out.cap <= 4096);
}

static void test_full_queue_refuses(void **state)
{
	auto_free char *data = mem_zalloc(OUT_MAX + 1);

	assert_int_equal(stream_write(f.s, data, OUT_MAX + 1), -ENOBUFS);
	assert_int_equal(peer_read_all(), 0);
	assert_int_equal(stream_write(f.s, data, OUT_MAX), 0);
	size_t queued = f.s->out.len;
	assert_true(queued > 0);
	assert_int_equal(stream_write(f.s, data, OUT_MAX - queued + 1), -ENOBUFS);
	assert_int_equal(f.s->out.len, queued);
	assert_null(stream_reserve(f.s, OUT_MAX - queued + 1));
	assert_int_equal(stream_write(f.s, data, OUT_MAX - queued), 0);
	assert_int_equal(f.s->out.len, OUT_MAX);
	run_for(5);
	assert_int_equal(f.closes, 0);
}

static void test_reserve_and_commit(void **state)
{
	char data[16];
	uint8_t *p = stream_reserve(f.s, 100);

	assert_non_null(p);
	memcpy(p, "hello", 5);
	assert_int_equal(stream_commit(f.s, 5), 0);
	p = stream_reserve(f.s, 100);
	assert_non_null(p);
	memcpy(p, " you", 4);
	assert_int_equal(stream_commit(f.s, 4), 0);
	/* Both go at the end of the turn, in one piece. */
	assert_int_equal(f.s->out.len, 9);
	run_for(1);
	assert_int_equal(f.s->out.len, 0);
	assert_int_equal(read(f.peer, data, sizeof(data)), 9);
	assert_memory_equal(data, "hello you", 9);
	assert_non_null(stream_reserve(f.s, 100));
	assert_int_equal(stream_commit(f.s, 0), 0);
	/* Behind bytes that wait, it waits too. */
	fill_until_congested();
	size_t queued = f.s->out.len;
	p = stream_reserve(f.s, 3);
	assert_non_null(p);
	memcpy(p, "end", 3);
	assert_int_equal(stream_commit(f.s, 3), 0);
	assert_int_equal(f.s->out.len, queued + 3);
}

/* Much at once does not wait for the end of the turn. */
static void test_large_commit_goes_at_once(void **state)
{
	size_t len = 160 * 1024;
	uint8_t *p = stream_reserve(f.s, len);

	assert_non_null(p);
	memset(p, 'x', len);
	assert_int_equal(stream_commit(f.s, len), 0);
	assert_true(f.s->out.len < len);
}

/* Congested by what waits for the end of the turn: on_drain comes when it has gone out there. */
static void test_drain_at_end_of_turn(void **state)
{
	size_t len = OUT_HIGH + 1;
	uint8_t *p = stream_reserve(f.s, len);

	assert_non_null(p);
	memset(p, 'x', len);
	assert_int_equal(stream_commit(f.s, len), 0);
	assert_int_equal(f.s->out.len, len);
	assert_true(stream_congested(f.s));
	run_for(2);
	assert_int_equal(f.s->out.len, 0);
	assert_int_equal(f.drains, 1);
	assert_false(stream_congested(f.s));
}

/* A write behind a commit sends both, and whoever waits for room is told all the same. */
static void test_write_behind_commit(void **state)
{
	size_t len = OUT_HIGH + 1;
	uint8_t *p = stream_reserve(f.s, len);

	assert_non_null(p);
	memset(p, 'x', len);
	assert_int_equal(stream_commit(f.s, len), 0);
	assert_true(stream_congested(f.s));
	assert_int_equal(stream_write(f.s, "y", 1), 0);
	assert_int_equal(f.s->out.len, 0);
	run_for(2);
	assert_int_equal(f.drains, 1);
	assert_int_equal(peer_read_all(), len + 1);
}

/* Frames out of a pipe, between committed and written bytes, to a peer that reads slowly. */
static void test_write_pipe_keeps_order(void **state)
{
	enum { FRAMES = 40, SIZE = 20000, FRAME = 1 + 1 + 4 + SIZE };
	auto_free uint8_t *data = mem_zalloc(FRAMES * FRAME);
	auto_free uint8_t *back = mem_zalloc(FRAMES * FRAME);
	size_t got = 0;
	int relay[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(relay, O_CLOEXEC), 0);
	for (size_t i = 0; i < FRAMES * FRAME; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 9));
	for (int i = 0; i < FRAMES; i++) {
		uint8_t *at = data + (size_t)i * FRAME;
		uint8_t *p = stream_reserve(f.s, 1);

		assert_non_null(p);
		*p = at[0];
		assert_int_equal(stream_commit(f.s, 1), 0);
		if (i % 2)
			assert_int_equal(stream_write(f.s, at + 1, 1), 0);
		assert_int_equal(fd_write_all(relay[1], at + 6, SIZE), 0);
		if (i % 2)
			assert_int_equal(stream_write_pipe(f.s, at + 2, 4, relay[0], SIZE), 0);
		else
			assert_int_equal(stream_write_pipe(f.s, at + 1, 5, relay[0], SIZE), 0);
		if (i % 10 == 9)
			run_for(1);
	}
	for (int i = 0; i < 1000 && got < FRAMES * FRAME; i++) {
		ssize_t n = read(f.peer, back + got, 100000);

		if (n > 0)
			got += (size_t)n;
		run_for(1);
	}
	assert_int_equal(got, FRAMES * FRAME);
	assert_memory_equal(data, back, FRAMES * FRAME);
	fd_close(relay[0]);
	fd_close(relay[1]);
}

static void test_write_pipe_error(void **state)
{
	int relay[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(relay, O_CLOEXEC), 0);
	assert_int_equal(write(relay[1], "xyz", 3), 3);
	assert_int_equal(stream_write_pipe(f.s, "h", 1, relay[0], SIZE_MAX), -ENOBUFS);
	assert_int_equal(stream_write_pipe(f.s, "h", 1, relay[0], OUT_MAX), -ENOBUFS);
	fd_close(take_fd(f.peer));
	assert_int_equal(stream_write_pipe(f.s, "h", 1, relay[0], 3), -EPIPE);
	run_until_closed();
	assert_int_equal(f.close_err, -EPIPE);
	fd_close(relay[0]);
	fd_close(relay[1]);
}

/* A close right behind a commit loses nothing. */
static void test_close_behind_commit(void **state)
{
	uint8_t *p = stream_reserve(f.s, 100);
	char data[16];

	assert_non_null(p);
	memcpy(p, "last", 4);
	assert_int_equal(stream_commit(f.s, 4), 0);
	stream_close_after_flush(f.s, CLOCK_SEC);
	run_for(1);
	assert_int_equal(read(f.peer, data, sizeof(data)), 4);
	assert_memory_equal(data, "last", 4);
	assert_int_equal(read(f.peer, data, sizeof(data)), 0);
}

/* So does the end of the stream in the same turn, as far as the socket takes it. */
static void test_done_behind_commit(void **state)
{
	uint8_t *p = stream_reserve(f.s, 100);
	char data[16];

	assert_non_null(p);
	memcpy(p, "last", 4);
	assert_int_equal(stream_commit(f.s, 4), 0);
	stream_done(f.s);
	assert_int_equal(read(f.peer, data, sizeof(data)), 4);
	assert_memory_equal(data, "last", 4);
}

static void test_free_in_on_drain(void **state)
{
	f.done_on_drain = true;
	fill_until_congested();
	peer_send("and something to read");
	peer_read_all();
	run_for(10);
	assert_int_equal(f.drains, 1);
	assert_null(f.s);
	assert_int_equal(f.closes, 0);
}

/* No callback from inside the failing call, and one on_close with its error. */
static void test_write_error(void **state)
{
	fd_close(take_fd(f.peer));
	int r = stream_write(f.s, "x", 1);
	assert_int_equal(r, -EPIPE);
	assert_int_equal(f.closes, 0);
	assert_int_equal(stream_write(f.s, "x", 1), -EPIPE);
	assert_null(stream_reserve(f.s, 1));
	run_until_closed();
	assert_int_equal(f.close_err, -EPIPE);
}

/* What the peer said before it left explains why it left. */
static void test_last_words_after_write_error(void **state)
{
	peer_send("quota exceeded");
	fd_close(take_fd(f.peer));
	assert_int_equal(stream_write(f.s, "x", 1), -EPIPE);
	run_until_closed();
	assert_got("quota exceeded");
	assert_int_equal(f.close_err, -EPIPE);
}

static void test_free_in_last_words(void **state)
{
	peer_send("quota exceeded");
	fd_close(take_fd(f.peer));
	f.does = FREE;
	assert_int_equal(stream_write(f.s, "x", 1), -EPIPE);
	run_for(5);
	assert_null(f.s);
	assert_int_equal(f.closes, 0);
}

static void test_queued_bytes_meet_a_closed_peer(void **state)
{
	fill_until_congested();
	fd_close(take_fd(f.peer));
	run_until_closed();
	assert_true(f.close_err == -EPIPE || f.close_err == -ECONNRESET);
	assert_int_equal(f.drains, 0);
	assert_false(stream_congested(f.s));
}

/* A pausing owner learns of a write error too. */
static void test_write_error_while_paused(void **state)
{
	stream_pause(f.s);
	fd_close(take_fd(f.peer));
	assert_int_equal(stream_write(f.s, "x", 1), -EPIPE);
	run_until_closed();
	assert_int_equal(f.close_err, -EPIPE);
}

/* --- closing ------------------------------------------------------------------------------ */

static void test_close_sends_the_queue(void **state)
{
	auto_free char *data = mem_zalloc(OUT_MAX);
	size_t total = 0;

	assert_int_equal(stream_write(f.s, data, OUT_MAX), 0);
	stream_close_after_flush(f.s, 5 * CLOCK_SEC);
	assert_int_equal(stream_write(f.s, "x", 1), -EPIPE);
	assert_null(stream_reserve(f.s, 1));
	for (int i = 0; i < 100 && total < OUT_MAX; i++) {
		assert_int_equal(f.closes, 0);
		total += peer_read_all();
		run_for(2);
	}
	assert_int_equal(total, OUT_MAX);
	/* The peer sees the end before it has ended its own side. */
	char c;
	assert_int_equal(read(f.peer, &c, 1), 0);
	run_for(20);
	assert_int_equal(f.closes, 0);
	fd_close(take_fd(f.peer));
	run_until_closed();
	assert_int_equal(f.close_err, 0);
	assert_int_equal(f.drains, 0);
}

/* What the peer still sends must neither be delivered nor make the kernel reset the connection. */
static void test_close_drops_what_still_comes(void **state)
{
	char data[16];

	peer_send("ignored");
	assert_int_equal(stream_write(f.s, "refused", 7), 0);
	stream_close_after_flush(f.s, 5 * CLOCK_SEC);
	run_for(10);
	for (int i = 0; i < 50; i++) {
		peer_send("more");
		run_for(1);
	}
	assert_int_equal(f.data_calls, 0);
	assert_int_equal(read(f.peer, data, sizeof(data)), 7);
	assert_int_equal(read(f.peer, data, sizeof(data)), 0);
	fd_close(take_fd(f.peer));
	run_until_closed();
	assert_int_equal(f.close_err, 0);
}

static void test_close_is_bounded_by_linger(void **state)
{
	uint64_t start_ns = clock_mono_ns();

	fill_until_congested();
	stream_close_after_flush(f.s, 30 * CLOCK_MS);
	run_until_closed();
	assert_int_equal(f.close_err, 0);
	assert_in_range((clock_mono_ns() - start_ns) / CLOCK_MS, 29, 1000);
	/* Closed already, before the owner gets to stream_done(). */
	assert_true(f.s->fd < 0);
}

static void test_close_with_a_peer_that_never_ends(void **state)
{
	char data[4];

	stream_close_after_flush(f.s, 20 * CLOCK_MS);
	assert_int_equal(read(f.peer, data, 1), 0);
	run_until_closed();
	assert_int_equal(f.close_err, 0);
}

static void test_close_in_on_data(void **state)
{
	f.does = CLOSE;
	peer_send("x");
	run_for(5);
	peer_send("y");
	run_for(5);
	assert_int_equal(f.data_calls, 1);
	fd_close(take_fd(f.peer));
	run_until_closed();
	assert_int_equal(f.close_err, 0);
}

static void test_close_after_eof(void **state)
{
	f.does = KEEP;
	stream_pause(f.s);
	fd_close(take_fd(f.peer));
	run_for(5);
	stream_close_after_flush(f.s, CLOCK_SEC);
	run_until_closed();
	assert_int_equal(f.close_err, 0);
}

static void test_done_while_closing(void **state)
{
	fill_until_congested();
	stream_close_after_flush(f.s, 5 * CLOCK_MS);
	stream_done(f.s);
	run_for(20);
	assert_int_equal(f.closes, 0);
	stream_close_after_flush(f.s, 1);
	stream_pause(f.s);
	stream_resume(f.s);
	run_for(5);
	assert_int_equal(f.closes, 0);
}

static void test_done_before_reported(void **state)
{
	fd_close(take_fd(f.peer));
	assert_int_equal(stream_write(f.s, "x", 1), -EPIPE);
	stream_done(f.s);
	run_for(5);
	assert_int_equal(f.closes, 0);
}

/* --- life --------------------------------------------------------------------------------- */

static void test_zeroed_done(void **state)
{
	struct stream s = {0};

	stream_done(&s);
	stream_done(&s);
	assert_int_equal(stream_write(&s, "x", 1), -EBADF);
	assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0 || errno == EBADF);
}

static void test_init_takes_the_descriptor_also_when_it_fails(void **state)
{
	struct stream s;
	char path[] = "/tmp/warren-test-stream-XXXXXX";
	int fd = mkstemp(path);

	unlink(path);
	assert_int_equal(stream_init(&s, f.loop, fd, &ops, 1, 1, 1), -EPERM);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	stream_done(&s);
	assert_int_equal(stream_init(&s, f.loop, -1, &ops, 1, 1, 1), -EBADF);
}

static void test_on_data_takes_a_message_at_a_time(void **state)
{
	f.does = CONSUME_FOUR;
	peer_send("aaaabbbbcc");
	run_for(5);
	assert_got("aaaa");
	stream_resume(f.s);
	run_for(5);
	assert_got("aaaabbbb");
	peer_send("cc");
	run_for(5);
	assert_got("aaaabbbbcccc");
}

#define unix_test(test) cmocka_unit_test_setup_teardown(test, start_unix, finish)
#define tcp_test(test) cmocka_unit_test_setup_teardown(test, start_tcp, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		unix_test(test_read),
		unix_test(test_unconsumed_bytes_stay),
		unix_test(test_full_buffer_stops_reading),
		unix_test(test_pause),
		unix_test(test_resume_then_pause_in_one_turn),
		unix_test(test_turn_is_bounded),
		unix_test(test_done_in_on_data),
		unix_test(test_free_in_on_data),
		unix_test(test_free_in_redelivered_on_data),
		unix_test(test_eof),
		tcp_test(test_eof),
		unix_test(test_eof_with_unconsumed_bytes),
		unix_test(test_eof_while_paused),
		tcp_test(test_eof_while_paused),
		unix_test(test_hangup_while_paused_does_not_spin),
		unix_test(test_half_close),
		tcp_test(test_half_close),
		tcp_test(test_reset),
		unix_test(test_write_goes_out_at_once),
		unix_test(test_writev),
		unix_test(test_writev_overflow),
		unix_test(test_writev_keeps_order),
		tcp_test(test_writev_keeps_order),
		unix_test(test_backpressure),
		unix_test(test_full_queue_refuses),
		unix_test(test_reserve_and_commit),
		unix_test(test_large_commit_goes_at_once),
		unix_test(test_drain_at_end_of_turn),
		unix_test(test_write_behind_commit),
		unix_test(test_write_pipe_keeps_order),
		tcp_test(test_write_pipe_keeps_order),
		unix_test(test_write_pipe_error),
		unix_test(test_done_behind_commit),
		unix_test(test_close_behind_commit),
		unix_test(test_free_in_on_drain),
		unix_test(test_write_error),
		unix_test(test_last_words_after_write_error),
		unix_test(test_free_in_last_words),
		unix_test(test_queued_bytes_meet_a_closed_peer),
		unix_test(test_write_error_while_paused),
		unix_test(test_close_sends_the_queue),
		unix_test(test_close_drops_what_still_comes),
		tcp_test(test_close_drops_what_still_comes),
		unix_test(test_close_is_bounded_by_linger),
		unix_test(test_close_with_a_peer_that_never_ends),
		tcp_test(test_close_with_a_peer_that_never_ends),
		unix_test(test_close_in_on_data),
		unix_test(test_close_after_eof),
		unix_test(test_done_while_closing),
		unix_test(test_done_before_reported),
		unix_test(test_zeroed_done),
		unix_test(test_init_takes_the_descriptor_also_when_it_fails),
		unix_test(test_on_data_takes_a_message_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
