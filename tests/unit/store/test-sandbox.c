#include "fixture.h"

#include <errno.h>

static int64_t make_org(struct fixture *f, const char *slug)
{
	struct store_org org;

	assert_int_equal(store_org_create(f->store, slug, &org, NULL), 0);
	return org.id;
}

static struct store_sandbox example(const char *id, int64_t org, int64_t created_ms)
{
	struct store_sandbox rec = {
		.org_id = org,
		.region = "ord",
		.level = "namespace",
		.memory_mb = 1280,
		.status = STORE_STARTING,
		.session = true,
		.created_ms = created_ms,
	};

	snprintf(rec.id, sizeof(rec.id), "%s", id);
	return rec;
}

static void insert(struct fixture *f, const char *id, int64_t org, int64_t created_ms)
{
	struct store_sandbox rec = example(id, org, created_ms);

	assert_int_equal(store_sandbox_insert(f->store, &rec), 0);
}

static void test_round_trip(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");
	struct store_sandbox rec = example("sbx_ord_1", org, 1000);
	struct store_sandbox got;

	rec.stop_at_ms = 9000;
	rec.labels[0] = (struct store_label){(char *)"team", (char *)"x y"};
	rec.labels[1] = (struct store_label){(char *)"a", (char *)""};
	rec.label_count = 2;
	assert_int_equal(store_sandbox_insert(f->store, &rec), 0);
	assert_int_equal(store_sandbox_insert(f->store, &rec), -EEXIST);
	assert_int_equal(store_sandbox_find(f->store, "sbx_ord_1", org, &got), 0);
	assert_string_equal(got.id, rec.id);
	assert_int_equal(got.org_id, org);
	assert_string_equal(got.region, "ord");
	assert_string_equal(got.level, "namespace");
	assert_int_equal(got.memory_mb, 1280);
	assert_int_equal(got.status, STORE_STARTING);
	assert_int_equal(got.end_reason, STORE_END_NONE);
	assert_string_equal(got.end_detail, "");
	assert_true(got.session);
	assert_int_equal(got.created_ms, 1000);
	assert_int_equal(got.stop_at_ms, 9000);
	assert_int_equal(got.stopped_ms, 0);
	assert_int_equal(got.label_count, 2);
	assert_string_equal(got.labels[0].key, "team");
	assert_string_equal(got.labels[0].value, "x y");
	assert_string_equal(got.labels[1].key, "a");
	assert_string_equal(got.labels[1].value, "");
	store_sandbox_done(&got);
	assert_int_equal(store_sandbox_find(f->store, "sbx_ord_1", 0, &got), 0);
	store_sandbox_done(&got);
	assert_int_equal(store_sandbox_find(f->store, "sbx_ord_1", org + 1, &got), -ENOENT);
	assert_int_equal(store_sandbox_find(f->store, "sbx_ord_2", 0, &got), -ENOENT);
}

static void test_bad_records(void **state)
{
	struct fixture *f = *state;
	struct store_sandbox rec = example("sbx_ord_1", make_org(f, "home"), 1);
	struct store_sandbox got;

	/* The failing label takes its record along. */
	rec.labels[0] = rec.labels[1] = (struct store_label){(char *)"k", (char *)"v"};
	rec.label_count = 2;
	assert_int_equal(store_sandbox_insert(f->store, &rec), -EEXIST);
	assert_int_equal(store_sandbox_find(f->store, "sbx_ord_1", 0, &got), -ENOENT);
	rec.label_count = STORE_LABELS_MAX + 1;
	assert_int_equal(store_sandbox_insert(f->store, &rec), -EINVAL);
	rec.label_count = 0;
	rec.org_id = 77;
	assert_int_equal(store_sandbox_insert(f->store, &rec), -EINVAL);
	rec = example("", 1, 1);
	assert_int_equal(store_sandbox_insert(f->store, &rec), -EINVAL);
}

