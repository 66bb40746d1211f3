/*
 * A keeper of its own for a test, in a state folder of its own, and machines with the stub agent.
 * Asynchronous calls become synchronous ones that run the loop.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "isolation/isolation.h"
#include "keeper/spawn.h"
#include "loop/loop.h"

#define IMAGES "/var/lib/warren/images"
#define WAIT_LIMIT (30 * CLOCK_SEC)

struct host {
	struct loop *loop;
	struct isolation *iso;
	char state[64];
	pid_t keeper;
	bool lost;
	struct loop_timer limit;
	bool timed_out;
	/* for the next start of a keeper; NULL: the usual */
	const char *gate, *host_ca, *extra_ca;
};

struct guest {
	struct host *host;
	struct machine *m;
	int agent;
	bool started, failed, exited, gone, answered;
	struct error err;
	int status;
	uint64_t oom_kills;
	struct machine_usage usage;
	bool usage_valid;
	int gate;
	int gate_err;
};

static inline bool host_possible(void)
{
	return geteuid() == 0 && access(IMAGES "/builtin-debian-13/base.erofs", R_OK) == 0 &&
	       access("/dev/loop-control", R_OK | W_OK) == 0;
}

static inline void host_on_lost(struct isolation *iso, int err, void *data)
{
	struct host *h = data;

	(void)iso;
	(void)err;
	h->lost = true;
	loop_stop(h->loop, 0);
}

static inline void host_on_limit(struct loop_timer *timer)
{
	struct host *h = container_of(timer, struct host, limit);

	h->timed_out = true;
	loop_stop(h->loop, 0);
}

/* Runs the loop until *flag; false when that takes too long. */
static inline bool host_wait(struct host *h, const bool *flag)
{
	h->timed_out = false;
	loop_timer_set(h->loop, &h->limit, WAIT_LIMIT, host_on_limit);
	while (!*flag && !h->timed_out)
		loop_run(h->loop);
	loop_timer_cancel(&h->limit);
	return *flag;
}

