#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "server/fetch_command.h"

static struct rpc_fetch request(const char *method, const char *url)
{
	return (struct rpc_fetch){
		.url = (char *)(uintptr_t)url,
		.method = mem_strdup(method),
		.abort_id = -1,
		.body_stream_id = -1,
		.pid = -1,
	};
}

/* --- checking --------------------------------------------------------------------------------- */

static void expect_wrong(struct rpc_fetch *p, const char *text)
{
	auto_free char *wrong = fetch_check(p);

	if (text == NULL) {
		assert_null(wrong);
		return;
	}
	assert_non_null(wrong);
	assert_non_null(strstr(wrong, text));
}

static void test_urls(void **state)
{
	static const struct {
		const char *url;
		bool fine;
	} rows[] = {
		{"http://a/", true},
		{"HTTPS://a", true},
		{"http://[::1]:80/x?y#z", true},
		{"http://a/\xc3\xa9", true},
		{"http://", false},
		{"http:///x", false},
		{"http://?x", false},
		{"http:/a", false},
		{"ftp://a/", false},
		{"file:///etc/passwd", false},
		{"-K/etc/passwd", false},
		{"http://a b/", false},
		{"http://a/\r\nHost: b", false},
		{"http://a/\x7f", false},
		{"", false},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct rpc_fetch p = request("GET", rows[i].url);

		expect_wrong(&p, rows[i].fine ? NULL : "Invalid URL");
		free(p.method);
	}
}

static void test_methods(void **state)
{
	static const struct {
		const char *method, *mended, *wrong;
	} rows[] = {
		{NULL, "GET", NULL},
		{"post", "POST", NULL},
		{"Delete", "DELETE", NULL},
		{"patch", "patch", NULL},
		{"X-Y", "X-Y", NULL},
		{"", NULL, "forbidden"},
		{"A B", NULL, "forbidden"},
		{"Connect", NULL, "forbidden"},
		{"TRACE", NULL, "forbidden"},
		{"track", NULL, "forbidden"},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct rpc_fetch p = request(rows[i].method, "http://a/");

		expect_wrong(&p, rows[i].wrong);
		if (rows[i].mended != NULL)
			assert_string_equal(p.method, rows[i].mended);
		free(p.method);
	}
}

static void test_bodies_that_may_not_be(void **state)
{
	struct rpc_fetch get = request("get", "http://a/"), post = request("POST", "http://a/");

	get.body_stream_id = post.body_stream_id = 1;
	expect_wrong(&get, "cannot have body");
	expect_wrong(&post, NULL);
	free(get.method);
	free(post.method);
}

static void test_headers(void **state)
{
	static const struct {
		const char *name, *value;
		bool fine;
	} rows[] = {
		{"x", "", true},
		{"x", "a\tb \xc3\xbf", true},
		{"x", "\xc4\x80", false}, /* U+0100 */
		{"x", "\xff", false},
		{"x", "a\nb", false},
		{"x", "\xc2\x85", true}, /* one byte, 0x85 */
		{"", "a", false},
		{"a:", "a", false},
		{"a b", "a", false},
		{"@file", "a", false},
		{"\xc3\xa9", "a", false},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct rpc_fetch p = request("GET", "http://a/");
		struct rpc_pair pair = {
			(char *)(uintptr_t)rows[i].name, (char *)(uintptr_t)rows[i].value};

		p.headers = (struct rpc_map){&pair, 1};
		expect_wrong(&p, rows[i].fine ? NULL : "nvalid");
		free(p.method);
	}
}

/* --- arguments -------------------------------------------------------------------------------- */

/* The arguments from --proto's value on, joined by '|'. */
static void expect_arguments(struct rpc_fetch *p, enum fetch_body body, const char *expected)
{
	struct rpc_strings args = fetch_arguments(p, body);
	auto_buf struct buf b;
	size_t i = 0;

	buf_init(&b, 65536);
	assert_string_equal(args.items[0], "-q");
	while (strcmp(args.items[i], "=http,https") != 0)
		i++;
	for (i++; i < args.count; i++)
		assert_int_equal(buf_printf(&b, "%s|", args.items[i]), 0);
	assert_int_equal(buf_append_byte(&b, 0), 0);
	assert_string_equal((char *)buf_data(&b), expected);
	fetch_arguments_done(&args);
	free(p->method);
}

#define END "-H|Expect:|-H|Content-Type:|--url|http://a/|"

static void test_arguments(void **state)
{
	static const struct {
		const char *method;
		enum fetch_body body;
		const char *expected;
	} rows[] = {
		{"GET", FETCH_NO_BODY, END},
		{"HEAD", FETCH_NO_BODY, "--head|" END},
		{"DELETE", FETCH_NO_BODY, "--request|DELETE|" END},
		{"POST", FETCH_NO_BODY, "--data-binary||" END},
		{"PUT", FETCH_NO_BODY, "--data-binary||--request|PUT|" END},
		{"POST", FETCH_WHOLE_BODY, "--data-binary|@-|" END},
		{"PATCH", FETCH_WHOLE_BODY, "--data-binary|@-|--request|PATCH|" END},
		{"PUT", FETCH_STREAMED_BODY, "--upload-file|-|" END},
		{"POST", FETCH_STREAMED_BODY, "--upload-file|-|--request|POST|" END},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct rpc_fetch p = request(rows[i].method, "http://a/");

		p.redirect = RPC_REDIRECT_MANUAL;
		expect_arguments(&p, rows[i].body, rows[i].expected);
	}
}

