/*
 * The daemon may be in an attacker's hands: everything it says is checked here, and the worst it
 * can ask for is what the table offers. HELLO comes first and once; anything else before it, or a
 * message of another form, ends the keeper.
 */
#include "keeper/requests.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "keeper/keeper.h"

/* What a handler answers with: a negative errno becomes an error reply, 0 the reply as filled in,
 * LATER none now. */
#define LATER 1

struct handler {
	const char *name;
	bool needs_machine; /* slot and generation name one */
	int (*run)(struct keeper *k, struct slot *s, const struct keeper_request *req,
		struct keeper_reply *reply);
};

static bool within(uint32_t value, uint32_t min, uint32_t max)
{
	return value >= min && value <= max;
}

static bool memory_ok(uint32_t memory_mb)
{
	return within(memory_mb, KEEPER_MEMORY_MIN_MB, KEEPER_MEMORY_MAX_MB);
}

static int run_hello(struct keeper *k, struct slot *s, const struct keeper_request *req,
	struct keeper_reply *reply)
{
	(void)k;
	(void)s;
	(void)reply;
	return req->hello.version == KEEPER_VERSION ? 0 : -EPROTONOSUPPORT;
}

static int run_create(struct keeper *k, struct slot *s, const struct keeper_request *req,
	struct keeper_reply *reply)
{
	struct cgroup_limits limits = {
		.memory_mb = req->create.memory_mb,
		.cpu_percent = req->create.cpu_percent,
		.pids_max = req->create.pids_max,
	};

	(void)s;
	(void)reply;
	if (!memory_ok(limits.memory_mb) ||
		!within(limits.cpu_percent, KEEPER_CPU_MIN_PERCENT, KEEPER_CPU_MAX_PERCENT) ||
		!within(limits.pids_max, KEEPER_PIDS_MIN, KEEPER_PIDS_MAX))
		return -EINVAL;
	pool_create(&k->pool, req->cookie, &limits);
	return LATER;
}

static int run_limit(struct keeper *k, struct slot *s, const struct keeper_request *req,
	struct keeper_reply *reply)
{
	(void)k;
	(void)reply;
	return memory_ok(req->limit.memory_mb) ? slot_limit(s, req->limit.memory_mb) : -EINVAL;
}

static int run_usage(struct keeper *k, struct slot *s, const struct keeper_request *req,
	struct keeper_reply *reply)
{
	(void)k;
	(void)req;
	return slot_usage(s, reply);
}

static int run_destroy(struct keeper *k, struct slot *s, const struct keeper_request *req,
	struct keeper_reply *reply)
{
	struct slot_ask ask = {.set = true, .cookie = req->cookie};

	(void)k;
	(void)reply;
	slot_destroy(s, &ask);
	return LATER;
}

static int run_prepare(struct keeper *k, struct slot *s, const struct keeper_request *req,
	struct keeper_reply *reply)
{
	(void)s;
	(void)reply;
	if (req->prepare.count > KEEPER_PREPARE_MAX)
		return -EINVAL;
	pool_set_target(&k->pool, req->prepare.count);
	return 0;
}

static int run_gate(struct keeper *k, struct slot *s, const struct keeper_request *req,
	struct keeper_reply *reply)
{
	(void)k;
	(void)reply;
	int r = slot_gate_ask(&s->gate, req->cookie);
	return r < 0 ? r : LATER;
}

static const struct handler handlers[KEEPER_VERB_COUNT] = {
	[KEEPER_HELLO] = {"hello", false, run_hello},
	[KEEPER_CREATE] = {"create a machine", false, run_create},
	[KEEPER_LIMIT] = {"change the memory limit", true, run_limit},
	[KEEPER_USAGE] = {"read the counters", true, run_usage},
	[KEEPER_DESTROY] = {"destroy the machine", true, run_destroy},
	[KEEPER_GATE] = {"start the gate", true, run_gate},
	[KEEPER_PREPARE] = {"set the size of the reserve", false, run_prepare},
};

static int handle(struct keeper *k, const struct handler *h, const struct keeper_request *req,
	struct keeper_reply *reply)
{
	struct slot *s = NULL;

	if (h->needs_machine) {
		s = pool_find(&k->pool, req->slot, req->generation);
		if (s == NULL)
			return -ESTALE;
		reply->slot = s->index;
		reply->generation = s->generation;
	}
	return h->run(k, s, req, reply);
}

static void on_request(struct link *l, const struct keeper_request *req)
{
	struct keeper *k = container_of(l, struct keeper, link);
	const struct handler *h = req->verb < KEEPER_VERB_COUNT ? &handlers[req->verb] : NULL;
	struct keeper_reply reply = {.verb = req->verb, .cookie = req->cookie};

	if (k->ending)
		return;
	if (h == NULL || h->run == NULL || k->greeted != (req->verb != KEEPER_HELLO)) {
		log_error("request out of order or unknown verb=%u", req->verb);
		keeper_end(k);
		return;
	}
	int r = handle(k, h, req, &reply);
	if (r == LATER)
		return;
	if (r < 0) {
		reply.err = r;
		snprintf(reply.what, sizeof(reply.what), "%s", h->name);
	}
	if (req->verb == KEEPER_HELLO)
		k->greeted = r == 0;
	link_send(l, &reply, -1);
}

static void on_end(struct link *l, int err)
{
	struct keeper *k = container_of(l, struct keeper, link);

	if (err < 0)
		log_error("connection to the daemon broke err=%d", err);
	keeper_end(k);
}

const struct link_ops requests_link_ops = {
	.on_request = on_request,
	.on_end = on_end,
};
