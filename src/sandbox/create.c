/*
 * From a wish to a running sandbox. A create takes a spare machine of the pool if one is ready,
 * else one that is being made for the pool, else has one made. The pool is refilled in the
 * background; a host on which machines cannot be made is not asked in a tight loop.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "rpc/json.h"
#include "rpc/pack.h"
#include "sandbox/sandbox_priv.h"

#define DEFAULT_MEMORY_MB 1280
#define CPU_PERCENT 200
#define BOOT_LIMIT_NS (9 * CLOCK_SEC) /* the Python client waits 10 s for the handshake */
#define REFILL_BACKOFF_NS (2 * CLOCK_SEC)
#define PLACEHOLDER_BYTES 32
#define ID_ALPHABET "0123456789abcdefghjkmnpqrstuvwxyz"

static void free_create(struct sandbox_create *c)
{
	sandbox_options_done(&c->options);
	free(c);
}

unsigned sandbox_count_org(const struct sandboxes *all, int64_t org_id)
{
	struct list *pos;
	unsigned n = 0;

	list_for_each (pos, &all->sandboxes) {
		const struct sandbox *sb = container_of(pos, struct sandbox, node);

		if (sb->create != NULL ? sb->create->org_id == org_id
				       : sb->recorded && sb->record.org_id == org_id)
			n++;
	}
	return n;
}

/* --- machines ---------------------------------------------------------------------------- */

static void on_boot_limit(struct loop_timer *timer)
{
	struct sandbox *sb = container_of(timer, struct sandbox, boot_timer);
	struct error err = {0};

	if (sb->state == SANDBOX_RUNNING) { /* its channel has ended, see on_close() */
		sandbox_end(sb, STORE_END_CRASHED, "its agent ended");
		return;
	}
	error_set(&err, -ETIMEDOUT, "SANDBOX_WEBSOCKET_HANDSHAKE_ERROR",
		"the sandbox did not start in time");
	sandbox_start_failed(sb, &err);
}

static struct sandbox *make_machine(struct sandboxes *all, unsigned memory_mb)
{
	struct sandbox *sb = mem_new(struct sandbox);
	struct machine_spec spec = {
		.memory_mb = memory_mb,
		.cpu_percent = CPU_PERCENT,
		.pids_max = all->params.pids_max,
	};

	sb->all = all;
	sb->state = SANDBOX_MAKING;
	sb->memory_mb = memory_mb;
	list_init(&sb->clients);
	list_init(&sb->oom_queries);
	list_init(&sb->watches);
	table_init(&sb->calls);
	table_init(&sb->oom_verdicts);
	list_push_back(&all->sandboxes, &sb->node);
	loop_timer_set(all->params.loop, &sb->boot_timer, BOOT_LIMIT_NS, on_boot_limit);
	all->machines++;
	sb->machine = machine_create(all->params.isolation, &spec, &sandbox_machine_ops, sb);
	return sb;
}

static void refill_soon(struct loop_timer *timer)
{
	sandbox_refill(container_of(timer, struct sandboxes, refill_timer));
}

void sandbox_refill(struct sandboxes *all)
{
	if (all->stopping || loop_timer_armed(&all->refill_timer))
		return;
	while (all->spares < all->params.pool) {
		all->spares++;
		make_machine(all, DEFAULT_MEMORY_MB);
	}
}

/* Refilling competes with the sandbox just created for the same CPUs: let it go first. */
static void refill_after_use(struct sandboxes *all)
{
	if (!all->stopping && !loop_timer_armed(&all->refill_timer))
		loop_timer_set(all->params.loop, &all->refill_timer, 2 * CLOCK_MS, refill_soon);
}

void sandbox_start_failed(struct sandbox *sb, const struct error *err)
{
	struct sandboxes *all = sb->all;
	struct sandbox_create *c = take_ptr(sb->create);

	if (sb->state == SANDBOX_ENDING)
		return;
	log_error("a sandbox could not be started: %s", err->message);
	if (c == NULL && !all->stopping) { /* was for the pool */
		loop_timer_set(
			all->params.loop, &all->refill_timer, REFILL_BACKOFF_NS, refill_soon);
	}
	if (c != NULL && sb->state < SANDBOX_CONFIGURING)
		all->spares++; /* sandbox_end() takes it off again: it is nobody's now */
	sandbox_end(sb, STORE_END_START_FAILED, err->message);
	if (c != NULL) {
		c->fn(NULL, err, c->data);
		free_create(c);
	}
}

/* --- identity ---------------------------------------------------------------------------- */

