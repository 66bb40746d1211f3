/* Requests and answers over HTTP/2: what passes, what is changed, what is refused, how they end. */
#include "gate/http2_peer.h"

#include <zlib.h>

#include "wire/base64.h"

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

static void fill(struct buf *b, size_t len, unsigned seed)
{
	uint8_t *p = buf_reserve(b, len, NULL);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 31 + i / 251 + seed);
	buf_commit(b, len);
}

static void assert_same(const struct buf *a, const struct buf *b)
{
	assert_int_equal(a->len, b->len);
	assert_memory_equal(buf_data(a), buf_data(b), a->len);
}

static void assert_body(const struct peer_stream *s, const char *text)
{
	assert_int_equal(s->body.len, strlen(text));
	assert_memory_equal(buf_data(&s->body), text, strlen(text));
}

/* --- passing -------------------------------------------------------------------------------- */

static void get_passes(void **state)
{
	struct peer_stream *c = peer_request(
		&w.client, REQUEST("GET", "/a/b?q=1", {"x-one", "1"}, {"te", "trailers"}), false);
	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	assert_true(o->ended);
	assert_true(text_has(&o->head, ":method: GET\n:scheme: https\n:authority: api.example\n"
				       ":path: /a/b?q=1\nx-one: 1\nte: trailers\n"));
	assert_true(text_has(&o->head, "accept-encoding: identity\n"));
	assert_string_equal(w.method, "GET");
	assert_string_equal(w.path, "/a/b");
	peer_answer(o, ANSWER("200", {"x-two", "2"}, {"content-length", "5"}), true);
	peer_send(o, "hello", 5, true);
	run_until(&w, &c->closed);
	assert_true(c->ended);
	assert_int_equal(c->code, 0);
	assert_true(text_has(&c->head, ":status: 200\nx-two: 2\ncontent-length: 5\n"));
	assert_body(c, "hello");
	assert_int_equal(w.requests, 1);
	assert_int_equal(w.x->requests, 1);
	assert_int_equal(w.refused, 0);
	assert_true(w.x->bytes_up > 0 && w.x->bytes_down > 0);
	assert_int_equal(world_flow(&w)->stream_count, 0);
}

/* Both directions at once, many times the windows. */
static void large_bodies_pass(void **state)
{
	auto_buf struct buf up;
	auto_buf struct buf down;

	buf_init(&up, PEER_MAX);
	buf_init(&down, PEER_MAX);
	fill(&up, 5 * HTTP2_WINDOW + 12345, 1);
	fill(&down, 4 * HTTP2_WINDOW + 777, 2);
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);
	peer_send(c, buf_data(&up), up.len, true);
	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	peer_answer(o, ANSWER("200"), true);
	peer_send(o, buf_data(&down), down.len, true);
	run_until(&w, &c->closed);
	run_until(&w, &o->closed);
	assert_same(&o->body, &up);
	assert_same(&c->body, &down);
	assert_int_equal(c->code, 0);
	assert_true(w.x->bytes_up > up.len && w.x->bytes_down > down.len);
}

static void trailers_pass_both_ways(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);

	c->send_trailer = "up";
	peer_send(c, "body", 4, true);
	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	assert_body(o, "body");
	assert_true(o->ended);
	assert_true(text_has(&o->trailers, "x-trailer: up\n"));
	o->send_trailer = "with " SECRET;
	peer_answer(o, ANSWER("200"), true);
	peer_send(o, "answer", 6, true);
	run_until(&w, &c->closed);
	assert_body(c, "answer");
	assert_true(text_has(&c->trailers, "x-trailer: with *****"));
	assert_false(text_has(&c->trailers, SECRET));
	assert_int_equal(w.scrubbed, 1);
}

/* As gRPC does it: each side waits for the other's message. */
static void messages_alternate(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/svc/Chat"), true);

	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	peer_answer(o, ANSWER("200", {"content-type", "application/grpc"}), true);
	for (unsigned i = 1; i <= 50; i++) {
		peer_send(c, "ping!", 5, i == 50);
		run(&w, 20);
		assert_int_equal(o->body.len, 5 * i);
		peer_send(o, "pong", 4, false);
		run(&w, 20);
		assert_int_equal(c->body.len, 4 * i);
	}
	assert_true(o->ended);
	o->send_trailer = "0";
	peer_send(o, NULL, 0, true);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->trailers, "x-trailer: 0\n"));
}

