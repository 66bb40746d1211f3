/*
 * The HTTP/1.1 engine between two sockets, of which the input plays both sides: the first byte
 * holds flags, the second says how the rest is cut into pieces, the next two how much of it the
 * program inside says; what follows is said by the host, piece by piece, once it has heard
 * something. Or the host echoes what it has heard.
 *
 * However the two conspire: the secret's value does not reach the program, and what reaches the
 * host are well-formed requests for the name of the connection.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "check.h"
#include "gate/http/http1_flow.h"
#include "wire/http1.h"

#define SECRET "s3cr3t/value"
#define PLACEHOLDER \
	PLACEHOLDER_PREFIX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define INPUT_MAX ((size_t)16 * 1024)
#define TURNS 4

enum { ECHO = 1, CLOSES = 2, ABSOLUTE = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct side {
	int fd;
	const uint8_t *says;
	size_t len;
	struct buf heard;
};

static struct {
	struct loop *loop;
	struct exchange *x;
	struct leg *legs[2];
	struct side program, host;
	int opened;
	bool done;
} f;

/* --- the owner of the exchange ---------------------------------------------------------------- */

static void on_request(struct exchange *x, const char *method, const char *path)
{
	(void)x;
	check(strlen(method) > 0 && strlen(path) > 0);
}

static void on_refused(struct exchange *x, enum exchange_refusal what, const char *detail)
{
	(void)x;
	check(what < EXCHANGE_REFUSAL_COUNT && strlen(detail) > 0);
}

static void on_secrets(struct exchange *x, uint64_t secrets)
{
	(void)x;
	check(secrets == 1);
}

static void on_stray(struct exchange *x, uint64_t secrets, const char *where)
{
	(void)x;
	check(secrets == 1 && strlen(where) > 0);
}

static void on_done(struct exchange *x, int err)
{
	(void)x;
	check(err <= 0 && !f.done);
	f.done = true;
}

static const struct exchange_ops ops = {
	on_request, on_refused, on_secrets, on_stray, on_secrets, on_done};

static void on_open(struct leg *l, void *data)
{
	(void)data;
	leg_pause(l);
	f.opened++;
}

static void ignore(struct leg *l, void *data)
{
	(void)l;
	(void)data;
}

static void ignore_close(struct leg *l, int err, void *data)
{
	(void)l;
	(void)err;
	(void)data;
}

static const struct leg_ops waiting_ops = {on_open, ignore, ignore, ignore_close};

/* --- turns ------------------------------------------------------------------------------------ */

struct turns {
	struct loop_defer defer;
	int left;
};

static void turns_step(struct loop_defer *defer)
{
	struct turns *t = container_of(defer, struct turns, defer);

	if (t->left-- <= 0)
		loop_stop(f.loop, 0);
	else
		loop_defer(f.loop, &t->defer, turns_step);
}

