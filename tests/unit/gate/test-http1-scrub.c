#include "http1_fixture.h"

#include <zlib.h>

/* --- secrets ---------------------------------------------------------------------------------- */

static void test_reports(void **state)
{
	begin();
	say(&f.program, "POST /a/b?c=d HTTP/1.1\r\n" HOST_LINE "Authorization: Bearer " PLACEHOLDER
			"\r\nContent-Length: 2\r\n\r\nhi");
	assert_int_equal(f.requests, 1);
	assert_string_equal(f.method, "POST");
	assert_string_equal(f.path, "/a/b");
	assert_int_equal(f.used, 1);
	assert_int_equal(f.stray, 0);
	assert_int_equal(f.x->requests, 1);
	assert_int_equal(f.x->bytes_up, f.host.got.len);
	say(&f.host, "HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n" SECRET);
	assert_int_equal(f.scrubbed, 1);
	assert_int_equal(f.x->bytes_down, f.program.got.len);
	assert_null(strstr(heard(&f.program), SECRET));
}

static void test_strays(void **state)
{
	static const struct {
		const char *request;
		const char *where;
	} cases[] = {
		{"GET /" PLACEHOLDER " HTTP/1.1\r\n" HOST_LINE "\r\n", "target"},
		{"GET / HTTP/1.1\r\n" HOST_LINE "User-Agent: " PLACEHOLDER "\r\n\r\n",
			"header user-agent"},
		{"POST / HTTP/1.1\r\n" HOST_LINE "Content-Length: 91\r\n\r\n: " PLACEHOLDER,
			"body"},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		begin();
		say_bytes(&f.program, cases[i].request, strlen(cases[i].request), 7);
		assert_int_equal(f.stray, 1);
		assert_int_equal(f.strays, 1);
		assert_string_equal(f.where, cases[i].where);
		assert_int_equal(f.used, 0);
		/* It is passed on as it is. */
		assert_non_null(strstr(heard(&f.host), PLACEHOLDER));
		again();
	}
}

static void test_stray_once(void **state)
{
	begin();
	for (int i = 1; i <= 2; i++) {
		say(&f.program, "GET /" PLACEHOLDER " HTTP/1.1\r\n" HOST_LINE "Cookie: " PLACEHOLDER
				"\r\nReferer: " PLACEHOLDER "\r\nVia: " PLACEHOLDER "\r\n\r\n");
		assert_int_equal(f.strays, i);
		say(&f.host, OK_5);
	}
}

static void test_value_that_is_no_header(void **state)
{
	static const char *const hosts[] = {"a.example"};

	vault_free(f.vault);
	f.params.vault = f.vault = vault_new();
	assert_int_equal(
		vault_add(f.vault, "KEY", PLACEHOLDER, "a\r\nHost: b", 10, hosts, 1, NULL), 0);
	begin();
	say(&f.program, ASK "Authorization: " PLACEHOLDER "\r\n\r\n");
	assert_int_equal(f.refused, EXCHANGE_SECRET);
	assert_string_equal(heard(&f.host), "");
	assert_memory_equal(heard(&f.program), "HTTP/1.1 403 ", 13);
	say(&f.program, ASK "\r\n");
	assert_string_equal(heard(&f.host), ASKED);
}

/* The host echoes a value in pieces of every size, in every framing. */
static void test_split_values(void **state)
{
	static const char *const framings[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 2326\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" CHUNKED "\r\n",
	};

	for (size_t i = 0; i < 3 * array_len(framings); i++) {
		static const size_t steps[] = {1, 7, 22};
		const char *framing = framings[i / 3];
		size_t step = steps[i % 3];
		auto_buf struct buf body;
		auto_buf struct buf answer;
		const char *text;

		buf_init(&body, 65536);
		buf_init(&answer, 65536);
		for (int n = 0; n < 93; n++)
			buf_printf(&body, "%s--", SECRET);
		buf_append_byte(&body, '.');
		assert_int_equal(body.len, 93 * 25 + 1);
		buf_append_str(&answer, framing);
		for (size_t at = 0; at < body.len; at += step) {
			size_t n = body.len - at < step ? body.len - at : step;

			if (strstr(framing, CHUNKED))
				buf_printf(&answer, "%zx\r\n", n);
			buf_append(&answer, buf_data(&body) + at, n);
			if (strstr(framing, CHUNKED))
				buf_append_str(&answer, "\r\n");
		}
		if (strstr(framing, CHUNKED))
			buf_append_str(&answer, "0\r\n\r\n");
		begin();
		say(&f.program, "GET / HTTP/1.0\r\n\r\n");
		say_bytes(&f.host, buf_data(&answer), answer.len, step < 7 ? 13 : 1000);
		shutdown(f.host.fd, SHUT_WR);
		turns_run(TURNS);
		text = strstr(heard(&f.program), "\r\n\r\n") + 4;
		assert_int_equal(strlen(text), body.len);
		for (size_t n = 0; n < 93; n++)
			assert_memory_equal(text + n * 25, STARS "--", 25);
		again();
	}
}

