#include "guest/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "guest/agent.h"
#include "guest/process.h"
#include "guest/sink.h"
#include "guest/source.h"

struct stdio_in {
	struct list node;
	struct sink sink;
};

struct stdio_out {
	struct list node;
	struct source source;
	struct process *process; /* NULL: not started yet, or it has ended */
	int slot;                /* in process->out: 0 stdout, 1 stderr */
};

static void in_free(struct stdio_in *in)
{
	sink_stop(&in->sink);
	channel_stream_close(&in->sink.stream);
	list_del(&in->node);
	free(in);
}

static void out_free(struct stdio_out *out)
{
	if (out->process)
		out->process->out[out->slot] = NULL;
	source_stop(&out->source);
	channel_stream_close(&out->source.stream);
	list_del(&out->node);
	free(out);
}

static void in_done(struct sink *sink, int err, const struct rpc_failure *why)
{
	(void)why;
	agent_reset_stream(&sink->stream, err, "write stdin");
	in_free(container_of(sink, struct stdio_in, sink));
}

static void out_done(struct source *source, int err)
{
	struct stdio_out *out = container_of(source, struct stdio_out, source);

	agent_reset_stream(&source->stream, err, "read %s", out->slot == 0 ? "stdout" : "stderr");
	out_free(out);
}

/* --- before the child ------------------------------------------------------------------------- */

/* Our end must not block; the child's must, as programs expect. */
static int open_pipe(int own, int child, int *ret_own, int *ret_child)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	if (fcntl(fds[own], F_SETFL, O_NONBLOCK) < 0) {
		int r = -errno;

		fd_close(fds[0]);
		fd_close(fds[1]);
		return r;
	}
	*ret_own = fds[own];
	*ret_child = fds[child];
	return 0;
}

static int open_in(struct agent *agent, uint32_t id, struct stdio *stdio)
{
	struct stdio_in *in = mem_new(struct stdio_in);
	int fd = -EBADF;
	int r;

	r = sink_start(&in->sink, agent, id, true, in_done);
	if (r < 0) {
		free(in);
		return r;
	}
	list_push_back(&agent->inputs, &in->node);
	stdio->in = in;
	r = open_pipe(1, 0, &fd, &stdio->child[0]);
	return r < 0 ? r : sink_attach(&in->sink, fd);
}

static int open_out(struct agent *agent, uint32_t id, struct stdio *stdio, int slot)
{
	struct stdio_out *out;
	int fd = -EBADF;
	int r;

	r = open_pipe(0, 1, &fd, &stdio->child[slot + 1]);
	if (r < 0)
		return r;
	out = mem_new(struct stdio_out);
	out->slot = slot;
	r = source_start(&out->source, agent, fd, id, true, out_done);
	if (r < 0) {
		fd_close(fd);
		free(out);
		return r;
	}
	list_push_back(&agent->outputs, &out->node);
	stdio->out[slot] = out;
	return 0;
}

/* The stream of stdout or stderr, 0 when it goes nowhere. */
static uint32_t out_stream(const struct rpc_spawn *params, int slot)
{
	int64_t mode = slot == 0 ? params->stdout_mode : params->stderr_mode;
	int64_t id = slot == 0 ? params->stdout_channel : params->stderr_channel;

	return mode == RPC_STDIO_NULL ? 0 : agent_stream_id(id);
}

int stdio_open(struct agent *agent, const struct rpc_spawn *params, struct stdio *stdio)
{
	int r = 0;

	*stdio = (struct stdio){.child = {agent->null_fd, agent->null_fd, agent->null_fd}};
	if (agent_stream_id(params->stdin_channel))
		r = open_in(agent, agent_stream_id(params->stdin_channel), stdio);
	for (int slot = 0; slot < 2 && r == 0; slot++) {
		if (out_stream(params, slot))
			r = open_out(agent, out_stream(params, slot), stdio, slot);
	}
	return r;
}

static void close_child(struct agent *agent, struct stdio *stdio)
{
	for (int i = 0; i < 3; i++) {
		if (stdio->child[i] != agent->null_fd)
			fd_close(stdio->child[i]);
		stdio->child[i] = agent->null_fd;
	}
}

void stdio_refuse(struct agent *agent, const struct rpc_spawn *params, struct stdio *stdio, int err)
{
	static const char what[] = "spawn";

	close_child(agent, stdio);
	if (stdio->in) {
		agent_reset_stream(&stdio->in->sink.stream, err, what);
		in_free(stdio->in);
	} else {
		agent_refuse_stream(agent, params->stdin_channel, false, err, what);
	}
	for (int slot = 0; slot < 2; slot++) {
		if (stdio->out[slot]) {
			agent_reset_stream(&stdio->out[slot]->source.stream, err, what);
			out_free(stdio->out[slot]);
		} else {
			agent_refuse_stream(agent, out_stream(params, slot), true, err, what);
		}
	}
}

/* --- while it runs and after ------------------------------------------------------------------ */

void stdio_attach(struct agent *agent, struct stdio *stdio, struct process *p)
{
	close_child(agent, stdio);
	for (int slot = 0; slot < 2; slot++) {
		struct stdio_out *out = stdio->out[slot];

		if (!out)
			continue;
		out->process = p;
		p->out[slot] = out;
		source_wait(&out->source);
	}
}

void stdio_flush(struct process *p)
{
	for (int slot = 0; slot < 2; slot++) {
		struct stdio_out *out = p->out[slot];

		if (!out)
			continue;
		p->out[slot] = NULL;
		out->process = NULL;
		source_pump(&out->source);
	}
}

void stdio_free_all(struct agent *agent)
{
	struct stdio_out *out;
	struct stdio_in *in;

	while ((out = list_first(&agent->outputs, struct stdio_out, node)))
		out_free(out);
	while ((in = list_first(&agent->inputs, struct stdio_in, node)))
		in_free(in);
}
