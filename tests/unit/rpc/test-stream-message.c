#include "rpc_test.h"

#include <errno.h>

#include "wire/base64.h"

#define V "\"jsonrpc\":\"2.0\""
#define ENQUEUE "\"method\":\"$sandbox.stream.enqueue\""

/* --- both ways ----------------------------------------------------------------------------- */

/* The ordinary way, whatever the text. */
static int ordinary(const char *text, size_t len, struct rpc_stream_message *ret)
{
	struct rpc_message m;
	int r = rpc_message_parse(text, len, &m);

	memset(ret, 0, sizeof(*ret));
	if (r == 0)
		r = rpc_stream_decode(&m, ret, NULL);
	rpc_message_done(&m);
	return r;
}

/* Runs the short way and, on a copy, the ordinary one. They must agree, or the short way must leave
 * the text alone. Returns whether the short way took it. */
static bool both_ways(const char *text, size_t len)
{
	auto_free char *copy = mem_dup(text, len); /* exactly so long */
	struct rpc_stream_message quick, slow;
	bool taken = rpc_stream_recognise(copy, len, &quick);
	int r = ordinary(text, len, &slow);

	if (taken) {
		assert_int_equal(r, 0);
		assert_int_equal(quick.kind, slow.kind);
		assert_true(quick.stream_id == slow.stream_id);
		assert_int_equal(quick.len, slow.len);
		assert_memory_equal(quick.data, slow.data, slow.len);
		assert_null(quick.own);
		assert_null(quick.error);
		rpc_stream_message_done(&quick);
	} else if (len > 0) {
		assert_memory_equal(copy, text, len);
	}
	rpc_stream_message_done(&slow);
	return taken;
}

static const struct {
	const char *text;
	bool taken;
} rows[] = {
	/* JavaScript, Python, and the other canonical spellings. */
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGkK\"}}", true},
	{"{\"method\": \"$sandbox.stream.enqueue\", \"params\": {\"streamId\": 1, \"data\": "
	 "\"aGkK\"}, \"jsonrpc\": \"2.0\"}",
		true},
	{"{" ENQUEUE ",\"params\":{\"streamId\":12,\"data\":\"aGk=\"}," V "}", true},
	{"{\"jsonrpc\": \"2.0\", \"method\": \"$sandbox.stream.enqueue\", \"params\": "
	 "{\"streamId\": 5, \"data\": \"aA==\"}}",
		true},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"aGkK\",\"streamId\":7}}", true},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"\"}}", true},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"\",\"streamId\":0}}", true},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":9007199254740991,\"data\":\"AA==\"}}", true},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"AA==\",\"streamId\":9007199254740991}}", true},
	/* Ids: too large, not canonical, none, no number. */
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":9007199254740992,\"data\":\"AA==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":99999999999999999,\"data\":\"AA==\"}}",
		false},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"AA==\",\"streamId\":99999999999999999}}",
		false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":01,\"data\":\"AA==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":00,\"data\":\"AA==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":,\"data\":\"AA==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"AA==\",\"streamId\":}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":-1,\"data\":\"AA==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":1.0,\"data\":\"AA==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":1e1,\"data\":\"AA==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":\"1\",\"data\":\"AA==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":null,\"data\":\"AA==\"}}", false},
	/* Data that only the ordinary parser can read, or nobody. */
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"\\/\\/8=\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"\\u0061GkK\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGkK\",\"x\":\"y\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"a\",\"data\":\"aGkK\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"a\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGk\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGl=\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"a===\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"====\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aG==kK==\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aG k\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aG-_\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aG\nk\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aG\xff\xff\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":null}}", false},
	/* Nearly the text. */
	{"", false},
	{"{", false},
	{"ping", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGkK\"}} ", false},
	{" {" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGkK\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGkK\"}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":5}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"aGkK\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\",\"streamId\":}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"\",\"streamId\":5}, }", false},
	{"{" V ",\"id\":1," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGkK\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0, \"data\":\"aGkK\"}}", false},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":0,\"data\":\"aGkK\"},\"id\":1}", false},
	{"{" V ",\"method\":\"$sandbox.stream.end\",\"params\":{\"streamId\":0}}", false},
};