/* --- encoded answers -------------------------------------------------------------------------- */

static size_t pack(const char *text, size_t len, uint8_t *out, size_t room)
{
	z_stream z = {.next_in = (uint8_t *)(uintptr_t)text,
		.avail_in = (unsigned)len,
		.next_out = out,
		.avail_out = (unsigned)room};

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static void answer_packed(const char *request, const char *text, size_t len, size_t step)
{
	static uint8_t packed[65536];
	size_t n = pack(text, len, packed, sizeof(packed));
	auto_free char *head = mem_printf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
					  "Content-Length: %zu\r\nX: y\r\n\r\n",
		n);

	say(&f.program, request);
	say(&f.host, head);
	say_bytes(&f.host, packed, n, step);
}

static void test_packed(void **state)
{
	begin();
	answer_packed(ASK "\r\n", "{\"echo\":\"" SECRET "\"}", 11 + strlen(SECRET), SIZE_MAX);
	assert_string_equal(heard(&f.program), "HTTP/1.1 200 OK\r\nX: y\r\n" CHUNKED
					       "\r\n22\r\n{\"echo\":\"" STARS "\"}\r\n0\r\n\r\n");
	heard(&f.host);
	say(&f.program, ASK "\r\n");
	assert_string_equal(heard(&f.host), ASKED);
}

static void test_packed_for_old_client(void **state)
{
	for (size_t step = 1; step < 50; step *= 3) {
		begin();
		answer_packed("GET / HTTP/1.0\r\n\r\n", "<" SECRET ">", 2 + strlen(SECRET), step);
		shutdown(f.program.fd, SHUT_WR);
		turns_run(TURNS);
		assert_string_equal(
			heard(&f.program), "HTTP/1.1 200 OK\r\nX: y\r\n" CLOSE "\r\n<" STARS ">");
		assert_true(f.program.ended);
		assert_int_equal(f.scrubbed, 1);
		again();
	}
}

