/* What a peer may make the HTTP/2 engine keep or do: each limit is reached, and held. */
#include "gate/http2_peer.h"

#include <zlib.h>

static struct world w;

static int set_up(void **state)
{
	world_init(&w, &(const struct world_options){0});
	return 0;
}

static int tear_down(void **state)
{
	world_done(&w);
	return 0;
}

/* Waits for the end of a connection whose client has been told why. */
static void assert_ended(uint32_t code)
{
	run_until(&w, &w.done);
	run(&w, 50);
	assert_true(w.client.goaway);
	assert_int_equal(w.client.goaway_code, code);
	assert_true(w.client.eof && w.origin.eof);
}

/* --- raw frames ----------------------------------------------------------------------------- */

static void raw_frame(
	struct peer *p, uint8_t type, uint8_t flags, int32_t id, const void *payload, size_t len)
{
	const uint8_t head[9] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type,
		flags, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

	buf_append(&p->out, head, sizeof(head));
	buf_append(&p->out, payload, len);
}

/* A header block that uses no table. */
static size_t raw_block(const struct field *fields, uint8_t *out, size_t max)
{
	nghttp2_hd_deflater *deflater;
	static nghttp2_nv nva[FIELDS_HERE];
	size_t count = fields_nva(fields, nva);

	assert_int_equal(nghttp2_hd_deflate_new(&deflater, 0), 0);
	ssize_t n = nghttp2_hd_deflate_hd(deflater, out, max, nva, count);
	nghttp2_hd_deflate_del(deflater);
	assert_true(n > 0);
	return (size_t)n;
}

/* --- streams -------------------------------------------------------------------------------- */

static void concurrent_streams_are_bounded(void **state)
{
	struct peer_stream *c[HTTP2_STREAMS_MAX + 20];

	for (size_t i = 0; i < array_len(c); i++)
		c[i] = peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 50);
	/* An honest client waits. */
	assert_int_equal(w.origin.started, HTTP2_STREAMS_MAX);
	assert_int_equal(world_flow(&w)->stream_count, HTTP2_STREAMS_MAX);
	for (unsigned i = 0; i < HTTP2_STREAMS_MAX; i++)
		peer_answer(at_origin(&w, i), ANSWER("200"), false);
	run(&w, 50);
	assert_int_equal(w.origin.started, array_len(c));
	assert_true(c[HTTP2_STREAMS_MAX - 1]->closed);
}

static void client_that_opens_too_many_streams_is_cut_off(void **state)
{
	uint8_t block[512];
	size_t len = raw_block(REQUEST("GET", "/"), block, sizeof(block));

	for (int32_t i = 0; i <= HTTP2_STREAMS_MAX; i++)
		raw_frame(&w.client, NGHTTP2_HEADERS,
			NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 2 * i + 1, block, len);
	peer_flush(&w.client);
	assert_ended(NGHTTP2_PROTOCOL_ERROR);
	assert_true(w.requests <= HTTP2_STREAMS_MAX);
}

/* The host takes one at a time; the program opens and gives up more and more. */
static void held_streams_are_bounded(void **state)
{
	const nghttp2_settings_entry one = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};
	struct peer_stream *c[HTTP2_STREAMS_HELD_MAX + 1];
	size_t n = 0;

	nghttp2_submit_settings(w.origin.session, NGHTTP2_FLAG_NONE, &one, 1);
	peer_flush(&w.origin);
	run(&w, 20);
	for (; n < HTTP2_STREAMS_HELD_MAX; n++) {
		c[n] = peer_request(&w.client, REQUEST("GET", "/"), false);
		run(&w, 5);
		if (n > 0 && n < HTTP2_STREAMS_HELD_MAX - 1)
			peer_reset(c[n], NGHTTP2_CANCEL);
		run(&w, 5);
	}
	assert_int_equal(w.origin.started, 1);
	assert_int_equal(world_flow(&w)->stream_count, HTTP2_STREAMS_HELD_MAX);
	c[n] = peer_request(&w.client, REQUEST("GET", "/"), false);
	run_until(&w, &c[n]->closed);
	assert_int_equal(c[n]->code, NGHTTP2_REFUSED_STREAM);
	assert_false(w.done);
	/* As the host goes on, they go. */
	peer_answer(at_origin(&w, 0), ANSWER("200"), false);
	run_until(&w, &c[0]->closed);
	run(&w, 20);
	assert_int_equal(world_flow(&w)->stream_count, 1);
	assert_int_equal(w.origin.started, 2);
}