static void test_spellings(void **state)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		if (both_ways(rows[i].text, strlen(rows[i].text)) != rows[i].taken)
			fail_msg("%s: %s", rows[i].taken ? "not taken" : "taken", rows[i].text);
	}
}

static void test_every_cut(void **state)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		for (size_t len = 0; len < strlen(rows[i].text); len++)
			both_ways(rows[i].text, len);
	}
}

/* Each byte of each spelling replaced by others. */
static void test_every_byte_changed(void **state)
{
	static const char others[] = "\"\\0a=/+ ,:{}\n\x00\xff";

	for (size_t i = 0; i < 9; i++) {
		auto_free char *text = mem_strdup(rows[i].text);
		size_t len = strlen(text);

		for (size_t at = 0; at < len; at++) {
			char kept = text[at];

			for (size_t k = 0; k < sizeof(others) - 1; k++) {
				text[at] = others[k];
				both_ways(text, len);
			}
			text[at] = kept;
		}
	}
}

/* --- long data ----------------------------------------------------------------------------- */

static const struct {
	const char *before, *after;
} frames[] = {
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":42,\"data\":\"", "\"}}"},
	{"{\"method\": \"$sandbox.stream.enqueue\", \"params\": {\"streamId\": 42, \"data\": \"",
		"\"}, \"jsonrpc\": \"2.0\"}"},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"", "\",\"streamId\":42}}"},
};

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* A message with len bytes of data; *ret_at is where the base64 starts. */
static char *long_message(size_t frame, size_t len, size_t *ret_size, size_t *ret_at)
{
	size_t before = strlen(frames[frame].before), after = strlen(frames[frame].after);
	size_t size = before + base64_encoded_len(len) + after;
	auto_free uint8_t *data = mem_zalloc(len);
	char *text = mem_zalloc(size);
	uint32_t seed = (uint32_t)len;

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)next_random(&seed);
	memcpy(text, frames[frame].before, before);
	base64_encode(text + before, data, len);
	memcpy(text + size - after, frames[frame].after, after);
	*ret_size = size;
	*ret_at = before;
	return text;
}

static void test_lengths(void **state)
{
	static const size_t lengths[] = {1, 2, 3, 100, 6141, 6142, 6143, 6144, 6145, 6147, 12288,
		24575, 24576, 24577, 30720, 36863, 36864, 36865, 49152, 65536, 200000, 1000001};

	for (size_t i = 0; i < array_len(lengths); i++) {
		for (size_t frame = 0; frame < array_len(frames); frame++) {
			size_t size, at;
			auto_free char *text = long_message(frame, lengths[i], &size, &at);

			assert_true(both_ways(text, size));
		}
	}
}

/* One wrong character anywhere: the text comes back whole, from every stage of the decoding. */
static void test_restored(void **state)
{
	static const char wrong[] = "=\\\" \xff";
	size_t size, at;
	auto_free char *text = long_message(0, 100000, &size, &at);
	size_t end = size - strlen(frames[0].after);

	for (size_t place = at; place < end;
		place += place < at + 50 || place > end - 50 ? 1 : 997) {
		char kept = text[place];

		for (size_t k = 0; k < sizeof(wrong) - 1; k++) {
			if (wrong[k] == kept)
				continue;
			text[place] = wrong[k];
			/* The padding at the end may be right in another place. */
			if (place < end - 4)
				assert_false(both_ways(text, size));
			else
				both_ways(text, size);
		}
		text[place] = kept;
	}
	assert_true(both_ways(text, size));
}

/* Padding at every seam between the pieces. */
static void test_padding_inside(void **state)
{
	size_t size, at;
	auto_free char *text = long_message(1, 90000, &size, &at);

	for (size_t seam = 1024; seam + 1024 < 120000; seam += 1024) {
		char kept[4];

		memcpy(kept, text + at + seam - 4, 4);
		memcpy(text + at + seam - 4, "AAA=", 4);
		assert_false(both_ways(text, size));
		memcpy(text + at + seam - 4, kept, 4);
	}
	assert_true(both_ways(text, size));
}