static void hear(struct side *s)
{
	uint8_t bytes[65536];
	ssize_t n;

	while ((n = recv(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		check(buf_append(&s->heard, bytes, (size_t)n) == 0);
}

static void turns_run(void)
{
	struct turns t = {.left = TURNS};

	loop_defer(f.loop, &t.defer, turns_step);
	loop_run(f.loop);
	hear(&f.program);
	hear(&f.host);
}

static void say(struct side *s, size_t step)
{
	size_t n = s->len < step ? s->len : step;

	if (n == 0)
		return;
	/* The socket has room for all of an input; a failure is a side that was closed. */
	(void)send(s->fd, s->says, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	s->says += n;
	s->len -= n;
	turns_run();
}

static void echo(void)
{
	auto_buf struct buf answer;

	buf_init(&answer, SIZE_MAX);
	buf_printf(&answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nX: %s\r\n\r\n",
		f.host.heard.len, SECRET);
	buf_append(&answer, buf_data(&f.host.heard), f.host.heard.len);
	(void)send(f.host.fd, buf_data(&answer), answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	turns_run();
}

/* --- claims ----------------------------------------------------------------------------------- */

/* What came at the host: requests by the rules, each for the name, the last one perhaps cut off in
 * its body. Behind an upgrade come frames. */
static void check_requests(const struct buf *heard)
{
	static struct http1_request req;
	const uint8_t *p = buf_data(heard);
	size_t left = heard->len;

	while (left > 0) {
		const char *reason = NULL;
		ssize_t n = http1_parse_proxy_head(p, left, SIZE_MAX / 2, &req, &reason);
		struct http1_body_reader r;
		size_t used = 1;

		check(n > 0);
		check(http1_header_count(&req, "host") == 1);
		check(http1_view_eq(http1_header(&req, "host"), "a.example"));
		check(req.authority.len == 0 || http1_view_eq(&req.authority, "a.example"));
		check(http1_header(&req, "accept-encoding") &&
			http1_view_eq(http1_header(&req, "accept-encoding"), "identity"));
		check(!http1_header(&req, "range"));
		if (req.upgrade_websocket)
			return;
		p += n;
		left -= (size_t)n;
		http1_body_init(&r, &req);
		while (!r.done && used > 0) {
			const uint8_t *payload;

			check(http1_body_read(&r, p, left, &used, &payload, &(size_t){0}) == 0);
			p += used;
			left -= used;
		}
	}
}

static bool holds_secret(const void *data, size_t len)
{
	return len > 0 && memmem(data, len, SECRET, strlen(SECRET)) != NULL;
}

/* --- one input -------------------------------------------------------------------------------- */

static void side_open(struct side *s, struct leg **leg)
{
	int pair[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	*s = (struct side){.fd = pair[1]};
	buf_init(&s->heard, SIZE_MAX);
	check(leg_new(f.loop, pair[0], NULL, 0, NULL, &waiting_ops, NULL, leg) == 0);
}

static void side_close(struct side *s)
{
	close(s->fd);
	buf_done(&s->heard);
}

static void begin(const struct vault *v, const struct scrub_set *set, uint8_t flags)
{
	f.loop = loop_new();
	f.opened = 0;
	f.done = false;
	side_open(&f.program, &f.legs[0]);
	side_open(&f.host, &f.legs[1]);
	while (f.opened < 2)
		turns_run();
	f.x = http1_flow_new(
		&(struct exchange_params){
			.loop = f.loop,
			.host = "a.example",
			.port = flags & ABSOLUTE ? 80 : 443,
			.tls = !(flags & ABSOLUTE),
			.vault = v,
			.secrets = 1,
			.scrub = set,
			.absolute_form = flags & ABSOLUTE,
			.ops = &ops,
		},
		f.legs[0], f.legs[1]);
}

static void talk(uint8_t flags, size_t step)
{
	while (f.program.len > 0 || (f.host.len > 0 && f.host.heard.len > 0)) {
		size_t heard = f.host.heard.len;

		say(&f.program, step);
		if (flags & ECHO && f.host.heard.len > heard)
			echo();
		else if (f.host.heard.len > 0)
			say(&f.host, step);
	}
	if (flags & CLOSES) {
		shutdown(f.program.fd, SHUT_WR);
		turns_run();
	}
	shutdown(f.host.fd, SHUT_WR);
	turns_run();
	turns_run();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = {"a.example"};
	static struct vault *vault;
	static struct scrub_set *set;
	const uint8_t *program = data + 4;
	size_t program_len;
	size_t rest;

	if (size < 4 || size > INPUT_MAX)
		return 0;
	if (!vault) {
		vault = vault_new();
		check(vault_add(vault, "KEY", PLACEHOLDER, SECRET, strlen(SECRET), hosts, 1,
			      NULL) == 0);
		set = scrub_set_new(vault, 1);
	}
	rest = size - 4;
	program_len = (size_t)data[2] << 8 | data[3];
	if (program_len > rest)
		program_len = rest;
	/* A program that knows the value may well hear it: in the words of a refusal. */
	if (holds_secret(program, program_len))
		return 0;
	begin(vault, set, data[0]);
	f.program.says = program;
	f.program.len = program_len;
	f.host.says = program + program_len;
	f.host.len = rest - program_len;
	talk(data[0], data[1] == 0 ? SIZE_MAX : data[1]);
	check(!holds_secret(buf_data(&f.program.heard), f.program.heard.len));
	check_requests(&f.host.heard);
	http1_flow_free(f.x);
	side_close(&f.program);
	side_close(&f.host);
	loop_free(f.loop);
	return 0;
}