static void interim_answers_pass(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);

	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	peer_interim(o, ANSWER("103", {"link", "</a" SECRET ">"}));
	run(&w, 20);
	assert_true(text_has(&c->head, ":status: 103\nlink: </a*****"));
	peer_answer(o, ANSWER("204"), false);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, ":status: 204\n"));
	assert_true(text_has(&c->interim, ":status: 103\n"));
	assert_false(text_has(&c->interim, SECRET));
}

static void host_that_never_answers_finally_is_refused(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);

	run(&w, 20);
	for (int i = 0; i < HTTP2_INTERIM_MAX; i++)
		peer_interim(at_origin(&w, 0), ANSWER("103"));
	run(&w, 20);
	assert_int_equal(w.refused, 0);
	peer_interim(at_origin(&w, 0), ANSWER("103"));
	run_until(&w, &c->closed);
	assert_int_equal(w.why, EXCHANGE_BAD_ANSWER);
	assert_true(text_has(&c->head, ":status: 502\n"));
	assert_true(at_origin(&w, 0)->reset);
}

static void head_answers_have_no_body(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("HEAD", "/"), false);

	run(&w, 20);
	peer_answer(at_origin(&w, 0),
		ANSWER("200", {"content-encoding", "gzip"}, {"content-length", "1234"}), false);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, "content-encoding: gzip\ncontent-length: 1234\n"));
	assert_int_equal(c->body.len, 0);
}

/* --- whose host ----------------------------------------------------------------------------- */

static void authority_is_checked_for_each_stream(void **state)
{
	struct peer_stream *good = peer_request(&w.client, REQUEST("POST", "/1"), true);
	struct peer_stream *bad = peer_request(&w.client,
		(const struct field[]){{":method", "POST"}, {":scheme", "https"},
			{":authority", "other.example"}, {":path", "/2"}, {NULL, NULL}},
		true);

	run_until(&w, &bad->ended);
	assert_int_equal(w.refused, 1);
	assert_int_equal(w.why, EXCHANGE_HOST_MISMATCH);
	assert_true(text_has(&bad->head, ":status: 403\ncontent-type: application/json\n"));
	assert_true(text_has(&bad->body, "\"code\":\"host-mismatch\",\"host\":\"api.example\""));
	/* It may stop sending. */
	run_until(&w, &bad->closed);
	assert_int_equal(bad->code, NGHTTP2_NO_ERROR);
	/* The other is not touched. */
	peer_send(good, "go on", 5, true);
	run(&w, 20);
	assert_int_equal(w.origin.started, 1);
	assert_body(at_origin(&w, 0), "go on");
	peer_answer(at_origin(&w, 0), ANSWER("200"), false);
	run_until(&w, &good->closed);
	assert_true(text_has(&good->head, ":status: 200"));
	assert_false(w.done);
}

static void host_header_must_agree(void **state)
{
	static const struct {
		const char *authority, *host;
		bool ok;
	} cases[] = {
		{"api.example", "other.example", false},
		{"other.example", "api.example", false},
		{NULL, "other.example", false},
		{"user@api.example", NULL, false},
		{"api.example:444", NULL, false},
		{"api.example", "api.example", true},
		{"API.example.", "api.example:443", true},
		{NULL, "api.example", true},
	};
	unsigned sent = 0;

	for (size_t i = 0; i < array_len(cases); i++) {
		struct field fields[6] = {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}};
		size_t n = 3;

		if (cases[i].authority != NULL)
			fields[n++] = (struct field){":authority", cases[i].authority};
		if (cases[i].host != NULL)
			fields[n++] = (struct field){"host", cases[i].host};
		struct peer_stream *c = peer_request(&w.client, fields, false);
		run(&w, 20);
		sent += cases[i].ok;
		assert_int_equal(w.origin.started, sent);
		if (!cases[i].ok) {
			assert_true(c->closed);
			continue;
		}
		const struct peer_stream *o = at_origin(&w, sent - 1);
		assert_true(text_has(&o->head, ":authority: api.example\n"));
		assert_false(text_has(&o->head, "host: "));
	}
}

