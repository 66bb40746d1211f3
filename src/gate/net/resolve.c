/*
 * One lookup for each name, with those who wait for it and a socket pair of its own for the answer.
 * A lookup that is done stays as a cache entry until it is old; the table is bounded.
 */
#include "gate/net/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/table.h"

#define KEEP_NS (10 * CLOCK_SEC)
#define KEEP_FAILED_NS (2 * CLOCK_SEC)
#define ANSWER_NS (15 * CLOCK_SEC)
#define AGAIN_NS (5 * CLOCK_MS)
#define LOOKUPS_MAX 512
/* Names that were not looked up lately: a program that connects to made-up names could tell their
 * name server something with each. */
#define FRESH_BURST 200
#define FRESH_PER_SECOND 20

struct lookup {
	struct table_entry by_name;
	struct list age;
	struct resolve *r;
	char name[RESOLVER_NAME_SIZE];
	struct list waiters;
	int sock; /* for the answer; -1: none is awaited */
	struct loop_io io;
	struct loop_timer timer; /* pending: gives up or asks again; done: forgets */
	struct loop_defer defer; /* tells waiters of a result that is there */
	uint64_t deadline;
	bool asked_again;
	bool done;
	int err;
	size_t count;
	struct address addresses[RESOLVER_ADDRESSES_MAX];
};

struct resolve {
	struct loop *loop;
	int sock;
	struct table lookups;
	struct list by_age;
	size_t count;
	unsigned tokens;   /* for names not looked up lately */
	uint64_t refilled; /* monotonic ns */
};

static void send_request(struct lookup *l);

/* --- life ----------------------------------------------------------------------------------- */

struct resolve *resolve_new(struct loop *loop, int sock)
{
	struct resolve *r = mem_new(struct resolve);

	r->loop = loop;
	r->sock = sock;
	table_init(&r->lookups);
	list_init(&r->by_age);
	r->tokens = FRESH_BURST;
	r->refilled = loop_now(loop);
	return r;
}

static void stop_waiting(struct lookup *l)
{
	loop_io_del(&l->io);
	l->sock = fd_close(l->sock);
	loop_timer_cancel(&l->timer);
}

static void free_lookup(struct lookup *l)
{
	stop_waiting(l);
	loop_defer_cancel(&l->defer);
	table_remove(&l->r->lookups, &l->by_name);
	list_del(&l->age);
	l->r->count--;
	while (!list_empty(&l->waiters))
		list_del(l->waiters.next);
	free(l);
}

void resolve_free(struct resolve *r)
{
	if (r == NULL)
		return;
	while (!list_empty(&r->by_age))
		free_lookup(list_first(&r->by_age, struct lookup, age));
	table_done(&r->lookups);
	free(r);
}

/* --- results -------------------------------------------------------------------------------- */

static void on_old(struct loop_timer *timer)
{
	struct lookup *l = container_of(timer, struct lookup, timer);

	if (list_empty(&l->waiters))
		free_lookup(l);
	else
		loop_timer_set(l->r->loop, &l->timer, CLOCK_SEC, on_old);
}

static void on_tell(struct loop_defer *defer)
{
	struct lookup *l = container_of(defer, struct lookup, defer);

	while (!list_empty(&l->waiters)) {
		struct resolve_query *q = list_first(&l->waiters, struct resolve_query, node);

		list_del(&q->node);
		q->fn(q, l->addresses, l->count, l->err);
	}
}

static void finish(struct lookup *l, int err)
{
	stop_waiting(l);
	l->done = true;
	l->err = err;
	if (err < 0)
		l->count = 0;
	loop_timer_set(l->r->loop, &l->timer, err == 0 ? KEEP_NS : KEEP_FAILED_NS, on_old);
	loop_defer(l->r->loop, &l->defer, on_tell);
}

static int take_answer(struct lookup *l, const struct resolver_answer *answer)
{
	static const int errors[] = {
		[RESOLVER_NO_NAME] = -ENOENT,
		[RESOLVER_FAILED] = -EAGAIN,
		[RESOLVER_BUSY] = -EBUSY,
	};

	if (answer->result != RESOLVER_OK)
		return answer->result < array_len(errors) ? errors[answer->result] : -EAGAIN;
	if (answer->count == 0 || answer->count > RESOLVER_ADDRESSES_MAX)
		return -EAGAIN;
	for (size_t i = 0; i < answer->count; i++)
		memcpy(l->addresses[i].bytes, &answer->addresses[i], sizeof(l->addresses[i].bytes));
	l->count = answer->count;
	return 0;
}

