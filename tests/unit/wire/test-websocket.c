#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/websocket.h"
#include "wire/ws_mask.h"

#define MESSAGE_MAX 1000
#define MASK "\x37\xfa\x21\x3d"
#define STREAM_MAX 4096

/* --- handshake -------------------------------------------------------------------------------- */

static void test_accept_key(void **state)
{
	static const struct {
		const char *key;
		const char *accept;
	} cases[] = {
		{"dGhlIHNhbXBsZSBub25jZQ==",
			"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, /* RFC 6455 section 1.3 */
		{"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="}, /* MDN */
	};
	static const char *const bad[] = {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=",
		"dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25jZXo=", "dGhlIHNhbXBsZSBub25jZXoK",
		"dGhlIHNhbXBsZSBub25jZQ== ", "dGhlIHNhbXBsZSBub25jZQ==AAAA",
		"!!!!IHNhbXBsZSBub25jZQ=="};
	char accept[WS_ACCEPT_SIZE];

	for (size_t i = 0; i < array_len(cases); i++) {
		assert_int_equal(ws_accept_key(cases[i].key, strlen(cases[i].key), accept), 0);
		assert_string_equal(accept, cases[i].accept);
	}
	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(ws_accept_key(bad[i], strlen(bad[i]), accept), -EINVAL);
}

/* --- masks ------------------------------------------------------------------------------------ */

static void test_masks(void **state)
{
	static uint8_t data[512 + 64];
	static const uint8_t mask[4] = MASK;

	for (size_t start = 0; start < 64; start++) {
		for (size_t len = 0; len < 400; len += len < 140 ? 1 : 13) {
			memset(data, 0x55, sizeof(data));
			for (size_t i = 0; i < len; i++)
				data[start + i] = (uint8_t)(i * 7);
			if (len % 2)
				ws_unmask(data + start, len, mask);
			else
				ws_unmask_words(data + start, len, mask);
			for (size_t i = 0; i < len; i++)
				assert_int_equal(data[start + i], (uint8_t)(i * 7) ^ mask[i % 4]);
			for (size_t i = 0; i < sizeof(data); i++)
				if (i < start || i >= start + len)
					assert_int_equal(data[i], 0x55);
		}
	}
}

/* --- frames as data --------------------------------------------------------------------------- */

struct frame {
	uint8_t first; /* FIN, reserved bits and opcode */
	const char *payload;
	size_t len;
};

#define FRAME(first, text) \
	{ \
		first, text, sizeof(text) - 1 \
	}

struct stream {
	uint8_t data[STREAM_MAX];
	size_t len;
};

static void put_masked(struct stream *s, uint8_t first, const char *payload, size_t len)
{
	static const uint8_t mask[4] = MASK;
	uint8_t *p = s->data + s->len;
	size_t n = ws_put_header(p, WS_OP_TEXT, len);

	assert_true(s->len + n + 4 + len <= sizeof(s->data));
	p[0] = first;
	p[1] |= 0x80;
	memcpy(p + n, mask, 4);
	if (len > 0)
		memcpy(p + n + 4, payload, len);
	ws_unmask_words(p + n + 4, len, mask);
	s->len += n + 4 + len;
}

/* Events written down as text: "T:abc" "B:abc" "I:x" (ping) "O:x" (pong) "C:1000 reason" "E:1002",
 * separated by '|'. */
struct trace {
	char text[STREAM_MAX * 2];
	size_t len;
};

static void note(struct trace *t, const struct ws_event *ev)
{
	static const char kinds[] = {
		[WS_EVENT_MESSAGE] = 'B',
		[WS_EVENT_PING] = 'I',
		[WS_EVENT_PONG] = 'O',
		[WS_EVENT_CLOSE] = 'C',
		[WS_EVENT_ERROR] = 'E',
	};
	char kind = ev->type == WS_EVENT_MESSAGE && ev->text ? 'T' : kinds[ev->type];

	t->len += (size_t)snprintf(
		t->text + t->len, sizeof(t->text) - t->len, "%s%c:", t->len > 0 ? "|" : "", kind);
	if (ev->type == WS_EVENT_CLOSE || ev->type == WS_EVENT_ERROR)
		t->len += (size_t)snprintf(
			t->text + t->len, sizeof(t->text) - t->len, "%u", ev->code);
	if (ev->type == WS_EVENT_CLOSE && ev->len > 0)
		t->text[t->len++] = ' ';
	if (ev->type == WS_EVENT_ERROR)
		assert_non_null(ev->reason);
	if (ev->len > 0)
		memcpy(t->text + t->len, ev->data, ev->len);
	t->len += ev->len;
	t->text[t->len] = '\0';
}

/* Feeds the stream in pieces of `step` bytes, as a connection would, and writes down the events. */
static void run_steps(const struct stream *s, size_t step, struct trace *t)
{
	static uint8_t in[STREAM_MAX];
	struct ws_reader r;
	size_t fed = 0;
	size_t in_len = 0;
	bool over = false;

	t->len = 0;
	t->text[0] = '\0';
	ws_reader_init(&r, MESSAGE_MAX);
	while (fed < s->len && !over) {
		size_t n = s->len - fed < step ? s->len - fed : step;
		struct ws_event ev;
		size_t used;
		size_t need;

		memcpy(in + in_len, s->data + fed, n);
		in_len += n;
		fed += n;
		do {
			ev = ws_read(&r, in, in_len, &used, &need);
			assert_true(used <= in_len);
			if (ev.type == WS_EVENT_NONE && need > 0)
				assert_true(need > in_len - used);
			if (ev.type != WS_EVENT_NONE)
				note(t, &ev);
			memmove(in, in + used, in_len - used);
			in_len -= used;
			over = ev.type == WS_EVENT_ERROR;
		} while (ev.type != WS_EVENT_NONE && !over);
	}
	ws_reader_done(&r);
}

static void check_stream(const struct stream *s, const char *expected)
{
	static struct trace whole;
	static struct trace split;

	run_steps(s, s->len > 0 ? s->len : 1, &whole);
	assert_string_equal(whole.text, expected);
	for (size_t step = 1; step <= 9 && step < s->len; step++) {
		run_steps(s, step, &split);
		assert_int_equal(split.len, whole.len);
		assert_memory_equal(split.text, whole.text, whole.len);
	}
}

#define FIN 0x80
#define MORE_TEXT WS_OP_TEXT
#define MORE_BINARY WS_OP_BINARY
#define REST WS_OP_CONTINUATION
#define CLOSE (FIN | WS_OP_CLOSE)
#define PING (FIN | WS_OP_PING)
#define PONG (FIN | WS_OP_PONG)
#define CONTROL_125 \
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567" \
	"8901234567890123456789012345678901234"

static const struct {
	const char *name;
	struct frame frames[5];
	const char *events;
} sequences[] = {
	{"text", {FRAME(FIN | WS_OP_TEXT, "Hello")}, "T:Hello"},
	{"binary", {FRAME(FIN | WS_OP_BINARY, "Hello")}, "B:Hello"},
	{"empty text", {FRAME(FIN | WS_OP_TEXT, "")}, "T:"},
	{"two messages", {FRAME(FIN | WS_OP_TEXT, "a"), FRAME(FIN | WS_OP_BINARY, "b")}, "T:a|B:b"},
	{"two fragments", {FRAME(MORE_TEXT, "Hel"), FRAME(FIN | REST, "lo")}, "T:Hello"},
	{"binary fragments", {FRAME(MORE_BINARY, "a"), FRAME(REST, "b"), FRAME(FIN | REST, "c")},
		"B:abc"},
	{"empty fragments", {FRAME(MORE_TEXT, ""), FRAME(REST, ""), FRAME(FIN | REST, "")}, "T:"},
	{"ping between fragments",
		{FRAME(MORE_TEXT, "a"), FRAME(PING, "x"), FRAME(REST, "b"), FRAME(PONG, "y"),
			FRAME(FIN | REST, "c")},
		"I:x|O:y|T:abc"},
	{"message after fragments",
		{FRAME(MORE_TEXT, "a"), FRAME(FIN | REST, "b"), FRAME(MORE_BINARY, "c"),
			FRAME(FIN | REST, "d"), FRAME(FIN | WS_OP_TEXT, "e")},
		"T:ab|B:cd|T:e"},
	{"close between fragments", {FRAME(MORE_TEXT, "a"), FRAME(CLOSE, "\x03\xe8")}, "C:1000"},
	{"ping", {FRAME(PING, "")}, "I:"},
	{"longest ping", {FRAME(PING, CONTROL_125)}, "I:" CONTROL_125},
	{"ping too long", {FRAME(PING, CONTROL_125 "x")}, "E:1002"},
	{"pong too long", {FRAME(PONG, CONTROL_125 "x")}, "E:1002"},
	{"close too long", {FRAME(CLOSE, CONTROL_125 "x")}, "E:1002"},
	{"fragmented ping", {FRAME(WS_OP_PING, "x")}, "E:1002"},
	{"fragmented close", {FRAME(WS_OP_CLOSE, "")}, "E:1002"},
	{"continuation first", {FRAME(FIN | REST, "x")}, "E:1002"},
	{"fragment first", {FRAME(REST, "x")}, "E:1002"},
	{"continuation after message", {FRAME(FIN | WS_OP_TEXT, "a"), FRAME(FIN | REST, "x")},
		"T:a|E:1002"},
	{"message inside message", {FRAME(MORE_TEXT, "a"), FRAME(FIN | WS_OP_TEXT, "b")}, "E:1002"},
	{"fragment inside message", {FRAME(MORE_TEXT, "a"), FRAME(MORE_BINARY, "b")}, "E:1002"},
	{"reserved bit 1", {FRAME(FIN | 0x40 | WS_OP_TEXT, "x")}, "E:1002"},
	{"reserved bit 2", {FRAME(FIN | 0x20 | WS_OP_TEXT, "x")}, "E:1002"},
	{"reserved bit 3", {FRAME(FIN | 0x10 | WS_OP_TEXT, "x")}, "E:1002"},
	{"reserved bit on ping", {FRAME(0x40 | PING, "x")}, "E:1002"},
	{"error behind message", {FRAME(FIN | WS_OP_TEXT, "a"), FRAME(0x40 | PING, "x")},
		"T:a|E:1002"},
	{"close without code", {FRAME(CLOSE, "")}, "C:1005"},
	{"close of one byte", {FRAME(CLOSE, "\x03")}, "E:1002"},
	{"close with reason",
		{FRAME(CLOSE, "\x03\xe8"
			      "bye")},
		"C:1000 bye"},
	{"close with UTF-8",
		{FRAME(CLOSE, "\x03\xe9"
			      "\xc3\xa9")},
		"C:1001 \xc3\xa9"},
	{"close, broken UTF-8",
		{FRAME(CLOSE, "\x03\xe8"
			      "\xc3")},
		"E:1007"},
	{"close, surrogate",
		{FRAME(CLOSE, "\x03\xe8"
			      "\xed\xa0\x80")},
		"E:1007"},
	{"longest reason", {FRAME(CLOSE, "\x03\xe8" CONTROL_125)}, "E:1002"},
};

static void test_sequences(void **state)
{
	for (size_t i = 0; i < array_len(sequences); i++) {
		struct stream s = {.len = 0};

		for (size_t k = 0; k < 5 && sequences[i].frames[k].payload; k++) {
			const struct frame *f = &sequences[i].frames[k];

			put_masked(&s, f->first, f->payload, f->len);
		}
		print_message("# %s\n", sequences[i].name);
		check_stream(&s, sequences[i].events);
	}
}

static void test_opcodes(void **state)
{
	for (unsigned op = 0; op < 16; op++) {
		bool known = op == WS_OP_TEXT || op == WS_OP_BINARY || (op >= 8 && op <= 10);
		struct stream s = {.len = 0};
		static struct trace t;

		put_masked(&s, (uint8_t)(FIN | op), "", 0);
		run_steps(&s, 100, &t);
		assert_int_equal(t.text[0] == 'E', !known);
	}
}

static void test_close_codes(void **state)
{
	static const struct {
		unsigned from;
		unsigned to;
	} valid[] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};

	for (unsigned code = 0; code < 65536; code++) {
		char payload[2] = {(char)(code >> 8), (char)code};
		struct stream s = {.len = 0};
		static struct trace t;
		bool ok = false;

		for (size_t i = 0; i < array_len(valid); i++)
			ok = ok || (code >= valid[i].from && code <= valid[i].to);
		put_masked(&s, CLOSE, payload, 2);
		run_steps(&s, 100, &t);
		assert_int_equal(t.text[0], ok ? 'C' : 'E');
		assert_int_equal(strtoul(t.text + 2, NULL, 10), ok ? code : WS_CLOSE_PROTOCOL);
	}
}