static void wrong_requests_are_refused(void **state)
{
	static const struct {
		const struct field fields[6];
		enum exchange_refusal why;
	} cases[] = {
		{{{":method", "CONNECT"}, {":authority", HOST}}, EXCHANGE_METHOD},
		{{{":method", "TRACE"}, {":scheme", "https"}, {":authority", HOST}, {":path", "/"}},
			EXCHANGE_METHOD},
		{{{":method", "GET"}, {":scheme", "http"}, {":authority", HOST}, {":path", "/"}},
			EXCHANGE_MALFORMED},
		/* nghttp2's own findings: a reset, not an answer */
		{{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"},
			 {":authority", HOST}, {":path", "/"}},
			EXCHANGE_MALFORMED},
		{{{":method", "GET"}, {":scheme", "https"}, {":authority", HOST}},
			EXCHANGE_MALFORMED},
		{{{":method", "GET"}, {":scheme", "https"}, {":authority", HOST}, {":path", "/"},
			 {"connection", "close"}},
			EXCHANGE_MALFORMED},
		{{{":method", "GET"}, {":scheme", "https"}, {":authority", HOST}, {":path", "/"},
			 {"x-bad", "a\x01\nb"}},
			EXCHANGE_MALFORMED},
	};

	for (unsigned i = 0; i < array_len(cases); i++) {
		struct peer_stream *c = peer_request(&w.client, cases[i].fields, false);

		run(&w, 20);
		assert_true(c->closed);
		assert_int_equal(w.refused, i + 1);
		assert_int_equal(w.why, cases[i].why);
	}
	assert_int_equal(w.origin.started, 0);
	assert_int_equal(w.requests, 0);
	assert_int_equal(world_flow(&w)->stream_count, 0);
}

/* --- secrets -------------------------------------------------------------------------------- */

static void secrets_are_put_in(void **state)
{
	char basic[512] = "Basic ";
	char want[512] = "authorization: Basic ";

	base64_encode(basic + 6, "user:" PLACEHOLDER, 5 + PLACEHOLDER_LEN);
	base64_encode(want + 21, "user:" SECRET, 5 + sizeof(SECRET) - 1);
	peer_request(
		&w.client, REQUEST("GET", "/", {"authorization", "Bearer " PLACEHOLDER}), false);
	peer_request(&w.client, REQUEST("GET", "/", {"authorization", basic}), false);
	peer_request(&w.client, REQUEST("GET", "/", {"x-key", PLACEHOLDER}), false);
	peer_request(&w.client, REQUEST("GET", "/", {"x-key", "none"}), false);
	run(&w, 20);
	assert_int_equal(w.origin.started, 4);
	assert_true(text_has(&at_origin(&w, 0)->head, "authorization: Bearer " SECRET "\n"));
	assert_true(text_has(&at_origin(&w, 1)->head, want));
	/* Never in the table of the compression. */
	assert_true(text_has(&at_origin(&w, 2)->never, "x-key\n"));
	assert_false(text_has(&at_origin(&w, 3)->never, "x-key\n"));
	assert_int_equal(w.used, 1);
	assert_int_equal(w.stray, 0);
}

static void stray_placeholders_are_reported(void **state)
{
	peer_request(&w.client, REQUEST("GET", "/?key=" PLACEHOLDER), false);
	run(&w, 20);
	assert_string_equal(w.where, "target");
	assert_string_equal(w.path, "/");
	assert_true(text_has(&at_origin(&w, 0)->head, PLACEHOLDER));
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);
	peer_send(c, "xx" PLACEHOLDER, 40, false);
	run(&w, 20);
	assert_string_equal(w.where, "target");
	peer_send(c, ("xx" PLACEHOLDER) + 40, PLACEHOLDER_LEN + 2 - 40, false);
	run(&w, 20);
	assert_string_equal(w.where, "body");
	c->send_trailer = PLACEHOLDER;
	w.stray = 0;
	peer_send(c, "", 0, true);
	run(&w, 20);
	assert_body(at_origin(&w, 1), "xx" PLACEHOLDER);
	assert_true(text_has(&at_origin(&w, 1)->trailers, PLACEHOLDER));
	peer_request(&w.client, REQUEST("GET", "/", {"user-agent", PLACEHOLDER}), false);
	run(&w, 20);
	assert_string_equal(w.where, "header user-agent");
	assert_false(text_has(&at_origin(&w, 2)->head, SECRET));
	assert_int_equal(w.used, 0);
	assert_int_equal(w.stray, 1);
}