static void fill_record(struct sandbox *sb, struct sandbox_create *c)
{
	struct store_sandbox *rec = &sb->record;
	struct sandbox_options *o = &c->options;
	int64_t now = clock_real_ms();
	int64_t longest = now + sb->all->params.max_lifetime_ms;
	char random[21];

	random_text(random, 20, ID_ALPHABET);
	snprintf(rec->id, sizeof(rec->id), "sbx_%s_%s", o->region, random);
	rec->org_id = c->org_id;
	memcpy(rec->region, o->region, sizeof(rec->region));
	snprintf(rec->level, sizeof(rec->level), "%s",
		isolation_level_name(isolation_level(sb->all->params.isolation)));
	rec->memory_mb = o->memory_mb;
	rec->status = STORE_STARTING;
	rec->session = o->session;
	rec->created_ms = now;
	sb->unbounded = o->stop_at_ms == 0;
	rec->stop_at_ms = o->stop_at_ms != 0 && o->stop_at_ms < longest ? o->stop_at_ms : longest;
	rec->label_count = o->label_count;
	for (size_t i = 0; i < o->label_count; i++) {
		rec->labels[i].key = mem_strdup(o->labels[i].key);
		rec->labels[i].value = mem_strdup(o->labels[i].value);
	}
}

static void note_created(struct sandbox *sb, const struct sandbox_options *o)
{
	struct rpc_strings rules;
	struct buf b;

	network_choose_rules(sb->all, o, &rules);
	event_begin(&b);
	event_text(&b, "region", sb->record.region);
	event_text(&b, "isolation", sb->record.level);
	event_number(&b, "memoryMb", sb->record.memory_mb);
	event_list(&b, "allowNet", &rules);
	(void)buf_append_str(&b, ",\"secrets\":[");
	for (size_t i = 0; i < o->secret_count; i++) {
		(void)buf_append_str(&b, i > 0 ? "," : "");
		(void)rpc_json_put_string(&b, o->secrets[i].name, strlen(o->secrets[i].name));
	}
	(void)buf_append_byte(&b, ']');
	sandbox_event(sb, "created", sb->record.created_ms, event_finish(&b));
	sandbox_strings_done(&rules);
}

/* Agent and network are ready. */
static void run(struct sandbox *sb)
{
	struct sandboxes *all = sb->all;
	struct sandbox_create *c = take_ptr(sb->create);

	loop_timer_cancel(&sb->boot_timer);
	sb->boot_timer.fn = on_boot_limit;
	sb->state = SANDBOX_RUNNING;
	sb->record.status = STORE_RUNNING;
	(void)table_insert_str(&all->by_id, &sb->by_id, sb->record.id);
	(void)store_sandbox_set_running(all->params.store, sb->record.id);
	sandbox_arm_stop(sb);
	log_info("sandbox %s started: memory=%uMiB isolation=%s", sb->record.id,
		sb->record.memory_mb, sb->record.level);
	sandbox_event(sb, "started", clock_real_ms(), mem_strdup("{}"));
	c->fn(sb, NULL, c->data);
	free_create(c);
	refill_after_use(all);
}

void sandbox_part_ready(struct sandbox *sb)
{
	if (--sb->unready == 0)
		run(sb);
}

static void on_configured(struct sandbox_call *call, bool failed, const uint8_t *data, size_t len)
{
	struct sandbox *sb = container_of(call, struct sandbox, configure);
	struct error err = {0};

	if (failed) {
		struct rpc_failure f = {0};

		(void)rpc_unpack(data, len, &rpc_failure_schema, &f);
		error_set(&err, -EIO, "SANDBOX_WEBSOCKET_HANDSHAKE_ERROR",
			"the agent refused its configuration: %s",
			f.context != NULL ? f.context : "no reason given");
		rpc_clear(&rpc_failure_schema, &f);
		sandbox_start_failed(sb, &err);
		return;
	}
	sandbox_part_ready(sb);
}

/* Sends the environment: what the client gave, and placeholders for its secrets. */
static int send_environment(struct sandbox *sb)
{
	struct sandbox_create *c = sb->create;
	struct sandbox_options *o = &c->options;
	size_t count = 0;
	auto_free struct rpc_pair *env =
		mem_zalloc_array(1 + o->env.count + o->secret_count, sizeof(*env));
	struct rpc_configure params;

	env[count++] = (struct rpc_pair){"DENO_DEPLOY_ORGANIZATION_ID", c->org_uuid};
	for (size_t i = 0; i < o->env.count; i++)
		env[count++] = o->env.items[i];
	for (size_t i = 0; i < o->secret_count; i++)
		env[count++] = (struct rpc_pair){o->secrets[i].name, o->secrets[i].placeholder};
	rpc_reset(&rpc_configure_schema, &params);
	params.env = (struct rpc_map){env, count};
	return sandbox_call(
		sb, &sb->configure, rpc_method_by_id(RPC_CONFIGURE), &params, on_configured);
}

