#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/http1.h"

#define HEAD_MAX 16384

#define LINE "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"

/* Parses a copy of exactly the bytes there are, so that a sanitizer sees one read too many. */
static ssize_t parse(const char *head, size_t len, struct http1_request *req, char **ret_copy)
{
	const char *reason = NULL;
	char *copy = mem_dup(head, len);
	ssize_t n = http1_parse_head(copy, len, HEAD_MAX, req, &reason);

	assert_int_equal(reason != NULL, n < 0 && n != -EAGAIN);
	if (ret_copy)
		*ret_copy = copy;
	else
		free(copy);
	return n;
}

/* The verdict on a head whose bytes come one by one: that of the first call that does not ask for
 * more. *ret_len is how many bytes it took. */
static ssize_t parse_slowly(const char *head, size_t len, size_t *ret_len)
{
	static struct http1_request req;
	ssize_t n = -EAGAIN;

	for (*ret_len = 0; n == -EAGAIN && *ret_len <= len; ++*ret_len)
		n = parse(head, *ret_len, &req, NULL);
	--*ret_len;
	return n;
}

static void check_verdict(const char *name, const char *head, size_t len, ssize_t wanted)
{
	static struct http1_request req;
	size_t at;

	print_message("# %s\n", name);
	assert_int_equal(parse(head, len, &req, NULL), wanted);
	assert_int_equal(parse_slowly(head, len, &at), wanted);
	if (wanted > 0)
		assert_int_equal(at, wanted);
}

/* --- heads that are refused, and their neighbours that are not -------------------------------- */

#define OK 0 /* stands for the length of the whole text */

