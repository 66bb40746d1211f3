/*
 * A dial looks the name up, tries one address after the other (each for a bounded time while there
 * are more), then asks the proxy for a tunnel when there is one, and hands the socket over.
 */
#include "gate/net/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "policy/refused.h"

#define TUNNEL_HEAD_MAX 16384

struct dial {
	struct dial_params p;
	char *name;
	dial_fn fn;
	void *data;
	struct resolve_query query;
	struct address addresses[RESOLVER_ADDRESSES_MAX];
	size_t count, next;
	struct address peer;
	int fd;
	struct loop_io io;
	struct loop_timer attempt, total;
	struct loop_defer defer;
	const char *reason;
	char detail[256];
	size_t refused;  /* addresses that may not be dialled */
	struct buf head; /* the proxy's answer */
};

static void try_next(struct dial *d);

static void clear(struct dial *d)
{
	resolve_cancel(&d->query);
	loop_io_del(&d->io);
	loop_timer_cancel(&d->attempt);
	loop_timer_cancel(&d->total);
	loop_defer_cancel(&d->defer);
	fd_close(d->fd);
	buf_done(&d->head);
	free(d->name);
	free(d);
}

void dial_cancel(struct dial *d)
{
	if (d != NULL)
		clear(d);
}

/* Whatever is wrong on the way to a proxy is not the fault of the host that was asked for. */
static void blame_proxy(struct dial *d)
{
	char why[sizeof(d->detail)];

	if (strcmp(d->reason, "proxy") == 0)
		return;
	memcpy(why, d->detail, sizeof(why));
	snprintf(d->detail, sizeof(d->detail), "the upstream proxy cannot be reached: %.200s", why);
	d->reason = "proxy";
}

/* Only from the loop. */
static void finish(struct dial *d, int fd)
{
	if (fd < 0 && d->p.proxy != NULL)
		blame_proxy(d);
	d->fn(d, fd, &d->peer, fd < 0 ? d->reason : NULL, fd < 0 ? d->detail : NULL, d->data);
	clear(d);
}

static void fail(struct dial *d, const char *reason, const char *detail)
{
	d->reason = reason;
	snprintf(d->detail, sizeof(d->detail), "%s", detail);
	finish(d, -1);
}

/* --- a tunnel through the proxy ------------------------------------------------------------- */

static int ask_tunnel(struct dial *d)
{
	const char *authorization = d->p.proxy->authorization;
	auto_free char *request = mem_printf("CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n%s%s%s\r\n",
		d->name, d->p.port, d->name, d->p.port,
		authorization != NULL ? "Proxy-Authorization: " : "",
		authorization != NULL ? authorization : "", authorization != NULL ? "\r\n" : "");
	size_t len = strlen(request);
	ssize_t n = send(d->fd, request, len, MSG_NOSIGNAL);

	mem_wipe(request, len);
	return n == (ssize_t)len ? 0 : -EIO;
}

/* Byte by byte up to the end of the head: what follows is the tunnel's. */
static int read_tunnel_head(struct dial *d)
{
	for (;;) {
		char c;
		ssize_t n = recv(d->fd, &c, 1, MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? -EAGAIN : -errno;
		if (n == 0 || buf_append_byte(&d->head, (uint8_t)c) < 0)
			return -ECONNRESET;
		if (c == '\n' && d->head.len >= 4 &&
			memcmp(buf_data(&d->head) + d->head.len - 4, "\r\n\r\n", 4) == 0)
			return 0;
	}
}

static void on_tunnel(struct loop_io *io, uint32_t events)
{
	struct dial *d = container_of(io, struct dial, io);
	int r = read_tunnel_head(d);
	const char *text = (const char *)buf_data(&d->head);

	(void)events;
	if (r == -EAGAIN)
		return;
	loop_io_del(&d->io);
	if (r == 0 && d->head.len >= 12 && memcmp(text, "HTTP/1.", 7) == 0 &&
		memcmp(text + 8, " 2", 2) == 0) {
		finish(d, take_fd(d->fd));
		return;
	}
	fail(d, "proxy",
		r < 0 ? "the upstream proxy gave no answer"
		      : "the upstream proxy refused the connection");
}

/* --- connecting ----------------------------------------------------------------------------- */

static void on_connected(struct dial *d)
{
	static const int one = 1;

	loop_timer_cancel(&d->attempt);
	loop_io_del(&d->io);
	(void)setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (d->p.proxy == NULL || !d->p.tunnel) {
		finish(d, take_fd(d->fd));
		return;
	}
	buf_init(&d->head, TUNNEL_HEAD_MAX);
	if (ask_tunnel(d) < 0 || loop_io_add(d->p.loop, &d->io, d->fd, EPOLLIN, on_tunnel) < 0)
		fail(d, "proxy", "the upstream proxy cannot be asked");
}

static void attempt_failed(struct dial *d, int err)
{
	loop_timer_cancel(&d->attempt);
	loop_io_del(&d->io);
	d->fd = fd_close(d->fd);
	d->reason = err == -ECONNREFUSED ? "refused"
		    : err == -ETIMEDOUT  ? "timeout"
					 : "unreachable";
	snprintf(d->detail, sizeof(d->detail), "%s", strerror(-err));
	try_next(d);
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct dial *d = container_of(io, struct dial, io);
	int err = 0;
	socklen_t len = sizeof(err);

	(void)events;
	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err == EINPROGRESS)
		return;
	if (err != 0)
		attempt_failed(d, -err);
	else
		on_connected(d);
}