static void make_placeholders(struct sandbox_options *o)
{
	char random[2 * PLACEHOLDER_BYTES + 1];

	for (size_t i = 0; i < o->secret_count; i++) {
		random_hex(random, PLACEHOLDER_BYTES);
		o->secrets[i].placeholder = mem_printf("DENO_SECRET_PLACEHOLDER_%s", random);
	}
}

static void configure(struct sandbox *sb)
{
	struct sandbox_create *c = sb->create;
	struct error err = {0};
	int r;

	sb->state = SANDBOX_CONFIGURING;
	fill_record(sb, c);
	r = store_sandbox_insert(sb->all->params.store, &sb->record);
	if (r < 0) {
		error_set(&err, r, "STORE_FAILED",
			"the record of the sandbox cannot be written: %s", strerror(-r));
		sandbox_start_failed(sb, &err);
		return;
	}
	sb->recorded = true;
	note_created(sb, &c->options);
	if (sb->memory_mb != c->options.memory_mb)
		machine_set_memory(sb->machine, c->options.memory_mb);
	sb->memory_mb = c->options.memory_mb;

	make_placeholders(&c->options);
	sb->unready = 1;
	if (network_begin(sb))
		sb->unready++;
	r = send_environment(sb);
	if (r < 0) {
		error_set(&err, r,
			r == -E2BIG ? "MALFORMED_REQUEST" : "SANDBOX_WEBSOCKET_HANDSHAKE_ERROR",
			"the sandbox cannot be configured: %s", strerror(-r));
		sandbox_start_failed(sb, &err);
	}
}

void sandbox_booted(struct sandbox *sb)
{
	if (sb->state != SANDBOX_BOOTING)
		return;
	sb->state = SANDBOX_SPARE;
	if (sb->create != NULL) {
		configure(sb);
		return;
	}
	loop_timer_cancel(&sb->boot_timer);
	network_prepare(sb);
}

/* A machine nobody has yet: ready first, then one that is on its way. */
static struct sandbox *find_spare(struct sandboxes *all)
{
	struct sandbox *best = NULL;
	struct list *pos;

	list_for_each (pos, &all->sandboxes) {
		struct sandbox *sb = container_of(pos, struct sandbox, node);

		if (sb->create != NULL || sb->state > SANDBOX_SPARE)
			continue;
		if (best == NULL || sb->state > best->state)
			best = sb;
	}
	return best;
}

static void start_deferred(struct loop_timer *timer)
{
	struct sandbox *sb = container_of(timer, struct sandbox, stop_timer);

	if (sb->state == SANDBOX_SPARE && sb->create != NULL)
		configure(sb);
}

struct sandbox_create *sandbox_create(struct sandboxes *all, int64_t org_id, const char *org_uuid,
	const struct sandbox_options *options, sandbox_create_fn fn, void *data,
	struct error *ret_err)
{
	struct sandbox_create *c;
	struct sandbox *sb;

	if (all->stopping) {
		error_set(ret_err, -ESHUTDOWN, "SHUTTING_DOWN", "the server is shutting down");
		return NULL;
	}
	if (sandbox_count_org(all, org_id) >= all->params.max_per_org) {
		error_set(ret_err, -EDQUOT, "TOO_MANY_SANDBOXES",
			"the organisation runs %u sandboxes, which is its limit",
			all->params.max_per_org);
		return NULL;
	}
	c = mem_new(struct sandbox_create);
	c->org_id = org_id;
	snprintf(c->org_uuid, sizeof(c->org_uuid), "%s", org_uuid);
	sandbox_options_copy(&c->options, options);
	c->fn = fn;
	c->data = data;

	sb = find_spare(all);
	if (sb != NULL)
		all->spares--;
	else
		sb = make_machine(all, options->memory_mb);
	sb->create = c;
	c->sb = sb;
	/* Results never come from inside the call: a spare is configured from the loop. */
	if (sb->state == SANDBOX_SPARE) {
		loop_timer_set(all->params.loop, &sb->boot_timer, BOOT_LIMIT_NS, on_boot_limit);
		loop_timer_set(all->params.loop, &sb->stop_timer, 0, start_deferred);
	}
	return c;
}

void sandbox_create_cancel(struct sandbox_create *c)
{
	struct sandbox *sb = c->sb;

	sb->create = NULL;
	free_create(c);
	if (sb->state < SANDBOX_CONFIGURING) {
		/* Nothing of the client has reached the machine: it is as good as new. */
		sb->all->spares++;
		if (sb->memory_mb == DEFAULT_MEMORY_MB) {
			loop_timer_cancel(&sb->stop_timer);
			if (sb->state == SANDBOX_SPARE)
				loop_timer_cancel(&sb->boot_timer);
			return;
		}
	}
	sandbox_end(sb, STORE_END_CLIENT_CLOSED, "the client left while the sandbox was starting");
}
