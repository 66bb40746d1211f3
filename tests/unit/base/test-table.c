#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/table.h"

struct thing {
	struct table_entry entry;
	char name[24];
	int visits;
};

static void test_empty(void **state)
{
	struct table t = {0};

	table_done(&t);
	table_init(&t);
	assert_null(table_find_u64(&t, 1));
	assert_null(table_find_str(&t, ""));
	assert_null(table_any(&t));
	assert_null(table_next(&t, NULL));
	table_done(&t);
}

static void test_numbers(void **state)
{
	enum { COUNT = 5000 };
	struct thing *things = mem_zalloc_array(COUNT, sizeof(*things));
	struct thing extra;
	struct table t;

	table_init(&t);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(table_insert_u64(&t, &things[i].entry, (uint64_t)i << 40), 0);
	assert_int_equal(t.count, COUNT);
	assert_true(t.size >= COUNT / 2);
	assert_int_equal(table_insert_u64(&t, &extra.entry, 0), -EEXIST);
	assert_int_equal(t.count, COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		assert_ptr_equal(table_find_u64(&t, (uint64_t)i << 40), &things[i].entry);
	assert_null(table_find_u64(&t, 1));
	for (unsigned i = 0; i < COUNT; i += 2)
		table_remove(&t, &things[i].entry);
	for (unsigned i = 0; i < COUNT; i++) {
		struct table_entry *e = table_find_u64(&t, (uint64_t)i << 40);

		assert_ptr_equal(e, i % 2 == 0 ? NULL : &things[i].entry);
	}
	assert_int_equal(table_insert_u64(&t, &things[0].entry, 0), 0);
	assert_ptr_equal(table_find_u64(&t, 0), &things[0].entry);
	table_done(&t);
	free(things);
}

static void test_names(void **state)
{
	enum { COUNT = 3000 };
	struct thing *things = mem_zalloc_array(COUNT, sizeof(*things));
	struct thing extra;
	struct table t;
	char name[24];

	table_init(&t);
	for (int i = 0; i < COUNT; i++) {
		/* All lengths around the hash's word size. */
		snprintf(things[i].name, sizeof(things[i].name), "%*d", 1 + i % 20, i);
		int r = table_insert_str(&t, &things[i].entry, things[i].name);
		assert_true(r == 0 || r == -EEXIST);
	}
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "%s", things[i].name);
		struct table_entry *e = table_find_str(&t, name);
		assert_non_null(e);
		assert_string_equal(e->name, name);
	}
	assert_int_equal(table_insert_str(&t, &extra.entry, "0"), -EEXIST);
	assert_null(table_find_str(&t, "absent"));
	assert_null(table_find_str(&t, ""));
	assert_int_equal(table_insert_str(&t, &extra.entry, ""), 0);
	assert_ptr_equal(table_find_str(&t, ""), &extra.entry);
	table_done(&t);
	free(things);
}

/* Entries forced into one slot, as an attacker who knew the seed could do it. */
static void test_one_slot(void **state)
{
	struct thing things[10];
	struct table t;
	unsigned found = 0;
	uint64_t key = 0;

	table_init(&t);
	struct thing probe;
	assert_int_equal(table_insert_u64(&t, &probe.entry, UINT64_MAX), 0);
	while (found < 10) {
		struct thing *thing = &things[found];

		assert_int_equal(table_insert_u64(&t, &thing->entry, key++), 0);
		if (((thing->entry.hash ^ probe.entry.hash) & (t.size - 1)) == 0)
			found++;
		else
			table_remove(&t, &thing->entry);
	}
	for (int i = 0; i < 10; i++)
		assert_ptr_equal(table_find_u64(&t, things[i].entry.number), &things[i].entry);
	/* First, last and middle of the chain. */
	table_remove(&t, &things[9].entry);
	table_remove(&t, &probe.entry);
	table_remove(&t, &things[4].entry);
	for (int i = 0; i < 9; i++)
		assert_ptr_equal(table_find_u64(&t, things[i].entry.number),
			i == 4 ? NULL : &things[i].entry);
	table_done(&t);
}

static void test_seeds_differ(void **state)
{
	struct table a, b;

	table_init(&a);
	table_init(&b);
	assert_memory_not_equal(a.seed, b.seed, sizeof(a.seed));
	table_done(&a);
	table_done(&b);
}

static void test_iteration(void **state)
{
	enum { COUNT = 500 };
	struct thing *things = mem_zalloc_array(COUNT, sizeof(*things));
	struct table t;

	table_init(&t);
	for (unsigned i = 0; i < COUNT; i++)
		table_insert_u64(&t, &things[i].entry, i);
	for (struct table_entry *e = table_next(&t, NULL), *next; e != NULL; e = next) {
		struct thing *thing = container_of(e, struct thing, entry);

		next = table_next(&t, e);
		thing->visits++;
		if (e->number % 3 == 0)
			table_remove(&t, e);
	}
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(things[i].visits, 1);
	assert_int_equal(t.count, COUNT - (COUNT + 2) / 3);
	while (table_any(&t) != NULL)
		table_remove(&t, table_any(&t));
	assert_int_equal(t.count, 0);
	table_done(&t);
	free(things);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_one_slot),
		cmocka_unit_test(test_seeds_differ),
		cmocka_unit_test(test_iteration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