/* A length of 0 is an empty body, whatever its encoding is called. */
static void test_packed_nothing(void **state)
{
	begin();
	say(&f.program, ASK "\r\n");
	say(&f.host, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n");
	assert_string_equal(heard(&f.program),
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(f.refusals, 0);
}

/* 8 MiB of blanks in 8 KiB: more than fits anywhere, so that the decoder has to wait. */
static void test_packed_and_slow(void **state)
{
	static char text[8 * 1024 * 1024];
	size_t total = 0;

	memset(text, ' ', sizeof(text));
	memcpy(text + sizeof(text) - strlen(SECRET), SECRET, strlen(SECRET));
	begin();
	f.program.keeps = true;
	answer_packed("GET / HTTP/1.0\r\n\r\n", text, sizeof(text), SIZE_MAX);
	turns_run(100);
	assert_true(f.x->bytes_down < 2 * 1024 * 1024);
	f.program.keeps = false;
	while (!f.program.ended) {
		turns_run(1);
		if (f.program.got.len < 1000)
			continue;
		total += f.program.got.len - 100;
		buf_consume(&f.program.got, f.program.got.len - 100);
	}
	total += f.program.got.len;
	assert_int_equal(f.x->bytes_down, total);
	assert_true(total > sizeof(text) && total < sizeof(text) + 200);
	assert_memory_equal(
		buf_data(&f.program.got) + f.program.got.len - strlen(STARS), STARS, strlen(STARS));
}

/* --- WebSocket -------------------------------------------------------------------------------- */

#define WS_ASK \
	ASK "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n" \
	    "Sec-WebSocket-Extensions: permessage-deflate\r\nX-Key: " PLACEHOLDER "\r\n\r\n"
#define WS_ASKED \
	ASK "Sec-WebSocket-Key: x\r\nX-Key: " SECRET "\r\n" IDENTITY \
	    "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define WS_ANSWER \
	"HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nX: y\r\n\r\n"
#define WS_ANSWERED \
	"HTTP/1.1 101 Switching\r\nX: y\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static void test_websocket(void **state)
{
	begin();
	say(&f.program, WS_ASK);
	assert_string_equal(heard(&f.host), WS_ASKED);
	say(&f.host, WS_ANSWER "\x81\x17" SECRET);
	assert_string_equal(heard(&f.program), WS_ANSWERED "\x81\x17" STARS);
	assert_int_equal(f.scrubbed, 1);
	/* Masked with zeros. */
	say_bytes(&f.program, "\x81\xd9\x01\x01\x01\x01", 6, SIZE_MAX);
	for (const char *p = PLACEHOLDER; *p; p++)
		say_bytes(&f.program, &(char){(char)(*p ^ 1)}, 1, 1);
	assert_int_equal(f.host.got.len, 6 + PLACEHOLDER_LEN);
	assert_int_equal(f.stray, 1);
	assert_string_equal(f.where, "websocket");
	shutdown(f.host.fd, SHUT_WR);
	turns_run(TURNS);
	shutdown(f.program.fd, SHUT_WR);
	turns_run(TURNS);
	assert_true(f.program.ended);
	assert_int_equal(f.done, 1);
	assert_int_equal(f.done_err, 0);
}

static void test_websocket_without_secrets(void **state)
{
	without_secrets();
	begin();
	say(&f.program, WS_ASK);
	assert_non_null(strstr(heard(&f.host), "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
	say(&f.host, "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		     "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n\xc1\xff anything");
	assert_non_null(strstr(heard(&f.program), "permessage-deflate\r\nConnection: Upgrade\r\n"
						  "Upgrade: websocket\r\n\r\n\xc1\xff anything"));
	shutdown(f.program.fd, SHUT_WR);
	turns_run(TURNS);
	assert_true(f.host.ended);
}

static void test_websocket_bad_frame(void **state)
{
	begin();
	say(&f.program, WS_ASK);
	say(&f.host, WS_ANSWER);
	say(&f.host, "\xc1\x01x");
	assert_int_equal(f.refused, EXCHANGE_BAD_ANSWER);
	assert_int_equal(f.done, 1);
	assert_true(f.done_err < 0);
	assert_string_equal(heard(&f.program), WS_ANSWERED);
}

static void test_websocket_refused(void **state)
{
	static const struct {
		const char *answer;
		enum exchange_refusal what;
	} cases[] = {
		{"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
			EXCHANGE_BAD_ANSWER},
		{"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
		 "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
			EXCHANGE_ENCODING},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		begin();
		say(&f.program, WS_ASK);
		say(&f.host, cases[i].answer);
		assert_int_equal(f.refusals, 1);
		assert_int_equal(f.refused, cases[i].what);
		assert_memory_equal(heard(&f.program), "HTTP/1.1 502 ", 13);
		again();
	}
}

/* A host that does not want to switch answers like any other. */
static void test_websocket_declined(void **state)
{
	begin();
	say(&f.program, WS_ASK);
	heard(&f.host);
	say(&f.host, OK_5);
	assert_string_equal(heard(&f.program), OK_5);
	say(&f.program, ASK "\r\n");
	assert_string_equal(heard(&f.host), ASKED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(reports),
		TEST(strays),
		TEST(stray_once),
		TEST(value_that_is_no_header),
		TEST(split_values),
		TEST(packed),
		TEST(packed_for_old_client),
		TEST(packed_nothing),
		TEST(packed_and_slow),
		TEST(websocket),
		TEST(websocket_without_secrets),
		TEST(websocket_bad_frame),
		TEST(websocket_refused),
		TEST(websocket_declined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
