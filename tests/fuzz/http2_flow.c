/*
 * HTTP/2 between two legs. The first byte chooses who is hostile: the program, whose bytes follow
 * its preface and settings and whose host answers every request with all it was sent; or the host,
 * whose bytes come after two requests that carried a secret. Whatever comes, the secret's value
 * never reaches the program: not in a header field, not in a body.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include "base/mem.h"
#include "check.h"
#include "gate/http/http2_flow.h"
#include "gate/http/http2_priv.h"

#define INPUT_MAX ((size_t)64 * 1024)
#define TURNS 60
#define HOST "a.example"
#define SECRET "fuzz-secret-value-0123"
#define HEX16 "0123456789abcdef"
#define PLACEHOLDER PLACEHOLDER_PREFIX HEX16 HEX16 HEX16 HEX16
#define MAGIC_AND_SETTINGS \
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" \
	"\0\0\0\4\0\0\0\0\0"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct end {
	struct loop *loop;
	struct loop_io io;
	int fd;
	nghttp2_session *session; /* NULL: raw */
	struct buf out;
	bool server;
	bool closed;
	struct buf seen[64]; /* by stream: bodies at the program's end, requests at the host's */
	struct buf in;       /* the program's: not yet a frame */
	nghttp2_hd_inflater *inflater;
};

static struct buf *seen(struct end *e, int32_t id)
{
	struct buf *b = &e->seen[(uint32_t)id / 2 % array_len(e->seen)];

	if (b->max == 0)
		buf_init(b, 4 * INPUT_MAX);
	return b;
}

static void check_clean(const uint8_t *data, size_t len)
{
	check(len == 0 || memmem(data, len, SECRET, sizeof(SECRET) - 1) == NULL);
}

/* --- what the program is sent --------------------------------------------------------------- */

/* Read without a session: one would not hear answers to what it has not asked. */
static void read_block(struct end *e, const uint8_t *p, size_t len, bool last)
{
	int state = 0;

	while ((state & NGHTTP2_HD_INFLATE_FINAL) == 0) {
		nghttp2_nv nv;
		ssize_t n = nghttp2_hd_inflate_hd2(e->inflater, &nv, &state, p, len, last);

		check(n >= 0);
		p += n;
		len -= (size_t)n;
		if ((state & NGHTTP2_HD_INFLATE_EMIT) != 0) {
			check_clean(nv.name, nv.namelen);
			check_clean(nv.value, nv.valuelen);
		} else if (len == 0 && !last) {
			return;
		}
	}
	(void)nghttp2_hd_inflate_end_headers(e->inflater);
}

static void read_frame(struct end *e, const uint8_t *frame, size_t len)
{
	int32_t id = (int32_t)((uint32_t)(frame[5] & 0x7f) << 24 | (uint32_t)frame[6] << 16 |
			       (uint32_t)frame[7] << 8 | frame[8]);

	if (frame[3] == NGHTTP2_HEADERS || frame[3] == NGHTTP2_CONTINUATION) {
		read_block(e, frame + 9, len, (frame[4] & NGHTTP2_FLAG_END_HEADERS) != 0);
	} else if (frame[3] == NGHTTP2_DATA) {
		struct buf *b = seen(e, id);

		if (b->len > INPUT_MAX) /* a value may still lie across the border */
			buf_consume(b, b->len - sizeof(SECRET));
		check(buf_append(b, frame + 9, len) == 0);
		check_clean(buf_data(b), b->len);
	} else if (frame[3] == NGHTTP2_GOAWAY) {
		check_clean(frame + 9, len);
	}
}

static void read_frames(struct end *e, const uint8_t *data, size_t n)
{
	check(buf_append(&e->in, data, n) == 0);
	while (e->in.len >= 9) {
		const uint8_t *frame = buf_data(&e->in);
		size_t len = (size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2];

		if (e->in.len < 9 + len)
			break;
		read_frame(e, frame, len);
		buf_consume(&e->in, 9 + len);
	}
}

/* --- sockets -------------------------------------------------------------------------------- */

