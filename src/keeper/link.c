#include "keeper/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"

#define TURN_REQUESTS 64 /* at most so many before other work gets its turn */

struct queued {
	struct list node;
	struct keeper_reply reply;
	int fd;
};

static void on_defer(struct loop_defer *defer)
{
	struct link *l = container_of(defer, struct link, defer);

	l->ops->on_end(l, l->end_err);
}

/* The owner hears of it from the loop, not from inside its own call. */
static void end(struct link *l, int err)
{
	struct loop *loop = l->io.loop;

	if (l->ended || loop == NULL)
		return;
	l->ended = true;
	l->end_err = err;
	loop_io_del(&l->io);
	loop_defer(loop, &l->defer, on_defer);
}

static void drop(struct queued *q)
{
	list_del(&q->node);
	fd_close(q->fd);
	free(q);
}

static int send_one(struct link *l, const struct keeper_reply *reply, int fd)
{
	return fd_send_msg(l->sock, reply, sizeof(*reply), &fd, fd >= 0 ? 1 : 0);
}

static void flush(struct link *l)
{
	while (!list_empty(&l->queue)) {
		struct queued *q = list_first(&l->queue, struct queued, node);
		int r = send_one(l, &q->reply, q->fd);

		if (r == -EAGAIN)
			return;
		drop(q);
		l->queued--;
		if (r < 0) {
			end(l, r == -EPIPE || r == -ECONNRESET ? 0 : r);
			return;
		}
	}
	(void)loop_io_set(&l->io, EPOLLIN);
}

static void receive(struct link *l)
{
	struct keeper_request req;

	for (unsigned i = 0; i < TURN_REQUESTS && !l->ended; i++) {
		ssize_t n = fd_recv_msg(l->sock, &req, sizeof(req), NULL, NULL);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			end(l, n == -ECONNRESET ? 0 : (int)n);
			return;
		}
		if (n != (ssize_t)sizeof(req)) {
			end(l, -EPROTO);
			return;
		}
		l->ops->on_request(l, &req);
	}
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct link *l = container_of(io, struct link, io);

	if ((events & EPOLLOUT) != 0)
		flush(l);
	if ((events & ~(uint32_t)EPOLLOUT) != 0 && !l->ended)
		receive(l);
}

int link_open(struct link *l, struct loop *loop, int sock, const struct link_ops *ops)
{
	*l = (struct link){.sock = sock, .ops = ops};
	list_init(&l->queue);
	int r = fd_set_nonblock(sock, true);
	if (r == 0)
		r = fd_set_cloexec(sock, true);
	if (r == 0)
		r = loop_io_add(loop, &l->io, sock, EPOLLIN, on_io);
	if (r < 0)
		link_close(l);
	return r;
}

void link_send(struct link *l, const struct keeper_reply *reply, int fd)
{
	auto_close int mine = fd;

	if (l->ended || l->sock < 0)
		return;
	if (list_empty(&l->queue)) {
		int r = send_one(l, reply, mine);

		if (r == 0)
			return;
		if (r != -EAGAIN) {
			end(l, r == -EPIPE || r == -ECONNRESET ? 0 : r);
			return;
		}
	}
	if (l->queued == LINK_QUEUE_MAX) {
		end(l, -ENOBUFS);
		return;
	}
	struct queued *q = mem_new(struct queued);
	q->reply = *reply;
	q->fd = take_fd(mine);
	list_push_back(&l->queue, &q->node);
	l->queued++;
	(void)loop_io_set(&l->io, EPOLLIN | EPOLLOUT);
}

void link_close(struct link *l)
{
	if (l->ops == NULL)
		return;
	loop_io_del(&l->io);
	loop_defer_cancel(&l->defer);
	while (!list_empty(&l->queue))
		drop(list_first(&l->queue, struct queued, node));
	l->queued = 0;
	l->ended = true;
	l->sock = fd_close(l->sock);
}
