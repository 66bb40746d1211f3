/*
 * The web client that measures the gate and its peers: the same program on the host and inside a
 * sandbox. Prints one line of JSON.
 *
 *   web_load [options] URL get                the body of the answer
 *   web_load [options] URL kept COUNT         requests one after the other on one connection
 *   web_load [options] URL fresh COUNT        each on a new connection
 *   web_load [options] URL rate MS [N]        requests per second on N connections, for so long
 *   web_load [options] URL speed [BYTES]      one large answer, of that length
 *
 *   --to ADDRESS:PORT   connect there, not to where the name of the URL leads
 *   --ca FILE           trust these certificates rather than the system's
 *   --token TEXT        send "Authorization: Bearer TEXT"
 *   --http2             over TLS
 *
 * Every failure, also an answer other than 200, ends the program: a measurement that half works is
 * worth nothing.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "web.h"
#include "wire/http1_answer.h"

#define WARM_UP 10
#define IN_SIZE ((size_t)64 * 1024)
#define WINDOW (8 * 1024 * 1024)

struct target {
	bool tls, http2;
	char host[256];
	const char *path;
	const char *token;
	struct sockaddr_storage address;
	socklen_t address_len;
	SSL_CTX *ctx;
};

struct client {
	struct web web;
	const struct target *target;
	nghttp2_session *session; /* HTTP/2 */
	struct buf in;            /* HTTP/1.1: received, not yet used */
	/* The answer: */
	int status;
	uint64_t bytes;
	bool done;
	FILE *print; /* where the body goes; NULL: nowhere */
};

/* --- HTTP/1.1 --------------------------------------------------------------------------------- */

static void take_body(struct client *c, const void *data, size_t len)
{
	c->bytes += len;
	if (c->print != NULL)
		fwrite(data, 1, len, c->print);
}

static void fill(struct client *c)
{
	size_t room, n;
	uint8_t *p = buf_reserve(&c->in, IN_SIZE / 2, &room);

	if (p == NULL)
		errx(1, "the head of the answer is too long");
	n = web_read(&c->web, p, room);
	if (n == 0)
		errx(1, "the connection ended within an answer");
	buf_commit(&c->in, n);
}

static void read_answer(struct client *c)
{
	static const struct http1_view method = {"GET", 3};
	struct http1_body_reader reader;
	struct http1_answer answer;
	const char *reason = "";
	ssize_t head;

	while ((head = http1_parse_answer_head(buf_data(&c->in), c->in.len, WEB_HEAD_MAX, method,
			&answer, &reason)) == -EAGAIN)
		fill(c);
	if (head < 0)
		errx(1, "bad answer: %s", reason);
	c->status = answer.status;
	http1_body_init_answer(&reader, &answer);
	buf_consume(&c->in, (size_t)head);
	while (!reader.done) {
		const uint8_t *payload = NULL;
		size_t used = 0, len = 0;

		if (http1_body_read(&reader, buf_data(&c->in), c->in.len, &used, &payload, &len) <
			0)
			errx(1, "bad body");
		take_body(c, payload, len);
		buf_consume(&c->in, used);
		if (used == 0 && !reader.done)
			fill(c);
	}
}

static void get_http1(struct client *c)
{
	const struct target *t = c->target;
	auto_free char *head =
		mem_printf("GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\n%s%s%s\r\n", t->path,
			t->host, t->token != NULL ? "Authorization: Bearer " : "",
			t->token != NULL ? t->token : "", t->token != NULL ? "\r\n" : "");

	if (!web_write(&c->web, head, strlen(head)))
		errx(1, "the connection ended");
	read_answer(c);
}

/* --- HTTP/2 ----------------------------------------------------------------------------------- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
	size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	struct client *c = data;

	(void)session, (void)frame, (void)value_len, (void)flags;
	if (web_is(name, name_len, ":status"))
		c->status = (int)strtol((const char *)value, NULL, 10);
	return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *chunk,
	size_t len, void *data)
{
	(void)session, (void)flags, (void)id;
	take_body(data, chunk, len);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
	struct client *c = data;

	(void)session, (void)id;
	if (code != 0)
		errx(1, "the stream was reset: %s", nghttp2_http2_strerror(code));
	c->done = true;
	return 0;
}

static void open_session(struct client *c)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
	};
	nghttp2_session_callbacks *callbacks;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		errx(1, "out of memory");
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	if (nghttp2_session_client_new(&c->session, callbacks, c) != 0 ||
		nghttp2_submit_settings(
			c->session, NGHTTP2_FLAG_NONE, settings, array_len(settings)) != 0 ||
		nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, WINDOW) !=
			0)
		errx(1, "cannot begin HTTP/2");
	nghttp2_session_callbacks_del(callbacks);
}

static void get_http2(struct client *c)
{
	const struct target *t = c->target;
	auto_free char *bearer = mem_printf("Bearer %s", t->token != NULL ? t->token : "");
	const nghttp2_nv headers[] = {
		web_header(":method", "GET"), web_header(":scheme", "https"),
		web_header(":authority", t->host), web_header(":path", t->path),
		web_header("authorization", bearer), /* the last: may be left out */
	};
	uint8_t in[16384];

	c->done = false;
	if (nghttp2_submit_request(c->session, NULL, headers,
		    array_len(headers) - (t->token == NULL), NULL, NULL) < 0)
		errx(1, "cannot send a request");
	while (!c->done) {
		size_t n;

		if (!web_flush(&c->web, c->session))
			errx(1, "the connection ended");
		n = web_read(&c->web, in, sizeof(in));
		if (n == 0)
			errx(1, "the connection ended within an answer");
		if (nghttp2_session_mem_recv(c->session, in, n) < 0)
			errx(1, "bad HTTP/2");
	}
}

