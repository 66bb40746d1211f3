#include "isolation/namespace/keeper_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#define TURN_REPLIES 64

struct pending {
	struct table_entry entry;
	keeper_reply_fn fn;
	void *data;
};

struct unsent {
	struct list node;
	struct keeper_request req;
};

/* --- greeting --------------------------------------------------------------------------------- */

static int await_reply(int sock, uint64_t deadline)
{
	for (;;) {
		uint64_t now = clock_mono_ns();
		struct pollfd p = {.fd = sock, .events = POLLIN};
		int ms = now < deadline ? (int)((deadline - now) / CLOCK_MS) + 1 : 0;
		int n = poll(&p, 1, ms);

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int greet(int sock, unsigned timeout_ms, struct error *ret_err)
{
	struct keeper_request req = {.verb = KEEPER_HELLO, .hello.version = KEEPER_VERSION};
	struct keeper_reply reply = {0};

	/* A keeper that has ended already has left the reason in the socket. */
	(void)fd_send_msg(sock, &req, sizeof(req), NULL, 0);
	int r = await_reply(sock, clock_mono_ns() + timeout_ms * CLOCK_MS);
	if (r < 0)
		return error_set(ret_err, r, "KEEPER_FAILED", "the keeper does not answer: %s",
			strerror(-r));
	ssize_t n = fd_recv_msg(sock, &reply, sizeof(reply), NULL, NULL);
	/* It ended without reading the greeting, which hides once what it said before. */
	if (n == -ECONNRESET)
		n = fd_recv_msg(sock, &reply, sizeof(reply), NULL, NULL);
	if (n != (ssize_t)sizeof(reply) || reply.verb != KEEPER_HELLO)
		return error_set(ret_err, -EPROTO, "KEEPER_FAILED",
			"the keeper ended at its start; its messages say why");
	reply.what[sizeof(reply.what) - 1] = '\0';
	if (reply.err == -EPROTONOSUPPORT)
		return error_set(ret_err, reply.err, "KEEPER_FAILED",
			"the keeper is of another version than this program");
	if (reply.err < 0)
		return error_set(ret_err, reply.err, "KEEPER_FAILED", "the keeper cannot %s: %s",
			reply.what, strerror(-reply.err));
	return 0;
}

/* --- end -------------------------------------------------------------------------------------- */

static void on_defer(struct loop_defer *defer)
{
	struct keeper_client *c = container_of(defer, struct keeper_client, defer);

	c->ops->on_end(c, c->err);
}

static void drop_all(struct keeper_client *c)
{
	struct table_entry *e;

	while ((e = table_any(&c->pending)) != NULL) {
		table_remove(&c->pending, e);
		free(container_of(e, struct pending, entry));
	}
	while (!list_empty(&c->queue)) {
		struct unsent *u = list_first(&c->queue, struct unsent, node);

		list_del(&u->node);
		free(u);
	}
}

static void end(struct keeper_client *c, int err)
{
	if (c->ended)
		return;
	c->ended = true;
	c->err = err;
	loop_io_del(&c->io);
	drop_all(c);
	loop_defer(c->loop, &c->defer, on_defer);
}

/* --- traffic ---------------------------------------------------------------------------------- */

static void flush(struct keeper_client *c)
{
	while (!list_empty(&c->queue)) {
		struct unsent *u = list_first(&c->queue, struct unsent, node);
		int r = fd_send_msg(c->sock, &u->req, sizeof(u->req), NULL, 0);

		if (r == -EAGAIN)
			break;
		if (r < 0) {
			end(c, r == -EPIPE ? 0 : r);
			return;
		}
		list_del(&u->node);
		free(u);
	}
	(void)loop_io_set(&c->io, list_empty(&c->queue) ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

static void deliver(struct keeper_client *c, const struct keeper_reply *reply, int fd)
{
	auto_close int mine = fd;

	if (reply->cookie == 0) {
		c->ops->on_event(c, reply);
		return;
	}
	struct table_entry *e = table_find_u64(&c->pending, reply->cookie);
	if (e == NULL) {
		end(c, -EPROTO);
		return;
	}
	auto_free struct pending *p = container_of(e, struct pending, entry);
	table_remove(&c->pending, e);
	if (p->fn != NULL)
		p->fn(c, reply, take_fd(mine), p->data);
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct keeper_client *c = container_of(io, struct keeper_client, io);
	struct keeper_reply reply;

	if ((events & EPOLLOUT) != 0)
		flush(c);
	for (unsigned i = 0; i < TURN_REPLIES && !c->ended; i++) {
		int fd = -EBADF;
		size_t nfds = 1;
		ssize_t n = fd_recv_msg(c->sock, &reply, sizeof(reply), &fd, &nfds);

		if (n == -EAGAIN)
			return;
		if (n != (ssize_t)sizeof(reply)) {
			if (n > 0 && nfds == 1)
				fd_close(fd);
			end(c, n == 0 || n == -ECONNRESET ? 0 : n < 0 ? (int)n : -EPROTO);
			return;
		}
		reply.what[sizeof(reply.what) - 1] = '\0';
		deliver(c, &reply, nfds == 1 ? fd : -EBADF);
	}
}

int keeper_client_open(struct keeper_client *c, struct loop *loop, int sock, unsigned timeout_ms,
	const struct keeper_client_ops *ops, struct error *ret_err)
{
	auto_close int mine = sock;

	int r = greet(mine, timeout_ms, ret_err);
	if (r < 0)
		return r;
	*c = (struct keeper_client){.loop = loop, .sock = mine, .ops = ops};
	table_init(&c->pending);
	list_init(&c->queue);
	r = fd_set_nonblock(mine, true);
	if (r == 0)
		r = loop_io_add(loop, &c->io, mine, EPOLLIN, on_io);
	if (r < 0)
		return error_set(ret_err, r, "KEEPER_FAILED",
			"cannot watch the keeper's socket: %s", strerror(-r));
	(void)take_fd(mine);
	return 0;
}

void keeper_client_close(struct keeper_client *c)
{
	loop_io_del(&c->io);
	loop_defer_cancel(&c->defer);
	drop_all(c);
	table_done(&c->pending);
	c->ended = true;
	c->sock = fd_close(c->sock);
}

uint64_t keeper_client_ask(
	struct keeper_client *c, struct keeper_request *req, keeper_reply_fn fn, void *data)
{
	req->cookie = ++c->cookie;
	if (c->ended)
		return req->cookie;
	struct pending *p = mem_new(struct pending);
	p->fn = fn;
	p->data = data;
	(void)table_insert_u64(&c->pending, &p->entry, req->cookie);
	int r = list_empty(&c->queue) ? fd_send_msg(c->sock, req, sizeof(*req), NULL, 0) : -EAGAIN;
	if (r == -EAGAIN) {
		struct unsent *u = mem_new(struct unsent);

		u->req = *req;
		list_push_back(&c->queue, &u->node);
		(void)loop_io_set(&c->io, EPOLLIN | EPOLLOUT);
	} else if (r < 0) {
		end(c, r == -EPIPE ? 0 : r);
	}
	return req->cookie;
}

void keeper_client_forget(struct keeper_client *c, void *data)
{
	struct table_entry *e = NULL;

	while ((e = table_next(&c->pending, e)) != NULL) {
		struct pending *p = container_of(e, struct pending, entry);

		if (p->data == data)
			p->fn = NULL;
	}
}