/* --- lengths ---------------------------------------------------------------------------------- */

/* Headers alone: the verdict comes before the payload. */
static const struct {
	const char *name;
	const char *bytes;
	size_t len;
	unsigned code; /* 0: no error */
	size_t need;
} headers[] = {
#define HEADER(name, bytes, code, need) \
	{ \
		name, bytes, sizeof(bytes) - 1, code, need \
	}
	HEADER("nothing", "", 0, 0),
	HEADER("one byte", "\x81", 0, 0),
	HEADER("short", "\x81\x85", 0, 11),
	HEADER("16-bit length, half", "\x82\xfe\x01", 0, 0),
	HEADER("16-bit length", "\x82\xfe\x01\x00", 0, 8 + 256),
	HEADER("16-bit length, least", "\x82\xfe\x00\x7e", 0, 8 + 126),
	HEADER("16-bit length, too short", "\x82\xfe\x00\x7d", WS_CLOSE_PROTOCOL, 0),
	HEADER("16-bit length, above the limit", "\x82\xfe\x03\xe9", WS_CLOSE_TOO_BIG, 0),
	HEADER("64-bit length, seven bytes", "\x82\xff\0\0\0\0\0\x01\0", 0, 0),
	HEADER("64-bit length, too short", "\x82\xff\0\0\0\0\0\0\xff\xff", WS_CLOSE_PROTOCOL, 0),
	HEADER("64-bit length, above the limit", "\x82\xff\0\0\0\0\0\x01\0\0", WS_CLOSE_TOO_BIG, 0),
	HEADER("64-bit length, sign bit", "\x82\xff\x80\0\0\0\0\0\0\0", WS_CLOSE_PROTOCOL, 0),
	HEADER("64-bit length, largest", "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff",
		WS_CLOSE_TOO_BIG, 0),
	HEADER("not masked", "\x81\x05", WS_CLOSE_PROTOCOL, 0),
	HEADER("ping not masked", "\x89\x00", WS_CLOSE_PROTOCOL, 0),
	HEADER("close of 16-bit length", "\x88\xfe", WS_CLOSE_PROTOCOL, 0),
};

