#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/link.h"

struct daemon {
	struct loop *loop;
	struct link link;
	int sock;
	unsigned requests;
	uint64_t last_cookie;
	unsigned ends;
	int end_err;
	struct loop_timer stop;
};

static void on_request(struct link *l, const struct keeper_request *req)
{
	struct daemon *d = container_of(l, struct daemon, link);

	d->requests++;
	d->last_cookie = req->cookie;
}

static void on_end(struct link *l, int err)
{
	struct daemon *d = container_of(l, struct daemon, link);

	d->ends++;
	d->end_err = err;
}

static const struct link_ops ops = {.on_request = on_request, .on_end = on_end};

static void on_stop(struct loop_timer *timer)
{
	loop_stop(container_of(timer, struct daemon, stop)->loop, 0);
}

static void turn(struct daemon *d)
{
	loop_timer_set(d->loop, &d->stop, 5000000, on_stop);
	loop_run(d->loop);
}

static void begin(struct daemon *d)
{
	int pair[2];

	*d = (struct daemon){.loop = loop_new()};
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(link_open(&d->link, d->loop, pair[0], &ops), 0);
	d->sock = pair[1];
}

static void finish(struct daemon *d)
{
	link_close(&d->link);
	fd_close(d->sock);
	loop_free(d->loop);
}

static void test_requests_and_replies(void **state)
{
	struct keeper_request req = {.verb = KEEPER_CREATE, .cookie = 77};
	struct keeper_reply reply = {.verb = KEEPER_CREATE, .cookie = 77}, got = {0};
	struct daemon d;
	int fd = -1;
	size_t nfds = 1;

	begin(&d);
	assert_int_equal(send(d.sock, &req, sizeof(req), 0), sizeof(req));
	turn(&d);
	assert_int_equal(d.requests, 1);
	assert_int_equal(d.last_cookie, 77);
	link_send(&d.link, &reply, dup(2));
	assert_int_equal(fd_recv_msg(d.sock, &got, sizeof(got), &fd, &nfds), sizeof(got));
	assert_int_equal(got.cookie, 77);
	assert_int_equal(nfds, 1);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	close(fd);
	finish(&d);
}

static void test_queue_keeps_order(void **state)
{
	struct keeper_reply got;
	struct daemon d;
	unsigned sent = 3000;

	begin(&d);
	for (unsigned i = 1; i <= sent; i++)
		link_send(&d.link, &(struct keeper_reply){.verb = KEEPER_LIMIT, .cookie = i}, -1);
	assert_true(d.link.queued > 0);
	for (unsigned i = 1; i <= sent; i++) {
		while (recv(d.sock, &got, sizeof(got), MSG_DONTWAIT) < 0)
			turn(&d);
		assert_int_equal(got.cookie, i);
	}
	assert_int_equal(d.link.queued, 0);
	assert_int_equal(d.ends, 0);
	finish(&d);
}

static void test_daemon_that_does_not_read(void **state)
{
	struct daemon d;

	begin(&d);
	for (unsigned i = 1; i <= LINK_QUEUE_MAX + 1000; i++)
		link_send(&d.link, &(struct keeper_reply){.verb = KEEPER_LIMIT, .cookie = i}, -1);
	turn(&d);
	assert_int_equal(d.ends, 1);
	assert_int_equal(d.end_err, -ENOBUFS);
	finish(&d);
}

static void test_end_of_daemon(void **state)
{
	struct daemon d;

	begin(&d);
	d.sock = fd_close(d.sock);
	turn(&d);
	turn(&d);
	assert_int_equal(d.ends, 1);
	assert_int_equal(d.end_err, 0);
	link_send(&d.link, &(struct keeper_reply){0}, -1); /* nobody hears it */
	finish(&d);
}

static void test_malformed(void **state)
{
	struct keeper_request req = {.verb = KEEPER_CREATE};
	const size_t sizes[] = {1, sizeof(req) - 1, sizeof(req) + 1};
	char bytes[sizeof(req) + 1] = {0};

	for (size_t i = 0; i < array_len(sizes); i++) {
		struct daemon d;

		begin(&d);
		assert_int_equal(send(d.sock, bytes, sizes[i], 0), sizes[i]);
		turn(&d);
		assert_int_equal(d.requests, 0);
		assert_int_equal(d.ends, 1);
		assert_true(d.end_err == -EPROTO || d.end_err == -EMSGSIZE);
		finish(&d);
	}
}

/* A descriptor that comes along is not kept. */
static void test_unasked_descriptor(void **state)
{
	struct keeper_request req = {.verb = KEEPER_CREATE};
	struct daemon d;
	int pair[2];
	char byte;

	begin(&d);
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(fd_send_msg(d.sock, &req, sizeof(req), &pair[1], 1), 0);
	close(pair[1]);
	turn(&d);
	assert_int_equal(read(pair[0], &byte, 1), 0);
	close(pair[0]);
	finish(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_and_replies),
		cmocka_unit_test(test_queue_keeps_order),
		cmocka_unit_test(test_daemon_that_does_not_read),
		cmocka_unit_test(test_end_of_daemon),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_unasked_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
