#include "keeper/slot_gate.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "keeper/gates.h"
#include "keeper/keeper.h"
#include "keeper/network.h"
#include "keeper/slot.h"

#define MOTHER_NS (2 * CLOCK_SEC)
#define PREDECESSOR_NS (100 * CLOCK_MS)

static struct slot *slot_of(struct slot_gate *g)
{
	return container_of(g, struct slot, gate);
}

void slot_gate_init(struct slot_gate *g)
{
	*g = (struct slot_gate){.control = -EBADF, .pidfd = -EBADF};
	list_init(&g->node);
}

static void kill_gate(struct slot_gate *g)
{
	if (g->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, g->pidfd, SIGKILL, NULL, 0);
}

static void forget_gate(struct slot_gate *g)
{
	loop_io_del(&g->life);
	g->pidfd = fd_close(g->pidfd);
}

/* Whoever asked is not to be answered from here on. */
static void forget_ask(struct slot_gate *g)
{
	g->ask.set = false;
	list_del(&g->node);
	loop_timer_cancel(&g->patience);
	g->control = fd_close(g->control);
}

void slot_gate_done(struct slot_gate *g)
{
	kill_gate(g);
	forget_gate(g);
	forget_ask(g);
}

bool slot_gate_gone(const struct slot_gate *g)
{
	return g->pidfd < 0 && g->sent == 0;
}

static void answer(struct slot_gate *g, int err, const char *what)
{
	struct slot *s = slot_of(g);
	struct keeper_reply reply = {
		.verb = KEEPER_GATE,
		.slot = s->index,
		.cookie = g->ask.cookie,
		.generation = s->generation,
		.err = err,
	};

	if (!g->ask.set)
		return;
	if (err < 0)
		snprintf(reply.what, sizeof(reply.what), "%s", what);
	else
		reply.gate.pid = g->pid;
	link_send(&s->keeper->link, &reply, err < 0 ? -EBADF : take_fd(g->control));
	forget_ask(g);
}

/* --- asking the mother ------------------------------------------------------------------------ */

/* Everything for the gate is sent away: a copy here would keep alive what a dead gate had, and who
 * connects to that would wait instead of being refused. */
static int send_request(struct slot_gate *g, const char **ret_what)
{
	struct slot *s = slot_of(g);
	int pair[2], fds[MOTHER_FD_COUNT], made[NETWORK_SOCKET_COUNT], err = 0;

	*ret_what = "make the gate's sockets";
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	auto_close int ours = pair[0];
	auto_close int theirs = pair[1];
	int r = network_make_sockets(s->netns, s->keeper->netns, made);
	if (r < 0)
		return r;
	fds[MOTHER_FD_CONTROL] = theirs;
	fds[MOTHER_FD_TCP4] = made[NETWORK_TCP4];
	fds[MOTHER_FD_TCP6] = made[NETWORK_TCP6];
	fds[MOTHER_FD_DNS4] = made[NETWORK_DNS4];
	fds[MOTHER_FD_DNS6] = made[NETWORK_DNS6];
	*ret_what = "start the gate";
	g->sent = gates_ask(&s->keeper->gates, s->index, fds, &err);
	for (unsigned i = 0; i < NETWORK_SOCKET_COUNT; i++)
		fd_close(made[i]);
	if (g->sent != 0)
		g->control = take_fd(ours);
	return err;
}

static void go_on(struct slot_gate *g)
{
	struct gates *gates = &slot_of(g)->keeper->gates;
	const char *what = "";

	if (!g->ask.set || g->pidfd >= 0)
		return;
	if (!gates_ready(gates)) {
		list_del(&g->node);
		list_push_back(&gates->waiting, &g->node);
		return;
	}
	int r = send_request(g, &what);
	if (r < 0)
		answer(g, r, what);
}

void slot_gate_on_mother(struct slot_gate *g)
{
	go_on(g);
}

static void on_impatience(struct loop_timer *timer)
{
	struct slot_gate *g = container_of(timer, struct slot_gate, patience);

	answer(g, g->pidfd >= 0 ? -EBUSY : -EAGAIN, "start the gate");
}

int slot_gate_ask(struct slot_gate *g, uint64_t cookie)
{
	struct slot *s = slot_of(g);

	if (s->state != SLOT_RUNNING)
		return -ESTALE;
	if (g->ask.set)
		return -EBUSY;
	if (g->sent != 0) /* a mother that has not answered the last time */
		return -EAGAIN;
	g->ask.set = true;
	g->ask.cookie = cookie;
	loop_timer_set(s->keeper->loop, &g->patience, g->pidfd >= 0 ? PREDECESSOR_NS : MOTHER_NS,
		on_impatience);
	go_on(g);
	return 0;
}

/* --- life and end ----------------------------------------------------------------------------- */

static void tell_when_gone(struct slot_gate *g)
{
	if (slot_gate_gone(g))
		slot_on_gate_gone(slot_of(g));
}

static void on_death(struct loop_io *io, uint32_t events)
{
	struct slot_gate *g = container_of(io, struct slot_gate, life);

	(void)events;
	forget_gate(g);
	if (g->ask.set) {
		loop_timer_set(slot_of(g)->keeper->loop, &g->patience, MOTHER_NS, on_impatience);
		go_on(g);
	}
	tell_when_gone(g);
}

void slot_gate_on_reply(struct slot_gate *g, int err, int32_t pid, int pidfd)
{
	g->sent = 0;
	g->pid = pid;
	g->pidfd = pidfd;
	if (err == 0)
		err = loop_io_add(slot_of(g)->keeper->loop, &g->life, pidfd, EPOLLIN, on_death);
	if (err < 0 || !g->ask.set)
		kill_gate(g);
	if (err < 0)
		forget_gate(g);
	answer(g, err, "start the gate");
	tell_when_gone(g);
}

void slot_gate_end(struct slot_gate *g)
{
	answer(g, -ESTALE, "start the gate");
	kill_gate(g);
}