/* --- connections ------------------------------------------------------------------------------ */

static void open_tls(struct client *c)
{
	const struct target *t = c->target;
	const uint8_t *alpn = NULL;
	unsigned len = 0;

	c->web.ssl = SSL_new(t->ctx);
	if (c->web.ssl == NULL || SSL_set_fd(c->web.ssl, c->web.fd) != 1 ||
		SSL_set_tlsext_host_name(c->web.ssl, t->host) != 1 ||
		SSL_set1_host(c->web.ssl, t->host) != 1)
		errx(1, "out of memory");
	if (SSL_connect(c->web.ssl) != 1)
		errx(1, "TLS: %s",
			X509_verify_cert_error_string(SSL_get_verify_result(c->web.ssl)));
	SSL_get0_alpn_selected(c->web.ssl, &alpn, &len);
	if (t->http2 != (len > 0 && web_is(alpn, len, "h2")))
		errx(1, "the server chose another protocol");
	if (t->http2)
		open_session(c);
}

static void client_open(struct client *c, const struct target *t)
{
	static const int one = 1;

	*c = (struct client){.target = t};
	buf_init(&c->in, IN_SIZE);
	c->web.fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->web.fd < 0 ||
		connect(c->web.fd, (const struct sockaddr *)&t->address, t->address_len) < 0)
		err(1, "connect");
	(void)setsockopt(c->web.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (t->tls)
		open_tls(c);
}

static void client_get(struct client *c)
{
	c->bytes = 0;
	if (c->target->http2)
		get_http2(c);
	else
		get_http1(c);
	if (c->status != 200)
		errx(1, "the answer was %d", c->status);
}

static void client_close(struct client *c)
{
	nghttp2_session_del(c->session);
	web_close(&c->web);
	buf_done(&c->in);
}

/* --- measurements ----------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double since_ms(uint64_t start)
{
	return (double)(clock_mono_ns() - start) / 1e6;
}

static void print_spread(const char *name, double *ms, size_t n)
{
	qsort(ms, n, sizeof(*ms), compare);
	printf("{\"name\":\"%s\",\"n\":%zu,\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"p99_ms\":%.4f,"
	       "\"min_ms\":%.4f}\n",
		name, n, ms[n / 2], ms[n * 9 / 10], ms[n * 99 / 100], ms[0]);
}

static void measure_get(const struct target *t, size_t a, size_t b)
{
	struct client c;

	(void)a, (void)b;
	client_open(&c, t);
	c.print = stdout;
	client_get(&c);
	client_close(&c);
}

static void measure_kept(const struct target *t, size_t count, size_t b)
{
	auto_free double *ms = mem_zalloc_array(count, sizeof(*ms));
	struct client c;

	(void)b;
	client_open(&c, t);
	for (size_t i = 0; i < WARM_UP; i++)
		client_get(&c);
	for (size_t i = 0; i < count; i++) {
		uint64_t start = clock_mono_ns();

		client_get(&c);
		ms[i] = since_ms(start);
	}
	client_close(&c);
	print_spread("kept", ms, count);
}

static void measure_fresh(const struct target *t, size_t count, size_t b)
{
	auto_free double *ms = mem_zalloc_array(count, sizeof(*ms));

	(void)b;
	for (size_t i = 0; i < count; i++) {
		struct client c;
		uint64_t start = clock_mono_ns();

		client_open(&c, t);
		client_get(&c);
		ms[i] = since_ms(start);
		client_close(&c);
	}
	print_spread("fresh", ms, count);
}

struct worker {
	pthread_t thread;
	const struct target *target;
	pthread_barrier_t *ready;
	uint64_t length;
	size_t count;
};

static void *get_for(void *data)
{
	struct worker *w = data;
	struct client c;
	uint64_t until;

	client_open(&c, w->target);
	client_get(&c);
	pthread_barrier_wait(w->ready);
	until = clock_mono_ns() + w->length;
	while (clock_mono_ns() < until) {
		client_get(&c);
		w->count++;
	}
	client_close(&c);
	return NULL;
}

static void measure_rate(const struct target *t, size_t ms, size_t connections)
{
	size_t n = connections > 0 ? connections : 1, total = 0;
	auto_free struct worker *workers = mem_zalloc_array(n, sizeof(*workers));
	pthread_barrier_t ready;
	uint64_t start;
	double length;

	pthread_barrier_init(&ready, NULL, (unsigned)n + 1);
	for (size_t i = 0; i < n; i++) {
		workers[i] = (struct worker){.target = t, .ready = &ready, .length = ms * CLOCK_MS};
		if (pthread_create(&workers[i].thread, NULL, get_for, &workers[i]) != 0)
			errx(1, "cannot start a thread");
	}
	pthread_barrier_wait(&ready);
	start = clock_mono_ns();
	for (size_t i = 0; i < n; i++) {
		pthread_join(workers[i].thread, NULL);
		total += workers[i].count;
	}
	length = since_ms(start);
	pthread_barrier_destroy(&ready);
	printf("{\"name\":\"rate\",\"connections\":%zu,\"requests\":%zu,\"per_second\":%.1f}\n", n,
		total, (double)total * 1000 / length);
}

static void measure_speed(const struct target *t, size_t bytes, size_t b)
{
	struct client c;
	uint64_t start;
	double ms;

	(void)b;
	client_open(&c, t);
	start = clock_mono_ns();
	client_get(&c);
	ms = since_ms(start);
	if (bytes > 0 && c.bytes != bytes)
		errx(1, "%llu bytes came", (unsigned long long)c.bytes);
	printf("{\"name\":\"speed\",\"bytes\":%llu,\"ms\":%.1f,\"mb_per_s\":%.1f}\n",
		(unsigned long long)c.bytes, ms, (double)c.bytes / ms / 1e3);
	client_close(&c);
}

static const struct {
	const char *name;
	void (*run)(const struct target *t, size_t a, size_t b);
	bool counts;
} measurements[] = {
	{"get", measure_get, false},
	{"kept", measure_kept, true},
	{"fresh", measure_fresh, true},
	{"rate", measure_rate, true},
	{"speed", measure_speed, false},
};

/* --- start ------------------------------------------------------------------------------------ */

