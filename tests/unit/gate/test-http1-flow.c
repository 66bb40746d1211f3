#include "http1_fixture.h"

/* --- dialogues -------------------------------------------------------------------------------- */

#define STEPS_MAX 12

enum what { END, PROGRAM, HOST, PROGRAM_ENDS, HOST_ENDS, AT_HOST, AT_PROGRAM, IS_DONE, IS_OPEN };

enum with { SECRETS, NOTHING };

struct dialogue {
	const char *name;
	enum with with;
	struct {
		enum what what;
		const char *text;
	} steps[STEPS_MAX];
};

static const struct dialogue dialogues[] = {
	{"plain", SECRETS, {GET_ANSWERED, {IS_OPEN, NULL}}},
	{"without secrets nothing is asked for", NOTHING,
		{{PROGRAM, "GET / HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n"
			   "Range: bytes=0-1\r\n\r\n"},
			{AT_HOST, "GET / HTTP/1.1\r\nHost: a.example\r\nAccept-Encoding: gzip\r\n"
				  "Range: bytes=0-1\r\n\r\n"},
			{HOST, "HTTP/1.1 206 OK\r\nContent-Encoding: x\r\nContent-Length: "
			       "2\r\n\r\n" SECRET},
			{AT_PROGRAM, "HTTP/1.1 206 OK\r\nContent-Encoding: x\r\nContent-Length: "
				     "2\r\n\r\ns3"}}},
	{"keep-alive", SECRETS, {GET_ANSWERED, GET_ANSWERED, {IS_OPEN, NULL}}},
	{"pipelined", SECRETS,
		{{PROGRAM, ASK "\r\nHEAD /2 HTTP/1.1\r\nHost: a.example\r\n\r\n"}, {AT_HOST, ASKED},
			{HOST, OK_5}, {AT_PROGRAM, OK_5},
			{AT_HOST, "HEAD /2 HTTP/1.1\r\nHost: a.example\r\n" IDENTITY "\r\n"},
			{HOST, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
			{IS_OPEN, NULL}}},
	{"pipelined and half closed", SECRETS,
		{{PROGRAM, ASK "\r\n" ASK "\r\n"}, {PROGRAM_ENDS, NULL}, {AT_HOST, ASKED},
			{HOST, OK_5}, {AT_PROGRAM, OK_5}, {AT_HOST, ASKED}, {HOST, OK_5},
			{AT_PROGRAM, OK_5}, {IS_DONE, NULL}}},
	{"the client ends in a head", SECRETS,
		{{PROGRAM, ASK}, {PROGRAM_ENDS, NULL}, {AT_HOST, ""}, {IS_DONE, NULL}}},
	{"the client ends in a body", SECRETS,
		{{PROGRAM, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nab"},
			{AT_HOST, "POST / HTTP/1.1\r\nHost: a.example\r\n" IDENTITY
				  "Content-Length: 3\r\n\r\nab"},
			{PROGRAM_ENDS, NULL}, {IS_DONE, NULL}}},
	{"bodies", SECRETS,
		{{PROGRAM, "POST /p?q HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc"},
			{AT_HOST, "POST /p?q HTTP/1.1\r\nHost: a.example\r\n" IDENTITY
				  "Content-Length: 3\r\n\r\nabc"},
			{HOST, "HTTP/1.1 200\r\nContent-Length: 0\r\nX: y\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 200 \r\nX: y\r\nContent-Length: 0\r\n\r\n"}}},
	{"what concerns the connection stays", SECRETS,
		{{PROGRAM,
			 "GET / HTTP/1.1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: "
			 "trailers\r\n"
			 "Connection: keep-alive, X-Mine, HTTP2-Settings, Upgrade\r\nTrailer: X\r\n"
			 "Upgrade: h2c\r\nHTTP2-Settings: x\r\nX-Mine: 1\r\nX-Yours: 2\r\n"
			 "Proxy-Authorization: Basic eA==\r\nAccept-Encoding: gzip\r\n"
			 "Range: bytes=1-\r\nIf-Range: x\r\nSec-WebSocket-Extensions: x\r\n"
			 "host: A.EXAMPLE.:443\r\n\r\n"},
			{AT_HOST, "GET / HTTP/1.1\r\nHost: a.example\r\nX-Yours: 2\r\n" IDENTITY
				  "\r\n"},
			{HOST, "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nKeep-Alive: x\r\n"
			       "Proxy-Connection: x\r\nTrailer: X\r\nUpgrade: h2\r\nX-Mine: 1\r\n"
			       "X-Yours: 2\r\nContent-Length: 0\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\nX-Yours: 2\r\nContent-Length: 0\r\n\r\n"},
			{IS_OPEN, NULL}}},
	{"the client closes", SECRETS,
		{{PROGRAM, ASK CLOSE "\r\n"}, {AT_HOST, ASK IDENTITY CLOSE "\r\n"}, {HOST, OK_5},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" CLOSE "\r\nhello"},
			{IS_DONE, NULL}}},
	{"the host closes", SECRETS,
		{{PROGRAM, ASK "\r\n"}, {AT_HOST, ASKED},
			{HOST, "HTTP/1.1 200 OK\r\n" CLOSE "Content-Length: 5\r\n\r\nhello"},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" CLOSE "\r\nhello"},
			{IS_DONE, NULL}}},
	{"the host closes between requests", SECRETS,
		{GET_ANSWERED, {HOST_ENDS, NULL}, {AT_PROGRAM, ""}, {IS_DONE, NULL}}},
	{"the host speaks unasked", SECRETS,
		{GET_ANSWERED, {HOST, OK_5}, {AT_PROGRAM, ""}, {IS_DONE, NULL}}},
	{"chunked", SECRETS,
		{{PROGRAM, "POST / HTTP/1.1\r\nHost: a.example\r\n" CHUNKED
			   "\r\n3;x=y\r\nabc\r\n0002\r\nde\r\n0\r\nTrailer: x\r\n\r\n"},
			{AT_HOST, "POST / HTTP/1.1\r\nHost: a.example\r\n" IDENTITY CHUNKED
				  "\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
			{HOST, "HTTP/1.1 200 OK\r\n" CHUNKED "\r\n5;x\r\nhello\r\n0\r\nX: " SECRET
			       "\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\n" CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n"},
			{IS_OPEN, NULL}}},
	{"until the end", SECRETS,
		{{PROGRAM, ASK "\r\n"}, {AT_HOST, ASKED}, {HOST, "HTTP/1.1 200 OK\r\n\r\nhello"},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\n" CHUNKED CLOSE "\r\n5\r\nhello\r\n"},
			{HOST_ENDS, NULL}, {AT_PROGRAM, "0\r\n\r\n"}, {IS_DONE, NULL}}},
	{"HTTP/1.0", SECRETS,
		{{PROGRAM, "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"},
			{AT_HOST, ASK IDENTITY CLOSE "\r\n"},
			{HOST, "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n" CHUNKED
			       "\r\n5\r\nhello\r\n0\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\n" CLOSE "\r\nhello"}, {IS_DONE, NULL}}},
	{"HTTP/1.0 kept alive", SECRETS,
		{{PROGRAM, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"}, {AT_HOST, ASKED},
			{HOST, OK_5},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: "
				     "keep-alive\r\n\r\n"
				     "hello"},
			{IS_OPEN, NULL}}},
	{"HTTP/1.0 host", SECRETS,
		{{PROGRAM, ASK "\r\n"}, {AT_HOST, ASKED},
			{HOST, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
			{AT_PROGRAM, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" CLOSE "\r\nhello"},
			{IS_DONE, NULL}}},
	{"no bodies", SECRETS,
		{{PROGRAM, ASK "\r\n"}, {AT_HOST, ASKED},
			{HOST, "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 204 No\r\n\r\n"}, {PROGRAM, ASK "\r\n"},
			{AT_HOST, ASKED},
			{HOST, "HTTP/1.1 304 No\r\nContent-Length: 7\r\nContent-Encoding: "
			       "gzip\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 304 No\r\nContent-Encoding: gzip\r\nContent-Length: "
				     "7\r\n\r\n"},
			{IS_OPEN, NULL}}},
	{"expected", SECRETS,
		{{PROGRAM, "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\n"
			   "Content-Length: 3\r\n\r\n"},
			{AT_HOST, "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: "
				  "100-continue\r\n" IDENTITY "Content-Length: 3\r\n\r\n"},
			{HOST, "HTTP/1.1 100 Continue\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 100 Continue\r\n\r\n"}, {PROGRAM, "abc"},
			{AT_HOST, "abc"}, {HOST, OK_5}, {AT_PROGRAM, OK_5}, {IS_OPEN, NULL}}},
	{"not as expected", SECRETS,
		{{PROGRAM, "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\n"
			   "Content-Length: 3\r\n\r\n"},
			{AT_HOST, "PUT / HTTP/1.1\r\nHost: a.example\r\nExpect: "
				  "100-continue\r\n" IDENTITY "Content-Length: 3\r\n\r\n"},
			{HOST, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"},
			{AT_PROGRAM, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n" CLOSE "\r\n"},
			{IS_DONE, NULL}}},
	{"hints", SECRETS,
		{{PROGRAM, ASK "\r\n"}, {AT_HOST, ASKED},
			{HOST, "HTTP/1.1 103 Early\r\nLink: " SECRET "\r\n\r\n" OK_5},
			{AT_PROGRAM, "HTTP/1.1 103 Early\r\nLink: " STARS "\r\n\r\n" OK_5},
			{IS_OPEN, NULL}}},
	{"absolute target", SECRETS,
		{{PROGRAM, "GET https://A.example/x?y HTTP/1.1\r\nHost: a.example:443\r\n\r\n"},
			{AT_HOST, "GET /x?y HTTP/1.1\r\nHost: a.example\r\n" IDENTITY "\r\n"}}},
	{"star", SECRETS,
		{{PROGRAM, "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n"},
			{AT_HOST, "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n" IDENTITY "\r\n"}}},
	{"TRACE without secrets", NOTHING,
		{{PROGRAM, "TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n"},
			{AT_HOST, "TRACE / HTTP/1.1\r\nHost: a.example\r\n\r\n"}}},
	{"secrets in", SECRETS,
		{{PROGRAM, ASK "Authorization: Bearer " PLACEHOLDER "\r\nX-Api-Key: " PLACEHOLDER
			       "\r\n\r\n"},
			{AT_HOST, ASK "Authorization: Bearer " SECRET "\r\nX-Api-Key: " SECRET
				      "\r\n" IDENTITY "\r\n"}}},
	{"secrets out", SECRETS,
		{{PROGRAM, ASK "\r\n"}, {AT_HOST, ASKED},
			{HOST, "HTTP/1.1 200 " SECRET "\r\nLocation: /?" SECRET "\r\n" SECRET
			       "-\r\n\r\n"},
			{AT_PROGRAM, NULL}}},
	{"secrets out of a body", SECRETS,
		{{PROGRAM, ASK "\r\n"}, {AT_HOST, ASKED},
			{HOST, "HTTP/1.1 200 " SECRET "\r\nLocation: /?a=" SECRET
			       "\r\nContent-Length: 28\r\n\r\n<<" SECRET ">>!"},
			{AT_PROGRAM, "HTTP/1.1 200 " STARS "\r\nLocation: /?a=" STARS
				     "\r\nContent-Length: 28\r\n\r\n<<" STARS ">>!"},
			{IS_OPEN, NULL}}},
	{"nothing is put in without TLS", NOTHING,
		{{PROGRAM, ASK "Authorization: " PLACEHOLDER "\r\n\r\n"},
			{AT_HOST, ASK "Authorization: " PLACEHOLDER "\r\n\r\n"}}},
};

static void check_heard(const struct dialogue *d, int step, struct side *s, const char *wanted)
{
	const char *text = heard(s);

	if (strcmp(text, wanted) != 0)
		fail_msg("%s, step %d:\n%s\nand not\n%s", d->name, step, text, wanted);
}

/* Chunks that come in pieces leave in pieces: joined again, to be compared. */
static bool in_pieces(const struct dialogue *d)
{
	for (int i = 0; i < STEPS_MAX; i++)
		if (d->steps[i].text && strstr(d->steps[i].text, CHUNKED))
			return true;
	return false;
}

static void hold_dialogue(const struct dialogue *d, size_t step)
{
	setup(NULL);
	if (d->with == NOTHING)
		without_secrets();
	begin();
	for (int i = 0; i < STEPS_MAX && d->steps[i].what != END; i++) {
		const char *text = d->steps[i].text;

		switch (d->steps[i].what) {
		case PROGRAM:
			say_bytes(&f.program, text, strlen(text), step);
			break;
		case HOST:
			say_bytes(&f.host, text, strlen(text), step);
			break;
		case PROGRAM_ENDS:
			shutdown(f.program.fd, SHUT_WR);
			turns_run(TURNS);
			break;
		case HOST_ENDS:
			shutdown(f.host.fd, SHUT_WR);
			turns_run(TURNS);
			break;
		case AT_HOST:
			check_heard(d, i, &f.host, text);
			break;
		case AT_PROGRAM:
			if (text)
				check_heard(d, i, &f.program, text);
			assert_null(strstr(heard(&f.program), SECRET));
			break;
		case IS_DONE:
			shutdown(f.program.fd, SHUT_WR);
			shutdown(f.host.fd, SHUT_WR);
			turns_run(TURNS);
			if (f.done != 1 || !f.program.ended)
				fail_msg("%s is not done", d->name);
			break;
		case IS_OPEN:
			if (f.done || f.program.ended || f.host.ended || f.refusals)
				fail_msg("%s is not open", d->name);
			break;
		case END:
			break;
		}
	}
	teardown(NULL);
}

static void test_dialogues(void **state)
{
	for (size_t i = 0; i < array_len(dialogues); i++) {
		hold_dialogue(&dialogues[i], SIZE_MAX);
		if (!in_pieces(&dialogues[i]))
			hold_dialogue(&dialogues[i], 1);
	}
}

/* --- refused requests ------------------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *request;
	enum exchange_refusal what;
	bool goes_on; /* another request may follow */
} refused[] = {
	{"another host", "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", EXCHANGE_HOST_MISMATCH, true},
	{"another port", "GET / HTTP/1.1\r\nHost: a.example:80\r\n\r\n", EXCHANGE_HOST_MISMATCH,
		true},
	{"an address", "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", EXCHANGE_HOST_MISMATCH, true},
	{"another host, closing", "GET / HTTP/1.1\r\nHost: b\r\n" CLOSE "\r\n",
		EXCHANGE_HOST_MISMATCH, false},
	{"another host in 1.0", "GET / HTTP/1.0\r\nHost: b.example\r\n\r\n", EXCHANGE_HOST_MISMATCH,
		false},
	{"another host, with a body",
		"PUT / HTTP/1.1\r\nHost: b.example\r\nContent-Length: 5\r\n\r\nGET /",
		EXCHANGE_HOST_MISMATCH, true},
	{"another host, with chunks",
		"PUT / HTTP/1.1\r\nHost: b.example\r\n" CHUNKED "\r\n0\r\n\r\n",
		EXCHANGE_HOST_MISMATCH, false},
	{"another host, with a large body",
		"PUT / HTTP/1.1\r\nHost: b.example\r\nContent-Length: 65537\r\n\r\n",
		EXCHANGE_HOST_MISMATCH, false},
	{"another host, expecting",
		"PUT / HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
		EXCHANGE_HOST_MISMATCH, false},
	{"absolute target of another host", "GET https://b.example/ HTTP/1.1\r\n" HOST_LINE "\r\n",
		EXCHANGE_HOST_MISMATCH, true},
	{"absolute target, Host of another",
		"GET https://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
		EXCHANGE_HOST_MISMATCH, true},
	{"absolute target of another scheme", "GET http://a.example/ HTTP/1.1\r\n" HOST_LINE "\r\n",
		EXCHANGE_HOST_MISMATCH, true},
	{"CONNECT", "CONNECT a.example:443 HTTP/1.1\r\n" HOST_LINE "\r\n", EXCHANGE_METHOD, true},
	{"TRACE", "TRACE / HTTP/1.1\r\n" HOST_LINE "\r\n", EXCHANGE_METHOD, true},

	{"two Hosts", ASK HOST_LINE "\r\n", EXCHANGE_MALFORMED, false},
	{"two different Hosts", ASK "Host: b.example\r\n\r\n", EXCHANGE_MALFORMED, false},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", EXCHANGE_MALFORMED, false},
	{"Host behind a blank", "GET / HTTP/1.1\r\nHost : b.example\r\n\r\n", EXCHANGE_MALFORMED,
		false},
	{"both lengths", ASK "Content-Length: 5\r\n" CHUNKED "\r\n0\r\n\r\n", EXCHANGE_MALFORMED,
		false},
	{"chunked behind a tab", ASK "Transfer-Encoding:\tchunked, identity\r\n\r\n",
		EXCHANGE_MALFORMED, false},
	{"xchunked", ASK "Transfer-Encoding: xchunked\r\n\r\n", EXCHANGE_MALFORMED, false},
	{"chunked in 1.0", "POST / HTTP/1.0\r\n" HOST_LINE CHUNKED "\r\n0\r\n\r\n",
		EXCHANGE_MALFORMED, false},
	{"two lengths", ASK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", EXCHANGE_MALFORMED,
		false},
	{"signed length", ASK "Content-Length: +5\r\n\r\nhello", EXCHANGE_MALFORMED, false},
	{"bare LF", "GET / HTTP/1.1\nHost: a.example\n\n", EXCHANGE_MALFORMED, false},
	{"bare LF in a field", ASK "X: y\nHost: b.example\r\n\r\n", EXCHANGE_MALFORMED, false},
	{"bare CR in a field", ASK "X: y\rHost: b.example\r\n\r\n", EXCHANGE_MALFORMED, false},
	{"folded", ASK "X: y\r\n Host: b.example\r\n\r\n", EXCHANGE_MALFORMED, false},
	{"NUL", ASK "X: y\x01z\r\n\r\n", EXCHANGE_MALFORMED, false},
	{"empty line in front", "\r\n" ASK "\r\n", EXCHANGE_MALFORMED, false},
	{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", EXCHANGE_MALFORMED, false},
	{"HTTP/0.9", "GET /\r\n", EXCHANGE_MALFORMED, false},
	{"no path", "GET https://a.example HTTP/1.1\r\n" HOST_LINE "\r\n", EXCHANGE_MALFORMED,
		false},
	{"user in the target", "GET https://u@a.example/ HTTP/1.1\r\n" HOST_LINE "\r\n",
		EXCHANGE_MALFORMED, false},
};

static void check_refused(size_t i, size_t step)
{
	const char *code = exchange_refusal_code(refused[i].what);
	const char *text;

	setup(NULL);
	begin();
	say_bytes(&f.program, refused[i].request, strlen(refused[i].request), step);
	text = heard(&f.program);
	if (f.refusals != 1 || f.refused != refused[i].what || f.requests != 0 || f.host.got.len ||
		!strstr(text, code) || !strstr(text, "\"host\":\"a.example\",\"port\":443") ||
		strtol(text + strlen("HTTP/1.1 "), NULL, 10) !=
			exchange_refusal_status(refused[i].what))
		fail_msg("%s: %u refusals, %u requests\n%s", refused[i].name, f.refusals,
			f.requests, text);
	assert_true(strstr(text, "\r\nConnection: close\r\n") == NULL || !refused[i].goes_on);
	if (refused[i].goes_on) {
		say(&f.program, ASK "\r\n");
		assert_string_equal(heard(&f.host), ASKED);
		say(&f.host, OK_5);
		assert_string_equal(heard(&f.program), OK_5);
	} else {
		/* What follows is not looked at. */
		say(&f.program, ASK "\r\n");
		shutdown(f.program.fd, SHUT_WR);
		shutdown(f.host.fd, SHUT_WR);
		turns_run(TURNS);
		assert_string_equal(heard(&f.program), "");
		assert_string_equal(heard(&f.host), "");
		assert_true(f.program.ended && f.host.ended);
		assert_int_equal(f.done, 1);
	}
	teardown(NULL);
}

static void test_refused(void **state)
{
	for (size_t i = 0; i < array_len(refused); i++) {
		check_refused(i, SIZE_MAX);
		check_refused(i, 1);
	}
}

static void test_refused_head(void **state)
{
	begin();
	say(&f.program, "HEAD / HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_string_equal(strstr(heard(&f.program), "\r\n\r\n"), "\r\n\r\n");
	say(&f.program, ASK "\r\n");
	assert_string_equal(heard(&f.host), ASKED);
}

/* The second request on a connection is checked like the first. */
static void test_refused_second(void **state)
{
	begin();
	say(&f.program, ASK "\r\nGET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
	assert_string_equal(heard(&f.host), ASKED);
	assert_int_equal(f.refusals, 0);
	say(&f.host, OK_5);
	assert_int_equal(f.refusals, 1);
	assert_string_equal(heard(&f.host), "");
	assert_non_null(strstr(heard(&f.program), OK_5 "HTTP/1.1 403 Forbidden\r\n"));
}

static void test_long_head(void **state)
{
	auto_free char *value = mem_zalloc(70000);

	memset(value, 'x', 69999);
	begin();
	say(&f.program, ASK "X: ");
	say_bytes(&f.program, value, 69999, 10000);
	assert_int_equal(f.refusals, 1);
	assert_int_equal(f.refused, EXCHANGE_MALFORMED);
	assert_string_equal(heard(&f.host), "");
}

static void test_bad_chunks(void **state)
{
	static const char *const bodies[] = {"x\r\n", "1\nx", "1 \r\nx", "-1\r\n", "1\r\nxy",
		"0x1\r\nx", "1;\n\r\nx\r\n", "0\r\n x: y\r\n\r\n", "10000000000000000\r\n"};

	for (size_t i = 0; i < array_len(bodies); i++) {
		begin();
		say(&f.program, "POST / HTTP/1.1\r\nHost: a.example\r\n" CHUNKED "\r\n");
		heard(&f.host);
		say(&f.program, bodies[i]);
		if (f.refusals != 1 || f.refused != EXCHANGE_MALFORMED)
			fail_msg("%s", bodies[i]);
		assert_memory_equal(heard(&f.program), "HTTP/1.1 400 ", 13);
		/* The host never sees an end of that body. */
		assert_null(strstr(heard(&f.host), "0\r\n\r\n"));
		assert_true(f.host.ended);
		again();
	}
}

/* --- bad answers ------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	const char *answer;
	enum exchange_refusal what;
} bad_answers[] = {
	{"no HTTP", "hello\r\n", EXCHANGE_BAD_ANSWER},
	{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", EXCHANGE_BAD_ANSWER},
	{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", EXCHANGE_BAD_ANSWER},
	{"folded", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", EXCHANGE_BAD_ANSWER},
	{"both lengths", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" CHUNKED "\r\n",
		EXCHANGE_BAD_ANSWER},
	{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		EXCHANGE_BAD_ANSWER},
	{"gzip as transfer encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
		EXCHANGE_BAD_ANSWER},
	{"upgrade that was not asked for",
		"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		EXCHANGE_BAD_ANSWER},
	{"unknown encoding",
		"HTTP/1.1 200 OK\r\nContent-Encoding: rot13\r\nContent-Length: 5\r\n\r\nhello",
		EXCHANGE_ENCODING},
	{"unknown encoding in a second header",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Encoding: rot13\r\n\r\n",
		EXCHANGE_ENCODING},
	{"encoded part",
		"HTTP/1.1 206 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
		EXCHANGE_ENCODING},
};

static void test_bad_answers(void **state)
{
	for (size_t i = 0; i < array_len(bad_answers); i++) {
		const char *text;

		begin();
		say(&f.program, ASK "\r\n");
		say(&f.host, bad_answers[i].answer);
		text = heard(&f.program);
		if (f.refusals != 1 || f.refused != bad_answers[i].what ||
			strncmp(text, "HTTP/1.1 502 Bad Gateway\r\n", 26) != 0)
			fail_msg("%s: %u refusals\n%s", bad_answers[i].name, f.refusals, text);
		assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
		assert_non_null(strstr(text, "EGRESS_FAILED"));
		assert_true(f.program.ended && f.host.ended);
		again();
	}
}

static void test_interims_without_end(void **state)
{
	begin();
	say(&f.program, ASK "\r\n");
	for (int i = 0; i < 16; i++)
		say(&f.host, "HTTP/1.1 102 Wait\r\n\r\n");
	assert_int_equal(f.refusals, 0);
	say(&f.host, "HTTP/1.1 102 Wait\r\n\r\n");
	assert_int_equal(f.refused, EXCHANGE_BAD_ANSWER);
	assert_non_null(strstr(heard(&f.program), "Wait\r\n\r\nHTTP/1.1 502 "));
}

static void test_answer_head_too_long(void **state)
{
	auto_free char *value = mem_zalloc(100000);

	memset(value, 'x', 99999);
	begin();
	say(&f.program, ASK "\r\n");
	say(&f.host, "HTTP/1.1 200 OK\r\nX: ");
	say_bytes(&f.host, value, 99999, 10000);
	assert_int_equal(f.refused, EXCHANGE_BAD_ANSWER);
	assert_memory_equal(heard(&f.program), "HTTP/1.1 502 ", 13);
}

static void test_no_answer(void **state)
{
	static const char *const parts[] = {"", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nX: y\r\n"};

	for (size_t i = 0; i < array_len(parts); i++) {
		begin();
		say(&f.program, ASK "\r\n");
		say(&f.host, parts[i]);
		shutdown(f.host.fd, SHUT_WR);
		turns_run(TURNS);
		assert_int_equal(f.refused, EXCHANGE_BAD_ANSWER);
		assert_memory_equal(heard(&f.program), "HTTP/1.1 502 ", 13);
		again();
	}
}

/* A host that gives an idle connection up looks like one, so that the request is sent again. */
static void test_no_second_answer(void **state)
{
	begin();
	say(&f.program, ASK "\r\n");
	say(&f.host, OK_5);
	say(&f.program, ASK "\r\n");
	heard(&f.program);
	shutdown(f.host.fd, SHUT_WR);
	turns_run(TURNS);
	assert_string_equal(heard(&f.program), "");
	assert_true(f.program.ended);
	assert_int_equal(f.refusals, 0);
}

/* Once an answer has begun it is cut off, and does not seem to be whole. */
static void test_broken_bodies(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\n" CHUNKED "\r\n5\r\nhello\r\nx",
		"HTTP/1.1 200 OK\r\n" CHUNKED "\r\n5\r\nhello\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" CHUNKED
		"\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: "
		"5\r\n\r\n\xff\xff\xff\xff\xff",
	};

	for (size_t i = 0; i < array_len(answers); i++) {
		begin();
		say(&f.program, ASK "\r\n");
		say(&f.host, answers[i]);
		assert_int_equal(f.refused, EXCHANGE_BAD_ANSWER);
		assert_int_equal(f.done, 1);
		assert_true(f.done_err < 0);
		assert_null(strstr(heard(&f.program), "0\r\n\r\n"));
		assert_true(f.program.ended);
		again();
	}
}

static void test_cut_bodies(void **state)
{
	static const char *const answers[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\n" CHUNKED "\r\n5\r\nhello\r\n",
	};

	for (size_t i = 0; i < array_len(answers); i++) {
		begin();
		say(&f.program, ASK "\r\n");
		say(&f.host, answers[i]);
		assert_int_equal(f.done, 0);
		shutdown(f.host.fd, SHUT_WR);
		turns_run(TURNS);
		assert_int_equal(f.done, 1);
		assert_int_equal(f.done_err, -ECONNABORTED);
		assert_null(strstr(heard(&f.program), "0\r\n\r\n"));
		again();
	}
}

/* An answer to a request that was not sent yet is nobody's: the next request must not get it. */
static void test_two_answers_at_once(void **state)
{
	begin();
	say(&f.program, ASK "\r\n" ASK "\r\n");
	assert_string_equal(heard(&f.host), ASKED);
	say(&f.host, OK_5 "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
	shutdown(f.program.fd, SHUT_WR);
	shutdown(f.host.fd, SHUT_WR);
	turns_run(TURNS);
	assert_string_equal(heard(&f.program), OK_5);
	assert_string_equal(heard(&f.host), "");
	assert_int_equal(f.done_err, -EBADMSG);
}

/* --- streaming -------------------------------------------------------------------------------- */

static void test_events(void **state)
{
	begin();
	say(&f.program, ASK "\r\n");
	say(&f.host, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" CHUNKED "\r\n");
	assert_string_equal(heard(&f.program),
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" CHUNKED "\r\n");
	say(&f.host, "c\r\ndata: one\n\n\n\r\n");
	assert_string_equal(heard(&f.program), "c\r\ndata: one\n\n\n\r\n");
	say(&f.host, "3\r\na\n\n\r\n");
	assert_string_equal(heard(&f.program), "3\r\na\n\n\r\n");
}

#define MUCH ((size_t)4 * 1024 * 1024)

/* Sends as much as the socket takes. */
static size_t push(int fd, size_t left)
{
	static const char bytes[65536];
	size_t sent = 0;
	ssize_t n;

	while (sent < left &&
		(n = send(fd, bytes, left - sent < sizeof(bytes) ? left - sent : sizeof(bytes),
			 MSG_NOSIGNAL)) > 0)
		sent += (size_t)n;
	return sent;
}

/* MUCH from one side, while the other does not read; then it does. */
static void check_backpressure(struct side *from, struct side *to, const uint64_t *counted)
{
	size_t sent = 0;
	size_t got;

	to->keeps = true;
	for (int i = 0; i < 300 && sent < MUCH; i++) {
		sent += push(from->fd, MUCH - sent);
		turns_run(1);
	}
	assert_true(sent < MUCH);
	assert_true(*counted < 2 * 1024 * 1024);
	to->keeps = false;
	for (got = 0; got < MUCH; turns_run(1)) {
		sent += push(from->fd, MUCH - sent);
		got += to->got.len;
		buf_clear(&to->got);
		assert_false(to->ended);
	}
	assert_int_equal(got, MUCH);
}

static void test_slow_program(void **state)
{
	begin();
	say(&f.program, ASK "\r\n");
	say(&f.host, "HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n");
	heard(&f.program);
	check_backpressure(&f.host, &f.program, &f.x->bytes_down);
	say(&f.program, ASK "\r\n");
	assert_non_null(strstr(heard(&f.host), ASKED ASKED));
}

static void test_slow_host(void **state)
{
	begin();
	say(&f.program, "POST / HTTP/1.1\r\n" HOST_LINE "Content-Length: 4194304\r\n\r\n");
	heard(&f.host);
	check_backpressure(&f.program, &f.host, &f.x->bytes_up);
	say(&f.host, OK_5);
	assert_string_equal(heard(&f.program), OK_5);
	assert_int_equal(f.done, 0);
}

/* What is pipelined stays in the socket. */
static void test_pipelined_bytes_wait(void **state)
{
	size_t sent = 0;

	begin();
	say(&f.program, ASK "\r\n");
	for (int i = 0; i < 300; i++) {
		sent += push(f.program.fd, MUCH);
		turns_run(1);
	}
	assert_true(sent < 2 * 1024 * 1024);
	say(&f.host, OK_5);
	assert_int_equal(f.refused, EXCHANGE_MALFORMED);
}

/* An answer that does not wait for its request ends the connection when it is whole. */
static void test_early_answer(void **state)
{
	begin();
	say(&f.program, "POST / HTTP/1.1\r\n" HOST_LINE "Content-Length: 10\r\n\r\nabc");
	say(&f.host, "HTTP/1.1 413 Too Large\r\n" CHUNKED "\r\n");
	say(&f.program, "def");
	assert_non_null(strstr(heard(&f.host), "abcdef"));
	say(&f.host, "0\r\n\r\n");
	shutdown(f.program.fd, SHUT_WR);
	turns_run(TURNS);
	assert_string_equal(
		heard(&f.program), "HTTP/1.1 413 Too Large\r\n" CHUNKED CLOSE "\r\n0\r\n\r\n");
	assert_true(f.program.ended && f.host.ended);
	assert_int_equal(f.done, 1);
	assert_int_equal(f.done_err, 0);
}

/* --- ends that nobody vouches for ------------------------------------------------------------- */

/* TLS without certificates: the host's side of a connection whose other side is a leg. */
static SSL *tls_host(SSL **ret_leg)
{
	SSL *sides[2];

	for (int i = 0; i < 2; i++) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_method());

		assert_non_null(ctx);
		assert_int_equal(SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION), 1);
		assert_int_equal(SSL_CTX_set_cipher_list(ctx, "aNULL:@SECLEVEL=0"), 1);
		SSL_CTX_set_dh_auto(ctx, 1);
		sides[i] = SSL_new(ctx);
		SSL_CTX_free(ctx);
	}
	SSL_set_accept_state(sides[0]);
	SSL_set_connect_state(sides[1]);
	*ret_leg = sides[1];
	return sides[0];
}

/* A host that answers until the end of its connection, by TLS, and ends it with or without saying
 * so. */
static void end_by_tls(bool vouched)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\n\r\nhello";
	SSL *host = tls_host(&f.tls);

	side_open(&f.program, 0);
	side_open(&f.host, 1);
	SSL_set_fd(host, f.host.fd);
	f.host.keeps = true;
	while (f.opened < 2 || !SSL_is_init_finished(host)) {
		SSL_do_handshake(host);
		turns_run(1);
	}
	f.x = http1_flow_new(&f.params, f.legs[0], f.legs[1]);
	say(&f.program, ASK "\r\n");
	assert_int_equal(SSL_write(host, answer, sizeof(answer) - 1), sizeof(answer) - 1);
	turns_run(TURNS);
	assert_string_equal(
		heard(&f.program), "HTTP/1.1 200 OK\r\n" CHUNKED CLOSE "\r\n5\r\nhello\r\n");
	assert_int_equal(f.done, 0);
	if (vouched)
		SSL_shutdown(host);
	shutdown(f.host.fd, SHUT_WR);
	shutdown(f.program.fd, SHUT_WR);
	turns_run(TURNS);
	SSL_free(host);
}

static void test_end_with_close_notify(void **state)
{
	end_by_tls(true);
	assert_string_equal(heard(&f.program), "0\r\n\r\n");
	assert_int_equal(f.done_err, 0);
}

static void test_end_without_close_notify(void **state)
{
	end_by_tls(false);
	assert_string_equal(heard(&f.program), "");
	assert_true(f.program.ended);
	assert_int_equal(f.done, 1);
	assert_int_equal(f.done_err, -ECONNABORTED);
}

/* By TCP, a program can tell such an end from a proper one, also where no chunks say so. */
static void test_reset(void **state)
{
	f.tcp = true;
	begin();
	say(&f.program, "GET / HTTP/1.0\r\n\r\n");
	f.program.keeps = true;
	while (f.host.got.len == 0)
		turns_run(1);
	say(&f.host, "HTTP/1.1 200 OK\r\n" CHUNKED "\r\n5\r\nhello\r\n");
	while (f.x->bytes_down == 0)
		turns_run(1);
	shutdown(f.host.fd, SHUT_WR);
	while (!f.done)
		turns_run(1);
	f.program.keeps = false;
	while (!f.program.ended)
		turns_run(1);
	assert_int_equal(f.program.err, ECONNRESET);
}

/* --- other ways out --------------------------------------------------------------------------- */

static void test_proxy(void **state)
{
	f.params = (struct exchange_params){.loop = f.loop,
		.host = "a.example",
		.port = 8080,
		.absolute_form = true,
		.proxy_authorization = "Basic eDp5",
		.ops = &exchange_ops};
	begin();
	say(&f.program, "GET /x?y HTTP/1.1\r\nHost: a.example:8080\r\n\r\n");
	assert_string_equal(heard(&f.host), "GET http://a.example:8080/x?y HTTP/1.1\r\n"
					    "Host: a.example:8080\r\n"
					    "Proxy-Authorization: Basic eDp5\r\n\r\n");
	say(&f.host, OK_5);
	assert_string_equal(heard(&f.program), OK_5);
	say(&f.program, "OPTIONS * HTTP/1.1\r\nHost: a.example:8080\r\n\r\n");
	assert_memory_equal(heard(&f.host), "OPTIONS http://a.example:8080 HTTP/1.1\r\n", 40);
	say(&f.host,
		"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic\r\nContent-Length: 5\r\n\r\ninner");
	assert_int_equal(f.refused, EXCHANGE_PROXY);
	assert_memory_equal(heard(&f.program), "HTTP/1.1 502 ", 13);
	assert_true(f.host.ended);
}

static void test_trace_through_proxy(void **state)
{
	f.params = (struct exchange_params){.loop = f.loop,
		.host = "a.example",
		.port = 80,
		.absolute_form = true,
		.ops = &exchange_ops};
	begin();
	say(&f.program, "TRACE / HTTP/1.1\r\n" HOST_LINE "Max-Forwards: 0\r\n\r\n");
	assert_int_equal(f.refused, EXCHANGE_METHOD);
	assert_string_equal(heard(&f.host), "");
}

static void test_free_at_any_time(void **state)
{
	begin();
	say(&f.program, "POST / HTTP/1.1\r\n" HOST_LINE "Content-Length: 10\r\n\r\nabc");
	http1_flow_free(f.x);
	f.x = NULL;
	turns_run(TURNS);
	assert_int_equal(f.done, 0);
	assert_true(f.host.ended && f.program.ended);
}

static void test_program_gone(void **state)
{
	begin();
	say(&f.program, ASK "\r\n");
	say(&f.host, "HTTP/1.1 200 OK\r\n" CHUNKED "\r\n");
	close(f.program.fd);
	f.program.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	f.program.keeps = true;
	say(&f.host, "5\r\nhello\r\n");
	say(&f.host, "5\r\nhello\r\n");
	assert_int_equal(f.done, 1);
	assert_true(f.done_err < 0);
	assert_true(f.host.ended);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_refused),
		TEST(refused_head),
		TEST(refused_second),
		TEST(long_head),
		TEST(bad_chunks),
		TEST(bad_answers),
		TEST(interims_without_end),
		TEST(answer_head_too_long),
		TEST(no_answer),
		TEST(no_second_answer),
		TEST(broken_bodies),
		TEST(cut_bodies),
		TEST(two_answers_at_once),
		TEST(events),
		TEST(slow_program),
		TEST(slow_host),
		TEST(pipelined_bytes_wait),
		TEST(early_answer),
		TEST(end_with_close_notify),
		TEST(end_without_close_notify),
		TEST(reset),
		TEST(proxy),
		TEST(trace_through_proxy),
		TEST(free_at_any_time),
		TEST(program_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
