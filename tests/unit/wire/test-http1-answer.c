#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "wire/http1_answer.h"

#define HEAD_MAX 4096

#define VIEW(text) ((struct http1_view){text, strlen(text)})

static ssize_t parse(
	const char *method, const char *text, size_t len, struct http1_answer *ret_answer)
{
	const char *reason = NULL;
	/* Exactly as long as the bytes: a sanitizer sees what is read behind them. */
	char *copy = mem_dup(text, len);
	ssize_t n = http1_parse_answer_head(copy, len, HEAD_MAX, VIEW(method), ret_answer, &reason);

	assert_int_equal(reason != NULL, n < 0 && n != -EAGAIN);
	free(copy);
	return n;
}

/* --- verdicts --------------------------------------------------------------------------------- */

#define OK_LINE "HTTP/1.1 200 OK\r\n"

static const struct {
	const char *name;
	const char *head;
	int verdict; /* 0: accepted */
} cases[] = {
	{"least", OK_LINE "\r\n", 0},
	{"no reason", "HTTP/1.1 200 \r\n\r\n", 0},
	{"no blank behind the status", "HTTP/1.1 200\r\n\r\n", 0},
	{"reason with blanks and bytes", "HTTP/1.1 404 not \xe2\x82\xac here\r\n\r\n", 0},
	{"1.0", "HTTP/1.0 200 OK\r\n\r\n", 0},
	{"204 of length 0", "HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n", 0},
	{"304 with a length", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", 0},
	{"nothing", "", -EAGAIN},
	{"cut", OK_LINE, -EAGAIN},
	{"cut in the line", "HTTP/1.1 20", -EAGAIN},

	{"0.9", "hello\r\n\r\n", -EBADMSG},
	{"empty line first", "\r\n" OK_LINE "\r\n", -EBADMSG},
	{"ICY", "ICY 200 OK\r\n\r\n", -EBADMSG},
	{"version 2", "HTTP/2.0 200 OK\r\n\r\n", -EPROTONOSUPPORT},
	{"version 1.2", "HTTP/1.2 200 OK\r\n\r\n", -EPROTONOSUPPORT},
	{"lower case", "http/1.1 200 OK\r\n\r\n", -EBADMSG},
	{"two blanks", "HTTP/1.1  200 OK\r\n\r\n", -EBADMSG},
	{"tab", "HTTP/1.1\t200 OK\r\n\r\n", -EBADMSG},
	{"two digits", "HTTP/1.1 20 OK\r\n\r\n", -EBADMSG},
	{"four digits", "HTTP/1.1 2000 OK\r\n\r\n", -EBADMSG},
	{"letters", "HTTP/1.1 2x0 OK\r\n\r\n", -EBADMSG},
	{"signed", "HTTP/1.1 +20 OK\r\n\r\n", -EBADMSG},
	{"status 99", "HTTP/1.1 099 OK\r\n\r\n", -EBADMSG},
	{"status 600", "HTTP/1.1 600 OK\r\n\r\n", -EBADMSG},
	{"no status", "HTTP/1.1 \r\n\r\n", -EBADMSG},
	{"version alone", "HTTP/1.1\r\n\r\n", -EBADMSG},
	{"control byte in the reason", "HTTP/1.1 200 O\x01K\r\n\r\n", -EBADMSG},
	{"CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", -EBADMSG},
	{"bare LF", "HTTP/1.1 200 OK\n\r\n", -EBADMSG},
	{"bare LF in the fields", OK_LINE "A: b\nC: d\r\n\r\n", -EBADMSG},
	{"bare LF at the end", OK_LINE "A: b\r\n\n", -EBADMSG},
	{"fold", OK_LINE "A: b\r\n c\r\n\r\n", -EBADMSG},
	{"blank before the colon", OK_LINE "A : b\r\n\r\n", -EBADMSG},
	{"no colon", OK_LINE "A\r\n\r\n", -EBADMSG},
	{"control byte", OK_LINE "A: \x02\r\n\r\n", -EBADMSG},

	{"both lengths", OK_LINE "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		-EBADMSG},
	{"two lengths", OK_LINE "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", -EBADMSG},
	{"list of lengths", OK_LINE "Content-Length: 1, 1\r\n\r\n", -EBADMSG},
	{"signed length", OK_LINE "Content-Length: +1\r\n\r\n", -EBADMSG},
	{"negative length", OK_LINE "Content-Length: -1\r\n\r\n", -EBADMSG},
	{"length 2^63", OK_LINE "Content-Length: 9223372036854775808\r\n\r\n", -EBADMSG},
	{"empty length", OK_LINE "Content-Length:\r\n\r\n", -EBADMSG},
	{"chunked twice", OK_LINE "Transfer-Encoding: chunked, chunked\r\n\r\n", -EBADMSG},
	{"two encodings",
		OK_LINE "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		-EBADMSG},
	{"gzip", OK_LINE "Transfer-Encoding: gzip, chunked\r\n\r\n", -ENOSYS},
	{"identity", OK_LINE "Transfer-Encoding: identity\r\n\r\n", -ENOSYS},
	{"chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG},
	{"204 with a length", "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", -EBADMSG},
	{"204 chunked", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG},
	{"100 with a length", "HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n", -EBADMSG},
	{"101 chunked", "HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\n\r\n", -EBADMSG},
};

static void test_cases(void **state)
{
	static struct http1_answer a;

	for (size_t i = 0; i < array_len(cases); i++) {
		size_t len = strlen(cases[i].head);
		ssize_t n = parse("GET", cases[i].head, len, &a);

		if (n != (cases[i].verdict ? cases[i].verdict : (ssize_t)len))
			fail_msg("%s: %zd", cases[i].name, n);
		/* The bytes behind a head are not looked at, the verdict needs no more of them. */
		for (size_t cut = 0; cases[i].verdict == 0 && cut < len; cut++)
			assert_int_equal(parse("GET", cases[i].head, cut, &a), -EAGAIN);
	}
}

/* --- fields ----------------------------------------------------------------------------------- */

static const struct {
	const char *method;
	const char *head;
	uint64_t length;
	enum http1_body body;
	bool keep_alive;
} framings[] = {
	{"GET", OK_LINE "\r\n", 0, HTTP1_BODY_CLOSE, false},
	{"GET", OK_LINE "Connection: keep-alive\r\n\r\n", 0, HTTP1_BODY_CLOSE, false},
	{"GET", OK_LINE "Content-Length: 0\r\n\r\n", 0, HTTP1_BODY_LENGTH, true},
	{"GET", OK_LINE "Content-Length: 9\r\n\r\n", 9, HTTP1_BODY_LENGTH, true},
	{"GET", OK_LINE "Content-Length: 9\r\nConnection: x, Close\r\n\r\n", 9, HTTP1_BODY_LENGTH,
		false},
	{"GET", OK_LINE "Transfer-Encoding: Chunked\r\n\r\n", 0, HTTP1_BODY_CHUNKED, true},
	{"GET", "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n", 9, HTTP1_BODY_LENGTH, false},
	{"GET", "HTTP/1.0 200 OK\r\nContent-Length: 9\r\nConnection: keep-alive\r\n\r\n", 9,
		HTTP1_BODY_LENGTH, true},
	{"HEAD", OK_LINE "\r\n", 0, HTTP1_BODY_NONE, true},
	{"HEAD", OK_LINE "Content-Length: 9\r\n\r\n", 9, HTTP1_BODY_NONE, true},
	{"HEAD", OK_LINE "Transfer-Encoding: chunked\r\n\r\n", 0, HTTP1_BODY_NONE, true},
	{"head", OK_LINE "\r\n", 0, HTTP1_BODY_CLOSE, false},
	{"GET", "HTTP/1.1 100 Continue\r\n\r\n", 0, HTTP1_BODY_NONE, true},
	{"GET", "HTTP/1.1 204 x\r\n\r\n", 0, HTTP1_BODY_NONE, true},
	{"GET", "HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", 9, HTTP1_BODY_NONE, true},
	{"GET", "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", 0, HTTP1_BODY_NONE, true},
};

static void test_framing(void **state)
{
	static struct http1_answer a;

	for (size_t i = 0; i < array_len(framings); i++) {
		const char *head = framings[i].head;
		struct http1_body_reader r;

		if (parse(framings[i].method, head, strlen(head), &a) != (ssize_t)strlen(head) ||
			a.body != framings[i].body || a.content_length != framings[i].length ||
			a.has_length != (strstr(head, "Length") != NULL) ||
			a.keep_alive != framings[i].keep_alive)
			fail_msg("%s %s", framings[i].method, head);
		http1_body_init_answer(&r, &a);
		assert_int_equal(
			r.done, a.body == HTTP1_BODY_NONE ||
					(a.body == HTTP1_BODY_LENGTH && a.content_length == 0));
	}
}

static void test_line(void **state)
{
	static const char head[] = "HTTP/1.0 418 I'm a  teapot\r\nA:  b \r\n\r\nrest";
	static struct http1_answer a;
	const char *reason = NULL;

	assert_int_equal(
		http1_parse_answer_head(head, sizeof(head) - 1, HEAD_MAX, VIEW("GET"), &a, &reason),
		(ssize_t)sizeof(head) - 1 - 4);
	assert_int_equal(a.status, 418);
	assert_int_equal(a.minor, 0);
	assert_true(http1_view_eq(&a.reason, "I'm a  teapot"));
	assert_int_equal(a.header_count, 1);
	assert_true(http1_view_eq(&a.headers[0].value, "b"));
}

static void test_upgrade(void **state)
{
	static const struct {
		const char *head;
		bool upgrade;
	} heads[] = {
		{"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", true},
		{"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", false},
		{"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", false},
		{"HTTP/1.1 200 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},
	};
	static struct http1_answer a;

	for (size_t i = 0; i < array_len(heads); i++) {
		assert_true(parse("GET", heads[i].head, strlen(heads[i].head), &a) > 0);
		assert_int_equal(a.upgrade_websocket, heads[i].upgrade);
	}
}

static void test_until_close(void **state)
{
	struct http1_body_reader r;
	const uint8_t *payload;
	size_t used;
	size_t n;

	http1_body_init_answer(&r, &(struct http1_answer){.body = HTTP1_BODY_CLOSE});
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
			http1_body_read(&r, (const uint8_t *)"abc", 3, &used, &payload, &n), 0);
		assert_int_equal(used, 3);
		assert_int_equal(n, 3);
		assert_false(r.done);
	}
}

static void test_limits(void **state)
{
	static struct http1_answer a;
	auto_buf struct buf b;
	const char *reason = NULL;

	buf_init(&b, 65536);
	buf_append_str(&b, OK_LINE);
	for (int i = 0; i < HTTP1_ANSWER_HEADERS_MAX; i++)
		buf_printf(&b, "X-%d: y\r\n", i);
	buf_append_str(&b, "\r\n");
	assert_int_equal(parse("GET", (char *)buf_data(&b), b.len, &a), b.len);
	assert_int_equal(a.header_count, HTTP1_ANSWER_HEADERS_MAX);
	assert_int_equal(
		http1_parse_answer_head(buf_data(&b), b.len, b.len - 1, VIEW("GET"), &a, &reason),
		-E2BIG);
	assert_non_null(reason);
	buf_clear(&b);
	buf_append_str(&b, OK_LINE);
	for (int i = 0; i <= HTTP1_ANSWER_HEADERS_MAX; i++)
		buf_printf(&b, "X-%d: y\r\n", i);
	assert_int_equal(parse("GET", (char *)buf_data(&b), b.len, &a), -E2BIG);
}

/* --- targets that only a reader between two parties takes ---------------------------------------
 */

static const struct {
	const char *line;
	const char *authority; /* NULL: refused */
	const char *target;
} targets[] = {
	{"GET /a?b HTTP/1.1", "", "/a?b"},
	{"GET http://a.example/ HTTP/1.1", "a.example", "/"},
	{"GET HTTPS://a.example:8443/b?c=d/e HTTP/1.1", "a.example:8443", "/b?c=d/e"},
	{"GET http://[2001:db8::1]/ HTTP/1.1", "[2001:db8::1]", "/"},
	{"GET /http://a.example/ HTTP/1.1", "", "/http://a.example/"},
	{"OPTIONS * HTTP/1.1", "", "*"},
	{"CONNECT a.example:443 HTTP/1.1", "a.example:443", "a.example:443"},
	{"GET http://a.example HTTP/1.1", NULL, NULL},
	{"GET http://a.example?b HTTP/1.1", NULL, NULL},
	{"GET http:/// HTTP/1.1", NULL, NULL},
	{"GET http:/a.example/ HTTP/1.1", NULL, NULL},
	{"GET http:a.example/ HTTP/1.1", NULL, NULL},
	{"GET ftp://a.example/ HTTP/1.1", NULL, NULL},
	{"GET http://u@a.example/ HTTP/1.1", NULL, NULL},
	{"GET http://a\\b/ HTTP/1.1", NULL, NULL},
	{"GET a.example:443 HTTP/1.1", NULL, NULL},
	{"GET * HTTP/1.1", NULL, NULL},
	{"CONNECT u@a.example:443 HTTP/1.1", NULL, NULL},
	{"CONNECT a.example:443/ HTTP/1.1", NULL, NULL},
};

static void test_proxy_targets(void **state)
{
	static struct http1_request req;

	for (size_t i = 0; i < array_len(targets); i++) {
		auto_free char *head = mem_printf("%s\r\nHost: a.example\r\n\r\n", targets[i].line);
		const char *reason = NULL;
		ssize_t n = http1_parse_proxy_head(head, strlen(head), HEAD_MAX, &req, &reason);

		if (n != (targets[i].authority ? (ssize_t)strlen(head) : -EBADMSG))
			fail_msg("%s: %zd", targets[i].line, n);
		if (n < 0)
			continue;
		assert_true(http1_view_eq(&req.authority, targets[i].authority));
		assert_true(http1_view_eq(&req.target, targets[i].target));
		assert_true(req.path.data == req.target.data);
		/* What is not in origin form is nothing for a server. */
		n = http1_parse_head(head, strlen(head), HEAD_MAX, &req, &reason);
		assert_int_equal(n > 0, targets[i].authority[0] == '\0');
	}
}

/* --- writing ---------------------------------------------------------------------------------- */

static void test_writing(void **state)
{
	static const char wanted[] = "GET /x?y HTTP/1.1\r\nHTTP/1.1 204 \r\nA: b\r\nC: \r\n"
				     "3\r\nabc\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n";
	auto_buf struct buf b;

	buf_init(&b, sizeof(wanted) - 1);
	assert_int_equal(http1_put_request_line(&b, VIEW("GET"), VIEW("/x?y")), 0);
	assert_int_equal(http1_put_status_line(&b, 204, VIEW("")), 0);
	assert_int_equal(http1_put_field(&b, VIEW("A"), VIEW("b")), 0);
	assert_int_equal(http1_put_field(&b, VIEW("C"), VIEW("")), 0);
	assert_int_equal(http1_put_chunk(&b, "abc", 3), 0);
	assert_int_equal(http1_put_chunk(&b, "", 0), 0);
	assert_int_equal(http1_put_chunk(&b, "abcdefghijklmnopqrstuvwxyz", 26), 0);
	assert_int_equal(http1_put_last_chunk(&b), 0);
	assert_int_equal(b.len, sizeof(wanted) - 1);
	assert_memory_equal(buf_data(&b), wanted, b.len);
	assert_int_equal(http1_put_chunk(&b, "x", 1), -ENOBUFS);
	assert_int_equal(http1_put_field(&b, VIEW("A"), VIEW("b")), -ENOBUFS);
	assert_int_equal(b.len, sizeof(wanted) - 1);
	buf_clear(&b);
	assert_int_equal(http1_put_request_line(&b, VIEW("G T"), VIEW("/")), -EINVAL);
	assert_int_equal(http1_put_request_line(&b, VIEW("GET"), VIEW("/ x")), -EINVAL);
	assert_int_equal(http1_put_request_line(&b, VIEW("GET"), VIEW("")), -EINVAL);
	assert_int_equal(http1_put_status_line(&b, 200, VIEW("a\r\nb")), -EINVAL);
	assert_int_equal(http1_put_field(&b, VIEW("A:"), VIEW("b")), -EINVAL);
	assert_int_equal(http1_put_field(&b, VIEW("A"), VIEW("b\r\nC: d")), -EINVAL);
	assert_int_equal(b.len, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_framing),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_until_close),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_proxy_targets),
		cmocka_unit_test(test_writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
