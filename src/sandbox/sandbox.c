#include "sandbox/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "sandbox/sandbox_priv.h"

#define PRUNE_INTERVAL_NS (60 * CLOCK_SEC)
#define PRUNE_BATCH 1000
#define PRUNE_EVENTS 2000
#define PRUNE_MORE_NS (1 * CLOCK_SEC)

static void tidy_records(struct loop_timer *timer)
{
	struct sandboxes *all = container_of(timer, struct sandboxes, prune_timer);
	int64_t now = clock_real_ms();
	int64_t before = now - all->params.stopped_retention_ms;
	int events = store_event_prune(
		all->params.store, now - all->params.event_retention_ms, before, PRUNE_EVENTS);
	int n = store_sandbox_prune(all->params.store, before, PRUNE_BATCH);

	if (events < 0 || n < 0)
		log_error("cannot forget old records: %s", strerror(events < 0 ? -events : -n));
	/* Waits for the disk, which a create should not have to. */
	n = store_checkpoint(all->params.store);
	if (n < 0)
		log_error("cannot write the records back: %s", strerror(-n));
	loop_timer_set(all->params.loop, timer,
		events >= PRUNE_EVENTS ? PRUNE_MORE_NS : PRUNE_INTERVAL_NS, tidy_records);
}

struct sandboxes *sandboxes_new(const struct sandboxes_params *params)
{
	struct sandboxes *all = mem_new(struct sandboxes);

	all->params = *params;
	list_init(&all->sandboxes);
	table_init(&all->by_id);
	loop_timer_set(params->loop, &all->prune_timer, PRUNE_INTERVAL_NS, tidy_records);
	sandbox_refill(all);
	return all;
}

void sandboxes_free(struct sandboxes *all)
{
	if (all == NULL)
		return;
	loop_timer_cancel(&all->refill_timer);
	loop_timer_cancel(&all->prune_timer);
	sandbox_events_done(all);
	loop_defer_cancel(&all->stopped_defer);
	table_done(&all->by_id);
	free(all);
}

/* --- end ------------------------------------------------------------------------------------ */

static void report_stopped(struct loop_defer *defer)
{
	struct sandboxes *all = container_of(defer, struct sandboxes, stopped_defer);
	void (*fn)(void *) = all->stopped_fn;

	all->stopped_fn = NULL;
	if (fn != NULL)
		fn(all->stopped_data);
}

static void check_stopped(struct sandboxes *all)
{
	if (all->stopping && all->stopped_fn != NULL && (all->machines == 0 || all->lost))
		loop_defer(all->params.loop, &all->stopped_defer, report_stopped);
}

static void machine_gone(void *data)
{
	struct sandboxes *all = data;

	all->machines--;
	check_stopped(all);
	if (!all->stopping)
		sandbox_refill(all);
}

static void free_sandbox(struct loop_defer *defer)
{
	struct sandbox *sb = container_of(defer, struct sandbox, free_later);

	store_sandbox_done(&sb->record);
	network_done(sb);
	table_done(&sb->calls);
	free(sb);
}

static void tell_clients(struct sandbox *sb, enum store_end_reason reason, const char *detail)
{
	while (!list_empty(&sb->clients)) {
		struct sandbox_client *client =
			list_first(&sb->clients, struct sandbox_client, node);

		list_del(&client->node);
		client->sb = NULL;
		client->on_end(client, reason, detail);
	}
}

void sandbox_end(struct sandbox *sb, enum store_end_reason reason, const char *detail)
{
	struct sandboxes *all = sb->all;

	if (sb->state == SANDBOX_ENDING)
		return;
	if (sb->state < SANDBOX_CONFIGURING && sb->create == NULL)
		all->spares--;
	if (sb->state == SANDBOX_RUNNING)
		table_remove(&all->by_id, &sb->by_id);
	sb->state = SANDBOX_ENDING;
	loop_timer_cancel(&sb->stop_timer);
	loop_timer_cancel(&sb->boot_timer);
	if (sb->recorded) {
		int r = store_sandbox_set_end(
			all->params.store, sb->record.id, reason, detail, clock_real_ms());
		if (r < 0 && r != -EALREADY)
			log_error("sandbox %s: cannot record its end: %s", sb->record.id,
				strerror(-r));
		log_info("sandbox %s ended: %s%s%s", sb->record.id, store_end_reason_name(reason),
			detail != NULL ? ": " : "", detail != NULL ? detail : "");
	}
	tell_clients(sb, reason, detail);
	network_end(sb);
	if (sb->recorded)
		sandbox_event_ended(sb, reason, detail);
	sandbox_calls_drop_all(sb);
	sandbox_oom_done(sb);
	if (sb->channel_open)
		channel_done(&sb->channel);
	sb->channel_open = false;
	if (sb->machine != NULL)
		machine_destroy(take_ptr(sb->machine), machine_gone, all);
	list_del(&sb->node);
	loop_defer(all->params.loop, &sb->free_later, free_sandbox);
}

void sandboxes_shutdown(
	struct sandboxes *all, enum store_end_reason reason, void (*fn)(void *data), void *data)
{
	struct list *pos, *tmp;

	all->stopping = true;
	all->stopped_fn = fn;
	all->stopped_data = data;
	loop_timer_cancel(&all->refill_timer);
	list_for_each_safe (pos, tmp, &all->sandboxes) {
		struct sandbox *sb = container_of(pos, struct sandbox, node);

		if (sb->create != NULL) {
			struct error err = {0};

			error_set(&err, -ESHUTDOWN, "SHUTTING_DOWN", "the server is shutting down");
			sandbox_start_failed(sb, &err);
			continue;
		}
		sandbox_end(sb, reason, NULL);
	}
	check_stopped(all);
}

