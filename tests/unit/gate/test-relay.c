#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "gate/flow/relay.h"

static struct loop *loop;
static struct relay *relay;
static int client, upstream; /* the test's ends */
static int done_count, done_err;
static uint64_t stray;

static void on_stray(struct relay *r, uint64_t secrets, void *data)
{
	stray |= secrets;
}

static void on_done(struct relay *r, int err, void *data)
{
	done_count++;
	done_err = err;
	loop_stop(loop, 0);
}

static size_t inspected;

/* Wants ten bytes, and none of them an 'x'. */
static int inspect(struct relay *r, const uint8_t *data, size_t len, void *owner)
{
	inspected = len;
	if (memchr(data, 'x', len) != NULL)
		return -EACCES;
	return len < 10 ? -EAGAIN : 0;
}

static const struct relay_ops inspecting = {
	.inspect = inspect, .on_stray = on_stray, .on_done = on_done};
static const struct relay_ops ops = {.on_stray = on_stray, .on_done = on_done};

static void on_tick(struct loop_timer *timer)
{
	loop_stop(loop, 0);
}

static void settle(void)
{
	struct loop_timer tick = {0};

	loop_timer_set(loop, &tick, 30 * CLOCK_MS, on_tick);
	loop_run(loop);
	loop_timer_cancel(&tick);
}

static void start_with(const char *early, const struct vault *vault, const struct relay_ops *with)
{
	int c[2], u[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, u), 0);
	loop = loop_new();
	done_count = 0;
	stray = 0;
	client = c[1];
	upstream = u[1];
	fd_set_nonblock(c[0], true);
	fd_set_nonblock(u[0], true);
	fd_set_nonblock(client, true);
	fd_set_nonblock(upstream, true);
	relay = relay_new(loop, c[0], u[0], early, strlen(early), vault, with, NULL);
}

static void start(const char *early, const struct vault *vault)
{
	start_with(early, vault, &ops);
}

static void stop(void)
{
	relay_free(relay);
	fd_close(client);
	fd_close(upstream);
	loop_free(loop);
}