static void echoes_are_scrubbed(void **state)
{
	struct peer_stream *c = peer_request(&w.client,
		REQUEST("GET", "/", {"accept-encoding", "gzip, br"}, {"range", "bytes=0-3"},
			{"if-range", "\"x\""}),
		false);

	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	assert_false(text_has(&o->head, "gzip"));
	assert_false(text_has(&o->head, "range"));
	peer_answer(o, ANSWER("200", {"x-echo", "is " SECRET "!"}), true);
	/* A frame for each byte. */
	for (size_t i = 0; i < sizeof("a " SECRET " z") - 1; i++) {
		peer_send(o, &("a " SECRET " z")[i], 1, false);
		run(&w, 10);
	}
	assert_true(c->body.len >= 2 + sizeof(SECRET) - 1);
	peer_send(o, SECRET, 8, true);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, "x-echo: is *****"));
	assert_false(text_has(&c->head, SECRET));
	assert_false(text_has(&c->body, SECRET));
	assert_true(text_has(&c->body, "a *****"));
	/* What was only the beginning of a value comes as it is. */
	assert_memory_equal(buf_data(&c->body) + c->body.len - 8, SECRET, 8);
	assert_int_equal(w.scrubbed, 1);
}

static void gzip(const void *data, size_t len, struct buf *out)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)len;
	size_t room = deflateBound(&z, len);
	z.next_out = buf_reserve(out, room, NULL);
	z.avail_out = (uInt)room;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	buf_commit(out, z.total_out);
	deflateEnd(&z);
}

static void encoded_answers_are_decoded(void **state)
{
	auto_buf struct buf text;
	auto_buf struct buf packed;
	char length[24];

	buf_init(&text, PEER_MAX);
	buf_init(&packed, PEER_MAX);
	while (text.len < 3 * HTTP2_WINDOW)
		buf_append_str(&text, "some text, and then " SECRET " again; ");
	gzip(buf_data(&text), text.len, &packed);
	snprintf(length, sizeof(length), "%zu", packed.len);
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	o->send_trailer = "t";
	peer_answer(o,
		ANSWER("200", {"content-encoding", "gzip"}, {"content-length", length},
			{"content-type", "text/plain"}),
		true);
	peer_send(o, buf_data(&packed), packed.len, true);
	run_until(&w, &c->closed);
	assert_int_equal(c->code, 0);
	assert_true(text_has(&c->head, ":status: 200\ncontent-type: text/plain\n"));
	assert_false(text_has(&c->head, "content-encoding"));
	assert_false(text_has(&c->head, "content-length"));
	assert_int_equal(c->body.len, text.len);
	assert_false(text_has(&c->body, SECRET));
	assert_true(text_has(&c->body, "some text, and then *****"));
	assert_true(text_has(&c->trailers, "x-trailer: t\n"));
}

static void unreadable_answers_are_refused(void **state)
{
	static const struct {
		const char *status, *encoding;
	} cases[] = {{"200", "secret-sauce"}, {"206", "gzip"}};

	for (unsigned i = 0; i < array_len(cases); i++) {
		struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);

		run(&w, 20);
		peer_answer(at_origin(&w, i),
			ANSWER(cases[i].status, {"content-encoding", cases[i].encoding}), true);
		peer_send(at_origin(&w, i), SECRET, sizeof(SECRET) - 1, true);
		run_until(&w, &c->closed);
		assert_true(text_has(&c->head, ":status: 502\n"));
		assert_true(text_has(&c->body, "\"code\":\"answer-encoding\""));
		assert_int_equal(w.refused, i + 1);
		assert_int_equal(w.why, EXCHANGE_ENCODING);
	}
	/* Not what it says, when headers have gone out. */
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	peer_answer(at_origin(&w, 2), ANSWER("200", {"content-encoding", "gzip"}), true);
	peer_send(at_origin(&w, 2), SECRET, sizeof(SECRET) - 1, false);
	run_until(&w, &c->closed);
	assert_true(c->reset);
	assert_int_equal(c->code, NGHTTP2_INTERNAL_ERROR);
	assert_true(at_origin(&w, 2)->reset);
	assert_int_equal(c->body.len, 0);
	assert_int_equal(w.refused, 3);
	/* Cut off in the middle. */
	auto_buf struct buf packed;
	buf_init(&packed, PEER_MAX);
	gzip("hello hello", 11, &packed);
	c = peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	peer_answer(at_origin(&w, 3), ANSWER("200", {"content-encoding", "gzip"}), true);
	peer_send(at_origin(&w, 3), buf_data(&packed), packed.len - 4, true);
	run_until(&w, &c->closed);
	assert_true(c->reset);
	assert_false(c->ended);
}