static const struct {
	const char *name;
	const char *head;
	size_t len;
	ssize_t verdict;
} cases[] = {
#define CASE(name, head, verdict) \
	{ \
		name, head, sizeof(head) - 1, verdict \
	}
	CASE("least", LINE HOST "\r\n", OK),
	CASE("least of 1.0", "GET / HTTP/1.0\r\n\r\n", OK),
	CASE("nothing", "", -EAGAIN),
	CASE("no empty line", LINE HOST, -EAGAIN),
	CASE("half an empty line", LINE HOST "\r", -EAGAIN),

	/* request line */
	CASE("HTTP/0.9", "GET /\r\n", -EBADMSG),
	CASE("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", -EPROTONOSUPPORT),
	CASE("HTTP/1.2", "GET / HTTP/1.2\r\n\r\n", -EPROTONOSUPPORT),
	CASE("HTTP/0.9 spelt out", "GET / HTTP/0.9\r\n\r\n", -EPROTONOSUPPORT),
	CASE("version without minor", "GET / HTTP/1\r\n" HOST "\r\n", -EBADMSG),
	CASE("version of two digits", "GET / HTTP/1.10\r\n" HOST "\r\n", -EBADMSG),
	CASE("version in lower case", "GET / http/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("other protocol", "GET / ICAP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("two blanks", "GET  / HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("two blanks later", "GET /  HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("blank at the end", "GET / HTTP/1.1 \r\n" HOST "\r\n", -EBADMSG),
	CASE("tab", "GET\t/ HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("blank in target", "GET /a b HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("blank in front", " GET / HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("empty line in front", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("TLS", "\x16\x03\x01\x02", -EBADMSG),
	CASE("NUL in method", "G\0T / HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("method is no token", "GE(T / HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("method too long", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" HOST "\r\n",
		-EBADMSG),
	CASE("long method", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" HOST "\r\n", OK),
	CASE("absolute target", "GET http://a/ HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("authority target", "CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("star", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", OK),
	CASE("star of GET", "GET * HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("star and more", "OPTIONS *a HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("fragment", "GET /#a HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("control byte in target", "GET /\x01 HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("DEL in target", "GET /\x7f HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("UTF-8 in target", "GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),

	/* line ends */
	CASE("bare LF", "GET / HTTP/1.1\nHost: a\n\n", -EBADMSG),
	CASE("bare LF in headers", LINE "Host: a\n\r\n", -EBADMSG),
	CASE("bare LF at the end", LINE HOST "\n", -EBADMSG),
	CASE("bare CR in request line", "GET /\rX HTTP/1.1\r\n" HOST "\r\n", -EBADMSG),
	CASE("bare CR in value", LINE HOST "A: b\rC: d\r\n\r\n", -EBADMSG),
	CASE("bare CR at the end", LINE HOST "A: b\r\r\n\r\n", -EBADMSG),
	CASE("bare CR in name", LINE HOST "A\rB: c\r\n\r\n", -EBADMSG),

	/* header lines */
	CASE("folded line", LINE HOST "A: b\r\n c\r\n\r\n", -EBADMSG),
	CASE("line folded with a tab", LINE HOST "A: b\r\n\tc: d\r\n\r\n", -EBADMSG),
	CASE("folded first line", LINE " Host: a\r\n\r\n", -EBADMSG),
	CASE("blank before colon", LINE "Host : a\r\n\r\n", -EBADMSG),
	CASE("tab before colon", LINE HOST "Transfer-Encoding\t: chunked\r\n\r\n", -EBADMSG),
	CASE("no colon", LINE HOST "Header\r\n\r\n", -EBADMSG),
	CASE("no name", LINE HOST ": a\r\n\r\n", -EBADMSG),
	CASE("NUL in value", LINE HOST "A: b\0c\r\n\r\n", -EBADMSG),
	CASE("NUL in name", LINE HOST "A\0: b\r\n\r\n", -EBADMSG),
	CASE("vertical tab in value", LINE HOST "A: b\vc\r\n\r\n", -EBADMSG),
	CASE("DEL in value", LINE HOST "A: b\x7f\r\n\r\n", -EBADMSG),
	CASE("tab in value", LINE HOST "A: b\tc\r\n\r\n", OK),
	CASE("Latin 1 in value", LINE HOST "A: b\xe9\r\n\r\n", OK),
	CASE("empty value", LINE HOST "A:\r\n\r\n", OK),
	CASE("quote in name", LINE HOST "\"A\": b\r\n\r\n", -EBADMSG),
	CASE("UTF-8 in name", LINE HOST "\xc3\xa9: b\r\n\r\n", -EBADMSG),

	/* Host */
	CASE("no Host", LINE "\r\n", -EBADMSG),
	CASE("two Hosts", LINE HOST HOST "\r\n", -EBADMSG),
	CASE("two Hosts in 1.0", "GET / HTTP/1.0\r\n" HOST "host: b\r\n\r\n", -EBADMSG),
	CASE("empty Host", LINE "Host:\r\n\r\n", -EBADMSG),
	CASE("list of Hosts", LINE "Host: a, b\r\n\r\n", -EBADMSG),
	CASE("Host with a path", LINE "Host: a/b\r\n\r\n", -EBADMSG),
	CASE("Host with a user", LINE "Host: u@a\r\n\r\n", -EBADMSG),
	CASE("Host with a blank", LINE "Host: a b\r\n\r\n", -EBADMSG),
	CASE("Host with port", LINE "Host: sbx.example:8000\r\n\r\n", OK),
	CASE("IPv6 Host", LINE "Host: [::1]:8000\r\n\r\n", OK),

	/* length and encoding */
	CASE("length", POST "Content-Length: 5\r\n\r\n", OK),
	CASE("length 0", POST "Content-Length: 0\r\n\r\n", OK),
	CASE("leading zeros", POST "Content-Length: 0005\r\n\r\n", OK),
	CASE("empty length", POST "Content-Length:\r\n\r\n", -EBADMSG),
	CASE("length with plus", POST "Content-Length: +5\r\n\r\n", -EBADMSG),
	CASE("length with minus", POST "Content-Length: -5\r\n\r\n", -EBADMSG),
	CASE("length in hex", POST "Content-Length: 0x5\r\n\r\n", -EBADMSG),
	CASE("length with blank", POST "Content-Length: 5 5\r\n\r\n", -EBADMSG),
	CASE("length list", POST "Content-Length: 5, 5\r\n\r\n", -EBADMSG),
	CASE("length with fraction", POST "Content-Length: 5.0\r\n\r\n", -EBADMSG),
	CASE("length 2^63", POST "Content-Length: 9223372036854775808\r\n\r\n", -EBADMSG),
	CASE("length 2^64", POST "Content-Length: 18446744073709551616\r\n\r\n", -EBADMSG),
	CASE("length of many digits", POST "Content-Length: 99999999999999999999999\r\n\r\n",
		-EBADMSG),
	CASE("same length twice", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", -EBADMSG),
	CASE("two lengths", POST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", -EBADMSG),
	CASE("length and encoding", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		-EBADMSG),
	CASE("encoding and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
		-EBADMSG),
	CASE("length and unknown encoding",
		POST "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n\r\n", -EBADMSG),
	CASE("chunked", POST "Transfer-Encoding: chunked\r\n\r\n", OK),
	CASE("Chunked", POST "transfer-encoding:  Chunked \r\n\r\n", OK),
	CASE("chunked twice",
		POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG),
	CASE("two encodings", POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
		-EBADMSG),
	CASE("chunked, chunked", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", -EBADMSG),
	CASE("chunked, gzip", POST "Transfer-Encoding: chunked, gzip\r\n\r\n", -EBADMSG),
	CASE("chunked and comma", POST "Transfer-Encoding: chunked,\r\n\r\n", -EBADMSG),
	CASE("comma and chunked", POST "Transfer-Encoding: ,chunked\r\n\r\n", -EBADMSG),
	CASE("empty encoding", POST "Transfer-Encoding:\r\n\r\n", -EBADMSG),
	CASE("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", -ENOSYS),
	CASE("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", -ENOSYS),
	CASE("chunked in quotes", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", -ENOSYS),
	CASE("chunked with parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n", -ENOSYS),
	CASE("identity", POST "Transfer-Encoding: identity\r\n\r\n", -ENOSYS),
	CASE("vertical tab and chunked", POST "Transfer-Encoding: \vchunked\r\n\r\n", -EBADMSG),
	CASE("chunked in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG),
};

static void test_cases(void **state)
{
	for (size_t i = 0; i < array_len(cases); i++) {
		ssize_t wanted = cases[i].verdict == OK ? (ssize_t)cases[i].len : cases[i].verdict;

		check_verdict(cases[i].name, cases[i].head, cases[i].len, wanted);
	}
}

/* --- what comes out --------------------------------------------------------------------------- */

#define assert_view(v, s) \
	do { \
		assert_int_equal((v).len, strlen(s)); \
		assert_memory_equal((v).data, s, strlen(s)); \
	} while (0)

static void test_fields(void **state)
{
	static const char head[] = "PUT /a/b?c=d?e HTTP/1.1\r\n"
				   "Host: sbx.example:8000\r\n"
				   "X-Empty:\r\n"
				   "X-Blank: \t value with blanks\t \r\n"
				   "Accept: a\r\n"
				   "accept: b\r\n"
				   "Content-Length: 12\r\n"
				   "Expect: 100-Continue\r\n"
				   "\r\n";
	static struct http1_request req;
	static char text[sizeof(head) + 5];
	const char *reason;

	memcpy(text, head, sizeof(head) - 1);
	memcpy(text + sizeof(head) - 1, "body\r\n", 6);
	assert_int_equal(
		http1_parse_head(text, sizeof(text), HEAD_MAX, &req, &reason), sizeof(head) - 1);
	assert_view(req.method, "PUT");
	assert_view(req.target, "/a/b?c=d?e");
	assert_view(req.path, "/a/b");
	assert_view(req.query, "c=d?e");
	assert_int_equal(req.minor, 1);
	assert_int_equal(req.body, HTTP1_BODY_LENGTH);
	assert_int_equal(req.content_length, 12);
	assert_true(req.keep_alive && req.expect_continue && !req.upgrade_websocket);
	assert_int_equal(req.header_count, 7);
	assert_view(req.headers[2].name, "X-Blank");
	assert_view(req.headers[2].value, "value with blanks");
	assert_view(*http1_header(&req, "X-EMPTY"), "");
	assert_view(*http1_header(&req, "accept"), "a");
	assert_int_equal(http1_header_count(&req, "ACCEPT"), 2);
	assert_null(http1_header(&req, "accep"));
	assert_null(http1_header(&req, "accepts"));
	assert_true(http1_header_has_token(&req, "accept", "B"));
	assert_false(http1_header_has_token(&req, "accept", ""));
	assert_true(http1_view_eq(&req.method, "PUT"));
	assert_false(http1_view_eq(&req.method, "put"));
	assert_true(http1_view_caseeq(&req.method, "put"));
	assert_false(http1_view_caseeq(&req.method, "pu"));
}

static const struct {
	const char *head;
	bool keep_alive;
	bool upgrade;
} connections[] = {
	{LINE HOST "\r\n", true, false},
	{LINE HOST "Connection: close\r\n\r\n", false, false},
	{LINE HOST "Connection: Close\r\n\r\n", false, false},
	{LINE HOST "Connection: x, close , y\r\n\r\n", false, false},
	{LINE HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n", false, false},
	{LINE HOST "Connection: closed\r\n\r\n", true, false},
	{"GET / HTTP/1.0\r\n\r\n", false, false},
	{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false},
	{"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, false},
	{LINE HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", true, true},
	{LINE HOST "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n\r\n", true, true},
	{LINE HOST "Connection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n", true, true},
	{LINE HOST "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", true, false},
	{LINE HOST "Connection: upgrade\r\n\r\n", true, false},
	{LINE HOST "Upgrade: websocket\r\n\r\n", true, false},
	{"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", false, false},
};

static void test_connections(void **state)
{
	static struct http1_request req;

	for (size_t i = 0; i < array_len(connections); i++) {
		char *copy;

		assert_true(
			parse(connections[i].head, strlen(connections[i].head), &req, &copy) > 0);
		assert_int_equal(req.keep_alive, connections[i].keep_alive);
		assert_int_equal(req.upgrade_websocket, connections[i].upgrade);
		free(copy);
	}
}

static void test_body_kinds(void **state)
{
	static struct http1_request req;
	static const struct {
		const char *head;
		enum http1_body body;
		uint64_t length;
	} kinds[] = {
		{LINE HOST "\r\n", HTTP1_BODY_NONE, 0},
		{POST "\r\n", HTTP1_BODY_NONE, 0},
		{POST "Content-Length: 0\r\n\r\n", HTTP1_BODY_LENGTH, 0},
		{LINE HOST "Content-Length: 7\r\n\r\n", HTTP1_BODY_LENGTH, 7},
		{POST "Content-Length: 9223372036854775807\r\n\r\n", HTTP1_BODY_LENGTH, INT64_MAX},
		{POST "Transfer-Encoding: CHUNKED\r\n\r\n", HTTP1_BODY_CHUNKED, 0},
	};

	for (size_t i = 0; i < array_len(kinds); i++) {
		assert_true(parse(kinds[i].head, strlen(kinds[i].head), &req, NULL) > 0);
		assert_int_equal(req.body, kinds[i].body);
		assert_int_equal(req.content_length, kinds[i].length);
	}
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_header_count(void **state)
{
	for (size_t extra = HTTP1_HEADERS_MAX - 1; extra <= HTTP1_HEADERS_MAX; extra++) {
		auto_buf struct buf head = {.max = HEAD_MAX};

		assert_int_equal(buf_append_str(&head, LINE HOST), 0);
		for (size_t i = 0; i < extra; i++)
			assert_int_equal(buf_printf(&head, "h%zu: v\r\n", i), 0);
		assert_int_equal(buf_append_str(&head, "\r\n"), 0);
		check_verdict("header count", (const char *)buf_data(&head), head.len,
			extra < HTTP1_HEADERS_MAX ? (ssize_t)head.len : -E2BIG);
	}
}

static void test_head_limit(void **state)
{
	static struct http1_request req;
	static const char head[] = LINE HOST "A: bcdefg\r\n\r\n";
	size_t len = sizeof(head) - 1;
	const char *reason = NULL;

	assert_int_equal(http1_parse_head(head, len, len, &req, &reason), len);
	assert_null(reason);
	assert_int_equal(http1_parse_head(head, len, len - 1, &req, &reason), -E2BIG);
	assert_non_null(reason);
	assert_int_equal(http1_parse_head(head, len - 1, len - 1, &req, &reason), -E2BIG);
	assert_int_equal(http1_parse_head(head, len - 2, len - 1, &req, &reason), -EAGAIN);
	/* What follows the head does not count. */
	assert_int_equal(http1_parse_head(LINE HOST "\r\nbody", sizeof(LINE HOST) + 5,
				 sizeof(LINE HOST) + 1, &req, &reason),
		sizeof(LINE HOST) + 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_body_kinds),
		cmocka_unit_test(test_header_count),
		cmocka_unit_test(test_head_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