/* --- header lists --------------------------------------------------------------------------- */

static char *long_value(size_t len)
{
	char *value = mem_zalloc(len + 1);

	memset(value, 'v', len);
	return value;
}

static void header_lists_are_bounded(void **state)
{
	auto_free char *half = long_value(HTTP2_FIELDS_MAX / 2 - 200);
	auto_free char *more = long_value(600);

	struct peer_stream *fits =
		peer_request(&w.client, REQUEST("GET", "/", {"x-a", half}, {"x-b", half}), false);
	run(&w, 20);
	assert_int_equal(w.origin.started, 1);
	assert_true(text_has(&at_origin(&w, 0)->head, half));
	struct peer_stream *too_long = peer_request(
		&w.client, REQUEST("GET", "/", {"x-a", half}, {"x-b", half}, {"x-c", more}), false);
	run_until(&w, &too_long->closed);
	assert_true(text_has(&too_long->head, ":status: 400\n"));
	assert_int_equal(w.why, EXCHANGE_MALFORMED);
	assert_int_equal(w.origin.started, 1);

	peer_answer(at_origin(&w, 0), ANSWER("200", {"x-a", half}, {"x-b", half}, {"x-c", more}),
		false);
	run_until(&w, &fits->closed);
	assert_true(text_has(&fits->head, ":status: 502\n"));
	assert_int_equal(w.why, EXCHANGE_BAD_ANSWER);
	assert_false(w.done);
}

/* Names and values are small here; what counts is that there are many. */
static void header_fields_count_for_themselves(void **state)
{
	static struct field fields[FIELDS_HERE];
	size_t n = 0;

	fields[n++] = (struct field){":method", "GET"};
	fields[n++] = (struct field){":scheme", "https"};
	fields[n++] = (struct field){":authority", HOST};
	fields[n++] = (struct field){":path", "/"};
	while (n < FIELDS_HERE - 1)
		fields[n++] = (struct field){"a", "b"};
	struct peer_stream *c = peer_request(&w.client, fields, false);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, ":status: 400\n"));
}

/* Placeholders are shorter than values can be. */
static void header_lists_with_secrets_are_bounded(void **state)
{
	auto_free char *secret = long_value(VAULT_VALUE_MAX);
	static struct field fields[FIELDS_HERE];
	size_t n = 0;

	world_done(&w);
	world_init(&w, &(const struct world_options){.secret = secret});
	fields[n++] = (struct field){":method", "GET"};
	fields[n++] = (struct field){":scheme", "https"};
	fields[n++] = (struct field){":authority", HOST};
	fields[n++] = (struct field){":path", "/"};
	while (n < 4 + HTTP2_FIELDS_SENT_MAX / VAULT_VALUE_MAX - 1)
		fields[n++] = (struct field){"x-key", PLACEHOLDER};
	peer_request(&w.client, fields, false);
	run(&w, 50);
	assert_int_equal(w.origin.started, 1);
	assert_true(at_origin(&w, 0)->head.len > HTTP2_FIELDS_SENT_MAX - 2 * VAULT_VALUE_MAX);
	fields[n++] = (struct field){"x-key", PLACEHOLDER};
	struct peer_stream *c = peer_request(&w.client, fields, false);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, ":status: 400\n"));
	assert_int_equal(w.why, EXCHANGE_MALFORMED);
	assert_int_equal(w.origin.started, 1);
}

static void continuations_are_bounded(void **state)
{
	uint8_t block[512];
	size_t len = raw_block(REQUEST("GET", "/"), block, sizeof(block));

	for (int32_t id = 1; id <= 3; id += 2) {
		int frames = id == 1 ? HTTP2_CONTINUATIONS_MAX : HTTP2_CONTINUATIONS_MAX + 1;

		raw_frame(&w.client, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, id, block, len);
		for (int i = 1; i <= frames; i++)
			raw_frame(&w.client, NGHTTP2_CONTINUATION,
				i == frames ? NGHTTP2_FLAG_END_HEADERS : 0, id, NULL, 0);
		peer_flush(&w.client);
		run(&w, 20);
		assert_int_equal(w.requests, 1);
		assert_int_equal(w.done, id == 3);
	}
	assert_int_equal(w.err, -EPROTO);
}