static void test_life(void **state)
{
	struct fixture *f = *state;
	struct store_sandbox got;

	insert(f, "s1", make_org(f, "home"), 1);
	assert_int_equal(store_sandbox_set_running(f->store, "s1"), 0);
	assert_int_equal(store_sandbox_set_stop_at(f->store, "s1", 5000), 0);
	assert_int_equal(store_sandbox_find(f->store, "s1", 0, &got), 0);
	assert_int_equal(got.status, STORE_RUNNING);
	assert_int_equal(got.stop_at_ms, 5000);
	store_sandbox_done(&got);
	assert_int_equal(store_sandbox_set_end(f->store, "s1", STORE_END_OOM, "sh", 4000), 0);
	/* The first reason stays. */
	assert_int_equal(
		store_sandbox_set_end(f->store, "s1", STORE_END_KILLED, "api", 4001), -EALREADY);
	assert_int_equal(store_sandbox_set_running(f->store, "s1"), -EALREADY);
	assert_int_equal(store_sandbox_set_stop_at(f->store, "s1", 1), -EALREADY);
	assert_int_equal(store_sandbox_find(f->store, "s1", 0, &got), 0);
	assert_int_equal(got.status, STORE_STOPPED);
	assert_int_equal(got.end_reason, STORE_END_OOM);
	assert_string_equal(got.end_detail, "sh");
	assert_int_equal(got.stopped_ms, 4000);
	assert_int_equal(got.stop_at_ms, 5000);
	store_sandbox_done(&got);
	assert_int_equal(store_sandbox_set_end(f->store, "s2", STORE_END_OOM, NULL, 1), -ENOENT);
	assert_int_equal(store_sandbox_set_running(f->store, "s2"), -ENOENT);
	assert_int_equal(store_sandbox_set_stop_at(f->store, "s2", 1), -ENOENT);
	assert_int_equal(store_sandbox_set_end(f->store, "s1", STORE_END_NONE, NULL, 1), -EINVAL);
	assert_int_equal(store_sandbox_set_end(f->store, "s1", STORE_END_COUNT, NULL, 1), -EINVAL);
}

static void test_long_detail(void **state)
{
	struct fixture *f = *state;
	char detail[301] = "";
	struct store_sandbox got;

	insert(f, "s1", make_org(f, "home"), 1);
	for (int i = 0; i < 100; i++)
		memcpy(detail + (size_t)i * 3, "\xe2\x82\xac", 3);
	assert_int_equal(store_sandbox_set_end(f->store, "s1", STORE_END_CRASHED, detail, 1), 0);
	assert_int_equal(store_sandbox_find(f->store, "s1", 0, &got), 0);
	assert_int_equal(strlen(got.end_detail), 126);
	store_sandbox_done(&got);
}

static void test_reason_names(void **state)
{
	assert_string_equal(store_end_reason_name(STORE_END_NONE), "");
	assert_string_equal(store_end_reason_name(STORE_END_KILLED), "killed-by");
	for (int i = 1; i < STORE_END_COUNT; i++)
		assert_true(strlen(store_end_reason_name((enum store_end_reason)i)) > 0);
	assert_string_equal(store_end_reason_name(STORE_END_COUNT), "");
}

struct seen {
	char text[256]; /* ids with a blank between */
	char last[STORE_ID_SIZE];
	int64_t last_ms;
	int count;
	int stop_at;
};

static int see(const struct store_sandbox *rec, void *data)
{
	struct seen *seen = data;

	snprintf(seen->text + strlen(seen->text), sizeof(seen->text) - strlen(seen->text), "%s%s",
		seen->count > 0 ? " " : "", rec->id);
	memcpy(seen->last, rec->id, sizeof(rec->id));
	seen->last_ms = rec->created_ms;
	return ++seen->count == seen->stop_at ? 7 : 0;
}

static void expect_list(struct fixture *f, int64_t org, const struct store_label *labels, size_t n,
	int64_t since, const char *want)
{
	struct seen seen = {0};

	assert_int_equal(
		store_sandbox_list(f->store, org, labels, n, since, 0, NULL, 0, see, &seen), 0);
	assert_string_equal(seen.text, want);
}

static void test_list(void **state)
{
	struct fixture *f = *state;
	int64_t one = make_org(f, "one");
	int64_t two = make_org(f, "two");
	struct seen seen = {.stop_at = 2};

	insert(f, "a", one, 10);
	insert(f, "b", two, 11);
	insert(f, "c", one, 12);
	insert(f, "d", one, 12); /* in the same millisecond */
	insert(f, "e", one, 9);
	expect_list(f, one, NULL, 0, 0, "d c a e");
	expect_list(f, two, NULL, 0, 0, "b");
	expect_list(f, 0, NULL, 0, 0, "d c b a e");
	expect_list(f, 99, NULL, 0, 0, "");
	assert_int_equal(store_sandbox_set_end(f->store, "a", STORE_END_KILLED, NULL, 500), 0);
	expect_list(f, one, NULL, 0, 500, "d c a e");
	expect_list(f, one, NULL, 0, 501, "d c e");
	assert_int_equal(store_sandbox_list(f->store, one, NULL, 0, 0, 0, NULL, 0, see, &seen), 7);
	assert_string_equal(seen.text, "d c");
}

static void insert_labelled(struct fixture *f, const char *id, int64_t org,
	const struct store_label *labels, size_t count)
{
	struct store_sandbox rec = example(id, org, 1);

	for (size_t i = 0; i < count; i++)
		rec.labels[i] = labels[i];
	rec.label_count = count;
	assert_int_equal(store_sandbox_insert(f->store, &rec), 0);
}

#define L(k, v) \
	{ \
		(char *)(k), (char *)(v) \
	}

