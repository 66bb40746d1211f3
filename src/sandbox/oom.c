/*
 * Whether a process was killed for memory. The kernel counts kills per machine, not per process:
 * when one ends by SIGKILL that no client sent and the count has just risen, it was this one. A
 * shell that reports 137 for a child is only likely to mean that. Kills that nobody asked about
 * soon (children of children) are forgotten, or the next ordinary SIGKILL would be blamed on them.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "sandbox/sandbox_priv.h"

#define VERDICTS_MAX 65536
/* Processes that die of the same shortage are waited for together, or nearly so. */
#define CLAIM_NS (10 * CLOCK_MS)
#define READ_INTERVAL_NS (20 * CLOCK_MS)

static void remember(struct sandbox *sb, int64_t pid, const char *verdict)
{
	struct table_entry *e = table_find_u64(&sb->oom_verdicts, (uint64_t)pid);
	struct sandbox_oom_verdict *v;

	if (e != NULL) {
		container_of(e, struct sandbox_oom_verdict, entry)->verdict = verdict;
		return;
	}
	if (sb->oom_verdicts.count >= VERDICTS_MAX)
		return;
	v = mem_new(struct sandbox_oom_verdict);
	v->verdict = verdict;
	(void)table_insert_u64(&sb->oom_verdicts, &v->entry, (uint64_t)pid);
}

static bool recall(struct sandbox *sb, int64_t pid, const char **ret_verdict)
{
	struct table_entry *e = table_find_u64(&sb->oom_verdicts, (uint64_t)pid);

	if (e == NULL)
		return false;
	*ret_verdict = container_of(e, struct sandbox_oom_verdict, entry)->verdict;
	return true;
}

void sandbox_note_killed(struct sandbox *sb, int64_t pid)
{
	remember(sb, pid, NULL);
}

static void finish(struct sandbox_oom_query *q, const char *verdict)
{
	list_del(&q->node);
	q->sb = NULL;
	q->fn(q, verdict);
}

static void count_kills(struct sandbox *sb, const struct machine_usage *usage)
{
	uint64_t now = loop_now(sb->all->params.loop);

	if (usage->oom_kills > sb->oom_seen) {
		sb->oom_claimable += usage->oom_kills - sb->oom_seen;
		sb->oom_seen = usage->oom_kills;
		sb->oom_seen_at = now;
	} else if (now - sb->oom_seen_at > CLAIM_NS) {
		sb->oom_claimable = 0;
	}
}

static void on_usage(const struct machine_usage *usage, void *data)
{
	struct sandbox *sb = data;

	sb->oom_reading = false;
	sb->oom_read_at = loop_now(sb->all->params.loop);
	if (usage != NULL)
		count_kills(sb, usage);
	while (!list_empty(&sb->oom_queries)) {
		struct sandbox_oom_query *q =
			list_first(&sb->oom_queries, struct sandbox_oom_query, node);
		const char *verdict = NULL;

		if (!recall(sb, q->pid, &verdict)) {
			if (sb->oom_claimable > 0 && q->started_at <= sb->oom_seen_at) {
				sb->oom_claimable--;
				verdict = q->by_signal ? "high-confidence" : "low-confidence";
			}
			remember(sb, q->pid, verdict);
		}
		finish(q, verdict);
		if (sb->state == SANDBOX_ENDING)
			return;
	}
}

static void read_counter(struct sandbox *sb)
{
	if (sb->oom_reading)
		return;
	sb->oom_reading = true;
	machine_get_usage(sb->machine, on_usage, sb);
}

void sandbox_note_exit(struct sandbox *sb)
{
	/* A descendant of it may have been killed: count that now, before it is blamed on the next
	 * process that somebody kills. */
	if (loop_now(sb->all->params.loop) - sb->oom_read_at > READ_INTERVAL_NS)
		read_counter(sb);
}

void sandbox_query_oom(struct sandbox *sb, struct sandbox_oom_query *q, int64_t pid, bool by_signal,
	void (*fn)(struct sandbox_oom_query *query, const char *verdict))
{
	q->sb = sb;
	q->pid = pid;
	q->by_signal = by_signal;
	q->fn = fn;
	list_push_back(&sb->oom_queries, &q->node);
	read_counter(sb);
}

void sandbox_oom_query_drop(struct sandbox_oom_query *q)
{
	if (q->sb == NULL)
		return;
	list_del(&q->node);
	q->sb = NULL;
}

void sandbox_oom_done(struct sandbox *sb)
{
	struct table_entry *e;

	while (!list_empty(&sb->oom_queries))
		sandbox_oom_query_drop(
			list_first(&sb->oom_queries, struct sandbox_oom_query, node));
	while ((e = table_any(&sb->oom_verdicts)) != NULL) {
		table_remove(&sb->oom_verdicts, e);
		free(container_of(e, struct sandbox_oom_verdict, entry));
	}
	table_done(&sb->oom_verdicts);
}