/* --- floods --------------------------------------------------------------------------------- */

static void rapid_resets_end_the_connection(void **state)
{
	for (unsigned i = 0; i <= HTTP2_RESETS_MAX; i++) {
		assert_false(w.done);
		struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);
		run(&w, 5);
		peer_reset(c, NGHTTP2_CANCEL);
		run(&w, 5);
	}
	assert_ended(NGHTTP2_ENHANCE_YOUR_CALM);
	assert_int_equal(w.requests, HTTP2_RESETS_MAX + 1);
}

/* The same, with the gate made to send the resets. */
static void provoked_resets_end_the_connection(void **state)
{
	for (unsigned i = 0; i <= HTTP2_RESETS_MAX; i++) {
		assert_false(w.done);
		peer_request(&w.client, REQUEST("GET", "/", {"connection", "close"}), false);
		run(&w, 5);
	}
	assert_ended(NGHTTP2_ENHANCE_YOUR_CALM);
}

static void settings_flood_ends_the_connection(void **state)
{
	for (unsigned i = 0; i <= HTTP2_SETTINGS_MAX; i++) {
		nghttp2_submit_settings(w.client.session, NGHTTP2_FLAG_NONE, NULL, 0);
		peer_flush(&w.client);
	}
	assert_ended(NGHTTP2_ENHANCE_YOUR_CALM);
}

static void ping_flood_ends_the_connection(void **state)
{
	/* Slowly enough for each to be acknowledged. */
	for (unsigned i = 0; i < HTTP2_PINGS_MAX; i++) {
		raw_frame(&w.client, NGHTTP2_PING, 0, 0, "12345678", 8);
		if (i % 100 == 0) {
			peer_flush(&w.client);
			run(&w, 5);
		}
	}
	peer_flush(&w.client);
	run(&w, 50);
	assert_false(w.done);
	raw_frame(&w.client, NGHTTP2_PING, 0, 0, "12345678", 8);
	peer_flush(&w.client);
	assert_ended(NGHTTP2_ENHANCE_YOUR_CALM);
}

static void empty_data_flood_ends_the_connection(void **state)
{
	peer_request(&w.client, REQUEST("POST", "/"), true);
	run(&w, 20);
	for (unsigned i = 0; i <= HTTP2_EMPTY_MAX; i++)
		raw_frame(&w.client, NGHTTP2_DATA, 0, 1, NULL, 0);
	peer_flush(&w.client);
	assert_ended(NGHTTP2_ENHANCE_YOUR_CALM);
}

/* A client that asks for acknowledgements and reads none. */
static void unread_acks_are_bounded(void **state)
{
	static uint8_t zeros[1024 * 1024];

	peer_open_wide(&w.client);
	peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	w.client.deaf = true;
	peer_flush(&w.client);
	peer_answer(at_origin(&w, 0), ANSWER("200"), true);
	for (int i = 0; i < 8; i++)
		peer_send(at_origin(&w, 0), zeros, sizeof(zeros), false);
	run(&w, 500);
	for (int i = 0; i < HTTP2_ACKS_MAX; i++)
		raw_frame(&w.client, NGHTTP2_PING, 0, 0, "12345678", 8);
	peer_flush(&w.client);
	run(&w, 50);
	assert_false(w.done);
	for (int i = 0; i < 2; i++)
		raw_frame(&w.client, NGHTTP2_PING, 0, 0, "12345678", 8);
	peer_flush(&w.client);
	run_until(&w, &w.done);
	assert_int_equal(w.err, -EPROTO);
}

/* The same with resets of streams that are refused, which nothing else bounds before our settings
 * are acknowledged. */