static void test_labels(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");
	const struct store_label five[] = {
		L("team", "x"), L("env", "dev"), L("c", "3"), L("d", "4"), L("e", "5")};
	const struct store_label one[] = {L("team", "y")};
	const struct store_label swapped[] = {L("x", "team")};
	const struct store_label twice[] = {L("team", "x"), L("team", "x"), L("team", "x"),
		L("team", "x"), L("team", "x"), L("team", "x"), L("env", "dev")};
	const struct store_label both[] = {L("team", "x"), L("team", "y")};
	const struct store_label six[] = {L("team", "x"), L("env", "dev"), L("c", "3"), L("d", "4"),
		L("e", "5"), L("f", "6")};
	const struct store_label quote[] = {L("team", "x' OR 1=1 --")};

	insert_labelled(f, "a", org, five, 5);
	insert_labelled(f, "b", org, one, 1);
	insert_labelled(f, "c", org, NULL, 0);
	expect_list(f, org, NULL, 0, 0, "c b a");
	expect_list(f, org, five, 1, 0, "a");
	expect_list(f, org, five, 5, 0, "a");
	expect_list(f, org, one, 1, 0, "b");
	expect_list(f, org, swapped, 1, 0, "");
	expect_list(f, org, twice, array_len(twice), 0, "a");
	expect_list(f, org, both, 2, 0, "");
	expect_list(f, org, six, 6, 0, "");
	expect_list(f, org, quote, 1, 0, "");
}

/* Pages stay in order and complete while newer records come and listed ones end. */
static void test_pages(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");
	struct seen seen = {0};
	char id[16];

	for (int i = 0; i < 9; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		insert(f, id, org, 100 + i / 3); /* three in each millisecond */
	}
	assert_int_equal(store_sandbox_list(f->store, org, NULL, 0, 0, 0, NULL, 4, see, &seen), 0);
	assert_string_equal(seen.text, "s8 s7 s6 s5");
	insert(f, "t1", org, 200);
	assert_int_equal(store_sandbox_set_end(f->store, "s5", STORE_END_KILLED, NULL, 300), 0);
	seen.text[0] = '\0';
	seen.count = 0;
	assert_int_equal(store_sandbox_list(f->store, org, NULL, 0, 301, seen.last_ms, seen.last, 4,
				 see, &seen),
		0);
	assert_string_equal(seen.text, "s4 s3 s2 s1");
	seen.text[0] = '\0';
	seen.count = 0;
	assert_int_equal(store_sandbox_list(f->store, org, NULL, 0, 301, seen.last_ms, seen.last, 4,
				 see, &seen),
		0);
	assert_string_equal(seen.text, "s0");
}

static void test_end_all(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");
	struct store_sandbox got;

	insert(f, "a", org, 1);
	insert(f, "b", org, 2);
	insert(f, "c", org, 3);
	assert_int_equal(store_sandbox_set_end(f->store, "b", STORE_END_TIMEOUT, NULL, 10), 0);
	assert_int_equal(
		store_sandbox_end_all(f->store, STORE_END_HOST_RESTART, "was killed", 20), 2);
	assert_int_equal(store_sandbox_end_all(f->store, STORE_END_HOST_RESTART, "again", 30), 0);
	assert_int_equal(store_sandbox_find(f->store, "a", 0, &got), 0);
	assert_int_equal(got.end_reason, STORE_END_HOST_RESTART);
	assert_string_equal(got.end_detail, "was killed");
	assert_int_equal(got.stopped_ms, 20);
	store_sandbox_done(&got);
	assert_int_equal(store_sandbox_find(f->store, "b", 0, &got), 0);
	assert_int_equal(got.end_reason, STORE_END_TIMEOUT);
	store_sandbox_done(&got);
}

static void test_prune(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");
	const struct store_label labels[] = {L("k", "v")};
	char id[16];

	for (int i = 0; i < 6; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		insert_labelled(f, id, org, labels, 1);
		if (i != 5)
			assert_int_equal(store_sandbox_set_end(
						 f->store, id, STORE_END_KILLED, NULL, 100 + i),
				0);
	}
	assert_int_equal(store_sandbox_prune(f->store, 104, 2), 2);
	expect_list(f, org, NULL, 0, 0, "s5 s4 s3 s2");
	assert_int_equal(store_sandbox_prune(f->store, 104, 100), 2);
	expect_list(f, org, labels, 1, 0, "s5 s4");
	assert_int_equal(store_sandbox_prune(f->store, 104, 100), 0);
	/* Labels went with their records. */
	insert_labelled(f, "s0", org, NULL, 0);
	expect_list(f, org, labels, 1, 0, "s5 s4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(test_round_trip),
		store_test(test_bad_records),
		store_test(test_life),
		store_test(test_long_detail),
		cmocka_unit_test(test_reason_names),
		store_test(test_list),
		store_test(test_labels),
		store_test(test_pages),
		store_test(test_end_all),
		store_test(test_prune),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
