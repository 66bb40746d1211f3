#include "sandbox/egress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "rpc/pack.h"

#define MESSAGES_PER_TURN 64
#define WINDOW_NS (1 * CLOCK_SEC)

/* --- the end ----------------------------------------------------------------------------- */

void egress_done(struct egress *e)
{
	if (e->loop == NULL)
		return;
	loop_io_del(&e->io);
	loop_timer_cancel(&e->answer);
	loop_timer_cancel(&e->window);
	e->fd = fd_close(e->fd);
	e->loop = NULL;
	e->awaited = 0;
}

static void end(struct egress *e, const char *why)
{
	const struct egress_ops *ops = e->ops;

	egress_done(e);
	ops->on_end(e, why);
}

static void on_no_answer(struct loop_timer *timer)
{
	end(container_of(timer, struct egress, answer), "the gate did not answer in time");
}

/* --- rate -------------------------------------------------------------------------------- */

static void on_window(struct loop_timer *timer)
{
	struct egress *e = container_of(timer, struct egress, window);
	uint64_t dropped = e->dropped;

	e->messages = e->events = 0;
	e->dropped = 0;
	(void)loop_io_set(&e->io, EPOLLIN);
	if (dropped > 0)
		e->ops->on_dropped(e, dropped);
}

/* Whether more may be read in this second. */
static bool count_message(struct egress *e)
{
	if (!loop_timer_armed(&e->window))
		loop_timer_set(e->loop, &e->window, WINDOW_NS, on_window);
	if (++e->messages < EGRESS_MESSAGES_MAX)
		return true;
	(void)loop_io_set(&e->io, 0);
	return false;
}

/* --- reading ----------------------------------------------------------------------------- */

/* Takes the answer that was waited for. */
static bool take_answer(struct egress *e, enum gate_message type)
{
	if (e->awaited != type)
		return false;
	e->awaited = 0;
	loop_timer_cancel(&e->answer);
	return true;
}

static int on_ready(struct egress *e, const uint8_t *data, size_t len)
{
	struct gate_ready ready;
	int r = take_answer(e, GATE_READY) ? rpc_unpack(data, len, &gate_ready_schema, &ready)
					   : -EBADMSG;

	if (r < 0)
		return r;
	/* One without the other is of no use to anybody. */
	if ((ready.ca_pem == NULL) != (ready.ca_hash == NULL) ||
		(ready.ca_hash != NULL && (strlen(ready.ca_hash) != 8 ||
						  strspn(ready.ca_hash, "0123456789abcdef") != 8)))
		r = -EBADMSG;
	else
		e->ops->on_ready(e, &ready);
	rpc_clear(&gate_ready_schema, &ready);
	return r;
}

static int on_applied(struct egress *e, const uint8_t *data, size_t len)
{
	struct gate_applied applied;
	int r = take_answer(e, GATE_APPLIED) ? rpc_unpack(data, len, &gate_applied_schema, &applied)
					     : -EBADMSG;

	if (r == 0)
		e->ops->on_applied(e, applied.closed);
	return r;
}

static int on_event(struct egress *e, const uint8_t *data, size_t len)
{
	struct gate_event event;
	int r;

	if (e->awaited == GATE_READY) /* it has no rules to report on yet */
		return -EBADMSG;
	r = rpc_unpack(data, len, &gate_event_schema, &event);
	if (r < 0)
		return r;
	if (event.kind == GATE_EVENT_DROPPED || e->events >= EGRESS_EVENTS_MAX) {
		uint64_t count = event.kind == GATE_EVENT_DROPPED ? (uint64_t)event.count : 1;

		if (__builtin_add_overflow(e->dropped, count, &e->dropped))
			e->dropped = UINT64_MAX;
	} else {
		e->events++;
		e->ops->on_event(e, &event);
	}
	rpc_clear(&gate_event_schema, &event);
	return 0;
}

static const struct {
	int (*handle)(struct egress *e, const uint8_t *data, size_t len);
} handlers[GATE_MESSAGE_COUNT] = {
	[GATE_READY] = {on_ready},
	[GATE_APPLIED] = {on_applied},
	[GATE_EVENT] = {on_event},
};

/* Whether the gate is still there and more may be read. */
static bool handle(struct egress *e, const uint8_t *data, size_t len)
{
	bool more = count_message(e);
	int r = -EBADMSG;

	if (data[0] < GATE_MESSAGE_COUNT && handlers[data[0]].handle != NULL)
		r = handlers[data[0]].handle(e, data + 1, len - 1);
	if (e->loop == NULL) /* by its owner */
		return false;
	if (r < 0) {
		end(e, "the gate sent a malformed message");
		return false;
	}
	return more;
}

/* Reads at most so many messages. */
static void pull(struct egress *e, int budget)
{
	static uint8_t message[GATE_MESSAGE_MAX];

	while (budget-- > 0) {
		ssize_t n = recv(e->fd, message, sizeof(message), MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 || n == 0) {
			end(e, "the gate has ended");
			return;
		}
		if ((size_t)n > sizeof(message)) {
			end(e, "the gate sent a malformed message");
			return;
		}
		if (!handle(e, message, (size_t)n))
			return;
	}
}

static void on_readable(struct loop_io *io, uint32_t events)
{
	(void)events;
	pull(container_of(io, struct egress, io), MESSAGES_PER_TURN);
}

void egress_drain(struct egress *e)
{
	if (e->loop != NULL)
		pull(e, EGRESS_MESSAGES_MAX);
}

/* --- writing ----------------------------------------------------------------------------- */

static int ask(struct egress *e, enum gate_message type, const struct rpc_schema *schema,
	const void *object, enum gate_message answer)
{
	auto_buf struct buf b = {0};
	ssize_t n;

	if (e->loop == NULL)
		return -EPIPE;
	if (e->awaited != 0)
		return -EBUSY;
	buf_init(&b, GATE_MESSAGE_MAX);
	b.wipe = true;
	if (buf_append_byte(&b, (uint8_t)type) < 0 || rpc_pack(&b, schema, object) < 0)
		return -E2BIG;
	do {
		n = send(e->fd, buf_data(&b), b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EMSGSIZE ? -E2BIG : -errno;
	e->awaited = answer;
	loop_timer_set(e->loop, &e->answer, EGRESS_ANSWER_NS, on_no_answer);
	return 0;
}

int egress_configure(struct egress *e, const struct gate_config *config)
{
	return ask(e, GATE_CONFIG, &gate_config_schema, config, GATE_READY);
}

int egress_set_rules(struct egress *e, const struct gate_policy *policy)
{
	return ask(e, GATE_POLICY, &gate_policy_schema, policy, GATE_APPLIED);
}

int egress_init(struct egress *e, struct loop *loop, int fd, const struct egress_ops *ops)
{
	/* A configuration is one message, which has to fit at once. */
	int size = 2 * GATE_MESSAGE_MAX;
	int r = fd_set_nonblock(fd, true);

	*e = (struct egress){.loop = loop, .fd = fd, .ops = ops};
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (r == 0)
		r = loop_io_add(loop, &e->io, fd, EPOLLIN, on_readable);
	if (r < 0)
		egress_done(e);
	return r;
}
