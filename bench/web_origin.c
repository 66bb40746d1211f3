/*
 * The web server that the gate and its peers are measured in front of: port 80 and, with TLS, port
 * 443 of each address, HTTP/1.1 and HTTP/2. A thread for each connection, no file, no log: it shall
 * cost as little as a server can.
 *
 *   web_origin CERTIFICATE TOKEN ADDRESS...
 *
 *   /small      about 1 KB of JSON, for requests with "Authorization: Bearer TOKEN" alone
 *   /bytes/N    N bytes of the same
 *   /echo       the Authorization of the request
 *
 * Prints "ready" when all listen.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "web.h"
#include "wire/http1.h"

#define SMALL_LEN 1000
#define BLOCK_LEN ((size_t)64 * 1024)
#define BACKLOG 256
/* With its head, a frame of it fills a record of TLS. */
#define FRAME_MAX (16384 - 9)

struct answer {
	const char *status;
	const char *data; /* repeats every BLOCK_LEN bytes */
	uint64_t len;
	uint64_t sent;
	char text[512];
};

struct listener {
	int fd;
	bool tls;
};

struct connection {
	struct web web;
	bool tls;
};

/* One request of HTTP/2. */
struct stream {
	char path[128];
	char authorization[256];
	struct answer answer;
};

static SSL_CTX *ctx;
static const char *token;
static char block[BLOCK_LEN + 256];

/* What answers usually look like: text with quotes, digits and words. */
static void fill_block(void)
{
	size_t n = 0;

	for (unsigned i = 0; n < BLOCK_LEN; i++)
		n += (size_t)snprintf(block + n, sizeof(block) - n,
			"{\"id\":%u,\"name\":\"item %x\",\"tags\":[\"alpha\",\"beta\"],"
			"\"url\":\"https://api.test/items/%u?page=2\",\"done\":%s}\n",
			i, i * 2654435761U, i, i % 3 == 0 ? "true" : "false");
}

static void make_answer(struct answer *a, const char *path, const char *authorization)
{
	*a = (struct answer){.status = "200", .data = block, .len = SMALL_LEN};
	if (strcmp(path, "/small") == 0) {
		if (strncmp(authorization, "Bearer ", 7) == 0 &&
			strcmp(authorization + 7, token) == 0)
			return;
		a->status = "403";
	} else if (strncmp(path, "/bytes/", 7) == 0) {
		a->len = strtoull(path + 7, NULL, 10);
		return;
	} else if (strcmp(path, "/echo") != 0) {
		a->status = "404";
	}
	snprintf(a->text, sizeof(a->text), "%s %s\n", a->status, authorization);
	a->data = a->text;
	a->len = strlen(a->text);
}

/* The next piece of the answer, at most BLOCK_LEN. */
static size_t next_piece(struct answer *a, size_t room, const char **ret)
{
	size_t at = (size_t)(a->sent % BLOCK_LEN);
	size_t n = BLOCK_LEN - at;

	if (n > room)
		n = room;
	if (n > a->len - a->sent)
		n = (size_t)(a->len - a->sent);
	*ret = a->data + at;
	a->sent += n;
	return n;
}

/* --- HTTP/1.1 --------------------------------------------------------------------------------- */

static void copy_view(char *to, size_t size, const struct http1_view *v)
{
	snprintf(to, size, "%.*s", v != NULL ? (int)v->len : 0, v != NULL ? v->data : "");
}

static bool send_answer(struct web *w, struct answer *a)
{
	char first[SMALL_LEN + 256];
	const char *piece;
	int n = snprintf(first, sizeof(first),
		"HTTP/1.1 %s X\r\nContent-Type: application/json\r\nContent-Length: %llu\r\n\r\n",
		a->status, (unsigned long long)a->len);
	size_t len = (size_t)n;

	if (a->len <= SMALL_LEN) {
		size_t more = next_piece(a, SMALL_LEN, &piece);

		memcpy(first + len, piece, more);
		len += more;
	}
	if (!web_write(w, first, len))
		return false;
	while (a->sent < a->len) {
		len = next_piece(a, BLOCK_LEN, &piece);
		if (!web_write(w, piece, len))
			return false;
	}
	return true;
}

static void serve_http1(struct web *w)
{
	auto_buf struct buf in;
	struct http1_request request;
	const char *reason;

	buf_init(&in, WEB_HEAD_MAX);
	for (;;) {
		ssize_t head =
			http1_parse_head(buf_data(&in), in.len, WEB_HEAD_MAX, &request, &reason);

		if (head == -EAGAIN) {
			size_t room;
			uint8_t *p = buf_reserve(&in, 4096, &room);
			size_t n = p != NULL ? web_read(w, p, room) : 0;

			if (n == 0)
				return;
			buf_commit(&in, n);
			continue;
		}
		if (head < 0)
			return;
		struct answer a;
		char path[128], authorization[256];

		copy_view(path, sizeof(path), &request.target);
		copy_view(authorization, sizeof(authorization),
			http1_header(&request, "authorization"));
		buf_consume(&in, (size_t)head);
		make_answer(&a, path, authorization);
		if (!send_answer(w, &a))
			return;
	}
}

