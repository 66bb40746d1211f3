#include "guest/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "guest/calls.h"
#include "guest/signal_names.h"
#include "guest/stdio.h"

/* Children reaped per turn: a storm of orphans must not keep requests waiting. */
#define REAP_TURN 256

struct waiter {
	struct request req;
	struct list node;
};

static struct process *find(const struct agent *agent, int64_t pid)
{
	struct table_entry *e = pid > 0 ? table_find_u64(&agent->processes, (uint64_t)pid) : NULL;

	return e ? container_of(e, struct process, entry) : NULL;
}

static void forget(struct agent *agent, struct process *p)
{
	if (!p->running) {
		list_del(&p->node);
		agent->result_count--;
	}
	table_remove(&agent->processes, &p->entry);
	free(p);
}

struct process *process_new(struct agent *agent, pid_t pid)
{
	struct process *p = find(agent, pid);

	if (p)
		forget(agent, p);
	p = mem_new(struct process);
	list_init(&p->node);
	list_init(&p->waiters);
	p->pid = pid;
	p->running = true;
	table_insert_u64(&agent->processes, &p->entry, (uint64_t)pid);
	return p;
}

unsigned process_running_count(const struct agent *agent)
{
	return (unsigned)(agent->processes.count - agent->result_count);
}

/* --- the end of processes --------------------------------------------------------------------- */

static void reply_status(struct agent *agent, uint32_t id, int status)
{
	struct rpc_process_status result = {0};
	auto_free char *name = NULL;

	if (WIFSIGNALED(status)) {
		int number = WTERMSIG(status);
		const char *known = signal_name(number);

		name = known ? mem_strdup(known) : mem_printf("SIG%d", number);
		result.signal = name;
		result.code = 128 + number;
	} else {
		result.code = WEXITSTATUS(status);
		result.success = result.code == 0;
	}
	agent_reply(agent, id, &rpc_process_status_schema, &result);
}

static void ended(struct agent *agent, struct process *p, int status)
{
	struct waiter *w;

	p->running = false;
	p->status = status;
	list_push_back(&agent->results, &p->node);
	agent->result_count++;
	/* What the process wrote last goes out before the news of its end, as far as it can. */
	stdio_flush(p);
	while ((w = list_first(&p->waiters, struct waiter, node))) {
		uint32_t id = w->req.id;

		list_del(&w->node);
		request_close(&w->req);
		free(w);
		reply_status(agent, id, status);
	}
	while (agent->result_count > agent->config.results_max)
		forget(agent, list_first(&agent->results, struct process, node));
}

static void reap_again(struct loop_timer *timer);

static void reap(struct agent *agent)
{
	for (int i = 0; i < REAP_TURN; i++) {
		struct process *p;
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return;
		p = find(agent, pid);
		if (p && p->running)
			ended(agent, p, status);
	}
	loop_timer_set(agent->loop, &agent->reap_again, 0, reap_again);
}

static void reap_again(struct loop_timer *timer)
{
	reap(container_of(timer, struct agent, reap_again));
}

static void on_child(struct loop *loop, int signo, void *data)
{
	(void)loop;
	(void)signo;
	reap(data);
}

int process_watch(struct agent *agent)
{
	return loop_signal(agent->loop, SIGCHLD, on_child, agent);
}

void process_kill_all(struct agent *agent)
{
	struct table_entry *e = NULL;

	if (agent->config.init) {
		kill(-1, SIGKILL);
		return;
	}
	while ((e = table_next(&agent->processes, e))) {
		const struct process *p = container_of(e, struct process, entry);

		if (p->running)
			kill(p->pid, SIGKILL);
	}
}

void process_free_all(struct agent *agent)
{
	struct table_entry *e;

	while ((e = table_any(&agent->processes)))
		forget(agent, container_of(e, struct process, entry));
}

/* --- processWait ------------------------------------------------------------------------------ */

static void fail_unknown(struct agent *agent, uint32_t id, int64_t pid)
{
	/* Not TypeError with ENOENT: that pair means "has already ended" to clients. */
	agent_fail_as(agent, id, "NotFound", -ENOENT, "no such process: %lld", (long long)pid);
}

static uint32_t waiter_free(struct request *req)
{
	struct waiter *w = container_of(req, struct waiter, req);
	uint32_t id = req->id;

	list_del(&w->node);
	request_close(req);
	free(w);
	return id;
}

static void waiter_drop(struct request *req)
{
	waiter_free(req);
}

static void waiter_cancel(struct request *req)
{
	struct agent *agent = req->agent;

	agent_fail(agent, waiter_free(req), -ECANCELED, "processwait");
}

static const struct request_ops waiter_ops = {
	.cancel = waiter_cancel,
	.drop = waiter_drop,
};

void call_process_wait(struct agent *agent, uint32_t id, struct rpc_pid *params)
{
	struct process *p = find(agent, params->pid);
	struct waiter *w;
	int r;

	if (!p) {
		fail_unknown(agent, id, params->pid);
		return;
	}
	if (!p->running) {
		reply_status(agent, id, p->status);
		return;
	}
	w = mem_new(struct waiter);
	r = request_open(agent, &w->req, id, &waiter_ops);
	if (r < 0) {
		free(w);
		agent_fail(agent, id, r, "processwait");
		return;
	}
	list_push_back(&p->waiters, &w->node);
}

/* --- processKill ------------------------------------------------------------------------------ */

void call_process_kill(struct agent *agent, uint32_t id, struct rpc_process_kill *params)
{
	int signo = params->signal ? signal_number(params->signal) : SIGTERM;
	struct process *p;

	if (signo < 0) {
		agent_fail_as(agent, id, "TypeError", signo, "unknown signal '%s'", params->signal);
		return;
	}
	/* One that has ended but was not reaped yet would still take the signal. */
	reap(agent);
	p = find(agent, params->pid);
	if (!p)
		fail_unknown(agent, id, params->pid);
	else if (!p->running)
		agent_fail_as(
			agent, id, "TypeError", -ENOENT, "Child process has already terminated");
	else if (kill(p->pid, signo) < 0)
		agent_fail(agent, id, -errno, "kill %lld", (long long)params->pid);
	else
		agent_reply_void(agent, id);
}