static void test_random(void **state)
{
	uint32_t seed = 1;

	for (int round = 0; round < 2000; round++) {
		size_t size, at;
		size_t frame = next_random(&seed) % array_len(frames);
		auto_free char *text = long_message(frame, next_random(&seed) % 300, &size, &at);
		unsigned changes = next_random(&seed) % 3;

		while (changes-- > 0)
			text[next_random(&seed) % size] = (char)next_random(&seed);
		both_ways(text, size);
	}
}

/* --- the ordinary way ---------------------------------------------------------------------- */

static const struct {
	const char *text;
	int r;
	enum rpc_stream_kind kind;
	const char *data, *error, *error_class;
} others[] = {
	{"{" V ",\"method\":\"$sandbox.stream.start\",\"params\":{\"streamId\":5}}", 0,
		RPC_STREAM_START, NULL, NULL, NULL},
	{"{" V ",\"method\":\"$sandbox.stream.end\",\"params\":{\"streamId\":5,\"x\":1}}", 0,
		RPC_STREAM_END, NULL, NULL, NULL},
	{"{" V "," ENQUEUE ",\"params\":{\"data\":\"\\u0061Gk=\", \"streamId\":5.0}}", 0,
		RPC_STREAM_ENQUEUE, "hi", NULL, NULL},
	{"{" V ",\"method\":\"$sandbox.stream.error\",\"params\":{\"streamId\":5,\"error\":null}}",
		0, RPC_STREAM_ERROR, NULL, NULL, NULL},
	{"{" V ",\"method\":\"$sandbox.stream.error\",\"params\":{\"streamId\":5}}", 0,
		RPC_STREAM_ERROR, NULL, NULL, NULL},
	/* Python. */
	{"{" V
	 ",\"method\":\"$sandbox.stream.error\",\"params\":{\"streamId\":5,\"error\":\"boom\"}}",
		0, RPC_STREAM_ERROR, NULL, "boom", NULL},
	/* JavaScript. */
	{"{" V ",\"method\":\"$sandbox.stream.error\",\"params\":{\"streamId\":5,\"error\":{"
	 "\"constructorName\":\"TypeError\",\"message\":\"boom\",\"code\":null,\"stack\":\"at "
	 "x\"}}}",
		0, RPC_STREAM_ERROR, NULL, "boom", "TypeError"},
	{"{" V ",\"method\":\"$sandbox.stream.cancel\",\"params\":{\"streamId\":5,\"reason\":{"
	 "\"constructorName\":\"Error\",\"message\":\"\"}}}",
		0, RPC_STREAM_CANCEL, NULL, "", "Error"},
	{"{" V
	 ",\"method\":\"$sandbox.stream.cancel\",\"params\":{\"streamId\":5,\"reason\":null}}",
		0, RPC_STREAM_CANCEL, NULL, NULL, NULL},
	/* What is no error is none. */
	{"{" V ",\"method\":\"$sandbox.stream.error\",\"params\":{\"streamId\":5,\"error\":[1]}}",
		0, RPC_STREAM_ERROR, NULL, NULL, NULL},
	{"{" V ",\"method\":\"$sandbox.stream.error\",\"params\":{\"streamId\":5,\"error\":{"
	 "\"constructorName\":1,\"message\":{}}}}",
		0, RPC_STREAM_ERROR, NULL, NULL, NULL},
	{"{" V
	 ",\"method\":\"$sandbox.stream.error\",\"params\":{\"streamId\":5,\"reason\":\"x\"}}",
		0, RPC_STREAM_ERROR, NULL, NULL, NULL},
	/* Malformed. */
	{"{" V ",\"method\":\"$sandbox.stream.start\"}", -EINVAL, 0, NULL, NULL, NULL},
	{"{" V ",\"method\":\"$sandbox.stream.start\",\"params\":[5]}", -EINVAL, 0, NULL, NULL,
		NULL},
	{"{" V ",\"method\":\"$sandbox.stream.end\",\"params\":{\"streamId\":-1}}", -EINVAL, 0,
		NULL, NULL, NULL},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":5}}", -EINVAL, 0, NULL, NULL, NULL},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":5,\"data\":\"a\"}}", -EINVAL, 0, NULL, NULL,
		NULL},
	{"{" V "," ENQUEUE ",\"params\":{\"streamId\":5,\"data\":[]}}", -EINVAL, 0, NULL, NULL,
		NULL},
	/* Not of the family. */
	{"{" V ",\"method\":\"$sandbox.stream.\",\"params\":{\"streamId\":5}}", -ENOENT, 0, NULL,
		NULL, NULL},
	{"{" V ",\"method\":\"$sandbox.stream.pause\",\"params\":{\"streamId\":5}}", -ENOENT, 0,
		NULL, NULL, NULL},
	{"{" V ",\"method\":\"$sandbox.stream.end\\u0000\",\"params\":{\"streamId\":5}}", -ENOENT,
		0, NULL, NULL, NULL},
	{"{" V ",\"method\":\"stat\",\"params\":{\"path\":\"x\"}}", -ENOENT, 0, NULL, NULL, NULL},
	{"{" V ",\"id\":1,\"method\":\"$sandbox.stream.end\",\"params\":{\"streamId\":5}}", -ENOENT,
		0, NULL, NULL, NULL},
};

