#include "keeper/gates.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/keeper.h"
#include "keeper/program.h"
#include "keeper/run.h"
#include "keeper/slot_gate.h"

#define ARGS_MAX 16

/* --- command lines ---------------------------------------------------------------------------- */

static const char *const no_env[] = {NULL};

struct args {
	const char *argv[ARGS_MAX];
	size_t count;
};

static void add(struct args *a, const char *option, const char *value)
{
	if (value == NULL)
		return;
	a->argv[a->count++] = option;
	a->argv[a->count++] = value;
}

/* Ids below those of machines: one for each slot's gate, and below them the resolver's. */
static uint32_t first_uid(const struct keeper *k)
{
	return k->uid_base - KEEPER_SLOTS_MAX;
}

static pid_t start_resolver(struct helper *h)
{
	struct gates *g = container_of(h, struct gates, resolver);
	struct args args = {.argv = {"warren-resolver"}, .count = 1};
	char fd[16], uid[16];

	snprintf(fd, sizeof(fd), "%d", PROGRAM_FD);
	snprintf(uid, sizeof(uid), "%u", first_uid(g->keeper) - 1);
	add(&args, "--socket-fd", fd);
	add(&args, "--uid", uid);
	add(&args, "--log-level", g->params.log_level);
	return program_start(RUN_RESOLVER, args.argv, no_env, &g->of_resolver, 1);
}

static pid_t execute_mother(const struct gates *g, int sock)
{
	const int fds[] = {sock, g->to_resolver};
	struct args args = {.argv = {"warren-gate"}, .count = 1};
	char sock_text[16], resolver_text[16];

	snprintf(sock_text, sizeof(sock_text), "%d", PROGRAM_FD);
	snprintf(resolver_text, sizeof(resolver_text), "%d", PROGRAM_FD + 1);
	add(&args, "--socket-fd", sock_text);
	add(&args, "--resolver-fd", resolver_text);
	add(&args, "--extra-ca", g->params.extra_ca);
	add(&args, "--log-level", g->params.log_level);
	return program_start(RUN_GATE, args.argv, no_env, fds, array_len(fds));
}

/* --- the mother ------------------------------------------------------------------------------- */

static void drop_socket(struct gates *g)
{
	g->ready = false;
	loop_io_del(&g->io);
	g->sock = fd_close(g->sock);
}

static void on_ready(struct gates *g)
{
	g->ready = true;
	while (g->ready && !list_empty(&g->waiting)) {
		struct slot_gate *gate = list_first(&g->waiting, struct slot_gate, node);

		list_del(&gate->node);
		slot_gate_on_mother(gate);
	}
}

static void on_reply(struct gates *g, const struct mother_reply *reply, int fd)
{
	struct slot *s = g->keeper->pool.slots[reply->cookie % KEEPER_SLOTS_MAX];
	auto_close int pidfd = fd;
	int err = reply->err > 0 || (reply->err == 0 && pidfd < 0) ? -EPROTO : reply->err;

	if (s != NULL && s->gate.sent == reply->cookie)
		slot_gate_on_reply(&s->gate, err, reply->pid, take_fd(pidfd));
}

static void on_io(struct loop_io *io, uint32_t events)
{
	struct gates *g = container_of(io, struct gates, io);
	struct mother_reply reply;

	(void)events;
	while (g->sock >= 0) {
		int fd = -EBADF;
		size_t nfds = 1;
		ssize_t n = fd_recv_msg(g->sock, &reply, sizeof(reply), &fd, &nfds);

		if (n == -EAGAIN)
			return;
		if (n != (ssize_t)sizeof(reply)) {
			/* Its end, in one way or the other. */
			fd_close(fd);
			drop_socket(g);
			helper_kill(&g->mother);
		} else if (reply.cookie == 0) {
			fd_close(fd);
			on_ready(g);
		} else {
			on_reply(g, &reply, fd);
		}
	}
}

static pid_t start_mother(struct helper *h)
{
	struct gates *g = container_of(h, struct gates, mother);
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return -errno;
	auto_close int ours = socks[0];
	auto_close int theirs = socks[1];
	int r = fd_set_nonblock(ours, true);
	if (r == 0)
		r = loop_io_add(g->keeper->loop, &g->io, ours, EPOLLIN, on_io);
	if (r < 0)
		return r;
	pid_t pid = execute_mother(g, theirs);
	if (pid < 0) {
		loop_io_del(&g->io);
		return pid;
	}
	g->sock = take_fd(ours);
	return pid;
}

/* Whatever she was still to answer will not be: the gates she had, she has taken along. */
static void on_mother_end(struct helper *h)
{
	struct gates *g = container_of(h, struct gates, mother);
	struct pool *pool = &g->keeper->pool;

	drop_socket(g);
	for (unsigned i = 0; i < KEEPER_SLOTS_MAX; i++) {
		if (pool->slots[i] != NULL && pool->slots[i]->gate.sent != 0)
			slot_gate_on_reply(&pool->slots[i]->gate, -EAGAIN, 0, -EBADF);
	}
}

static const struct helper_ops mother_ops = {"warren-gate", start_mother, on_mother_end};
static const struct helper_ops resolver_ops = {"warren-resolver", start_resolver, NULL};

/* --- both ------------------------------------------------------------------------------------- */

int gates_start(
	struct gates *g, struct keeper *k, const struct gates_params *params, const char **ret_what)
{
	int ends[2];

	*g = (struct gates){.keeper = k, .params = *params, .sock = -EBADF};
	g->to_resolver = g->of_resolver = -EBADF;
	list_init(&g->waiting);
	*ret_what = "make the resolver's sockets";
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	g->to_resolver = ends[0];
	g->of_resolver = ends[1];
	*ret_what = "execute warren-resolver";
	int r = helper_start(&g->resolver, k->loop, &resolver_ops);
	if (r < 0)
		return r;
	*ret_what = "execute warren-gate";
	return helper_start(&g->mother, k->loop, &mother_ops);
}

void gates_stop(struct gates *g)
{
	if (g->keeper == NULL)
		return;
	drop_socket(g);
	helper_stop(&g->mother);
	helper_stop(&g->resolver);
	g->to_resolver = fd_close(g->to_resolver);
	g->of_resolver = fd_close(g->of_resolver);
	g->keeper = NULL;
}

uint64_t gates_ask(struct gates *g, uint32_t slot, const int fds[MOTHER_FD_COUNT], int *ret_err)
{
	struct mother_request req = {
		.cookie = ++g->serial * KEEPER_SLOTS_MAX + slot,
		.uid = first_uid(g->keeper) + slot,
	};
	int r = g->ready ? fd_send_msg(g->sock, &req, sizeof(req), fds, MOTHER_FD_COUNT) : -EAGAIN;

	if (r == 0)
		return req.cookie;
	*ret_err = r == -EPIPE || r == -ECONNRESET ? -EAGAIN : r;
	return 0;
}
