/*
 * An exchange between two socket pairs: the test is both the program inside and the host outside.
 * Unix sockets pass bytes at once, so a few turns of the loop are enough for everything that
 * follows from what was written, without waiting for the clock.
 */
#pragma once

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "gate/http/exchange.h"

#define SECRET "s3cr3t/value+0123456789"
#define PLACEHOLDER \
	PLACEHOLDER_PREFIX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define STARS "***********************" /* as long as SECRET */

struct side {
	int fd;
	bool keeps;     /* is not read */
	struct buf got; /* what came */
	bool ended;
	int err; /* of reading */
};

struct fixture {
	struct loop *loop;
	struct exchange *x;
	struct exchange_params params;
	struct vault *vault;
	struct scrub_set *scrub;
	struct leg *legs[2];
	int opened;
	SSL *tls; /* for the leg towards the host */
	bool tcp; /* the program's side */
	struct side program, host;

	/* What was reported. */
	unsigned requests;
	char method[64], path[600];
	unsigned refusals;
	enum exchange_refusal refused;
	char detail[500];
	uint64_t used, stray, scrubbed;
	unsigned strays;
	char where[100];
	unsigned done;
	int done_err;
};

static struct fixture f;

/* --- what is reported ----------------------------------------------------------------------- */

static void on_request(struct exchange *x, const char *method, const char *path)
{
	assert_ptr_equal(x, f.x);
	f.requests++;
	snprintf(f.method, sizeof(f.method), "%s", method);
	snprintf(f.path, sizeof(f.path), "%s", path);
}

static void on_refused(struct exchange *x, enum exchange_refusal what, const char *detail)
{
	f.refusals++;
	f.refused = what;
	snprintf(f.detail, sizeof(f.detail), "%s", detail);
}

static void on_used(struct exchange *x, uint64_t secrets)
{
	f.used |= secrets;
}

static void on_stray(struct exchange *x, uint64_t secrets, const char *where)
{
	f.stray |= secrets;
	f.strays++;
	snprintf(f.where, sizeof(f.where), "%s", where);
}

static void on_scrubbed(struct exchange *x, uint64_t secrets)
{
	f.scrubbed |= secrets;
}

static void on_done(struct exchange *x, int err)
{
	f.done++;
	f.done_err = err;
}

static const struct exchange_ops exchange_ops = {
	on_request, on_refused, on_used, on_stray, on_scrubbed, on_done};

/* --- turns ---------------------------------------------------------------------------------- */

static void side_read(struct side *s)
{
	uint8_t bytes[65536];
	ssize_t n;

	while (!s->keeps && !s->ended && (n = recv(s->fd, bytes, sizeof(bytes), 0)) != -1) {
		if (n == 0)
			s->ended = true;
		else
			assert_int_equal(buf_append(&s->got, bytes, (size_t)n), 0);
	}
	if (!s->keeps && !s->ended && errno != EAGAIN) {
		s->ended = true;
		s->err = errno;
	}
}

struct turns {
	struct loop_defer defer;
	int left;
};

static void turns_step(struct loop_defer *defer)
{
	struct turns *t = container_of(defer, struct turns, defer);

	side_read(&f.program);
	side_read(&f.host);
	if (t->left-- <= 0)
		loop_stop(f.loop, 0);
	else
		loop_defer(f.loop, &t->defer, turns_step);
}

static void turns_run(int n)
{
	struct turns t = {.left = n};

	loop_defer(f.loop, &t.defer, turns_step);
	loop_run(f.loop);
}

/* --- life ----------------------------------------------------------------------------------- */

static void leg_opened(struct leg *l, void *data)
{
	f.opened++;
	leg_pause(l);
}

static void leg_ignore(struct leg *l, void *data)
{
}

static void leg_closed(struct leg *l, int err, void *data)
{
}

static const struct leg_ops waiting_ops = {leg_opened, leg_ignore, leg_ignore, leg_closed};

/* Not as prompt as a unix socket: tests that use it wait for what they want to see. */
static void tcp_pair(int pair[2])
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	pair[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(pair[1], (struct sockaddr *)&addr, len), 0);
	pair[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(pair[0] >= 0);
	close(listener);
}

static void side_open(struct side *s, int which)
{
	int pair[2];

	if (which == 0 && f.tcp)
		tcp_pair(pair);
	else
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fd_set_nonblock(pair[1], true);
	*s = (struct side){.fd = pair[1]};
	buf_init(&s->got, SIZE_MAX);
	assert_int_equal(leg_new(f.loop, pair[0], NULL, 0, which == 1 ? f.tls : NULL, &waiting_ops,
				 NULL, &f.legs[which]),
		0);
}

/* Fills in f.loop, f.vault, f.scrub and f.params: a connection to https://a.example. */
static void fixture_prepare(void)
{
	static const char *const hosts[] = {"a.example"};

	f = (struct fixture){.loop = loop_new(), .vault = vault_new()};
	f.program.fd = f.host.fd = -EBADF;
	assert_int_equal(
		vault_add(f.vault, "KEY", PLACEHOLDER, SECRET, strlen(SECRET), hosts, 1, NULL), 0);
	f.scrub = scrub_set_new(f.vault, 1);
	f.params = (struct exchange_params){
		.loop = f.loop,
		.host = "a.example",
		.port = 443,
		.tls = true,
		.vault = f.vault,
		.secrets = 1,
		.scrub = f.scrub,
		.ops = &exchange_ops,
	};
}

static void fixture_open(void)
{
	side_open(&f.program, 0);
	side_open(&f.host, 1);
	while (f.opened < 2)
		turns_run(1);
}

static void fixture_close(void (*free_exchange)(struct exchange *x))
{
	free_exchange(f.x);
	fd_close(f.program.fd);
	fd_close(f.host.fd);
	buf_done(&f.program.got);
	buf_done(&f.host.got);
	scrub_set_free(f.scrub);
	vault_free(f.vault);
	loop_free(f.loop);
}

/* --- talking -------------------------------------------------------------------------------- */

#define TURNS 12

/* Writes in pieces of step bytes, and lets happen what follows from each. What the other side has
 * closed already is not an error of the test. */
static void say_bytes(struct side *s, const void *data, size_t len, size_t step)
{
	for (size_t at = 0; at < len;) {
		size_t n = len - at < step ? len - at : step;
		ssize_t sent = send(s->fd, (const char *)data + at, n, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			break;
		at += sent > 0 ? (size_t)sent : 0;
		turns_run(step > 64 ? TURNS : 4);
	}
	turns_run(TURNS);
}

static inline void say(struct side *s, const char *text)
{
	say_bytes(s, text, strlen(text), SIZE_MAX);
}

/* What a side has got so far, as a string, without Date lines; forgotten afterwards. */
static inline const char *heard(struct side *s)
{
	static char text[1024 * 1024];
	char *date;

	assert_true(s->got.len < sizeof(text));
	if (s->got.len > 0)
		memcpy(text, buf_data(&s->got), s->got.len);
	text[s->got.len] = '\0';
	buf_clear(&s->got);
	while ((date = strstr(text, "Date: ")) != NULL) {
		char *end = strstr(date, "\r\n") + 2;

		memmove(date, end, strlen(end) + 1);
	}
	return text;
}