void sandboxes_lost(struct sandboxes *all)
{
	if (all->lost)
		return;
	all->lost = true;
	sandboxes_shutdown(all, STORE_END_CRASHED, all->stopped_fn, all->stopped_data);
}

/* --- machine -------------------------------------------------------------------------------- */

static void on_started(struct machine *m, int agent_fd, void *data)
{
	struct sandbox *sb = data;
	struct error err = {0};
	int r;

	(void)m;
	r = channel_init(&sb->channel, sb->all->params.loop, agent_fd, false, &sandbox_channel_ops);
	if (r < 0) {
		error_set(&err, r, "SANDBOX_WEBSOCKET_HANDSHAKE_ERROR",
			"cannot attach to the agent: %s", strerror(-r));
		sandbox_start_failed(sb, &err);
		return;
	}
	sb->channel_open = true;
	sb->state = SANDBOX_BOOTING;
}

static void on_failed(struct machine *m, const struct error *err, void *data)
{
	struct sandbox *sb = data;

	(void)m;
	sb->machine = NULL;
	sb->all->machines--;
	sandbox_start_failed(sb, err);
	check_stopped(sb->all);
}

static void on_exited(struct machine *m, int status, uint64_t oom_kills, void *data)
{
	struct sandbox *sb = data;
	struct error err = {0};
	char detail[96];

	(void)m;
	if (WIFSIGNALED(status))
		snprintf(detail, sizeof(detail), "first process ended by signal %d",
			WTERMSIG(status));
	else
		snprintf(detail, sizeof(detail), "first process exited with status %d",
			WEXITSTATUS(status));
	if (sb->state == SANDBOX_RUNNING) {
		bool oom = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
			   oom_kills > sb->oom_seen;

		sandbox_end(sb, oom ? STORE_END_OOM : STORE_END_CRASHED, detail);
		return;
	}
	error_set(&err, -EIO, "SANDBOX_WEBSOCKET_HANDSHAKE_ERROR", "the sandbox did not start: %s",
		detail);
	sandbox_start_failed(sb, &err);
}

const struct machine_ops sandbox_machine_ops = {
	.on_started = on_started,
	.on_failed = on_failed,
	.on_exited = on_exited,
};

/* --- identity, clients ------------------------------------------------------------------------ */

struct sandbox *sandbox_find(struct sandboxes *all, const char *id, int64_t org_id)
{
	struct table_entry *e = table_find_str(&all->by_id, id);
	struct sandbox *sb;

	if (e == NULL)
		return NULL;
	sb = container_of(e, struct sandbox, by_id);
	return sb->record.org_id == org_id ? sb : NULL;
}

const char *sandbox_id(const struct sandbox *sb)
{
	return sb->record.id;
}

const struct store_sandbox *sandbox_record(const struct sandbox *sb)
{
	return &sb->record;
}

struct channel *sandbox_channel(struct sandbox *sb)
{
	return &sb->channel;
}

void sandbox_attach(struct sandbox *sb, struct sandbox_client *client, bool primary)
{
	client->sb = sb;
	client->primary = primary;
	list_push_back(&sb->clients, &client->node);
}

void sandbox_detach(struct sandbox_client *client)
{
	struct sandbox *sb = client->sb;

	if (sb == NULL)
		return;
	client->sb = NULL;
	list_del(&client->node);
	if (client->primary && sb->record.session)
		sandbox_end(sb, STORE_END_CLIENT_CLOSED, NULL);
}

/* --- time to live ------------------------------------------------------------------------ */

static void on_stop_time(struct loop_timer *timer)
{
	struct sandbox *sb = container_of(timer, struct sandbox, stop_timer);

	/* The wall clock may have been set back, and the timer counts monotonic time. */
	if (clock_real_ms() < sb->record.stop_at_ms) {
		sandbox_arm_stop(sb);
		return;
	}
	sandbox_end(sb, STORE_END_TIMEOUT, NULL);
}

void sandbox_arm_stop(struct sandbox *sb)
{
	int64_t left = sb->record.stop_at_ms - clock_real_ms();

	if (sb->record.stop_at_ms == 0)
		return;
	if (left < 0)
		left = 0;
	loop_timer_set(
		sb->all->params.loop, &sb->stop_timer, (uint64_t)left * CLOCK_MS, on_stop_time);
}

int sandbox_extend(struct sandbox *sb, int64_t requested_ms, int64_t *ret_stop_at_ms)
{
	int64_t now = clock_real_ms();
	int64_t limit = now + sb->all->params.max_lifetime_ms;
	int64_t stop_at = requested_ms < limit ? requested_ms : limit;

	if (requested_ms <= now)
		return -ERANGE;
	if (!sb->unbounded && stop_at < sb->record.stop_at_ms)
		stop_at = sb->record.stop_at_ms;
	if (stop_at != sb->record.stop_at_ms) {
		int r = store_sandbox_set_stop_at(sb->all->params.store, sb->record.id, stop_at);

		if (r < 0)
			return r;
		sb->record.stop_at_ms = stop_at;
		sb->unbounded = false;
		sandbox_arm_stop(sb);
	}
	*ret_stop_at_ms = stop_at;
	return 0;
}