static void expect_text(const char *text, const char *expected)
{
	if (expected == NULL)
		assert_null(text);
	else
		assert_string_equal(text, expected);
}

static void test_ordinary(void **state)
{
	for (size_t i = 0; i < array_len(others); i++) {
		struct rpc_stream_message m;
		int r = ordinary(others[i].text, strlen(others[i].text), &m);

		if (r != others[i].r)
			fail_msg("%d for %s", r, others[i].text);
		if (r == 0) {
			assert_int_equal(m.kind, others[i].kind);
			assert_int_equal(m.stream_id, 5);
			expect_text(m.error, others[i].error);
			expect_text(m.error_class, others[i].error_class);
			assert_int_equal(
				m.len, others[i].data != NULL ? strlen(others[i].data) : 0);
			if (others[i].data != NULL)
				assert_memory_equal(m.data, others[i].data, m.len);
		}
		rpc_stream_message_done(&m);
		rpc_stream_message_done(&m);
	}
}

static void test_issue(void **state)
{
	static const char text[] = "{" V "," ENQUEUE ",\"params\":{\"streamId\":5,\"data\":\"a\"}}";
	struct rpc_stream_message s;
	struct rpc_message m;
	struct rpc_issue issue;

	assert_int_equal(rpc_message_parse(text, strlen(text), &m), 0);
	assert_int_equal(rpc_stream_decode(&m, &s, &issue), -EINVAL);
	assert_string_equal(issue.path, "data");
	rpc_message_done(&m);
}

static void test_long_error(void **state)
{
	auto_free char *error = mem_zalloc(RPC_STREAM_ERROR_MAX + 2);
	struct rpc_stream_message m;

	memset(error, 'e', RPC_STREAM_ERROR_MAX + 1);
	auto_free char *text = mem_printf("{" V ",\"method\":\"$sandbox.stream.error\",\"params\":{"
					  "\"streamId\":5,\"error\":\"%s\"}}",
		error);
	assert_int_equal(ordinary(text, strlen(text), &m), 0);
	assert_int_equal(strlen(m.error), RPC_STREAM_ERROR_MAX);
	rpc_stream_message_done(&m);
}

/* --- writing ------------------------------------------------------------------------------- */

