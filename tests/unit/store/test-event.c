#include "fixture.h"

#include <errno.h>

struct seen {
	int64_t ids[16];
	char types[16][STORE_EVENT_TYPE_SIZE];
	char details[16][32];
	size_t count;
	size_t stop_at;
};

static int note(const struct store_event *event, void *data)
{
	struct seen *s = data;

	assert_true(s->count < array_len(s->ids));
	s->ids[s->count] = event->id;
	memcpy(s->types[s->count], event->type, sizeof(event->type));
	snprintf(s->details[s->count], sizeof(s->details[0]), "%s", event->details);
	s->count++;
	return s->stop_at != 0 && s->count == s->stop_at ? 7 : 0;
}

static int64_t make_org(struct fixture *f, const char *slug)
{
	struct store_org org;

	assert_int_equal(store_org_create(f->store, slug, &org, NULL), 0);
	return org.id;
}

static void make_sandbox(struct fixture *f, const char *id, int64_t org)
{
	struct store_sandbox rec = {.org_id = org, .region = "ord", .level = "namespace"};

	snprintf(rec.id, sizeof(rec.id), "%s", id);
	assert_int_equal(store_sandbox_insert(f->store, &rec), 0);
}

static struct store_event example(const char *sandbox, int64_t time_ms, const char *type)
{
	struct store_event event = {.time_ms = time_ms, .details = "{\"n\":1}"};

	snprintf(event.sandbox_id, sizeof(event.sandbox_id), "%s", sandbox);
	snprintf(event.type, sizeof(event.type), "%s", type);
	return event;
}

static size_t count(struct fixture *f, const char *sandbox)
{
	struct seen seen = {0};
	struct store_event_query q = {.sandbox_id = sandbox};

	assert_int_equal(store_event_list(f->store, &q, note, &seen), 0);
	return seen.count;
}

static void fill(struct fixture *f, const char *sandbox, int n)
{
	struct store_event events[16];

	for (int i = 0; i < n; i++)
		events[i] = example(sandbox, 1000 + i, i % 2 ? "denied" : "flow");
	assert_int_equal(store_event_insert(f->store, events, (size_t)n), 0);
}

static void test_insert_and_list(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");
	int64_t other = make_org(f, "other");
	struct seen seen = {0};
	struct store_event_query q = {.sandbox_id = "a", .org_id = org};

	make_sandbox(f, "a", org);
	make_sandbox(f, "b", org);
	fill(f, "b", 1);
	fill(f, "a", 6);
	assert_int_equal(store_event_list(f->store, &q, note, &seen), 0);
	assert_int_equal(seen.count, 6);
	for (size_t i = 1; i < seen.count; i++)
		assert_true(seen.ids[i] > seen.ids[i - 1]);
	assert_string_equal(seen.types[0], "flow");
	assert_string_equal(seen.types[1], "denied");
	assert_string_equal(seen.details[0], "{\"n\":1}");

	/* After, before, type and limit, each apart and together. */
	struct seen part = {0};

	q.after_id = seen.ids[1];
	q.before_id = seen.ids[5];
	assert_int_equal(store_event_list(f->store, &q, note, &part), 0);
	assert_int_equal(part.count, 3);
	assert_int_equal(part.ids[0], seen.ids[2]);
	part.count = 0;
	q.type = "denied";
	assert_int_equal(store_event_list(f->store, &q, note, &part), 0);
	assert_int_equal(part.count, 1);
	assert_int_equal(part.ids[0], seen.ids[3]);
	part.count = 0;
	q = (struct store_event_query){.sandbox_id = "a", .limit = 2};
	assert_int_equal(store_event_list(f->store, &q, note, &part), 0);
	assert_int_equal(part.count, 2);
	/* Stops when told. */
	part = (struct seen){.stop_at = 1};
	assert_int_equal(store_event_list(f->store, &q, note, &part), 7);
	/* Nobody else sees them. */
	part = (struct seen){0};
	q.org_id = other;
	assert_int_equal(store_event_list(f->store, &q, note, &part), 0);
	assert_int_equal(part.count, 0);
}

/* An event that comes late must not take the rest of its batch with it. */
static void test_unknown_sandbox(void **state)
{
	struct fixture *f = *state;
	struct store_event events[2] = {example("gone", 1, "flow"), example("a", 1, "flow")};

	make_sandbox(f, "a", make_org(f, "home"));
	assert_int_equal(store_event_insert(f->store, events, 2), 0);
	assert_int_equal(events[0].id, 0);
	assert_true(events[1].id > 0);
	assert_int_equal(count(f, "a"), 1);
	assert_int_equal(count(f, "gone"), 0);
	assert_int_equal(store_event_insert(f->store, NULL, 0), 0);
}

static void test_prune_by_age(void **state)
{
	struct fixture *f = *state;

	make_sandbox(f, "a", make_org(f, "home"));
	fill(f, "a", 6);
	assert_int_equal(store_event_prune(f->store, 1003, 0, 2), 2);
	assert_int_equal(store_event_prune(f->store, 1003, 0, 2), 1);
	assert_int_equal(store_event_prune(f->store, 1003, 0, 2), 0);
	assert_int_equal(count(f, "a"), 3);
}

static void test_trim(void **state)
{
	struct fixture *f = *state;
	struct seen seen = {0};
	struct store_event_query q = {.sandbox_id = "a"};
	int64_t org = make_org(f, "home");

	make_sandbox(f, "a", org);
	make_sandbox(f, "b", org);
	fill(f, "a", 6);
	fill(f, "b", 6);
	assert_int_equal(store_event_trim(f->store, "a", 6), 0);
	assert_int_equal(store_event_trim(f->store, "a", 2), 4);
	assert_int_equal(store_event_list(f->store, &q, note, &seen), 0);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.ids[0], 5); /* the newest stay */
	assert_int_equal(count(f, "b"), 6);
}

static void test_gone_with_record(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");

	make_sandbox(f, "a", org);
	make_sandbox(f, "b", org);
	fill(f, "a", 6);
	fill(f, "b", 2);
	assert_int_equal(store_sandbox_set_end(f->store, "a", STORE_END_KILLED, NULL, 500), 0);
	/* A record waits for its events, of which there may be many. */
	assert_int_equal(store_sandbox_prune(f->store, 1000, 10), 0);
	assert_int_equal(store_event_prune(f->store, 0, 1000, 4), 4);
	assert_int_equal(store_sandbox_prune(f->store, 1000, 10), 0);
	assert_int_equal(store_event_prune(f->store, 0, 1000, 4), 2);
	assert_int_equal(store_sandbox_prune(f->store, 1000, 10), 1);
	assert_int_equal(count(f, "a"), 0);
	assert_int_equal(count(f, "b"), 2);
	/* Numbers are not used again. */
	fill(f, "b", 1);

	struct seen seen = {0};
	struct store_event_query q = {.sandbox_id = "b", .after_id = 8};

	assert_int_equal(store_event_list(f->store, &q, note, &seen), 0);
	assert_int_equal(seen.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(test_insert_and_list),
		store_test(test_unknown_sandbox),
		store_test(test_prune_by_age),
		store_test(test_trim),
		store_test(test_gone_with_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