static void unread_resets_are_bounded(void **state)
{
	static uint8_t zeros[1024 * 1024];
	uint8_t block[512];
	size_t len = raw_block(REQUEST("GET", "/"), block, sizeof(block));

	world_done(&w);
	world_init(&w, &(const struct world_options){.deaf = true});
	peer_open_wide(&w.client);
	peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	peer_answer(at_origin(&w, 0), ANSWER("200"), true);
	for (int i = 0; i < 8; i++)
		peer_send(at_origin(&w, 0), zeros, sizeof(zeros), false);
	run(&w, 500);
	for (int32_t i = 1; i < HTTP2_STREAMS_MAX + HTTP2_QUEUE_MAX; i++)
		raw_frame(&w.client, NGHTTP2_HEADERS,
			NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 2 * i + 1, block, len);
	peer_flush(&w.client);
	run(&w, 200);
	assert_int_equal(w.requests, HTTP2_STREAMS_MAX);
	assert_false(w.done);
	for (int32_t i = 0; i < 2; i++)
		raw_frame(&w.client, NGHTTP2_HEADERS,
			NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM,
			2 * (HTTP2_STREAMS_MAX + HTTP2_QUEUE_MAX + i) + 1, block, len);
	peer_flush(&w.client);
	run_until(&w, &w.done);
	assert_int_equal(w.err, -EPROTO);
}

/* --- backpressure --------------------------------------------------------------------------- */

#define LARGE ((size_t)16 * 1024 * 1024)
/* Two socket buffers on each side, however large the kernel made them. */
#define SOCKETS ((size_t)2 * 1024 * 1024)

static void assert_answers_bounded(void)
{
	struct list *pos;
	size_t raw = 0;

	list_for_each (pos, &world_flow(&w)->streams) {
		const struct http2_stream *s = container_of(pos, struct http2_stream, node);

		raw += s->raw.len;
		assert_true(s->raw.len <= HTTP2_STREAM_WINDOW);
		assert_true(s->down.data.len <= HTTP2_ANSWER_AHEAD + 64 * 1024);
	}
	assert_true(raw <= HTTP2_WINDOW);
}

static void slow_program_holds_the_host(void **state)
{
	auto_free uint8_t *bytes = mem_zalloc(LARGE);
	struct peer_stream *c[8];

	peer_open_wide(&w.client);
	for (unsigned i = 0; i < array_len(c); i++)
		c[i] = peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	w.client.deaf = true;
	peer_flush(&w.client);
	for (unsigned i = 0; i < array_len(c); i++) {
		peer_answer(at_origin(&w, i), ANSWER("200"), true);
		peer_send(at_origin(&w, i), bytes, LARGE / array_len(c), true);
	}
	run(&w, 2000);
	assert_answers_bounded();
	assert_true(w.origin.written <
		    HTTP2_WINDOW + LEG_OUT_HIGH + SOCKETS + array_len(c) * HTTP2_ANSWER_AHEAD);
	size_t stuck = w.origin.written;
	run(&w, 500);
	assert_int_equal(w.origin.written, stuck);
	w.client.deaf = false;
	peer_flush(&w.client);
	for (unsigned i = 0; i < array_len(c); i++) {
		run_until(&w, &c[i]->closed);
		assert_int_equal(c[i]->body.len, LARGE / array_len(c));
	}
}

/* One stream is not read; the other is. */
static void slow_stream_holds_only_itself(void **state)
{
	auto_free uint8_t *bytes = mem_zalloc(LARGE);
	struct peer_stream *slow = peer_request(&w.client, REQUEST("GET", "/slow"), false);

	w.client.hold = true;
	run(&w, 20);
	peer_answer(at_origin(&w, 0), ANSWER("200"), true);
	peer_send(at_origin(&w, 0), bytes, LARGE, true);
	run(&w, 500);
	assert_int_equal(slow->body.len, 65535);
	assert_true(LARGE - at_origin(&w, 0)->send.len <=
		    65535 + HTTP2_ANSWER_AHEAD + HTTP2_STREAM_WINDOW + 65536);
	assert_answers_bounded();
	struct peer_stream *fast = peer_request(&w.client, REQUEST("GET", "/fast"), false);
	run(&w, 20);
	peer_answer(at_origin(&w, 1), ANSWER("200"), true);
	peer_send(at_origin(&w, 1), bytes, 60000, true);
	run_until(&w, &fast->closed);
	assert_int_equal(fast->body.len, 60000);
}