static void on_attempt_limit(struct loop_timer *timer)
{
	attempt_failed(container_of(timer, struct dial, attempt), -ETIMEDOUT);
}

static int begin_connect(struct dial *d, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t len = address_to_sockaddr(&d->peer, port, &sa);

	d->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0)
		return -errno;
	if (connect(d->fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
		return -errno;
	return loop_io_add(d->p.loop, &d->io, d->fd, EPOLLOUT, on_io);
}

/* An address of this host: the kernel would talk to it from itself. Asked of a UDP socket, which
 * sends nothing. */
static bool is_own(const struct address *a)
{
	struct sockaddr_storage sa;
	socklen_t len = address_to_sockaddr(a, 9, &sa);
	auto_close int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct address own;
	uint16_t port;

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) < 0)
		return false;
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
		address_from_sockaddr((struct sockaddr *)&sa, &own, &port) < 0)
		return false;
	return address_equal(&own, a);
}

static bool is_opened(const struct dial *d, const struct address *a)
{
	for (size_t i = 0; i < d->p.opened_count; i++) {
		if (address_range_has(&d->p.opened[i], a))
			return true;
	}
	return false;
}

/* Why the address may not be dialled, or NULL. A proxy was named by the operator. */
static const char *closed(const struct dial *d, const struct address *a)
{
	const char *why;

	if (d->p.proxy != NULL)
		return NULL;
	why = refused_address(a, d->p.opened, d->p.opened_count);
	if (why == NULL && !is_opened(d, a) && is_own(a))
		why = "an address of the host itself";
	return why;
}

static void try_next(struct dial *d)
{
	uint16_t port = d->p.proxy != NULL ? d->p.proxy->port : d->p.port;

	while (d->next < d->count) {
		const char *why;
		int r;

		d->peer = d->addresses[d->next++];
		why = closed(d, &d->peer);
		if (why != NULL) {
			d->refused++;
			if (d->reason == NULL)
				snprintf(d->detail, sizeof(d->detail), "the name leads to %s", why);
			continue;
		}
		r = begin_connect(d, port);
		if (r == 0) {
			if (d->next < d->count)
				loop_timer_set(
					d->p.loop, &d->attempt, DIAL_ATTEMPT_NS, on_attempt_limit);
			return;
		}
		d->fd = fd_close(d->fd);
		d->reason = "unreachable";
		snprintf(d->detail, sizeof(d->detail), "%s", strerror(-r));
	}
	if (d->reason == NULL)
		d->reason = "refused-range";
	finish(d, -1);
}

/* --- start ---------------------------------------------------------------------------------- */

static void on_resolved(
	struct resolve_query *q, const struct address *addresses, size_t count, int err)
{
	struct dial *d = container_of(q, struct dial, query);

	if (count == 0) {
		fail(d, err == -ENOENT ? "no-such-name" : "resolver",
			err == -ENOENT  ? "the name does not exist"
			: err == -EBUSY ? "too many names are looked up at once"
					: "the host's resolver has no answer");
		return;
	}
	memcpy(d->addresses, addresses, count * sizeof(*addresses));
	d->count = count;
	try_next(d);
}

static void on_begin(struct loop_defer *defer)
{
	try_next(container_of(defer, struct dial, defer));
}

static void on_total_limit(struct loop_timer *timer)
{
	fail(container_of(timer, struct dial, total), "timeout", "no connection in time");
}

struct dial *dial_start(const struct dial_params *params, dial_fn fn, void *data)
{
	struct dial *d = mem_new(struct dial);
	const struct proxy *proxy = params->proxy;
	const char *name = proxy != NULL ? proxy->host : params->name;

	d->p = *params;
	d->name = mem_strdup(params->name);
	d->p.name = d->name;
	d->fn = fn;
	d->data = data;
	d->fd = -EBADF;
	loop_timer_set(params->loop, &d->total, DIAL_TOTAL_NS, on_total_limit);
	if (name != NULL) {
		resolve_ask(params->resolve, name, &d->query, on_resolved);
		return d;
	}
	d->addresses[0] = proxy != NULL ? proxy->address : params->address;
	d->count = 1;
	loop_defer(params->loop, &d->defer, on_begin);
	return d;
}