static void test_put_enqueue(void **state)
{
	static const int64_t ids[] = {0, 9, 10, 1234567890123, RPC_STREAM_ID_MAX};
	static const size_t lengths[] = {1, 2, 3, 100, 49152, 65536};

	for (size_t i = 0; i < array_len(ids); i++) {
		for (size_t k = 0; k < array_len(lengths); k++) {
			size_t size = rpc_stream_enqueue_size(ids[i], lengths[k]);
			auto_free uint8_t *data = mem_zalloc(lengths[k]);
			auto_free char *out = mem_zalloc(size);
			struct rpc_stream_message m;
			uint32_t seed = 3;

			for (size_t n = 0; n < lengths[k]; n++)
				data[n] = (uint8_t)next_random(&seed);
			assert_int_equal(
				rpc_stream_put_enqueue(out, ids[i], data, lengths[k]), size);
			assert_int_equal(ordinary(out, size, &m), 0);
			assert_int_equal(m.kind, RPC_STREAM_ENQUEUE);
			assert_true(m.stream_id == ids[i]);
			assert_int_equal(m.len, lengths[k]);
			assert_memory_equal(m.data, data, m.len);
			rpc_stream_message_done(&m);
			/* Our own spelling is one of those that are recognised. */
			assert_true(both_ways(out, size));
		}
	}
}

static void test_put_others(void **state)
{
	struct rpc_failure failure = {EPIPE, (char *)"write", NULL};
	auto_buf struct buf b;

	buf_init(&b, 1000);
	assert_int_equal(rpc_stream_put(&b, RPC_STREAM_START, 7301144290011), 0);
	assert_int_equal(buf_append_byte(&b, '\n'), 0);
	assert_int_equal(rpc_stream_put(&b, RPC_STREAM_END, 0), 0);
	assert_int_equal(buf_append_byte(&b, '\n'), 0);
	assert_int_equal(rpc_stream_put_failure(&b, RPC_STREAM_ERROR, 1, &failure), 0);
	assert_int_equal(buf_append_byte(&b, '\n'), 0);
	assert_int_equal(rpc_stream_put_failure(&b, RPC_STREAM_CANCEL, 2, NULL), 0);
	auto_free char *text = buf_text(&b);
	assert_string_equal(text, "{\"jsonrpc\":\"2.0\",\"method\":\"$sandbox.stream.start\","
				  "\"params\":{\"streamId\":"
				  "7301144290011}}\n"
				  "{\"jsonrpc\":\"2.0\",\"method\":\"$sandbox.stream.end\","
				  "\"params\":{\"streamId\":0}}\n"
				  "{\"jsonrpc\":\"2.0\",\"method\":\"$sandbox.stream.error\","
				  "\"params\":{\"streamId\":1,"
				  "\"error\":{\"constructorName\":\"BrokenPipe\",\"message\":"
				  "\"Broken pipe (os error 32): "
				  "write\",\"code\":\"EPIPE\"}}}\n"
				  "{\"jsonrpc\":\"2.0\",\"method\":\"$sandbox.stream.cancel\","
				  "\"params\":{\"streamId\":2,"
				  "\"reason\":null}}");

	for (size_t max = 1; max < 250; max++) {
		auto_buf struct buf small;

		buf_init(&small, max);
		buf_append_byte(&small, '!');
		if (rpc_stream_put_failure(&small, RPC_STREAM_ERROR, 1, &failure) < 0)
			assert_int_equal(small.len, 1);
		else
			assert_true(small.len > 100);
	}
}

int main(void)
{
	static const char *const kernels[] = {"scalar", "avx2", "avx512vbmi"};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_every_byte_changed),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_restored),
		cmocka_unit_test(test_padding_inside),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_ordinary),
		cmocka_unit_test(test_issue),
		cmocka_unit_test(test_long_error),
		cmocka_unit_test(test_put_enqueue),
		cmocka_unit_test(test_put_others),
	};
	int failed = 0;

	for (size_t i = 0; i < array_len(kernels); i++) {
		if (base64_select(kernels[i]) == 0)
			failed += cmocka_run_group_tests_name(kernels[i], tests, NULL, NULL);
	}
	return failed;
}