static void slow_host_holds_the_program(void **state)
{
	auto_free uint8_t *bytes = mem_zalloc(LARGE);
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);

	peer_open_wide(&w.origin);
	run(&w, 20);
	w.origin.deaf = true;
	peer_flush(&w.origin);
	peer_send(c, bytes, LARGE, true);
	run(&w, 2000);
	const struct http2_stream *s =
		container_of(world_flow(&w)->streams.next, struct http2_stream, node);
	assert_true(s->up.data.len <= HTTP2_STREAM_WINDOW);
	assert_true(w.client.written < HTTP2_WINDOW + LEG_OUT_HIGH + SOCKETS);
	w.origin.deaf = false;
	peer_flush(&w.origin);
	run_until(&w, &at_origin(&w, 0)->ended);
	assert_int_equal(at_origin(&w, 0)->body.len, LARGE);
}

/* A few kilobytes that become megabytes wait in their small form. */
static void decoded_answers_wait_for_the_program(void **state)
{
	auto_free uint8_t *zeros = mem_zalloc(LARGE);
	auto_free uint8_t *packed = mem_zalloc(LARGE);
	z_stream z = {.next_in = zeros, .avail_in = LARGE, .next_out = packed, .avail_out = LARGE};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	w.client.deaf = true;
	peer_flush(&w.client);
	peer_answer(at_origin(&w, 0), ANSWER("200", {"content-encoding", "gzip"}), true);
	peer_send(at_origin(&w, 0), packed, z.total_out, true);
	deflateEnd(&z);
	run(&w, 500);
	assert_answers_bounded();
	w.client.deaf = false;
	peer_flush(&w.client);
	run_until(&w, &c->closed);
	assert_int_equal(c->code, 0);
	assert_int_equal(c->body.len, LARGE);
}

/* What waits in a stream that is cut off does not stay in the connection's window. */
static void cut_streams_give_their_window_back(void **state)
{
	auto_free uint8_t *bytes = mem_zalloc(LARGE);
	const size_t stuck = HTTP2_STREAM_WINDOW;
	unsigned rounds = 3 * HTTP2_WINDOW / HTTP2_STREAM_WINDOW;

	w.client.hold = w.origin.hold = true;
	for (unsigned i = 0; i < rounds; i++) {
		struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);

		peer_send(c, bytes, stuck, false);
		run(&w, 50);
		struct peer_stream *o = at_origin(&w, i);
		assert_true(o->body.len > 0 && o->body.len < stuck);
		peer_answer(o, ANSWER("200"), true);
		peer_send(o, bytes, 2 * stuck, false);
		run(&w, 50);
		assert_true(c->body.len > 0 && c->body.len < stuck);
		peer_reset(i % 2 ? o : c, NGHTTP2_CANCEL);
		run_until(&w, &c->closed);
		run_until(&w, &o->closed);
	}
	w.client.hold = w.origin.hold = false;
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);
	peer_send(c, bytes, LARGE, true);
	run(&w, 50);
	peer_answer(at_origin(&w, rounds), ANSWER("200"), true);
	peer_send(at_origin(&w, rounds), bytes, LARGE, true);
	run_until(&w, &c->closed);
	assert_int_equal(c->body.len, LARGE);
	assert_int_equal(at_origin(&w, rounds)->body.len, LARGE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(concurrent_streams_are_bounded),
		TEST(client_that_opens_too_many_streams_is_cut_off),
		TEST(held_streams_are_bounded),
		TEST(header_lists_are_bounded),
		TEST(header_fields_count_for_themselves),
		TEST(header_lists_with_secrets_are_bounded),
		TEST(continuations_are_bounded),
		TEST(rapid_resets_end_the_connection),
		TEST(provoked_resets_end_the_connection),
		TEST(settings_flood_ends_the_connection),
		TEST(ping_flood_ends_the_connection),
		TEST(empty_data_flood_ends_the_connection),
		TEST(unread_acks_are_bounded),
		TEST(unread_resets_are_bounded),
		TEST(slow_program_holds_the_host),
		TEST(slow_stream_holds_only_itself),
		TEST(slow_host_holds_the_program),
		TEST(decoded_answers_wait_for_the_program),
		TEST(cut_streams_give_their_window_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
