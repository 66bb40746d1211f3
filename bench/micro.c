/*
 * Speeds of the wire code alone, each the best of several runs: base64 kernels, the WebSocket mask,
 * request heads, and one stream of the agent channel between two processes beside a bare socket.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "wire/base64.h"
#include "wire/channel.h"
#include "wire/http1.h"
#include "wire/ws_mask.h"

#define CHUNK 65536
#define RUNS 7
#define SLICES 300 /* short ones: on a busy machine some of them run undisturbed */
#define ROUNDS 20
#define STREAM_BYTES (UINT64_C(2) << 30)

static uint8_t plain[CHUNK];
static char text[CHUNK / 3 * 4 + 8];
static uint8_t out[CHUNK + 8];

/* Best time of one call of fn, in nanoseconds. */
static double best_ns(void (*fn)(void), int rounds)
{
	double best = 1e18;

	for (int slice = 0; slice < SLICES; slice++) {
		uint64_t start = clock_mono_ns();

		for (int i = 0; i < rounds; i++)
			fn();
		double ns = (double)(clock_mono_ns() - start) / rounds;
		if (ns < best)
			best = ns;
	}
	return best;
}

static void encode(void)
{
	base64_encode(text, plain, CHUNK);
}

static void decode(void)
{
	if (base64_decode(out, text, base64_encoded_len(CHUNK)) != CHUNK)
		abort();
}

static void unmask(void)
{
	ws_unmask(plain, CHUNK, (const uint8_t *)"\x37\xfa\x21\x3d");
}

static void unmask_words(void)
{
	ws_unmask_words(plain, CHUNK, (const uint8_t *)"\x37\xfa\x21\x3d");
}

static void parse_head(void)
{
	static const char head[] =
		"GET /api/v3/sandboxes/create HTTP/1.1\r\n"
		"Host: 127.0.0.1:8000\r\n"
		"Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n"
		"x-deno-sandbox-config: eyJtZW1vcnlfbWIiOjEyODAsInZvbHVtZXMiOltdfQ==\r\n"
		"Connection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		"Sec-WebSocket-Version: 13\r\n\r\n";
	static struct http1_request req;
	const char *reason;

	if (http1_parse_head(head, sizeof(head) - 1, 65536, &req, &reason) != sizeof(head) - 1)
		abort();
}

static void print_speed(const char *what, double ns, size_t bytes)
{
	printf("%-32s %8.2f GB/s\n", what, (double)bytes / ns);
}

static void measure_codecs(void)
{
	static const char *const kernels[] = {"scalar", "avx2", "avx512vbmi"};
	char what[64];

	for (size_t i = 0; i < CHUNK; i++)
		plain[i] = (uint8_t)(i * 2654435761u >> 16);
	for (size_t i = 0; i < array_len(kernels); i++) {
		if (base64_select(kernels[i]) < 0)
			continue;
		snprintf(what, sizeof(what), "base64 encode, %s", kernels[i]);
		print_speed(what, best_ns(encode, ROUNDS), base64_encoded_len(CHUNK));
		snprintf(what, sizeof(what), "base64 decode, %s", kernels[i]);
		print_speed(what, best_ns(decode, ROUNDS), base64_encoded_len(CHUNK));
	}
	print_speed("unmask", best_ns(unmask, ROUNDS), CHUNK);
	print_speed("unmask, 8 bytes at a time", best_ns(unmask_words, ROUNDS), CHUNK);
	printf("%-32s %8.0f ns\n", "request head", best_ns(parse_head, ROUNDS * 10));
}

/* --- one stream -------------------------------------------------------------------------- */

static struct loop *loop;
static struct channel_stream stream;
static uint64_t moved;

static void produce(struct channel_stream *s)
{
	size_t room;

	while (moved < STREAM_BYTES && (room = channel_send_room(s)) > 0) {
		size_t n = room < CHUNK ? room : CHUNK;

		if (channel_send(s, plain, n) < 0)
			return;
		moved += n;
	}
	if (moved >= STREAM_BYTES)
		channel_send_end(s);
}

static void take(struct channel_stream *s, const uint8_t *data, size_t len)
{
	(void)data;
	moved += len;
	channel_consume(s, len);
}

static void end(struct channel_stream *s)
{
	channel_stream_close(s);
	loop_stop(loop, 0);
}

static const struct channel_stream_ops send_ops = {.on_writable = produce};
static const struct channel_stream_ops recv_ops = {.on_data = take, .on_end = end};

static void on_request(
	struct channel *ch, uint32_t id, uint16_t method, const uint8_t *data, size_t len)
{
	(void)id, (void)method;
	if (len == 4 && channel_open_send(ch, &stream, load_u32le(data), &send_ops) == 0)
		produce(&stream);
}

static void on_hello(struct channel *ch, uint32_t version)
{
	uint32_t id = channel_next_stream(ch);
	uint8_t params[4];
	uint32_t request;

	(void)version;
	store_u32le(params, id);
	if (channel_open_recv(ch, &stream, id, &recv_ops) < 0 ||
		channel_request(ch, 1, params, sizeof(params), &request) < 0)
		abort();
}

static void on_close(struct channel *ch, int err)
{
	(void)ch;
	loop_stop(loop, err);
}

static const struct channel_ops channel_ops = {
	.on_hello = on_hello,
	.on_request = on_request,
	.on_close = on_close,
};

static void run_channel(int fd, bool agent)
{
	struct channel ch;

	moved = 0;
	loop = loop_new();
	if (!loop || channel_init(&ch, loop, fd, agent, &channel_ops) < 0)
		abort();
	loop_run(loop);
	channel_done(&ch);
	loop_free(loop);
}

static void run_bare(int fd, bool agent)
{
	static uint8_t sink[4 * CHUNK];
	ssize_t n = 1;

	moved = 0;
	while (n > 0 && (!agent || moved < STREAM_BYTES)) {
		n = agent ? write(fd, plain, CHUNK) : read(fd, sink, sizeof(sink));
		moved += n > 0 ? (uint64_t)n : 0;
	}
	close(fd);
}

/* Moves the bytes from a child to this process: nanoseconds. */
static double move(void (*end_fn)(int fd, bool agent))
{
	uint64_t start = clock_mono_ns();
	int sv[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		abort();
	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		close(sv[0]);
		end_fn(sv[1], true);
		_exit(0);
	}
	close(sv[1]);
	end_fn(sv[0], false);
	waitpid(pid, NULL, 0);
	return moved == STREAM_BYTES ? (double)(clock_mono_ns() - start) : 1e18;
}

static void measure_stream(void)
{
	double channel = 1e18;
	double bare = 1e18;

	/* In turns, so that both see the same machine. */
	for (int run = 0; run < RUNS; run++) {
		double c = move(run_channel);
		double b = move(run_bare);

		channel = c < channel ? c : channel;
		bare = b < bare ? b : bare;
	}
	print_speed("unix socket", bare, STREAM_BYTES);
	print_speed("stream of the agent channel", channel, STREAM_BYTES);
	printf("%-32s %8.2f\n", "  ratio", bare / channel);
}

int main(void)
{
	measure_codecs();
	measure_stream();
	return 0;
}
