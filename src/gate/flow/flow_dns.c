/* DNS over TCP: queries with their length in front, answered one after the other. */
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "gate/flow/flow_priv.h"
#include "wire/dns.h"

#define IDLE_NS (10 * CLOCK_SEC)

static void on_open(struct leg *l, void *data)
{
	(void)l;
	(void)data;
}

/* Whether a whole query was there. */
static bool take_query(struct flow *f, struct leg *l)
{
	struct buf *in = leg_in(l);
	const uint8_t *data = buf_data(in);
	uint8_t answer[2 + DNS_ANSWER_MAX];
	size_t len, n;

	if (in->len < 2)
		return false;
	len = (size_t)data[0] << 8 | data[1];
	if (in->len < 2 + len)
		return false;
	n = dns_answer(f->gate, data + 2, len, answer + 2, DNS_ANSWER_MAX);
	buf_consume(in, 2 + len);
	answer[0] = (uint8_t)(n >> 8);
	answer[1] = (uint8_t)n;
	if (n == 0 || leg_write(l, answer, 2 + n) < 0)
		leg_close_after_flush(l);
	return n > 0;
}

static void on_idle(struct loop_timer *timer)
{
	flow_end(container_of(timer, struct flow, timer));
}

static void on_data(struct leg *l, void *data)
{
	struct flow *f = data;

	loop_timer_set(f->gate->loop, &f->timer, IDLE_NS, on_idle);
	while (!leg_congested(l) && take_query(f, l))
		;
}

static void on_drain(struct leg *l, void *data)
{
	on_data(l, data);
}

static void on_close(struct leg *l, int err, void *data)
{
	(void)l;
	(void)err;
	flow_end(data);
}

static const struct leg_ops ops = {
	.on_open = on_open,
	.on_data = on_data,
	.on_drain = on_drain,
	.on_close = on_close,
};

void flow_answer_dns(struct flow *f)
{
	f->state = FLOW_RUNNING;
	loop_timer_set(f->gate->loop, &f->timer, IDLE_NS, on_idle);
	/* On failure the timer ends it. */
	(void)leg_new(f->gate->loop, take_fd(f->client), NULL, 0, NULL, &ops, f, &f->client_leg);
}