static void test_arguments_for_redirects(void **state)
{
	struct rpc_fetch p = request("GET", "http://a/");

	expect_arguments(
		&p, FETCH_NO_BODY, "--location|--max-redirs|20|--proto-redir|=http,https|" END);
}

static void test_arguments_for_headers(void **state)
{
	struct rpc_pair pairs[] = {{(char *)"A", (char *)"\xc3\xa9"}, {(char *)"b", (char *)""},
		{(char *)"Connection", (char *)"x"}, {(char *)"Content-Length", (char *)"5"},
		{(char *)"EXPECT", (char *)"100-continue"}, {(char *)"Content-Type", (char *)"t"},
		{(char *)"A", (char *)"2"}};
	struct rpc_fetch p = request("GET", "http://a/");

	p.redirect = RPC_REDIRECT_MANUAL;
	p.headers = (struct rpc_map){pairs, array_len(pairs)};
	expect_arguments(&p, FETCH_NO_BODY,
		"-H|A: \xe9|-H|b;|-H|Content-Type: t|-H|A: 2|-H|Expect:|--url|http://a/|");
}

/* --- answers ---------------------------------------------------------------------------------- */

static struct http1_answer parse(const char *text)
{
	const struct http1_view get = {"GET", 3};
	const char *reason = NULL;
	struct http1_answer head;

	assert_true(http1_parse_answer_head(text, strlen(text), 65536, get, &head, &reason) > 0);
	return head;
}

static void test_answer(void **state)
{
	struct http1_answer head =
		parse("HTTP/1.1 200 Tr\xe8s bien\r\nX-A: \xe9\r\nSet-Cookie: a\r\n"
		      "Set-Cookie: b\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
		      "Keep-Alive: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
	struct rpc_fetched r;

	fetch_answer(&head, &r);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.body_stream_id, -1);
	assert_string_equal(r.status_text, "Tr\xc3\xa8s bien");
	assert_int_equal(r.headers.count, 3);
	assert_string_equal(r.headers.items[0].key, "x-a");
	assert_string_equal(r.headers.items[0].value, "\xc3\xa9");
	assert_string_equal(r.headers.items[1].value, "a");
	assert_string_equal(r.headers.items[2].key, "set-cookie");
	assert_string_equal(r.headers.items[2].value, "b");
	rpc_clear(&rpc_fetched_schema, &r);
}

static void test_redirects(void **state)
{
	static const struct {
		const char *text;
		bool redirect;
	} rows[] = {
		{"HTTP/1.1 302 \r\nLocation: /x\r\n\r\n", true},
		{"HTTP/1.1 308\r\nlocation: http://b/\r\n\r\n", true},
		{"HTTP/1.1 302 \r\n\r\n", false},
		{"HTTP/1.1 302 \r\nLocation:\r\n\r\n", false},
		{"HTTP/1.1 201 \r\nLocation: /x\r\n\r\n", false},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct http1_answer head = parse(rows[i].text);

		assert_int_equal(fetch_is_redirect(&head), rows[i].redirect);
	}
}

static void test_answers_without_body(void **state)
{
	struct rpc_fetch get = {.method = (char *)"GET"}, head = {.method = (char *)"HEAD"};

	assert_false(fetch_is_bodyless(&get, 200));
	assert_false(fetch_is_bodyless(&get, 206));
	assert_true(fetch_is_bodyless(&get, 204));
	assert_true(fetch_is_bodyless(&get, 205));
	assert_true(fetch_is_bodyless(&get, 304));
	assert_true(fetch_is_bodyless(&head, 200));
}

static void test_failures(void **state)
{
	static const struct {
		const char *said, *shown;
	} rows[] = {
		{"curl: (7) Failed to connect\n", "Failed to connect"},
		{"curl: (60) SSL\nMore details here: https://curl.se\n", "SSL"},
		{"no line end", "no line end"},
		{"curl: (", "curl: ("},
		{"curl: (7)", "curl: (7)"},
		{"curl: (7) ", "curl: (7) "},
		{"", "curl ended with status 3"},
		{"\n", "curl ended with status 3"},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		auto_free char *text =
			fetch_failure("http://a/", rows[i].said, strlen(rows[i].said), 3);
		auto_free char *expected =
			mem_printf("error sending request for url (http://a/): %s", rows[i].shown);

		assert_string_equal(text, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_bodies_that_may_not_be),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_arguments_for_redirects),
		cmocka_unit_test(test_arguments_for_headers),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_redirects),
		cmocka_unit_test(test_answers_without_body),
		cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
