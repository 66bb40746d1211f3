#include "unit.h"

#include "base/list.h"
#include "base/mem.h"

struct item {
	int value;
	struct list node;
};

static int sum_in_order(struct list *head)
{
	struct list *pos;
	int digits = 0;

	list_for_each (pos, head)
		digits = digits * 10 + container_of(pos, struct item, node)->value;
	return digits;
}

static void test_order(void **state)
{
	struct list head = LIST_INIT(head);
	struct item items[] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};

	assert_true(list_empty(&head));
	assert_null(list_first(&head, struct item, node));
	list_push_back(&head, &items[1].node);
	list_push_back(&head, &items[2].node);
	list_push_front(&head, &items[0].node);
	list_insert_before(&items[2].node, &items[3].node);
	assert_int_equal(sum_in_order(&head), 1243);
	assert_ptr_equal(list_first(&head, struct item, node), &items[0]);
	list_del(&items[3].node);
	list_del(&items[0].node);
	assert_int_equal(sum_in_order(&head), 23);
}

static void test_delete_is_repeatable(void **state)
{
	struct list head = LIST_INIT(head);
	struct item zeroed = {0};
	struct item item = {.value = 5};

	list_del(&zeroed.node);
	assert_true(list_empty(&zeroed.node));
	list_push_back(&head, &item.node);
	assert_false(list_empty(&item.node));
	list_del(&item.node);
	assert_true(list_empty(&item.node));
	list_del(&item.node);
	assert_true(list_empty(&head));
	list_push_back(&head, &item.node);
	assert_int_equal(sum_in_order(&head), 5);
}

static void test_removal_while_iterating(void **state)
{
	struct list head = LIST_INIT(head);
	struct item items[9];
	struct list *pos, *tmp;

	for (int i = 0; i < 9; i++) {
		items[i].value = i + 1;
		list_push_back(&head, &items[i].node);
	}
	list_for_each_safe (pos, tmp, &head) {
		if (container_of(pos, struct item, node)->value % 2 == 0)
			list_del(pos);
	}
	assert_int_equal(sum_in_order(&head), 13579);
	list_for_each_safe (pos, tmp, &head)
		list_del(pos);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_delete_is_repeatable),
		cmocka_unit_test(test_removal_while_iterating),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