/* --- HTTP/2 ----------------------------------------------------------------------------------- */

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	(void)data;
	return nghttp2_session_set_stream_user_data(
		session, frame->hd.stream_id, mem_new(struct stream));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags, (void)data;
	if (s != NULL && web_is(name, name_len, ":path"))
		snprintf(s->path, sizeof(s->path), "%.*s", (int)value_len, (const char *)value);
	else if (s != NULL && web_is(name, name_len, "authorization"))
		snprintf(s->authorization, sizeof(s->authorization), "%.*s", (int)value_len,
			(const char *)value);
	return 0;
}

static ssize_t read_answer(nghttp2_session *session, int32_t id, uint8_t *buf, size_t room,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct answer *a = source->ptr;
	const char *piece;
	size_t n = next_piece(a, room < FRAME_MAX ? room : FRAME_MAX, &piece);

	(void)session, (void)id, (void)data;
	memcpy(buf, piece, n);
	if (a->sent == a->len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	char length[24];

	(void)data;
	if (s == NULL || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	make_answer(&s->answer, s->path, s->authorization);
	snprintf(length, sizeof(length), "%llu", (unsigned long long)s->answer.len);
	const nghttp2_nv headers[] = {
		web_header(":status", s->answer.status),
		web_header("content-type", "application/json"),
		web_header("content-length", length),
	};
	nghttp2_data_provider provider = {
		.source.ptr = &s->answer,
		.read_callback = read_answer,
	};
	return nghttp2_submit_response(
		session, frame->hd.stream_id, headers, array_len(headers), &provider);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
	(void)code, (void)data;
	free(nghttp2_session_get_stream_user_data(session, id));
	return nghttp2_session_set_stream_user_data(session, id, NULL);
}

static void serve_http2(struct web *w)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_session *session;
	uint8_t in[16384];
	size_t n;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return;
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	if (nghttp2_session_server_new(&session, callbacks, NULL) == 0) {
		nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0);
		while (web_flush(w, session) && (n = web_read(w, in, sizeof(in))) > 0) {
			if (nghttp2_session_mem_recv(session, in, n) < 0)
				break;
		}
		nghttp2_session_del(session);
	}
	nghttp2_session_callbacks_del(callbacks);
}

/* --- connections ------------------------------------------------------------------------------ */

static int select_alpn(SSL *ssl, const uint8_t **ret, uint8_t *ret_len, const uint8_t *offered,
	unsigned offered_len, void *arg)
{
	static const uint8_t known[] = "\x02h2\x08http/1.1";
	uint8_t *chosen;

	(void)ssl, (void)arg;
	if (SSL_select_next_proto(&chosen, ret_len, known, sizeof(known) - 1, offered,
		    offered_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*ret = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static bool shake(struct connection *c)
{
	if (!c->tls)
		return true;
	c->web.ssl = SSL_new(ctx);
	return c->web.ssl != NULL && SSL_set_fd(c->web.ssl, c->web.fd) == 1 &&
	       SSL_accept(c->web.ssl) == 1;
}

static bool speaks_http2(const struct connection *c)
{
	const uint8_t *alpn = NULL;
	unsigned len = 0;

	if (c->web.ssl != NULL)
		SSL_get0_alpn_selected(c->web.ssl, &alpn, &len);
	return len > 0 && web_is(alpn, len, "h2");
}

static void *serve(void *data)
{
	struct connection *c = data;

	if (shake(c)) {
		if (speaks_http2(c))
			serve_http2(&c->web);
		else
			serve_http1(&c->web);
	}
	web_close(&c->web);
	free(c);
	return NULL;
}

static void *accept_all(void *data)
{
	const struct listener *l = data;
	static const int one = 1;
	pthread_attr_t detached;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&detached, (size_t)256 * 1024);
	for (;;) {
		pthread_t thread;
		struct connection *c;
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c = mem_new(struct connection);
		c->web.fd = fd;
		c->tls = l->tls;
		if (pthread_create(&thread, &detached, serve, c) != 0)
			err(1, "cannot start a thread");
	}
}

static void listen_on(const char *address, uint16_t port, bool tls)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct listener *l = mem_new(struct listener);
	static const int one = 1;
	pthread_t thread;

	l->tls = tls;
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (inet_pton(AF_INET, address, &sa.sin_addr) != 1)
		errx(1, "%s is no IPv4 address", address);
	if (l->fd < 0 || setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(l->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(l->fd, BACKLOG) < 0)
		err(1, "%s port %u", address, port);
	if (pthread_create(&thread, NULL, accept_all, l) != 0)
		err(1, "cannot start a thread");
}

int main(int argc, char **argv)
{
	if (argc < 4)
		errx(2, "usage: web_origin CERTIFICATE TOKEN ADDRESS...");
	(void)signal(SIGPIPE, SIG_IGN);
	fill_block();
	token = argv[2];
	ctx = SSL_CTX_new(TLS_server_method());
	if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, argv[1]) != 1 ||
		SSL_CTX_use_PrivateKey_file(ctx, argv[1], SSL_FILETYPE_PEM) != 1)
		errx(1, "cannot use the certificate in %s", argv[1]);
	SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
	for (int i = 3; i < argc; i++) {
		listen_on(argv[i], 80, false);
		listen_on(argv[i], 443, true);
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
