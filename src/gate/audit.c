#include "gate/audit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "rpc/pack.h"

#define LATER_NS CLOCK_SEC

int audit_send(
	int sock, enum gate_message type, const struct rpc_schema *schema, const void *message)
{
	auto_buf struct buf b;

	buf_init(&b, GATE_MESSAGE_MAX);
	int r = buf_append_byte(&b, (uint8_t)type);
	if (r == 0)
		r = rpc_pack(&b, schema, message);
	return r < 0 ? r : fd_send_msg(sock, buf_data(&b), b.len, NULL, 0);
}

void audit_init(struct audit *a, struct loop *loop, int sock)
{
	*a = (struct audit){.loop = loop, .sock = sock, .tokens = AUDIT_BURST};
	a->refilled = clock_mono_ns();
}

static bool take_token(struct audit *a)
{
	uint64_t now = clock_mono_ns();
	uint64_t fresh = (now - a->refilled) * AUDIT_PER_SECOND / CLOCK_SEC;

	if (fresh > 0) {
		a->tokens =
			fresh > AUDIT_BURST - a->tokens ? AUDIT_BURST : a->tokens + (unsigned)fresh;
		a->refilled = now;
	}
	if (a->tokens == 0)
		return false;
	a->tokens--;
	return true;
}

static void on_timer(struct loop_timer *timer);

static void plan(struct audit *a)
{
	if (!loop_timer_armed(&a->timer))
		loop_timer_set(a->loop, &a->timer, LATER_NS, on_timer);
}

static void send_event(struct audit *a, const struct gate_event *event)
{
	if (take_token(a) && audit_send(a->sock, GATE_EVENT, &gate_event_schema, event) == 0)
		return;
	a->dropped += event->count > 0 ? event->count : 1;
	plan(a);
}

/* --- refusals that are alike ---------------------------------------------------------------- */

static void flush_held(struct audit *a)
{
	if (a->held.count > 0)
		send_event(a, &a->held);
	rpc_clear(&gate_event_schema, &a->held);
}

static char *copy(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

/* What comes again within a second is only counted. */
static void hold(struct audit *a, const struct gate_event *event)
{
	flush_held(a);
	a->held = (struct gate_event){
		.kind = event->kind,
		.time_ms = event->time_ms,
		.protocol = copy(event->protocol),
		.host = copy(event->host),
		.port = event->port,
		.reason = copy(event->reason),
		.detail = copy(event->detail),
	};
	plan(a);
}

static bool same(const char *x, const char *y)
{
	return x == y || (x != NULL && y != NULL && strcmp(x, y) == 0);
}

static bool is_like_held(const struct audit *a, const struct gate_event *event)
{
	return a->held.host != NULL && event->port == a->held.port && event->kind == a->held.kind &&
	       same(event->host, a->held.host) && same(event->reason, a->held.reason) &&
	       same(event->protocol, a->held.protocol);
}

static void on_timer(struct loop_timer *timer)
{
	struct audit *a = container_of(timer, struct audit, timer);
	struct gate_event event = {.kind = GATE_EVENT_DROPPED, .time_ms = clock_real_ms()};

	flush_held(a);
	if (a->dropped == 0)
		return;
	event.count = a->dropped;
	if (audit_send(a->sock, GATE_EVENT, &gate_event_schema, &event) == 0)
		a->dropped = 0;
	else
		plan(a);
}

void audit_event(struct audit *a, struct gate_event *event)
{
	if (event->time_ms == 0)
		event->time_ms = clock_real_ms();
	if (event->kind != GATE_EVENT_DENIED) {
		send_event(a, event);
		return;
	}
	if (event->count == 0)
		event->count = 1;
	if (is_like_held(a, event)) {
		a->held.count += event->count;
		a->held.time_ms = event->time_ms;
		return;
	}
	send_event(a, event);
	if (event->host != NULL)
		hold(a, event);
}

void audit_done(struct audit *a)
{
	loop_timer_cancel(&a->timer);
	if (a->loop != NULL)
		rpc_clear(&gate_event_schema, &a->held);
	*a = (struct audit){0};
}
