/*
 * Measurements at a raw WebSocket client, one subcommand each; prints one line of JSON. bench/run
 * starts the server, runs these beside their peers and prints the tables.
 *
 *   measure ADDRESS PORT TOKEN create COUNT PAUSE_MS [CONFIG]
 *                                                      create to connected, one after the other
 *   measure ADDRESS PORT TOKEN exec COUNT              round trip of `true`
 *   measure ADDRESS PORT TOKEN out MEGABYTES           one stream out of the sandbox
 *   measure ADDRESS PORT TOKEN in MEGABYTES            one stream into the sandbox
 *   measure ADDRESS PORT TOKEN rate CLIENTS SECONDS [CONFIG]
 *                                                      creates per second
 *   measure ADDRESS PORT TOKEN hold COUNT              keeps COUNT sandboxes until input ends
 *   measure - - - socket MEGABYTES                     peer: a raw unix socket
 */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "wire/base64.h"
#include "ws_client.h"

#define CREATE_PATH "/api/v3/sandboxes/create"
#define MEGA (1000 * 1000)
#define CHUNK (48 * 1024)

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void print_spread(const char *name, double *ms, size_t n)
{
	qsort(ms, n, sizeof(*ms), compare);
	printf("{\"name\":\"%s\",\"n\":%zu,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"min_ms\":%.3f,"
	       "\"max_ms\":%.3f}\n",
		name, n, ms[n / 2], ms[n * 9 / 10], ms[0], ms[n - 1]);
}

static double since_ms(uint64_t start)
{
	return (double)(clock_mono_ns() - start) / 1e6;
}

static void measure_create(
	const struct ws_server *server, size_t count, unsigned pause_ms, const char *config)
{
	auto_free double *ms = mem_zalloc_array(count, sizeof(*ms));

	for (size_t i = 0; i < count; i++) {
		struct ws_client c;
		uint64_t start = clock_mono_ns();

		ws_client_open(&c, server, CREATE_PATH, config);
		ms[i] = since_ms(start);
		ws_client_close(&c);
		usleep(pause_ms * 1000);
	}
	print_spread("create", ms, count);
}

static long spawn(struct ws_client *c, int id, const char *params)
{
	auto_free char *text = mem_printf(
		"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"spawn\",\"params\":%s}", id, params);
	const char *answer, *pid;
	size_t len;

	ws_client_send(c, text, strlen(text));
	answer = ws_client_answer(c, id, &len);
	pid = memmem(answer, len, "\"pid\":", 6);
	if (pid == NULL)
		errx(1, "spawn failed: %.*s", (int)len, answer);
	return strtol(pid + 6, NULL, 10);
}

static void send_wait(struct ws_client *c, int id, long pid)
{
	char text[128];

	ws_client_send(c, text,
		(size_t)snprintf(text, sizeof(text),
			"{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"processWait\",\"params\":{"
			"\"pid\":%ld}}",
			id, pid));
}

static void measure_exec(const struct ws_server *server, size_t count)
{
	auto_free double *ms = mem_zalloc_array(count, sizeof(*ms));
	struct ws_client c;
	size_t len;

	ws_client_open(&c, server, CREATE_PATH, NULL);
	for (size_t i = 0; i < count; i++) {
		uint64_t start = clock_mono_ns();
		long pid = spawn(&c, (int)i * 2,
			"{\"command\":\"true\",\"stdout\":\"null\",\"stderr\":\"null\"}");

		send_wait(&c, (int)i * 2 + 1, pid);
		ws_client_answer(&c, (int)i * 2 + 1, &len);
		ms[i] = since_ms(start);
	}
	ws_client_close(&c);
	print_spread("exec", ms, count);
}

static void print_rate(const char *name, double bytes, double ms)
{
	printf("{\"name\":\"%s\",\"bytes\":%.0f,\"ms\":%.1f,\"gb_per_s\":%.3f}\n", name, bytes, ms,
		bytes / ms / 1e6);
}

static void measure_out(const struct ws_server *server, size_t megabytes)
{
	auto_free char *params = mem_printf(
		"{\"command\":\"dd\",\"args\":[\"if=/dev/zero\",\"bs=1000000\",\"count=%zu\"],"
		"\"stdout\":\"piped\",\"stderr\":\"null\"}",
		megabytes);
	auto_free uint8_t *raw = mem_zalloc(1024 * 1024);
	struct ws_client c;
	uint64_t start;
	double bytes = 0;

	ws_client_open(&c, server, CREATE_PATH, NULL);
	start = clock_mono_ns();
	send_wait(&c, 2, spawn(&c, 1, params));
	for (;;) {
		size_t len;
		const char *text = ws_client_recv(&c, &len);
		const char *data = memmem(text, len < 128 ? len : 128, "\"data\":\"", 8);

		if (data != NULL) {
			const char *end = memrchr(text, '"', len);
			ssize_t n;

			while (end > data + 8 && memcmp(end, "\"}", 2) != 0)
				end = memrchr(text, '"', (size_t)(end - text));
			n = base64_decode(raw, data + 8, (size_t)(end - data - 8));
			if (n < 0)
				errx(1, "bad base64");
			bytes += (double)n;
		} else if (memmem(text, len, "stream.end", 10) != NULL) {
			break;
		}
	}
	print_rate("out", bytes, since_ms(start));
	if (bytes != (double)megabytes * MEGA)
		errx(1, "%.0f bytes came", bytes);
	ws_client_close(&c);
}

