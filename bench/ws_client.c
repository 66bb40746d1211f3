#include "ws_client.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "wire/base64.h"

#define IN_MAX (64 * 1024 * 1024)

static void fill(struct ws_client *c)
{
	size_t room;
	uint8_t *p = buf_reserve(&c->in, 256 * 1024, &room);
	ssize_t n = read(c->fd, p, room);

	if (n < 0)
		err(1, "read");
	if (n == 0)
		errx(1, "the server closed the connection");
	buf_commit(&c->in, (size_t)n);
}

static void read_head(struct ws_client *c)
{
	const char *id, *end;

	for (;;) {
		end = memmem(buf_data(&c->in), c->in.len, "\r\n\r\n", 4);
		if (end != NULL)
			break;
		fill(c);
	}
	if (memcmp(buf_data(&c->in), "HTTP/1.1 101", 12) != 0)
		errx(1, "refused: %.*s", (int)c->in.len, (const char *)buf_data(&c->in));
	id = memmem(buf_data(&c->in), c->in.len, "x-deno-sandbox-id: ", 19);
	if (id != NULL)
		snprintf(c->sandbox_id, sizeof(c->sandbox_id), "%.*s", (int)strcspn(id + 19, "\r"),
			id + 19);
	buf_consume(&c->in, (size_t)(end + 4 - (const char *)buf_data(&c->in)));
}

void ws_client_open(
	struct ws_client *c, const struct ws_server *server, const char *path, const char *config)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(server->port)};
	size_t len = config != NULL ? strlen(config) : 0;
	auto_free char *encoded = mem_zalloc(base64_encoded_len(len) + 1);
	auto_free char *head = NULL;
	int one = 1;

	memset(c, 0, sizeof(*c));
	buf_init(&c->in, IN_MAX);
	base64_encode(encoded, config, len);
	head = mem_printf("GET %s HTTP/1.1\r\nHost: %s:%u\r\nConnection: Upgrade\r\n"
			  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
			  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
			  "Authorization: Bearer %s\r\n%s%s%s\r\n",
		path, server->address, server->port, server->token,
		config != NULL ? "x-deno-sandbox-config: " : "", encoded,
		config != NULL ? "\r\n" : "");
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	inet_pton(AF_INET, server->address, &sa.sin_addr);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		err(1, "connect");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fd_write_all(c->fd, head, strlen(head)) < 0)
		err(1, "write");
	read_head(c);
}

void ws_client_close(struct ws_client *c)
{
	static const uint8_t frame[] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8};
	char sink[4096];

	if (fd_write_all(c->fd, frame, sizeof(frame)) == 0) {
		while (read(c->fd, sink, sizeof(sink)) > 0)
			continue;
	}
	close(c->fd);
	buf_done(&c->in);
}

void ws_client_frame(struct buf *b, const char *text, size_t len)
{
	uint8_t head[14] = {0x81};
	size_t n = 2;

	if (len < 126) {
		head[1] = (uint8_t)(0x80 | len);
	} else if (len < 65536) {
		head[1] = 0x80 | 126;
		head[2] = (uint8_t)(len >> 8);
		head[3] = (uint8_t)len;
		n = 4;
	} else {
		head[1] = 0x80 | 127;
		for (int i = 0; i < 8; i++)
			head[2 + i] = (uint8_t)((uint64_t)len >> (8 * (7 - i)));
		n = 10;
	}
	if (buf_append(b, head, n + 4) < 0 || buf_append(b, text, len) < 0)
		errx(1, "frame too large");
}

void ws_client_send_raw(struct ws_client *c, const void *frame, size_t len)
{
	if (fd_write_all(c->fd, frame, len) < 0)
		err(1, "write");
}

void ws_client_send(struct ws_client *c, const char *text, size_t len)
{
	auto_buf struct buf b;

	buf_init(&b, IN_MAX);
	ws_client_frame(&b, text, len);
	ws_client_send_raw(c, buf_data(&b), b.len);
}

/* Length of the frame at the start of the buffer, or 0; *ret_head is its header's. */
static size_t whole_frame(const struct buf *in, size_t *ret_head)
{
	const uint8_t *p = buf_data(in);
	uint64_t len;
	size_t head = 2;

	if (in->len < 2)
		return 0;
	len = p[1] & 0x7f;
	if (len == 126) {
		head = 4;
		if (in->len < head)
			return 0;
		len = (uint64_t)p[2] << 8 | p[3];
	} else if (len == 127) {
		head = 10;
		if (in->len < head)
			return 0;
		len = 0;
		for (int i = 0; i < 8; i++)
			len = len << 8 | p[2 + i];
	}
	*ret_head = head;
	return in->len >= head + len ? head + (size_t)len : 0;
}

static _Thread_local size_t last_frame;

const char *ws_client_recv(struct ws_client *c, size_t *ret_len)
{
	size_t head, n;

	buf_consume(&c->in, last_frame);
	last_frame = 0;
	while ((n = whole_frame(&c->in, &head)) == 0)
		fill(c);
	if ((buf_data(&c->in)[0] & 0x0f) == 8)
		errx(1, "the server closed the session: %.*s", (int)(n - head - 2),
			(const char *)buf_data(&c->in) + head + 2);
	last_frame = n;
	*ret_len = n - head;
	return (const char *)buf_data(&c->in) + head;
}

const char *ws_client_answer(struct ws_client *c, int id, size_t *ret_len)
{
	char want[32];

	snprintf(want, sizeof(want), "\"id\":%d,", id);
	for (;;) {
		const char *text = ws_client_recv(c, ret_len);

		if (memmem(text, *ret_len < 64 ? *ret_len : 64, want, strlen(want)) != NULL)
			return text;
	}
}