static void values_that_no_header_may_have_are_refused(void **state)
{
	world_done(&w);
	world_init(&w, &(const struct world_options){.secret = "line one\r\nx-line: two"});
	struct peer_stream *c =
		peer_request(&w.client, REQUEST("GET", "/", {"x-key", PLACEHOLDER}), false);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, ":status: 403\n"));
	assert_false(text_has(&c->body, "line one"));
	assert_int_equal(w.why, EXCHANGE_SECRET);
	assert_int_equal(w.origin.started, 0);
}

/* Without secrets nothing is changed. */
static void plain_http_passes_as_it_is(void **state)
{
	world_done(&w);
	world_init(&w, &(const struct world_options){.plain = true});
	struct peer_stream *c = peer_request(&w.client,
		(const struct field[]){{":method", "GET"}, {":scheme", "http"},
			{":authority", HOST ":80"}, {":path", "/"}, {"accept-encoding", "br"},
			{"range", "bytes=0-1"}, {"x-key", PLACEHOLDER}, {NULL, NULL}},
		false);
	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	assert_true(text_has(&o->head, ":scheme: http\n:authority: api.example\n:path: /\n"
				       "accept-encoding: br\nrange: bytes=0-1\n"
				       "x-key: " PLACEHOLDER "\n"));
	assert_false(text_has(&o->head, "identity"));
	peer_answer(o, ANSWER("206", {"content-encoding", "br"}, {"x-echo", SECRET}), true);
	peer_send(o, "not br at all", 13, true);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, "content-encoding: br\nx-echo: " SECRET "\n"));
	assert_body(c, "not br at all");
	peer_request(&w.client,
		(const struct field[]){{":method", "TRACE"}, {":scheme", "http"},
			{":authority", HOST}, {":path", "/"}, {NULL, NULL}},
		false);
	run(&w, 20);
	assert_int_equal(w.origin.started, 2);
	assert_int_equal(w.refused, 0);
}

/* --- ends ----------------------------------------------------------------------------------- */

static void resets_keep_their_codes(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);
	struct peer_stream *o = at_origin(&w, 0);

	run(&w, 20);
	peer_reset(c, NGHTTP2_CANCEL);
	run_until(&w, &o->closed);
	assert_true(o->reset);
	assert_int_equal(o->code, NGHTTP2_CANCEL);

	c = peer_request(&w.client, REQUEST("POST", "/"), true);
	o = at_origin(&w, 1);
	run(&w, 20);
	peer_reset(o, NGHTTP2_HTTP_1_1_REQUIRED);
	run_until(&w, &c->closed);
	assert_true(c->reset);
	assert_int_equal(c->code, NGHTTP2_HTTP_1_1_REQUIRED);

	c = peer_request(&w.client, REQUEST("GET", "/"), false);
	o = at_origin(&w, 2);
	run(&w, 20);
	peer_answer(o, ANSWER("200"), true);
	peer_send(o, "half", 4, false);
	run(&w, 20);
	assert_body(c, "half");
	peer_reset(o, NGHTTP2_INTERNAL_ERROR);
	run_until(&w, &c->closed);
	assert_false(c->ended);
	assert_int_equal(c->code, NGHTTP2_INTERNAL_ERROR);
	assert_int_equal(world_flow(&w)->stream_count, 0);
	assert_int_equal(w.refused, 0);
}