static void on_answer(struct loop_io *io, uint32_t events)
{
	struct lookup *l = container_of(io, struct lookup, io);
	struct resolver_answer answer = {0};
	ssize_t n = recv(l->sock, &answer, sizeof(answer), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == (ssize_t)sizeof(answer)) {
		finish(l, take_answer(l, &answer));
		return;
	}
	/* The resolver has died with our question: its successor gets it once more. */
	stop_waiting(l);
	if (l->asked_again) {
		finish(l, -EAGAIN);
		return;
	}
	l->asked_again = true;
	send_request(l);
}

/* --- questions ------------------------------------------------------------------------------ */

static void on_timer(struct loop_timer *timer)
{
	struct lookup *l = container_of(timer, struct lookup, timer);

	if (l->sock >= 0 || loop_now(l->r->loop) >= l->deadline)
		finish(l, -ETIMEDOUT);
	else
		send_request(l);
}

static int try_send(struct lookup *l)
{
	struct resolver_request request = {0};
	int pair[2];

	memcpy(request.name, l->name, sizeof(request.name));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	auto_close int ours = pair[0];
	auto_close int theirs = pair[1];
	int r = fd_send_msg(l->r->sock, &request, sizeof(request), &theirs, 1);
	if (r < 0)
		return r;
	r = loop_io_add(l->r->loop, &l->io, ours, EPOLLIN, on_answer);
	if (r < 0)
		return r;
	l->sock = take_fd(ours);
	return 0;
}

static void send_request(struct lookup *l)
{
	uint64_t now = loop_now(l->r->loop);
	int r = try_send(l);

	if (r == 0)
		loop_timer_set(
			l->r->loop, &l->timer, l->deadline > now ? l->deadline - now : 0, on_timer);
	else if (r == -EAGAIN || r == -ENOBUFS)
		/* Its queue is short, and all gates' questions go there. */
		loop_timer_set(l->r->loop, &l->timer, AGAIN_NS, on_timer);
	else
		finish(l, -EAGAIN);
}

/* Makes room: the oldest that nobody waits for. */
static bool make_room(struct resolve *r)
{
	struct list *pos;

	if (r->count < LOOKUPS_MAX)
		return true;
	list_for_each (pos, &r->by_age) {
		struct lookup *l = container_of(pos, struct lookup, age);

		if (l->done && list_empty(&l->waiters)) {
			free_lookup(l);
			return true;
		}
	}
	return false;
}

static struct lookup *new_lookup(struct resolve *r, const char *name)
{
	struct lookup *l = mem_new(struct lookup);

	l->r = r;
	l->sock = -EBADF;
	snprintf(l->name, sizeof(l->name), "%s", name);
	list_init(&l->waiters);
	l->deadline = loop_now(r->loop) + ANSWER_NS;
	(void)table_insert_str(&r->lookups, &l->by_name, l->name);
	list_push_back(&r->by_age, &l->age);
	r->count++;
	return l;
}

static bool take_token(struct resolve *r)
{
	uint64_t now = loop_now(r->loop);
	uint64_t fresh = (now - r->refilled) / (CLOCK_SEC / FRESH_PER_SECOND);

	if (fresh > 0) {
		r->tokens =
			fresh > FRESH_BURST - r->tokens ? FRESH_BURST : r->tokens + (unsigned)fresh;
		r->refilled = now;
	}
	if (r->tokens == 0)
		return false;
	r->tokens--;
	return true;
}

void resolve_ask(struct resolve *r, const char *name, struct resolve_query *q, resolve_fn fn)
{
	struct table_entry *e = table_find_str(&r->lookups, name);
	struct lookup *l = e != NULL ? container_of(e, struct lookup, by_name) : NULL;
	bool fresh = l == NULL;

	/* When every lookup is awaited by somebody, one more does not matter: flows are bounded. */
	if (fresh) {
		(void)make_room(r);
		l = new_lookup(r, name);
	}
	*q = (struct resolve_query){.fn = fn};
	list_push_back(&l->waiters, &q->node);
	if (l->done)
		loop_defer(r->loop, &l->defer, on_tell);
	else if (fresh && take_token(r))
		send_request(l);
	else if (fresh)
		finish(l, -EBUSY);
}

void resolve_cancel(struct resolve_query *q)
{
	list_del(&q->node);
}
