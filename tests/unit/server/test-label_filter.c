#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "server/rest.h"

static int parse(const char *query, struct label_filter *f)
{
	struct http1_view v = {query, strlen(query)};
	struct error err = {0};

	memset(f, 0, sizeof(*f));
	return label_filter_parse(&v, f, &err);
}

static void test_accepted(void **state)
{
	static const struct {
		const char *query;
		size_t count;
		const char *key, *value; /* of the last label */
	} rows[] = {
		{"", 0, NULL, NULL},
		{"limit=5", 0, NULL, NULL},
		{"cursor=%zz", 0, NULL, NULL}, /* somebody else's to refuse */
		{"labels%5Bteam%5D=x", 1, "team", "x"},
		{"labels[a]=1&labels[b]=2+3", 2, "b", "2 3"},
		{"labels=%7B%7D", 0, NULL, NULL},
		{"labels=%7B%27team%27%3A+%27x%27%2C+%27k%27%3A+%27v+w%27%7D", 2, "k", "v w"},
		{"labels={\"it's\": 'a'}", 1, "it's", "a"},
		{"labels={'a': \"it's\"}", 1, "a", "it's"},
		{"labels={'a': '\\\\\\n\\t\\'\\x41'}", 1, "a", "\\\n\t'A"},
		{"labels={'a': '\\xe9\\u20ac\\U0001f600'}", 1, "a",
			"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"labels={'a': ''}", 1, "a", ""},
	};

	(void)state;
	for (size_t i = 0; i < array_len(rows); i++) {
		struct label_filter f;

		if (parse(rows[i].query, &f) != 0 || f.count != rows[i].count)
			fail_msg("%s: count %zu", rows[i].query, f.count);
		if (f.count > 0) {
			assert_string_equal(f.labels[f.count - 1].key, rows[i].key);
			assert_string_equal(f.labels[f.count - 1].value, rows[i].value);
		}
		label_filter_done(&f);
	}
}

static void test_refused(void **state)
{
	static const char *const rows[] = {
		"labels=x",
		"labels=",
		"labels=[]",
		"labels={'a'}",
		"labels={'a': 1}",
		"labels={'a': 'b'",
		"labels={'a': 'b'} x",
		"labels={'a': '\\q'}",
		"labels={'a': '\\ud800'}",
		"labels={'a': '\\x0'}",
		"labels={'a': '\\x00'}",
		"labels={'a",
		"labels={'a\\",
		"labels[]=x",
		"labels[a=x",
		"labels%zz=1",
		"labels[a]=%zz",
		"labels={'a': 'b' 'c': 'd'}",
	};

	(void)state;
	for (size_t i = 0; i < array_len(rows); i++) {
		struct label_filter f;
		int r = parse(rows[i], &f);

		label_filter_done(&f);
		if (r != -EINVAL)
			fail_msg("%s: %d", rows[i], r);
	}
}

static void test_too_many(void **state)
{
	char query[1024] = "";
	struct label_filter f;

	(void)state;
	for (int i = 0; i <= LABEL_FILTER_MAX; i++)
		strncat(query, "labels[a]=b&", sizeof(query) - strlen(query) - 1);
	assert_int_equal(parse(query, &f), -EINVAL);
	label_filter_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
