#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "wire/http1.h"

static struct http1_view text_view(const char *s)
{
	return (struct http1_view){s, strlen(s)};
}

static void test_percent_decode(void **state)
{
	static const struct {
		const char *text;
		const char *path; /* NULL: refused */
		const char *form;
	} cases[] = {
		{"", "", ""},
		{"abc", "abc", "abc"},
		{"a%20b", "a b", "a b"},
		{"a+b", "a+b", "a b"},
		{"%2B%2b", "++", "++"},
		{"%2f%2e%2E", "/..", "/.."},
		{"%25", "%", "%"},
		{"%2541", "%41", "%41"},
		{"%c3%a9", "\xc3\xa9", "\xc3\xa9"},
		{"%", NULL, NULL},
		{"a%", NULL, NULL},
		{"a%2", NULL, NULL},
		{"%2g", NULL, NULL},
		{"%g2", NULL, NULL},
		{"%%20", NULL, NULL},
		{"% 20", NULL, NULL},
		{"%+2", NULL, NULL},
		{"%00", NULL, NULL},
		{"a%00b", NULL, NULL},
	};

	for (size_t i = 0; i < 2 * array_len(cases); i++) {
		struct http1_view v = text_view(cases[i / 2].text);
		const char *wanted = i % 2 ? cases[i / 2].form : cases[i / 2].path;
		auto_free char *out = NULL;

		assert_int_equal(http1_percent_decode(&v, i % 2, &out), wanted ? 0 : -EINVAL);
		if (wanted)
			assert_string_equal(out, wanted);
		else
			assert_null(out);
	}
}

/* The end of the view ends an escape, whatever lies behind it. */
static void test_percent_decode_view_end(void **state)
{
	struct http1_view v = {"a%20b", 3};
	char *out = NULL;

	assert_int_equal(http1_percent_decode(&v, false, &out), -EINVAL);
	v.len = 0;
	assert_int_equal(http1_percent_decode(&v, false, &out), 0);
	assert_string_equal(out, "");
	free(out);
}

static void test_query(void **state)
{
	static const struct {
		const char *query;
		const char *parts; /* key>value; */
	} cases[] = {
		{"", ""},
		{"&", ""},
		{"a=b", "a>b;"},
		{"a=b&c=d", "a>b;c>d;"},
		{"a", "a>;"},
		{"a=", "a>;"},
		{"=a", ">a;"},
		{"=", ">;"},
		{"a=b=c", "a>b=c;"},
		{"&&a=b&&c&", "a>b;c>;"},
		{"a&=b&c", "a>;>b;c>;"},
		{"limit=10&labels.x=%20", "limit>10;labels.x>%20;"},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct http1_view query = text_view(cases[i].query);
		struct http1_view key;
		struct http1_view value;
		auto_buf struct buf parts = {.max = 100};
		size_t cursor = 0;

		while (http1_query_next(&query, &cursor, &key, &value))
			assert_int_equal(buf_printf(&parts, "%.*s>%.*s;", (int)key.len, key.data,
						 (int)value.len, value.data),
				0);
		assert_int_equal(buf_append_byte(&parts, '\0'), 0);
		assert_string_equal(buf_data(&parts), cases[i].parts);
		assert_false(http1_query_next(&query, &cursor, &key, &value));
	}
}

static void test_answer(void **state)
{
	static char text[512];
	auto_buf struct buf b;
	struct tm tm = {0};

	buf_init(&b, sizeof(text) - 1);
	assert_int_equal(http1_put_status(&b, 404), 0);
	assert_int_equal(http1_put_header(&b, "content-type", "application/json"), 0);
	assert_int_equal(http1_put_header(&b, "x-empty", ""), 0);
	assert_int_equal(http1_put_header(&b, "x-utf-8", "\xc3\xa9\tx"), 0);
	assert_int_equal(http1_put_end(&b), 0);
	memcpy(text, buf_data(&b), b.len);
	assert_memory_equal(text, "HTTP/1.1 404 Not Found\r\nDate: ", 30);
	const char *rest = strptime(text + 30, "%a, %d %b %Y %T GMT", &tm);
	assert_non_null(rest);
	assert_true(labs((long)(timegm(&tm) - time(NULL))) <= 1);
	assert_string_equal(rest, "\r\ncontent-type: application/json\r\nx-empty: \r\n"
				  "x-utf-8: \xc3\xa9\tx\r\n\r\n");
	assert_int_equal(rest - text, 30 + 29);
}

static void test_header_injection(void **state)
{
	static const char *const names[] = {"", "a b", "a:", "a\r\n", "\xc3\xa9", "a\t"};
	static const char *const values[] = {
		"a\r\nb: c", "a\n", "\r", "\x01", "\x7f", "a\vb", "\x1b[0m"};
	auto_buf struct buf b;

	buf_init(&b, 1000);
	for (size_t i = 0; i < array_len(names); i++)
		assert_int_equal(http1_put_header(&b, names[i], "v"), -EINVAL);
	for (size_t i = 0; i < array_len(values); i++)
		assert_int_equal(http1_put_header(&b, "name", values[i]), -EINVAL);
	assert_int_equal(http1_put_status(&b, 99), -EINVAL);
	assert_int_equal(http1_put_status(&b, 1000), -EINVAL);
	assert_int_equal(b.len, 0);
}

static void test_answer_too_long(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 8);
	assert_int_equal(http1_put_status(&b, 200), -ENOBUFS);
	assert_int_equal(http1_put_header(&b, "name", "value"), -ENOBUFS);
	assert_int_equal(b.len, 0);
	assert_int_equal(http1_put_end(&b), 0);
}

static void test_status_text(void **state)
{
	assert_string_equal(http1_status_text(200), "OK");
	assert_string_equal(http1_status_text(101), "Switching Protocols");
	assert_string_equal(http1_status_text(599), "Unknown");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percent_decode),
		cmocka_unit_test(test_percent_decode_view_end),
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_header_injection),
		cmocka_unit_test(test_answer_too_long),
		cmocka_unit_test(test_status_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