static void test_headers(void **state)
{
	for (size_t i = 0; i < array_len(headers); i++) {
		auto_free uint8_t *exact = mem_dup(headers[i].bytes, headers[i].len);
		struct ws_reader r;
		struct ws_event ev;
		size_t used = 99;
		size_t need = 99;

		ws_reader_init(&r, MESSAGE_MAX);
		ev = ws_read(&r, exact, headers[i].len, &used, &need);
		assert_int_equal(ev.type, headers[i].code ? WS_EVENT_ERROR : WS_EVENT_NONE);
		assert_int_equal(ev.code, headers[i].code);
		assert_int_equal(need, headers[i].need);
		assert_int_equal(used, 0);
		assert_memory_equal(exact, headers[i].bytes, headers[i].len);
		ws_reader_done(&r);
	}
}

static void test_message_limit(void **state)
{
	static char payload[MESSAGE_MAX + 1];
	static char expected[STREAM_MAX];
	struct stream s = {.len = 0};

	memset(payload, 'p', sizeof(payload));
	snprintf(expected, sizeof(expected), "B:%.*s|B:%.*s|E:1009", MESSAGE_MAX, payload,
		MESSAGE_MAX, payload);
	put_masked(&s, FIN | WS_OP_BINARY, payload, MESSAGE_MAX);
	put_masked(&s, MORE_BINARY, payload, 600);
	put_masked(&s, REST, payload, 400);
	put_masked(&s, FIN | REST, "", 0);
	put_masked(&s, MORE_BINARY, payload, 600);
	put_masked(&s, FIN | REST, payload, 401);
	check_stream(&s, expected);
}