static void find_address(struct target *t, const char *host, const char *port)
{
	const struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	int r = getaddrinfo(host, port, &hints, &found);

	if (r != 0)
		errx(1, "%s: %s", host, gai_strerror(r));
	memcpy(&t->address, found->ai_addr, found->ai_addrlen);
	t->address_len = found->ai_addrlen;
	freeaddrinfo(found);
}

static void make_context(struct target *t, const char *ca)
{
	static const uint8_t h2[] = "\x02h2", http1[] = "\x08http/1.1";
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL || (ca != NULL ? SSL_CTX_load_verify_file(ctx, ca)
				       : SSL_CTX_set_default_verify_paths(ctx)) != 1)
		errx(1, "no certificates to trust");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (SSL_CTX_set_alpn_protos(
		    ctx, t->http2 ? h2 : http1, t->http2 ? sizeof(h2) - 1 : sizeof(http1) - 1) != 0)
		errx(1, "out of memory");
	t->ctx = ctx;
}

static void set_url(struct target *t, const char *url, char *to)
{
	const char *rest = strstr(url, "://");
	size_t len = rest != NULL ? strcspn(rest + 3, "/") : 0;
	char *colon = to != NULL ? strrchr(to, ':') : NULL;

	if (len == 0 || len >= sizeof(t->host) || rest[3 + len] != '/')
		errx(2, "not a URL with a path: %s", url);
	t->tls = strncmp(url, "https:", 6) == 0;
	memcpy(t->host, rest + 3, len);
	t->path = rest + 3 + len;
	if (colon == NULL) {
		find_address(t, t->host, t->tls ? "443" : "80");
		return;
	}
	*colon = '\0';
	find_address(t, to, colon + 1);
}

int main(int argc, char **argv)
{
	static const struct option table[] = {
		{"to", required_argument, NULL, 't'},
		{"ca", required_argument, NULL, 'c'},
		{"token", required_argument, NULL, 'k'},
		{"http2", no_argument, NULL, '2'},
		{0},
	};
	struct target t = {0};
	const char *ca = NULL;
	char *to = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "", table, NULL)) >= 0) {
		if (option == 't')
			to = optarg;
		else if (option == 'c')
			ca = optarg;
		else if (option == 'k')
			t.token = optarg;
		else if (option == '2')
			t.http2 = true;
		else
			return 2;
	}
	argc -= optind;
	argv += optind;
	if (argc < 2)
		errx(2, "usage: web_load [options] URL get|kept|fresh|rate|speed [NUMBER [N]]");
	set_url(&t, argv[0], to);
	if (t.tls)
		make_context(&t, ca);
	for (size_t i = 0; i < array_len(measurements); i++) {
		size_t a = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;

		if (strcmp(argv[1], measurements[i].name) != 0)
			continue;
		if (a == 0 && measurements[i].counts)
			errx(2, "%s needs a number above 0", argv[1]);
		measurements[i].run(&t, a, argc > 3 ? strtoul(argv[3], NULL, 10) : 0);
		return 0;
	}
	errx(2, "unknown measurement: %s", argv[1]);
}