/* Starts a keeper on the state folder, which may be an old one. */
static inline int host_start_keeper(struct host *h, struct error *ret_err)
{
	static const struct isolation_ops ops = {.on_lost = host_on_lost};
	int sock;
	auto_close int state = open(h->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct keeper_spawn_params params = {
		.program = KEEPER_PROGRAM,
		.agent = STUB_AGENT,
		.gate = h->gate != NULL ? h->gate : STUB_MOTHER,
		.resolver = STUB_MOTHER,
		.host_ca = h->host_ca,
		.extra_ca = h->extra_ca,
		.image_dir = IMAGES,
		.state_fd = state,
		.uid_base = 0x58000000,
		.log_level = "warn",
	};
	int r = keeper_spawn(&params, &sock, &h->keeper);

	if (r < 0)
		return r;
	h->lost = false;
	return isolation_new(h->loop, ISOLATION_AUTO, sock, &ops, h, &h->iso, ret_err);
}

static inline int host_start_as(struct host *h, const struct host *usual, struct error *ret_err)
{
	*h = *usual;
	h->loop = loop_new();
	snprintf(h->state, sizeof(h->state), "/tmp/warren-test-XXXXXX");
	if (mkdtemp(h->state) == NULL)
		return -errno;
	return host_start_keeper(h, ret_err);
}

static inline int host_start(struct host *h, struct error *ret_err)
{
	return host_start_as(h, &(struct host){0}, ret_err);
}

/* Closes the keeper's socket and waits for its end: its wait status. */
static inline int host_stop_keeper(struct host *h)
{
	int status = -1;

	isolation_free(h->iso);
	h->iso = NULL;
	while (waitpid(h->keeper, &status, 0) < 0 && errno == EINTR)
		;
	h->keeper = 0;
	return status;
}

static inline void host_stop(struct host *h)
{
	static const char *const names[] = {"keeper/disks", "keeper/run", "keeper/lock",
		"keeper/instance", "keeper/loops", "keeper"};
	auto_close int state = open(h->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (h->keeper > 0)
		host_stop_keeper(h);
	for (size_t i = 0; i < array_len(names); i++) {
		if (unlinkat(state, names[i], 0) < 0)
			(void)unlinkat(state, names[i], AT_REMOVEDIR);
	}
	rmdir(h->state);
	loop_free(h->loop);
}

/* --- machines --------------------------------------------------------------------------------- */

static inline void guest_on_started(struct machine *m, int agent_fd, void *data)
{
	struct guest *g = data;

	(void)m;
	g->agent = agent_fd;
	g->started = g->answered = true;
	loop_stop(g->host->loop, 0);
}

static inline void guest_on_failed(struct machine *m, const struct error *err, void *data)
{
	struct guest *g = data;

	(void)m;
	g->m = NULL;
	g->err = *err;
	g->failed = g->answered = true;
	loop_stop(g->host->loop, 0);
}

static inline void guest_on_exited(struct machine *m, int status, uint64_t oom_kills, void *data)
{
	struct guest *g = data;

	(void)m;
	g->status = status;
	g->oom_kills = oom_kills;
	g->exited = true;
	loop_stop(g->host->loop, 0);
}

static const struct machine_ops guest_ops = {
	.on_started = guest_on_started,
	.on_failed = guest_on_failed,
	.on_exited = guest_on_exited,
};

static inline void guest_ask(struct guest *g, struct host *h, unsigned memory_mb, unsigned pids)
{
	struct machine_spec spec = {.memory_mb = memory_mb, .cpu_percent = 200, .pids_max = pids};

	*g = (struct guest){.host = h, .agent = -EBADF, .gate = -EBADF};
	g->m = machine_create(h->iso, &spec, &guest_ops, g);
}

/* Waits for the greeting of the stub agent. */
static inline bool guest_greet(struct guest *g)
{
	char byte = 0;

	return fd_read_all(g->agent, &byte, 1) == 0 && byte == 'H';
}

static inline bool guest_start(struct guest *g, struct host *h, unsigned memory_mb, unsigned pids)
{
	guest_ask(g, h, memory_mb, pids);
	return host_wait(h, &g->answered) && g->started && guest_greet(g);
}

/* Runs a shell command; its output (cut to size) lands in out. The wait status, -1 on failure. */
static inline int guest_run(
	struct guest *g, uint32_t uid, const char *command, char *out, size_t size)
{
	uint32_t head[2] = {uid, (uint32_t)strlen(command)};
	int32_t status;
	uint32_t len;

	if (fd_write_all(g->agent, head, sizeof(head)) < 0 ||
		fd_write_all(g->agent, command, head[1]) < 0 ||
		fd_read_all(g->agent, head, sizeof(head)) < 0)
		return -1;
	memcpy(&status, &head[0], sizeof(status));
	len = head[1];
	auto_free char *text = mem_zalloc(len + 1);
	if (fd_read_all(g->agent, text, len) < 0)
		return -1;
	snprintf(out, size, "%s", text);
	return status;
}

static inline void guest_on_usage(const struct machine_usage *usage, void *data)
{
	struct guest *g = data;

	g->usage_valid = usage != NULL;
	if (usage != NULL)
		g->usage = *usage;
	g->answered = true;
	loop_stop(g->host->loop, 0);
}

static inline bool guest_usage(struct guest *g)
{
	g->answered = false;
	machine_get_usage(g->m, guest_on_usage, g);
	return host_wait(g->host, &g->answered) && g->usage_valid;
}

static inline void guest_on_gate(int fd, const struct error *err, void *data)
{
	struct guest *g = data;

	g->gate = fd;
	g->gate_err = err != NULL ? err->err : 0;
	if (err != NULL)
		g->err = *err;
	g->answered = true;
	loop_stop(g->host->loop, 0);
}

/* 0 and g->gate, or a negative errno. */
static inline int guest_open_gate(struct guest *g)
{
	g->answered = false;
	machine_open_gate(g->m, guest_on_gate, g);
	return host_wait(g->host, &g->answered) ? g->gate_err : -ETIME;
}

static inline void guest_on_gone(void *data)
{
	struct guest *g = data;

	g->gone = true;
	loop_stop(g->host->loop, 0);
}

static inline bool guest_end(struct guest *g)
{
	machine_destroy(take_ptr(g->m), guest_on_gone, g);
	bool gone = host_wait(g->host, &g->gone);
	g->agent = fd_close(g->agent);
	g->gate = fd_close(g->gate);
	return gone;
}
