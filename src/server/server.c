#include "server/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/http.h"

#define ACCEPTS_PER_TURN 64
#define RETRY_NS (100 * CLOCK_MS)

/* A peer that vanished without a word (a pulled cable, a sleeping laptop) must not keep a session
 * sandbox alive: after a minute and a half of silence the kernel gives the connection up. */
#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_PROBES 4
#define UNACKNOWLEDGED_MS 90000

static void tune(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS},
	};

	for (size_t i = 0; i < array_len(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			sizeof(options[i].value));
}

static void on_acceptable(struct loop_io *io, uint32_t events);

static void accept_again(struct loop_timer *timer)
{
	struct server *server = container_of(timer, struct server, accept_timer);

	(void)loop_io_add(
		server->params.loop, &server->accept_io, server->listen_fd, EPOLLIN, on_acceptable);
}

static void on_acceptable(struct loop_io *io, uint32_t events)
{
	struct server *server = container_of(io, struct server, accept_io);

	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
				errno == ENOMEM) {
				log_error("cannot accept a connection: %s", strerror(errno));
				loop_io_del(io);
				loop_timer_set(server->params.loop, &server->accept_timer, RETRY_NS,
					accept_again);
			}
			return;
		}
		if (server->conn_count >= (unsigned)server->params.config->max_connections) {
			static const char busy[] =
				"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n"
				"content-type: application/json\r\ncontent-length: 67\r\n\r\n"
				"{\"code\":\"TOO_MANY_CONNECTIONS\",\"message\":\"too many "
				"connections\"}  ";

			(void)send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
			fd_close(fd);
			continue;
		}
		tune(fd);
		conn_new(server, fd);
	}
}

struct server *server_new(const struct server_params *params, int listen_fd)
{
	struct server *server = mem_new(struct server);
	int r;

	server->params = *params;
	server->listen_fd = listen_fd;
	list_init(&server->conns);
	list_init(&server->kill_waits);
	r = loop_io_add(params->loop, &server->accept_io, listen_fd, EPOLLIN, on_acceptable);
	if (r < 0) {
		log_error("cannot watch the listening socket: %s", strerror(-r));
		abort();
	}
	return server;
}

void server_stop(struct server *server)
{
	struct list *pos, *tmp;

	server->stopping = true;
	loop_timer_cancel(&server->accept_timer);
	loop_io_del(&server->accept_io);
	server->listen_fd = fd_close(server->listen_fd);
	list_for_each_safe (pos, tmp, &server->conns) {
		struct conn *conn = container_of(pos, struct conn, node);

		if (conn->state == HTTP_HEAD || conn->state == HTTP_BODY)
			conn_destroy(conn);
	}
}

void server_free(struct server *server)
{
	if (server == NULL)
		return;
	if (!server->stopping)
		server_stop(server);
	while (!list_empty(&server->conns))
		conn_destroy(list_first(&server->conns, struct conn, node));
	free(server);
}
