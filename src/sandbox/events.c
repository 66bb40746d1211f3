/*
 * What happens to sandboxes, on its way to the store. Events are collected for a moment and stored
 * in one transaction, so that a busy gate costs a create nothing; whoever watches is told
 * afterwards and reads from the store.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rpc/json.h"
#include "sandbox/sandbox_priv.h"

#define FLUSH_NS (100 * CLOCK_MS)
#define FLUSH_COUNT 256 /* so many do not wait */
#define WAITING_MAX 4096
#define DETAILS_MAX ((size_t)512 * 1024)

/* --- details ----------------------------------------------------------------------------- */

void event_begin(struct buf *b)
{
	buf_init(b, DETAILS_MAX);
	(void)buf_append_byte(b, '{');
}

static void put_key(struct buf *b, const char *key)
{
	(void)buf_printf(b, "%s\"%s\":", b->len > 1 ? "," : "", key);
}

void event_text(struct buf *b, const char *key, const char *value)
{
	if (value == NULL)
		return;
	put_key(b, key);
	(void)rpc_json_put_string(b, value, strlen(value));
}

void event_number(struct buf *b, const char *key, int64_t value)
{
	put_key(b, key);
	(void)buf_printf(b, "%lld", (long long)value);
}

void event_list(struct buf *b, const char *key, const struct rpc_strings *values)
{
	put_key(b, key);
	(void)buf_append_byte(b, '[');
	for (size_t i = 0; i < values->count; i++) {
		if (i > 0)
			(void)buf_append_byte(b, ',');
		(void)rpc_json_put_string(b, values->items[i], strlen(values->items[i]));
	}
	(void)buf_append_byte(b, ']');
}

char *event_finish(struct buf *b)
{
	/* Appending fails at the maximum only, which no event comes near. */
	char *text = buf_append(b, "}", 2) == 0 ? mem_dup(buf_data(b), b->len) : mem_strdup("{}");

	buf_done(b);
	return text;
}

/* --- the queue --------------------------------------------------------------------------- */

static void clear(struct event_queue *q)
{
	for (size_t i = 0; i < q->count; i++)
		free((char *)(uintptr_t)q->items[i].details);
	q->count = 0;
}

static void on_flush_time(struct loop_timer *timer)
{
	sandbox_events_flush(container_of(timer, struct sandboxes, events.timer));
}

/* Whether they are out of the way. */
static bool store_all(struct sandboxes *all)
{
	struct event_queue *q = &all->events;
	int r = store_event_insert(all->params.store, q->items, q->count);

	if (r < 0 && q->count < WAITING_MAX) { /* another process may have the lock */
		loop_timer_set(all->params.loop, &q->timer, FLUSH_NS, on_flush_time);
		return false;
	}
	if (r < 0)
		log_error("%zu events cannot be stored: %s", q->count, strerror(-r));
	clear(q);
	return true;
}

static void tell(struct sandbox *sb, bool ended)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &sb->watches) {
		struct sandbox_watch *w = container_of(pos, struct sandbox_watch, node);

		if (ended)
			sandbox_watch_drop(w);
		w->fn(w, ended);
	}
}

void sandbox_events_flush(struct sandboxes *all)
{
	struct list *pos;

	loop_timer_cancel(&all->events.timer);
	if (all->events.count == 0 || !store_all(all))
		return;
	list_for_each (pos, &all->sandboxes) {
		struct sandbox *sb = container_of(pos, struct sandbox, node);

		if (!sb->event_news)
			continue;
		sb->event_news = false;
		tell(sb, false);
	}
}

/* The number is bounded with some slack, so that not each new event costs a search. */
static void trim(struct sandbox *sb)
{
	unsigned max = sb->all->params.max_events;

	if (++sb->event_count <= max + max / 8 + 1)
		return;
	sandbox_events_flush(sb->all);
	if (store_event_trim(sb->all->params.store, sb->record.id, max) >= 0)
		sb->event_count = max;
}

static void push(struct sandboxes *all, const struct store_event *event)
{
	struct event_queue *q = &all->events;

	if (q->count >= WAITING_MAX) { /* the last try to store them has failed */
		free((char *)(uintptr_t)event->details);
		return;
	}
	if (q->items == NULL)
		q->items = mem_zalloc_array(WAITING_MAX, sizeof(*q->items));
	q->items[q->count++] = *event;
}

void sandbox_event(struct sandbox *sb, const char *type, int64_t time_ms, char *details)
{
	struct sandboxes *all = sb->all;
	struct event_queue *q = &all->events;
	struct store_event event = {.time_ms = time_ms, .details = details};

	snprintf(event.sandbox_id, sizeof(event.sandbox_id), "%s", sb->record.id);
	snprintf(event.type, sizeof(event.type), "%s", type);
	push(all, &event);
	sb->event_news = true;
	if (q->count % FLUSH_COUNT == 0)
		sandbox_events_flush(all);
	else if (!loop_timer_armed(&q->timer))
		loop_timer_set(all->params.loop, &q->timer, FLUSH_NS, on_flush_time);
	trim(sb);
}

void sandbox_event_ended(struct sandbox *sb, enum store_end_reason reason, const char *detail)
{
	struct buf b;

	event_begin(&b);
	event_text(&b, "reason", store_end_reason_name(reason));
	event_text(&b, "detail", detail);
	sandbox_event(sb, "ended", clock_real_ms(), event_finish(&b));
	sandbox_events_flush(sb->all);
	(void)store_event_trim(sb->all->params.store, sb->record.id, sb->all->params.max_events);
	tell(sb, true);
}

void sandbox_events_done(struct sandboxes *all)
{
	loop_timer_cancel(&all->events.timer);
	clear(&all->events);
	free(take_ptr(all->events.items));
}

/* --- watching ---------------------------------------------------------------------------- */

void sandbox_watch_events(struct sandbox *sb, struct sandbox_watch *watch,
	void (*fn)(struct sandbox_watch *watch, bool ended))
{
	watch->sb = sb;
	watch->fn = fn;
	list_push_back(&sb->watches, &watch->node);
}

void sandbox_watch_drop(struct sandbox_watch *watch)
{
	if (watch->sb == NULL)
		return;
	list_del(&watch->node);
	watch->sb = NULL;
}