static void write_out(struct end *e)
{
	const uint8_t *data;
	ssize_t n;

	while (e->session != NULL && (n = nghttp2_session_mem_send(e->session, &data)) > 0)
		(void)buf_append(&e->out, data, (size_t)n);
	if (e->out.len > 0 && !e->closed) {
		n = send(e->fd, buf_data(&e->out), e->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			buf_consume(&e->out, (size_t)n);
	}
	if (e->io.loop != NULL)
		loop_io_set(&e->io, EPOLLIN | (e->out.len > 0 ? EPOLLOUT : 0));
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct end *e = container_of(io, struct end, io);
	uint8_t bytes[16384];
	ssize_t n = recv(e->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	(void)events;
	if (n == 0 || (n < 0 && (events & (EPOLLHUP | EPOLLERR)) != 0)) {
		e->closed = true;
		loop_io_del(&e->io);
		return;
	}
	if (n > 0 && !e->server)
		read_frames(e, bytes, (size_t)n);
	if (n > 0 && e->session != NULL)
		(void)nghttp2_session_mem_recv(e->session, bytes, (size_t)n);
	write_out(e);
}

/* --- sessions of the ends ------------------------------------------------------------------- */

static ssize_t read_echo(nghttp2_session *session, int32_t id, uint8_t *out, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct buf *b = source->ptr;
	size_t n = b->len < max ? b->len : max;

	(void)session;
	(void)id;
	(void)user;
	if (n > 0) {
		memcpy(out, buf_data(b), n);
		buf_consume(b, n);
	}
	if (b->len == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
	struct end *e = user;

	(void)session;
	(void)name;
	(void)name_len;
	(void)flags;
	if (e->server)
		(void)buf_append(seen(e, frame->hd.stream_id), value, value_len);
	return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes,
	size_t len, void *user)
{
	struct end *e = user;

	(void)session;
	(void)flags;
	if (e->server)
		(void)buf_append(seen(e, id), bytes, len);
	return 0;
}

/* The host sends everything back: in a field and as the body. */
static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct end *e = user;
	struct buf *b;

	if (!e->server || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
		(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return 0;
	b = seen(e, frame->hd.stream_id);
	const nghttp2_nv nva[] = {
		{(uint8_t *)":status", (uint8_t *)"200", 7, 3, 0},
		{(uint8_t *)"x-echo", buf_data(b), 6, b->len < 4096 ? b->len : 4096, 0},
	};
	const nghttp2_data_provider source = {.source.ptr = b, .read_callback = read_echo};

	(void)nghttp2_submit_response(session, frame->hd.stream_id, nva, array_len(nva), &source);
	return 0;
}

static nghttp2_session *session_new(struct end *e)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;
	nghttp2_session *session;

	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_option_new(&opt);
	nghttp2_option_set_no_http_messaging(opt, 1);
	if (e->server)
		nghttp2_session_server_new2(&session, cb, e, opt);
	else
		nghttp2_session_client_new2(&session, cb, e, opt);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	(void)nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
	return session;
}

static void submit_request(nghttp2_session *session, const char *method)
{
	const nghttp2_nv nva[] = {
		{(uint8_t *)":method", (uint8_t *)(uintptr_t)method, 7, strlen(method), 0},
		{(uint8_t *)":scheme", (uint8_t *)"https", 7, 5, 0},
		{(uint8_t *)":authority", (uint8_t *)HOST, 10, sizeof(HOST) - 1, 0},
		{(uint8_t *)":path", (uint8_t *)"/", 5, 1, 0},
		{(uint8_t *)"authorization", (uint8_t *)PLACEHOLDER, 13, PLACEHOLDER_LEN, 0},
	};

	(void)nghttp2_submit_request(session, NULL, nva, array_len(nva), NULL, NULL);
}

/* --- the engine between them ---------------------------------------------------------------- */

static void ignore_request(struct exchange *x, const char *method, const char *path)
{
	(void)x;
	check_clean((const uint8_t *)method, strlen(method));
	check_clean((const uint8_t *)path, strlen(path));
}

static void ignore_refused(struct exchange *x, enum exchange_refusal what, const char *detail)
{
	(void)x;
	check(what < EXCHANGE_REFUSAL_COUNT && detail[0] != '\0');
}

static void check_secrets(struct exchange *x, uint64_t secrets)
{
	(void)x;
	check(secrets == 1);
}

static void check_stray(struct exchange *x, uint64_t secrets, const char *where)
{
	(void)x;
	check(secrets == 1 && where[0] != '\0');
}

static unsigned done;

static void note_done(struct exchange *x, int err)
{
	(void)x;
	(void)err;
	done++;
}

static const struct exchange_ops ops = {
	.on_request = ignore_request,
	.on_refused = ignore_refused,
	.on_used = check_secrets,
	.on_stray = check_stray,
	.on_scrubbed = check_secrets,
	.on_done = note_done,
};

static void on_event(struct leg *l, void *user)
{
	(void)l;
	(void)user;
}

static void on_close(struct leg *l, int err, void *user)
{
	(void)l;
	(void)err;
	(void)user;
}

struct turns {
	struct loop_defer defer;
	struct loop *loop;
	int left;
};

static void step(struct loop_defer *defer)
{
	struct turns *t = container_of(defer, struct turns, defer);

	if (t->left-- <= 0)
		loop_stop(t->loop, 0);
	else
		loop_defer(t->loop, &t->defer, step);
}

static void run(struct loop *loop, int turns)
{
	struct turns t = {.loop = loop, .left = turns};

	loop_defer(loop, &t.defer, step);
	loop_run(loop);
}

static struct leg *leg_between(struct loop *loop, struct end *e)
{
	static const struct leg_ops leg_ops = {
		.on_open = on_event, .on_data = on_event, .on_close = on_close};
	struct leg *l;
	int pair[2];

	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	check(leg_new(loop, pair[1], NULL, 0, NULL, &leg_ops, NULL, &l) == 0);
	leg_pause(l);
	e->loop = loop;
	e->fd = pair[0];
	buf_init(&e->out, 4 * INPUT_MAX);
	buf_init(&e->in, (size_t)1024 * 1024);
	check(nghttp2_hd_inflate_new(&e->inflater) == 0);
	check(loop_io_add(loop, &e->io, e->fd, EPOLLIN, on_io) == 0);
	return l;
}

static void end_done(struct end *e)
{
	loop_io_del(&e->io);
	close(e->fd);
	nghttp2_session_del(e->session);
	nghttp2_hd_inflate_del(e->inflater);
	buf_done(&e->out);
	buf_done(&e->in);
	for (size_t i = 0; i < array_len(e->seen); i++)
		buf_done(&e->seen[i]);
}

static void feed(
	struct end *program, struct end *host, bool hostile_host, const uint8_t *data, size_t size)
{
	struct end *hostile = hostile_host ? host : program;

	if (hostile_host) {
		submit_request(program->session, "GET");
		submit_request(program->session, "POST");
		write_out(program);
		run(program->loop, 10);
	} else {
		(void)buf_append(&program->out, MAGIC_AND_SETTINGS, sizeof(MAGIC_AND_SETTINGS) - 1);
	}
	(void)buf_append(&hostile->out, data, size);
	write_out(hostile);
	run(program->loop, TURNS);
	shutdown(hostile->fd, SHUT_WR);
	run(program->loop, TURNS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = {HOST};
	struct end *program;
	struct end *host;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	done = 0;
	program = mem_new(struct end);
	host = mem_new(struct end);
	host->server = true;
	struct loop *loop = loop_new();
	struct vault *vault = vault_new();
	struct leg *client_leg = leg_between(loop, program);
	struct leg *host_leg = leg_between(loop, host);
	run(loop, 3);
	check(vault_add(vault, "KEY", PLACEHOLDER, SECRET, sizeof(SECRET) - 1, hosts, 1, NULL) ==
		0);
	struct scrub_set *set = scrub_set_new(vault, 1);
	const struct exchange_params params = {
		.loop = loop,
		.host = HOST,
		.port = 443,
		.tls = true,
		.vault = vault,
		.secrets = 1,
		.scrub = set,
		.ops = &ops,
	};
	struct exchange *x = http2_flow_new(&params, client_leg, host_leg);
	if ((data[0] & 1) != 0)
		program->session = session_new(program);
	else
		host->session = session_new(host);
	write_out(host);
	feed(program, host, (data[0] & 1) != 0, data + 1, size - 1);
	check(done <= 1);
	http2_flow_free(x);
	end_done(program);
	end_done(host);
	free(program);
	free(host);
	scrub_set_free(set);
	vault_free(vault);
	loop_free(loop);
	return 0;
}