/* The host has answered and wants no more of the request: the program gets the answer first. */
static void early_answers_arrive_before_the_reset(void **state)
{
	auto_buf struct buf big;
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);

	buf_init(&big, PEER_MAX);
	fill(&big, HTTP2_STREAM_WINDOW / 2, 3);
	peer_send(c, "some", 4, false);
	run(&w, 20);
	struct peer_stream *o = at_origin(&w, 0);
	peer_answer(o, ANSWER("413"), true);
	peer_send(o, buf_data(&big), big.len, true);
	peer_reset(o, NGHTTP2_NO_ERROR);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, ":status: 413\n"));
	assert_true(c->ended);
	assert_true(c->reset);
	assert_int_equal(c->code, NGHTTP2_NO_ERROR);
	assert_same(&c->body, &big);
}

static void goaway_lets_open_streams_finish(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);

	run(&w, 20);
	nghttp2_submit_goaway(w.origin.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, NULL, 0);
	peer_flush(&w.origin);
	run(&w, 20);
	assert_true(w.client.goaway);
	assert_int_equal(w.client.goaway_last, c->id);
	assert_int_equal(w.client.goaway_code, NGHTTP2_NO_ERROR);
	assert_false(w.done);
	peer_answer(at_origin(&w, 0), ANSWER("200"), true);
	peer_send(at_origin(&w, 0), "late", 4, true);
	run_until(&w, &w.done);
	assert_int_equal(w.err, 0);
	assert_body(c, "late");
	assert_true(c->closed);
	run(&w, 20);
	assert_true(w.client.eof && w.origin.eof);
}

/* Streams above the host's last one were not handled: the program may try them again. */
static void goaway_refuses_what_was_not_handled(void **state)
{
	struct peer_stream *c[2] = {peer_request(&w.client, REQUEST("GET", "/0"), false),
		peer_request(&w.client, REQUEST("GET", "/1"), false)};

	run(&w, 20);
	nghttp2_submit_goaway(w.origin.session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, NULL, 0);
	peer_flush(&w.origin);
	run_until(&w, &c[1]->closed);
	assert_int_equal(c[1]->code, NGHTTP2_REFUSED_STREAM);
	assert_false(c[0]->closed);
	assert_false(w.done);
}

static void lost_hosts_are_told_of(void **state)
{
	struct peer_stream *waiting = peer_request(&w.client, REQUEST("GET", "/0"), false);
	struct peer_stream *half = peer_request(&w.client, REQUEST("GET", "/1"), false);
	struct peer_stream *whole = peer_request(&w.client, REQUEST("POST", "/2"), true);

	run(&w, 20);
	peer_answer(at_origin(&w, 1), ANSWER("200"), true);
	peer_send(at_origin(&w, 1), "half", 4, false);
	peer_answer(at_origin(&w, 2), ANSWER("200"), true);
	peer_send(at_origin(&w, 2), "whole", 5, true);
	run(&w, 20);
	peer_hang_up(&w.origin);
	run_until(&w, &w.done);
	run(&w, 20);
	assert_true(text_has(&waiting->head, ":status: 502\n"));
	assert_true(text_has(&waiting->body, "bad-answer"));
	assert_true(half->reset);
	assert_int_equal(half->code, NGHTTP2_INTERNAL_ERROR);
	assert_true(whole->ended);
	assert_int_equal(whole->code, NGHTTP2_NO_ERROR);
	assert_body(whole, "whole");
	assert_true(w.client.goaway);
	assert_true(w.client.eof);
	assert_int_equal(w.refused, 2);
}

/* What the host never saw may be tried again. */
static void requests_that_were_not_sent_are_refused(void **state)
{
	const nghttp2_settings_entry one = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1};

	nghttp2_submit_settings(w.origin.session, NGHTTP2_FLAG_NONE, &one, 1);
	peer_flush(&w.origin);
	run(&w, 20);
	struct peer_stream *sent = peer_request(&w.client, REQUEST("GET", "/0"), false);
	struct peer_stream *queued = peer_request(&w.client, REQUEST("GET", "/1"), false);
	run(&w, 20);
	assert_int_equal(w.origin.started, 1);
	peer_hang_up(&w.origin);
	run_until(&w, &w.done);
	run(&w, 20);
	assert_true(text_has(&sent->head, ":status: 502\n"));
	assert_true(queued->reset);
	assert_int_equal(queued->code, NGHTTP2_REFUSED_STREAM);
}