static void expect(int fd, const char *text)
{
	char got[256] = "";

	settle();
	assert_int_equal(recv(fd, got, sizeof(got), 0), strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

static void test_both_ways(void **state)
{
	start("early", NULL);
	expect(upstream, "early");
	assert_int_equal(send(client, " more", 5, 0), 5);
	expect(upstream, " more");
	assert_int_equal(send(upstream, "down", 4, 0), 4);
	expect(client, "down");
	assert_int_equal(relay_bytes_up(relay), 10);
	assert_int_equal(relay_bytes_down(relay), 4);
	stop();
}

static void test_half_closed(void **state)
{
	char c;

	start("", NULL);
	shutdown(client, SHUT_WR);
	settle();
	assert_int_equal(recv(upstream, &c, 1, 0), 0);
	assert_int_equal(done_count, 0);
	assert_int_equal(send(upstream, "still", 5, 0), 5);
	expect(client, "still");
	shutdown(upstream, SHUT_WR);
	settle();
	assert_int_equal(done_count, 1);
	assert_int_equal(done_err, 0);
	stop();
}

/* A side that does not read holds the other; nothing is lost and little is kept. */
static void test_backpressure(void **state)
{
	static uint8_t chunk[65536];
	size_t sent = 0, got = 0;
	int full = 0;

	start("", NULL);
	while (full < 3) {
		ssize_t n = send(client, chunk, sizeof(chunk), 0);

		if (n > 0) {
			sent += (size_t)n;
		} else {
			full++;
			settle();
		}
	}
	assert_true(sent < 8 * 1024 * 1024);
	while (got < sent) {
		ssize_t n = recv(upstream, chunk, sizeof(chunk), 0);

		if (n > 0)
			got += (size_t)n;
		else
			settle();
	}
	assert_int_equal(got, sent);
	stop();
}

static void test_peer_is_gone(void **state)
{
	start("", NULL);
	settle();
	upstream = fd_close(upstream);
	settle();
	(void)!send(client, "x", 1, MSG_NOSIGNAL);
	settle();
	(void)!send(client, "x", 1, MSG_NOSIGNAL);
	settle();
	assert_int_equal(done_count, 1);
	stop();
}

static void test_placeholders_are_noticed(void **state)
{
	static const char *const hosts[] = {"api.test"};
	char placeholder[PLACEHOLDER_LEN + 1] = PLACEHOLDER_PREFIX;
	struct vault *vault = vault_new();
	auto_free char *text = NULL;

	memset(placeholder + strlen(PLACEHOLDER_PREFIX), 'a', PLACEHOLDER_HEX);
	assert_int_equal(vault_add(vault, "K", placeholder, "value", 5, hosts, 1, NULL), 0);
	text = mem_printf("AUTH %s\r\n", placeholder);
	start("", vault);
	assert_int_equal(send(client, text, 30, 0), 30);
	settle();
	assert_int_equal(stray, 0);
	assert_int_equal(send(client, text + 30, strlen(text) - 30, 0), strlen(text) - 30);
	settle();
	assert_int_equal(stray, 1);
	stop();
	vault_free(vault);
}

static void test_inspected(void **state)
{
	char c;

	start_with("hello", NULL, &inspecting);
	expect(upstream, "hello");
	assert_int_equal(send(upstream, "12345", 5, 0), 5);
	settle();
	assert_int_equal(inspected, 5);
	assert_int_equal(recv(client, &c, 1, 0), -1);
	assert_int_equal(send(upstream, "67890", 5, 0), 5);
	expect(client, "1234567890");
	inspected = 0;
	assert_int_equal(send(upstream, "x", 1, 0), 1);
	expect(client, "x");
	assert_int_equal(inspected, 0);
	stop();
}

static void test_inspected_and_refused(void **state)
{
	char c;

	start_with("", NULL, &inspecting);
	assert_int_equal(send(upstream, "123x", 4, 0), 4);
	settle();
	assert_int_equal(done_count, 1);
	assert_int_equal(done_err, -EACCES);
	relay_free(take_ptr(relay));
	assert_true(recv(client, &c, 1, 0) <= 0);
	stop();
}

/* The host ends before there was enough to see. */
static void test_inspected_to_the_end(void **state)
{
	start_with("", NULL, &inspecting);
	assert_int_equal(send(upstream, "123", 3, 0), 3);
	shutdown(upstream, SHUT_WR);
	expect(client, "123");
	stop();
}

/* The end of a request line is not passed on, however its bytes come. */
static void test_guard(void **state)
{
	char c;

	start("GE", NULL);
	relay_guard(relay);
	expect(upstream, "GE");
	assert_int_equal(send(client, "T / HTT", 7, 0), 7);
	expect(upstream, "T / HTT");
	assert_int_equal(send(client, "P/1.1\r\nHost: a\r\n\r\n", 18, 0), 18);
	settle();
	assert_int_equal(done_count, 1);
	assert_int_equal(done_err, -EPROTO);
	assert_true(recv(upstream, &c, 1, 0) < 0);
	stop();

	start("G! / HTTP/1.1\r\n", NULL);
	relay_guard(relay);
	settle();
	assert_int_equal(done_err, -EPROTO);
	assert_true(recv(upstream, &c, 1, 0) < 0);
	stop();
}

/* After a line that is none, everything passes. */
static void test_guard_of_others(void **state)
{
	start("", NULL);
	relay_guard(relay);
	assert_int_equal(send(client, "EHLO", 4, 0), 4);
	expect(upstream, "EHLO");
	assert_int_equal(send(client, " me\r\n", 5, 0), 5);
	expect(upstream, " me\r\n");
	assert_int_equal(send(client, "GET / HTTP/1.1\r\n", 16, 0), 16);
	expect(upstream, "GET / HTTP/1.1\r\n");
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_half_closed),
		cmocka_unit_test(test_backpressure),
		cmocka_unit_test(test_peer_is_gone),
		cmocka_unit_test(test_placeholders_are_noticed),
		cmocka_unit_test(test_inspected),
		cmocka_unit_test(test_inspected_and_refused),
		cmocka_unit_test(test_inspected_to_the_end),
		cmocka_unit_test(test_guard),
		cmocka_unit_test(test_guard_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