/* A message in one frame is handed out where it lies. */
static void test_zero_copy(void **state)
{
	struct stream s = {.len = 0};
	struct ws_reader r;
	struct ws_event ev;
	size_t used;
	size_t need;

	put_masked(&s, FIN | WS_OP_TEXT, "Hello", 5);
	ws_reader_init(&r, MESSAGE_MAX);
	ev = ws_read(&r, s.data, s.len, &used, &need);
	assert_ptr_equal(ev.data, s.data + 6);
	assert_int_equal(used, s.len);
	assert_null(r.fragments.base);
	ws_reader_done(&r);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void test_put_header(void **state)
{
	static const struct {
		uint64_t len;
		size_t size;
		uint8_t bytes[WS_HEADER_MAX];
	} cases[] = {
		{0, 2, {0x82, 0}},
		{125, 2, {0x82, 125}},
		{126, 4, {0x82, 126, 0, 126}},
		{65535, 4, {0x82, 126, 0xff, 0xff}},
		{65536, 10, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{UINT64_C(0x0102030405060708), 10, {0x82, 127, 1, 2, 3, 4, 5, 6, 7, 8}},
	};
	uint8_t out[WS_HEADER_MAX];

	for (size_t i = 0; i < array_len(cases); i++) {
		assert_int_equal(ws_put_header(out, WS_OP_BINARY, cases[i].len), cases[i].size);
		assert_memory_equal(out, cases[i].bytes, cases[i].size);
	}
	ws_put_header(out, WS_OP_PONG, 3);
	assert_int_equal(out[0], 0x8a);
}

static void test_put_close(void **state)
{
	uint8_t out[WS_HEADER_MAX + 125];
	char reason[200];

	assert_int_equal(ws_put_close(out, 0, "lost"), 2);
	assert_memory_equal(out, "\x88\x00", 2);
	assert_int_equal(ws_put_close(out, WS_CLOSE_NO_STATUS, NULL), 2);
	assert_int_equal(ws_put_close(out, WS_CLOSE_NORMAL, NULL), 4);
	assert_memory_equal(out, "\x88\x02\x03\xe8", 4);
	assert_int_equal(ws_put_close(out, WS_CLOSE_TOO_BIG, "big"), 7);
	assert_memory_equal(out,
		"\x88\x05\x03\xf1"
		"big",
		7);
	memset(reason, 'r', sizeof(reason));
	reason[199] = '\0';
	assert_int_equal(ws_put_close(out, WS_CLOSE_NORMAL, reason), 127);
	assert_int_equal(out[1], 125);
	/* A character of three bytes over the edge is left out whole. */
	memcpy(reason + 121, "\xe2\x82\xac", 4);
	assert_int_equal(ws_put_close(out, WS_CLOSE_NORMAL, reason), 2 + 2 + 121);
	memcpy(reason + 120, "\xe2\x82\xac", 4);
	assert_int_equal(ws_put_close(out, WS_CLOSE_NORMAL, reason), 2 + 2 + 123);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accept_key),
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_sequences),
		cmocka_unit_test(test_opcodes),
		cmocka_unit_test(test_close_codes),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_message_limit),
		cmocka_unit_test(test_zero_copy),
		cmocka_unit_test(test_put_header),
		cmocka_unit_test(test_put_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
