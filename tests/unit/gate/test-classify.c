#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/flow/classify.h"

static enum traffic of(const char *text, bool waited)
{
	return classify((const uint8_t *)text, strlen(text), waited);
}

/* What any server might take for a request is read as one. */
static void test_requests(void **state)
{
	static const char *const texts[] = {
		"GET / HTTP/1.1\r\n", "get / http/1.1\n", "\r\n\r\nGET / HTTP/1.1\r\n",
		"GET /\r\n", /* HTTP/0.9 */
		"FOO\t/ HTTP/1.0\r\n", "POST /x HTTP/9.9 junk\r\n", "CONNECT a:1 HTTP/1.1\r\n",
		"GET  http://a/ HTTP/1.1\r\nHost: a", " GET / HTTP/1.1\r\n", /* Python */
		"\r\n\xa0\x1cGET\xa0/x\r\n", "G!T / HTTP/1.1\r\n",           /* h2o */
		"{\"a\": HTTP/1.1\r\n",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n", /* nginx */
	};

	for (size_t i = 0; i < array_len(texts); i++)
		assert_int_equal(of(texts[i], false), TRAFFIC_HTTP1);
}

static void test_others(void **state)
{
	static const char *const texts[] = {
		"SSH-2.0-client\r\n",
		"*1\r\n$4\r\nPING\r\n",
		"PING\r\n",
		"EHLO me\r\n",
		"\x01\x02",
		"{\"a\":1}",
		"0011223344556677889900112233445566 x",
		"{\"a\":\"/http/1\"}\n",
		"SET http://a/b\r\n",
	};

	for (size_t i = 0; i < array_len(texts); i++)
		assert_int_equal(of(texts[i], false), TRAFFIC_OTHER);
}

static void test_prefixes_wait(void **state)
{
	static const char request[] = "GET /some/path HTTP/1.1";
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	char text[64];

	assert_int_equal(of("", false), TRAFFIC_UNKNOWN);
	for (size_t n = 1; n < strlen(request); n++) {
		memcpy(text, request, n);
		text[n] = '\0';
		assert_int_equal(of(text, false), TRAFFIC_UNKNOWN);
		assert_int_equal(of(text, true), n > 3 ? TRAFFIC_HTTP1 : TRAFFIC_OTHER);
	}
	for (size_t n = 1; n < strlen(preface); n++) {
		memcpy(text, preface, n);
		text[n] = '\0';
		assert_int_equal(of(text, false), TRAFFIC_UNKNOWN);
	}
	assert_int_equal(of(preface, false), TRAFFIC_HTTP2);
}

static void test_tls(void **state)
{
	static const uint8_t hello[] = {0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3};

	assert_int_equal(classify(hello, sizeof(hello), false), TRAFFIC_TLS);
	assert_int_equal(classify(hello, 1, false), TRAFFIC_UNKNOWN);
	assert_int_equal(classify(hello, 1, true), TRAFFIC_OTHER);
}

static void test_endless_line(void **state)
{
	char text[CLASSIFY_LINE_MAX + 8];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(of(text, false), TRAFFIC_OTHER);
	memcpy(text, "GET /", 5);
	assert_int_equal(of(text, false), TRAFFIC_HTTP1);
}

/* What was taken for something else in the middle of a line is looked at until the line is whole.
 */
static void test_late_lines(void **state)
{
	static const struct {
		const char *text;
		int late;
	} cases[] = {
		{"GE", -EAGAIN},
		{"GET / HTTP/1.1\r", -EAGAIN},
		{"GET / HTTP/1.1\r\n", 1},
		{"\r\n", -EAGAIN},
		{"", -EAGAIN},
		{"\r\n \nX@Y / http/1.0\n", 1},
		{"EHLO me\r\nGET / HTTP/1.1\r\n", 0},
	};
	char *text = mem_zalloc(CLASSIFY_LATE_MAX);

	for (size_t i = 0; i < array_len(cases); i++)
		assert_int_equal(
			classify_late((const uint8_t *)cases[i].text, strlen(cases[i].text)),
			cases[i].late);
	assert_int_equal(classify_late((uint8_t *)text, CLASSIFY_LATE_MAX - 1), -EAGAIN);
	assert_int_equal(classify_late((uint8_t *)text, CLASSIFY_LATE_MAX), 0);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_prefixes_wait),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_endless_line),
		cmocka_unit_test(test_late_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
