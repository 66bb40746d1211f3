#include "keeper/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/keeper.h"

#define MAKING_MAX 8 /* machines being made at the same time */
#define REFILL_NS (2 * CLOCK_MS)
#define BACKOFF_NS (100 * CLOCK_MS)
#define BACKOFF_SHIFT_MAX 8
#define BUSY_TRIES 3

struct waiter {
	struct list node;
	uint64_t cookie;
	uint64_t since; /* monotonic ns */
	struct cgroup_limits limits;
};

static void plan_refill(struct pool *p);
static void make_for_waiters(struct pool *p);

void pool_init(struct pool *p, struct keeper *k)
{
	*p = (struct pool){
		.keeper = k,
		.usual = {.memory_mb = 1280, .cpu_percent = 200, .pids_max = 1024},
	};
	list_init(&p->ready);
	list_init(&p->waiters);
}

void pool_done(struct pool *p)
{
	loop_timer_cancel(&p->refill);
	while (!list_empty(&p->waiters)) {
		struct waiter *w = list_first(&p->waiters, struct waiter, node);

		list_del(&w->node);
		free(w);
	}
	for (unsigned i = 0; i < KEEPER_SLOTS_MAX; i++) {
		slot_free(p->slots[i]);
		p->slots[i] = NULL;
	}
}

/* --- creates ---------------------------------------------------------------------------------- */

static void refuse(struct pool *p, uint64_t cookie, int err, const char *what)
{
	struct keeper_reply reply = {.verb = KEEPER_CREATE, .cookie = cookie, .err = err};

	snprintf(reply.what, sizeof(reply.what), "%s", what);
	link_send(&p->keeper->link, &reply, -1);
}

static void take_ready(struct pool *p, struct slot *s)
{
	list_del(&s->node);
	p->ready_count--;
}

static void go(struct pool *p, struct slot *s, uint64_t cookie, const struct cgroup_limits *limits,
	uint64_t since, bool cold)
{
	const char *what = "";
	int channel = -EBADF;
	int r = slot_go(s, limits, &channel, &what);

	if (r < 0) {
		refuse(p, cookie, r, what);
		return;
	}
	struct keeper_reply reply = {
		.verb = KEEPER_CREATE,
		.slot = s->index,
		.cookie = cookie,
		.generation = s->generation,
		.create.pid = s->child.pid,
		.create.cold = cold ? 1 : 0,
		.create.start_ns = clock_mono_ns() - since,
	};
	link_send(&p->keeper->link, &reply, channel);
}

void pool_create(struct pool *p, uint64_t cookie, const struct cgroup_limits *limits)
{
	uint64_t now = clock_mono_ns();

	p->usual = *limits;
	if (!list_empty(&p->ready)) {
		struct slot *s = list_first(&p->ready, struct slot, node);

		take_ready(p, s);
		go(p, s, cookie, limits, now, false);
		plan_refill(p);
		return;
	}
	struct waiter *w = mem_new(struct waiter);
	*w = (struct waiter){.cookie = cookie, .since = now, .limits = *limits};
	list_push_back(&p->waiters, &w->node);
	p->waiting++;
	make_for_waiters(p);
}

static struct waiter *next_waiter(struct pool *p)
{
	struct waiter *w = list_first(&p->waiters, struct waiter, node);

	if (w != NULL) {
		list_del(&w->node);
		p->waiting--;
	}
	return w;
}

static void refuse_next(struct pool *p, int err, const char *what)
{
	auto_free struct waiter *w = next_waiter(p);

	if (w != NULL)
		refuse(p, w->cookie, err, what);
}

/* --- making ----------------------------------------------------------------------------------- */

static struct slot *find_free(struct pool *p)
{
	for (unsigned i = 0; i < KEEPER_SLOTS_MAX; i++) {
		if (p->slots[i] == NULL)
			p->slots[i] = slot_new(p->keeper, i);
		if (p->slots[i]->state == SLOT_FREE)
			return p->slots[i];
	}
	return NULL;
}

