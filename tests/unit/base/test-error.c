#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"

static void test_set(void **state)
{
	struct error e = {0};

	assert_int_equal(error_set(&e, -ENOENT, "NOT_FOUND", "no %s", "thing"), -ENOENT);
	assert_int_equal(e.err, -ENOENT);
	assert_string_equal(e.code, "NOT_FOUND");
	assert_string_equal(e.field, "");
	assert_string_equal(e.message, "no thing");
}

static void test_set_field_replaces_all(void **state)
{
	struct error e = {0};

	error_set_field(&e, -EINVAL, "BAD", "memory", "too %s", "much");
	assert_string_equal(e.field, "memory");
	error_set(&e, -EIO, NULL, "other");
	assert_string_equal(e.field, "");
	assert_string_equal(e.code, "");
	assert_string_equal(e.message, "other");
}

static void test_nobody_wants_it(void **state)
{
	assert_int_equal(error_set(NULL, -EIO, "X", "%d", 1), -EIO);
	assert_int_equal(error_set_field(NULL, -EIO, "X", "f", "%d", 1), -EIO);
}

static void test_long_texts_are_cut(void **state)
{
	struct error e;
	char text[1000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	error_set_field(&e, -EINVAL, text, text, "%s", text);
	assert_int_equal(strlen(e.code), sizeof(e.code) - 1);
	assert_int_equal(strlen(e.field), sizeof(e.field) - 1);
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
}

static void test_names(void **state)
{
	assert_string_equal(errno_name(ENOENT), "ENOENT");
	assert_string_equal(errno_name(-ENOENT), "ENOENT");
	assert_string_equal(errno_name(EHWPOISON), "EHWPOISON");
	assert_string_equal(errno_name(EAGAIN), "EAGAIN");
	assert_null(errno_name(0));
	assert_null(errno_name(41)); /* a hole in the numbers */
	assert_null(errno_name(EHWPOISON + 1));
	assert_null(errno_name(INT_MAX));
	assert_null(errno_name(INT_MIN));
}

static void test_every_number_the_library_knows_has_a_name(void **state)
{
	for (int i = 1; i <= EHWPOISON; i++) {
		const char *expected = strerrorname_np(i);

		if (expected == NULL)
			assert_null(errno_name(i));
		else if (i != ENOTSUP) /* one number, two names */
			assert_string_equal(errno_name(i), expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_set_field_replaces_all),
		cmocka_unit_test(test_nobody_wants_it),
		cmocka_unit_test(test_long_texts_are_cut),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_number_the_library_knows_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
