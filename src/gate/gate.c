#include "gate/gate.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/flow/flow.h"
#include "gate/flow/refuse.h"

#define TURN_ACCEPTS 32
#define ACCEPT_AGAIN_NS (100 * CLOCK_MS)
/* Longer than a program waits between two connections, as a rule. */
#define REST_NS CLOCK_SEC
/* One that is configured before had its sandbox waiting for it. */
#define AHEAD_NS (20 * CLOCK_MS)

const struct scrub_set *gate_scrub_set(struct gate *g, uint64_t secrets)
{
	size_t i;

	if (secrets == 0)
		return NULL;
	for (i = 0; i < g->scrub_count; i++) {
		if (g->scrub[i].secrets == secrets)
			return g->scrub[i].set;
	}
	/* More combinations than that: every answer is searched for every secret. */
	if (g->scrub_count == GATE_SCRUB_SETS_MAX - 1)
		secrets = UINT64_MAX;
	if (g->scrub_count == GATE_SCRUB_SETS_MAX)
		return g->scrub[GATE_SCRUB_SETS_MAX - 1].set;
	g->scrub[i].secrets = secrets;
	g->scrub[i].set = scrub_set_new(g->vault, secrets);
	g->scrub_count++;
	return g->scrub[i].set;
}

static void on_rest(struct loop_timer *timer)
{
	(void)timer;
	buf_trim();
	/* Freed blocks between others: thousands of sandboxes at rest would pay for them. */
	(void)malloc_trim(0);
}

void gate_rest(struct gate *g)
{
	loop_timer_set(g->loop, &g->rest, REST_NS, on_rest);
}

/* A gate that was made ahead waits: meanwhile it makes an authority and throws it away, so that the
 * pages which that touches are its own by the time a sandbox waits for the real one. */
static void on_ahead(struct loop_timer *timer)
{
	static const char *const hosts[] = {"warm.up"};
	const struct gate *g = container_of(timer, struct gate, rest);

	if (!g->configured)
		authority_free(authority_new("warm-up", hosts, array_len(hosts), NULL));
}

/* --- connections ---------------------------------------------------------------------------- */

static void watch_tcp(struct gate *g, uint32_t events)
{
	for (size_t i = 0; i < array_len(g->tcp_io); i++) {
		if (g->tcp_io[i].loop != NULL)
			(void)loop_io_set(&g->tcp_io[i], events);
	}
}

static void on_accept_again(struct loop_timer *timer)
{
	watch_tcp(container_of(timer, struct gate, accept_again), EPOLLIN);
}

static void take_connection(struct gate *g, int fd)
{
	struct gate_event event = {.kind = GATE_EVENT_DROPPED, .count = 1};

	if (g->configured && g->flow_count < GATE_FLOWS_MAX) {
		flow_new(g, fd);
		return;
	}
	refuse_reset(fd);
	if (g->configured)
		audit_event(&g->audit, &event);
}

static void accept_from(struct gate *g, int listener)
{
	for (int i = 0; i < TURN_ACCEPTS; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			take_connection(g, fd);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			watch_tcp(g, 0);
			loop_timer_set(g->loop, &g->accept_again, ACCEPT_AGAIN_NS, on_accept_again);
			return;
		}
	}
}

static void on_tcp4(struct loop_io *io, uint32_t events)
{
	struct gate *g = container_of(io, struct gate, tcp_io[0]);

	(void)events;
	accept_from(g, io->fd);
}

static void on_tcp6(struct loop_io *io, uint32_t events)
{
	struct gate *g = container_of(io, struct gate, tcp_io[1]);

	(void)events;
	accept_from(g, io->fd);
}

static void on_dns4(struct loop_io *io, uint32_t events)
{
	(void)events;
	dns_on_udp(container_of(io, struct gate, dns_io[0]), io->fd);
}

static void on_dns6(struct loop_io *io, uint32_t events)
{
	(void)events;
	dns_on_udp(container_of(io, struct gate, dns_io[1]), io->fd);
}

static void on_control(struct loop_io *io, uint32_t events)
{
	struct gate *g = container_of(io, struct gate, control_io);
	int r = control_read(g);

	(void)events;
	if (r < 0)
		loop_stop(g->loop, r == -ENOTCONN ? 0 : 1);
}

/* --- life ----------------------------------------------------------------------------------- */

static int watch_all(struct gate *g)
{
	const struct gate_setup *s = &g->setup;
	int r = loop_io_add(g->loop, &g->control_io, s->control, EPOLLIN, on_control);

	if (r == 0)
		r = loop_io_add(g->loop, &g->tcp_io[0], s->tcp[0], EPOLLIN, on_tcp4);
	if (r == 0)
		r = loop_io_add(g->loop, &g->tcp_io[1], s->tcp[1], EPOLLIN, on_tcp6);
	if (r == 0)
		r = loop_io_add(g->loop, &g->dns_io[0], s->dns[0], EPOLLIN, on_dns4);
	if (r == 0)
		r = loop_io_add(g->loop, &g->dns_io[1], s->dns[1], EPOLLIN, on_dns6);
	return r;
}

static void gate_free(struct gate *g)
{
	flows_free(g);
	audit_done(&g->audit);
	for (size_t i = 0; i < g->scrub_count; i++)
		scrub_set_free(g->scrub[i].set);
	resolve_free(g->resolve);
	names_free(g->names);
	authority_free(g->authority);
	vault_free(g->vault);
	proxies_done(&g->proxies);
	rules_done(&g->rules);
	free(g->opened);
	sessions_free(g->sessions);
	loop_timer_cancel(&g->accept_again);
	loop_timer_cancel(&g->rest);
	loop_io_del(&g->control_io);
	for (size_t i = 0; i < array_len(g->tcp_io); i++) {
		loop_io_del(&g->tcp_io[i]);
		loop_io_del(&g->dns_io[i]);
		fd_close(g->setup.tcp[i]);
		fd_close(g->setup.dns[i]);
	}
	loop_free(g->loop);
	fd_close(g->setup.control);
	free(g);
}

int gate_run(const struct gate_setup *setup)
{
	struct gate *g = mem_new(struct gate);
	int code = 1;

	g->setup = *setup;
	list_init(&g->flows);
	g->loop = loop_new();
	if (g->loop == NULL) {
		log_error("cannot make an event loop: %s", strerror(errno));
		free(g);
		return 1;
	}
	g->vault = vault_new();
	g->names = names_new();
	g->resolve = resolve_new(g->loop, setup->resolver);
	g->sessions = sessions_new();
	flow_keep_sessions(setup->client_ctx);
	audit_init(&g->audit, g->loop, setup->control);
	int r = watch_all(g);
	if (r < 0) {
		log_error("cannot watch the sockets: %s", strerror(-r));
	} else {
		loop_timer_set(g->loop, &g->rest, AHEAD_NS, on_ahead);
		code = loop_run(g->loop);
	}
	gate_free(g);
	return code;
}