static void lost_programs_are_told_of(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("POST", "/"), true);

	peer_send(c, "x", 1, false);
	run(&w, 20);
	peer_hang_up(&w.client);
	run_until(&w, &w.done);
	run(&w, 20);
	assert_true(at_origin(&w, 0)->reset);
	assert_int_equal(at_origin(&w, 0)->code, NGHTTP2_CANCEL);
	assert_true(w.origin.goaway);
	assert_true(w.origin.eof);
}

static void malformed_hosts_are_refused(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);

	run(&w, 20);
	buf_append(&w.origin.out, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	peer_flush(&w.origin);
	run_until(&w, &w.done);
	run(&w, 20);
	assert_true(text_has(&c->head, ":status: 502\n"));
	assert_int_equal(w.why, EXCHANGE_BAD_ANSWER);
	assert_true(w.client.goaway);
}

/* One answer is broken, the connection is not. */
static void malformed_answers_are_refused(void **state)
{
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);

	run(&w, 20);
	peer_answer(at_origin(&w, 0), ANSWER("200", {"connection", "close"}), false);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, ":status: 502\n"));
	c = peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	peer_answer(at_origin(&w, 1), ANSWER("200", {"content-length", "3"}), true);
	peer_send(at_origin(&w, 1), "four", 4, true);
	run_until(&w, &c->closed);
	assert_false(c->ended);
	assert_true(c->reset);
	c = peer_request(&w.client, REQUEST("GET", "/"), false);
	run(&w, 20);
	peer_answer(at_origin(&w, 2), ANSWER("200"), false);
	run_until(&w, &c->closed);
	assert_true(text_has(&c->head, ":status: 200\n"));
}

static void idle_connections_end(void **state)
{
	struct http2_flow *f = world_flow(&w);
	struct peer_stream *c = peer_request(&w.client, REQUEST("GET", "/"), false);

	run(&w, 20);
	assert_false(loop_timer_armed(&f->timer));
	peer_answer(at_origin(&w, 0), ANSWER("200"), false);
	run_until(&w, &c->closed);
	assert_true(loop_timer_armed(&f->timer));
	assert_true(f->timer.deadline - loop_now(w.loop) <= HTTP2_IDLE_NS);
	loop_timer_fn fn = f->timer.fn;
	loop_timer_cancel(&f->timer);
	fn(&f->timer);
	run_until(&w, &w.done);
	assert_int_equal(w.err, 0);
	assert_true(w.client.goaway);
	assert_int_equal(w.client.goaway_code, NGHTTP2_NO_ERROR);
}

static void free_in_the_middle_resets(void **state)
{
	peer_request(&w.client, REQUEST("POST", "/"), true);
	run(&w, 20);
	http2_flow_free(take_ptr(w.x));
	run(&w, 20);
	assert_true(w.client.eof && w.origin.eof);
	assert_false(w.done);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(get_passes),
		TEST(large_bodies_pass),
		TEST(trailers_pass_both_ways),
		TEST(messages_alternate),
		TEST(interim_answers_pass),
		TEST(host_that_never_answers_finally_is_refused),
		TEST(head_answers_have_no_body),
		TEST(authority_is_checked_for_each_stream),
		TEST(host_header_must_agree),
		TEST(wrong_requests_are_refused),
		TEST(secrets_are_put_in),
		TEST(stray_placeholders_are_reported),
		TEST(echoes_are_scrubbed),
		TEST(encoded_answers_are_decoded),
		TEST(unreadable_answers_are_refused),
		TEST(values_that_no_header_may_have_are_refused),
		TEST(plain_http_passes_as_it_is),
		TEST(resets_keep_their_codes),
		TEST(early_answers_arrive_before_the_reset),
		TEST(goaway_lets_open_streams_finish),
		TEST(goaway_refuses_what_was_not_handled),
		TEST(lost_hosts_are_told_of),
		TEST(requests_that_were_not_sent_are_refused),
		TEST(lost_programs_are_told_of),
		TEST(malformed_hosts_are_refused),
		TEST(malformed_answers_are_refused),
		TEST(idle_connections_end),
		TEST(free_in_the_middle_resets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