static int make_one(struct pool *p, const struct cgroup_limits *limits, const char **ret_what)
{
	struct slot *s = find_free(p);

	*ret_what = "find a free slot";
	if (s == NULL)
		return -EUSERS;
	int r = slot_launch(s, limits, ret_what);
	if (r == 0)
		p->making++;
	if (s->state != SLOT_FREE)
		p->used++;
	return r;
}

static void make_for_waiters(struct pool *p)
{
	const char *what = "";

	while (p->waiting > p->making && p->making < MAKING_MAX) {
		int r = make_one(p, &p->usual, &what);

		if (r < 0)
			refuse_next(p, r, what);
	}
}

static void on_refill(struct loop_timer *timer)
{
	struct pool *p = container_of(timer, struct pool, refill);
	const char *what = "";

	if (p->keeper->ending || p->waiting > 0 || p->making > 0 || p->ready_count >= p->target)
		return;
	int r = make_one(p, &p->usual, &what);
	if (r < 0) {
		log_warn("cannot prepare a machine: %s: %s", what, strerror(-r));
		p->failures++;
		plan_refill(p);
	}
}

static void plan_refill(struct pool *p)
{
	uint64_t delay = REFILL_NS;

	if (p->keeper->ending || p->waiting > 0 || p->making > 0 || p->ready_count >= p->target)
		return;
	if (p->failures > 0) {
		unsigned shift = p->failures - 1;

		delay = BACKOFF_NS << (shift < BACKOFF_SHIFT_MAX ? shift : BACKOFF_SHIFT_MAX);
	}
	loop_timer_set(p->keeper->loop, &p->refill, delay, on_refill);
}

void pool_set_target(struct pool *p, unsigned target)
{
	p->target = target;
	while (p->ready_count > target) {
		struct slot *s = list_first(&p->ready, struct slot, node);

		take_ready(p, s);
		slot_destroy(s, NULL);
	}
	plan_refill(p);
}

/* --- from slots ------------------------------------------------------------------------------- */

void pool_on_ready(struct pool *p, struct slot *s)
{
	auto_free struct waiter *w = next_waiter(p);

	p->making--;
	p->failures = 0;
	if (w != NULL) {
		go(p, s, w->cookie, &w->limits, w->since, true);
		make_for_waiters(p);
	} else if (p->ready_count >= p->target) {
		slot_destroy(s, NULL); /* made for somebody who got another one */
	} else {
		list_push_back(&p->ready, &s->node);
		p->ready_count++;
	}
	plan_refill(p);
}

void pool_on_failed(struct pool *p, struct slot *s, int err, const char *what)
{
	if (!list_empty(&s->node)) /* it was in reserve */
		take_ready(p, s);
	else
		p->making--;
	p->failures++;
	log_warn("machine could not be made: %s: %s slot=%u", what, strerror(-err), s->index);
	/* Somebody else may have snatched the loop device: then the next try gets another. */
	if (p->waiting > p->making && (err != -EBUSY || p->failures >= BUSY_TRIES))
		refuse_next(p, err, what);
	make_for_waiters(p);
	plan_refill(p);
}

static void stop_when_empty(struct pool *p)
{
	if (p->keeper->ending && p->used == 0)
		loop_stop(p->keeper->loop, 0);
}

void pool_on_free(struct pool *p, struct slot *s)
{
	(void)s;
	p->used--;
	stop_when_empty(p);
}

void pool_end(struct pool *p)
{
	loop_timer_cancel(&p->refill);
	p->target = 0;
	while (p->waiting > 0)
		refuse_next(p, -ECANCELED, "end the keeper");
	list_init(&p->ready);
	p->ready_count = 0;
	for (unsigned i = 0; i < KEEPER_SLOTS_MAX; i++) {
		if (p->slots[i] != NULL)
			slot_destroy(p->slots[i], NULL);
	}
	stop_when_empty(p);
}

struct slot *pool_find(const struct pool *p, uint32_t index, uint64_t generation)
{
	struct slot *s = index < KEEPER_SLOTS_MAX ? p->slots[index] : NULL;

	if (s == NULL || s->generation != generation)
		return NULL;
	return s->state == SLOT_RUNNING || s->state == SLOT_EXITED ? s : NULL;
}