static void measure_in(const struct ws_server *server, size_t megabytes)
{
	static const char start_text[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"$sandbox.stream.start\","
		"\"params\":{\"streamId\":0}}";
	static const char end_text[] = "{\"jsonrpc\":\"2.0\",\"method\":\"$sandbox.stream.end\","
				       "\"params\":{\"streamId\":0}}";
	auto_free char *zeros = mem_zalloc(CHUNK);
	auto_free char *encoded = mem_zalloc(base64_encoded_len(CHUNK) + 1);
	auto_free char *text = NULL;
	auto_buf struct buf frame;
	size_t chunks = megabytes * MEGA / CHUNK;
	struct ws_client c;
	uint64_t start;
	size_t len;
	long pid;

	base64_encode(encoded, zeros, CHUNK);
	text = mem_printf("{\"method\":\"$sandbox.stream.enqueue\",\"params\":{\"streamId\":0,"
			  "\"data\":\"%s\"},\"jsonrpc\":\"2.0\"}",
		encoded);
	buf_init(&frame, 1024 * 1024);
	ws_client_frame(&frame, text, strlen(text));
	ws_client_open(&c, server, CREATE_PATH, NULL);
	start = clock_mono_ns();
	ws_client_send(&c, start_text, sizeof(start_text) - 1);
	pid = spawn(&c, 1,
		"{\"command\":\"cat\",\"stdinStreamId\":0,\"stdout\":\"null\","
		"\"stderr\":\"null\"}");
	send_wait(&c, 2, pid);
	for (size_t i = 0; i < chunks; i++)
		ws_client_send_raw(&c, buf_data(&frame), frame.len);
	ws_client_send(&c, end_text, sizeof(end_text) - 1);
	ws_client_answer(&c, 2, &len);
	print_rate("in", (double)chunks * CHUNK, since_ms(start));
	ws_client_close(&c);
}

struct worker {
	pthread_t thread;
	const struct ws_server *server;
	const char *config;
	uint64_t until;
	size_t count;
};

static void *create_until(void *data)
{
	struct worker *w = data;

	while (clock_mono_ns() < w->until) {
		struct ws_client c;

		ws_client_open(&c, w->server, CREATE_PATH, w->config);
		ws_client_close(&c);
		w->count++;
	}
	return NULL;
}

static void measure_rate(
	const struct ws_server *server, size_t clients, unsigned seconds, const char *config)
{
	auto_free struct worker *workers = mem_zalloc_array(clients, sizeof(*workers));
	uint64_t start = clock_mono_ns();
	size_t total = 0;

	for (size_t i = 0; i < clients; i++) {
		workers[i] = (struct worker){
			.server = server,
			.config = config,
			.until = start + seconds * CLOCK_SEC,
		};
		if (pthread_create(&workers[i].thread, NULL, create_until, &workers[i]) != 0)
			errx(1, "cannot start a thread");
	}
	for (size_t i = 0; i < clients; i++) {
		pthread_join(workers[i].thread, NULL);
		total += workers[i].count;
	}
	printf("{\"name\":\"rate\",\"clients\":%zu,\"creates\":%zu,\"per_second\":%.1f}\n", clients,
		total, (double)total * 1000 / since_ms(start));
}

static void measure_hold(const struct ws_server *server, size_t count)
{
	auto_free struct ws_client *clients = mem_zalloc_array(count, sizeof(*clients));
	char byte;

	for (size_t i = 0; i < count; i++)
		ws_client_open(&clients[i], server, CREATE_PATH, NULL);
	printf("{\"name\":\"hold\",\"count\":%zu}\n", count);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	for (size_t i = 0; i < count; i++)
		ws_client_close(&clients[i]);
}

static void measure_socket(size_t megabytes)
{
	size_t left = megabytes * MEGA;
	auto_free char *chunk = mem_zalloc(65536);
	uint64_t start = clock_mono_ns();
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || (pid = fork()) < 0)
		err(1, "socketpair");
	if (pid == 0) {
		close(pair[0]);
		while (left > 0) {
			ssize_t n = write(pair[1], chunk, left < 65536 ? left : 65536);

			if (n < 0)
				_exit(1);
			left -= (size_t)n;
		}
		_exit(0);
	}
	close(pair[1]);
	while (read(pair[0], chunk, 65536) > 0)
		continue;
	print_rate("socket", (double)megabytes * MEGA, since_ms(start));
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	struct ws_server server;
	const char *what = argc > 4 ? argv[4] : "";
	size_t a = argc > 5 ? strtoul(argv[5], NULL, 10) : 0;
	unsigned b = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 0;
	const char *config = argc > 7 ? argv[7] : NULL; /* JSON; NULL: the server's defaults */

	if (a == 0)
		errx(2, "usage: measure ADDRESS PORT TOKEN create|exec|out|in|rate|hold|socket N "
			"[M]");
	server = (struct ws_server){argv[1], (uint16_t)strtoul(argv[2], NULL, 10), argv[3]};
	if (strcmp(what, "create") == 0)
		measure_create(&server, a, b, config);
	else if (strcmp(what, "exec") == 0)
		measure_exec(&server, a);
	else if (strcmp(what, "out") == 0)
		measure_out(&server, a);
	else if (strcmp(what, "in") == 0)
		measure_in(&server, a);
	else if (strcmp(what, "rate") == 0)
		measure_rate(&server, a, b, config);
	else if (strcmp(what, "hold") == 0)
		measure_hold(&server, a);
	else if (strcmp(what, "socket") == 0)
		measure_socket(a);
	else
		errx(2, "unknown measurement: %s", what);
	return 0;
}
