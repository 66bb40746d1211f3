/* spawn, processWait, processKill, and when a process's output may flow (see session_priv.h). */
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/pack.h"
#include "server/session_priv.h"

#define HOLD_NS (2 * CLOCK_SEC)
/* How long an exit status waits for the last output, so that a reader sees data, ends, status. A
 * grandchild may keep the pipe for ever: then the status goes first. */
#define GRACE_NS (20 * CLOCK_MS)

/* --- processes of this connection -------------------------------------------------------- */

static void proc_free(struct proc *proc)
{
	loop_timer_cancel(&proc->hold);
	if (proc->in_table)
		table_remove(&proc->s->procs, &proc->by_pid);
	while (!list_empty(&proc->graced))
		list_del(proc->graced.next);
	for (int i = 0; i < 2; i++) {
		if (proc->out[i] != NULL)
			proc->out[i]->proc = NULL;
	}
	if (proc->input != NULL)
		proc->input->proc = NULL;
	free(proc);
}

static struct proc *proc_find(struct session *s, int64_t pid)
{
	struct table_entry *e = table_find_u64(&s->procs, (uint64_t)pid);

	return e != NULL ? container_of(e, struct proc, by_pid) : NULL;
}

static void wait_answer(struct call *call);

static void proc_check_done(struct proc *proc)
{
	if (proc->out[0] != NULL || proc->out[1] != NULL)
		return;
	while (!list_empty(&proc->graced)) {
		struct call *call = list_first(&proc->graced, struct call, graced);

		list_del(&call->graced);
		wait_answer(call);
	}
	if (proc->input == NULL)
		proc_free(proc);
}

void proc_output_over(struct proc *proc, struct output *out)
{
	for (int i = 0; i < 2; i++) {
		if (proc->out[i] == out)
			proc->out[i] = NULL;
	}
	proc_check_done(proc);
}

void proc_input_over(struct proc *proc, struct input *in)
{
	if (proc->input == in)
		proc->input = NULL;
	in->proc = NULL;
	proc_check_done(proc);
}

static void proc_release(struct proc *proc)
{
	struct output *out[2] = {proc->out[0], proc->out[1]};

	if (proc->released)
		return;
	proc->released = true;
	loop_timer_cancel(&proc->hold);
	/* The last of them to end may free proc. */
	for (int i = 0; i < 2; i++) {
		if (out[i] != NULL)
			output_flow(out[i]);
	}
}

static void on_hold_limit(struct loop_timer *timer)
{
	struct proc *proc = container_of(timer, struct proc, hold);

	/* Python sends processWait only when all of its input is out. */
	if (proc->input != NULL && !proc->input->ended)
		loop_timer_set(proc->s->loop, &proc->hold, HOLD_NS, on_hold_limit);
	else
		proc_release(proc);
}

void procs_free(struct session *s)
{
	struct table_entry *e;

	while ((e = table_any(&s->procs)) != NULL)
		proc_free(container_of(e, struct proc, by_pid));
}

/* --- spawn ------------------------------------------------------------------------------- */

static void spawn_done(struct call *call)
{
	/* Only when the answer never came: the agent may have started the process meanwhile, and
	 * then drains its output to nowhere. */
	for (int i = 0; i < 2; i++) {
		if (call->out[i] != NULL)
			output_abandon(take_ptr(call->out[i]));
	}
	if (call->input != NULL) {
		struct input *in = take_ptr(call->input);

		in->call = NULL;
		channel_send_end(&in->cs);
		input_release(in);
	}
}

static void spawn_answer(struct call *call, int64_t pid)
{
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)rpc_put_ok_begin(&b, call->id);
	(void)buf_printf(&b, "{\"pid\":%lld", (long long)pid);
	for (int i = 0; i < 2; i++) {
		const char *name = i == 0 ? "stdoutStreamId" : "stderrStreamId";

		if (call->out[i] != NULL)
			(void)buf_printf(&b, ",\"%s\":%lld", name, (long long)call->out[i]->id);
		else
			(void)buf_printf(&b, ",\"%s\":null", name);
	}
	(void)buf_append_str(&b, "}");
	(void)rpc_put_ok_end(&b);
	call_answer_ok(call, &b);
}

static void spawn_failed(struct call *call, const uint8_t *data, size_t len)
{
	call_answer_packed_failure(call, data, len);
	for (int i = 0; i < 2; i++) {
		if (call->out[i] != NULL)
			output_forget(take_ptr(call->out[i]));
	}
	if (call->input != NULL)
		input_release(take_ptr(call->input));
	call_free(call);
}

static void finish_spawn(struct call *call, bool failed, const uint8_t *data, size_t len)
{
	struct session *s = call->s;
	struct rpc_spawned result;
	struct proc *proc, *old;

	if (failed) {
		spawn_failed(call, data, len);
		return;
	}
	if (rpc_unpack(data, len, &rpc_spawned_schema, &result) < 0) {
		call_answer_error(call, RPC_ERR_ISOLATE, "Isolate internal error");
		call_free(call);
		return;
	}
	spawn_answer(call, result.pid);
	old = proc_find(s, result.pid);
	if (old != NULL) { /* the pid is used again; old output still flows, under its own ids */
		table_remove(&s->procs, &old->by_pid);
		old->in_table = false;
		proc_release(old);
	}
	proc = mem_new(struct proc);
	proc->s = s;
	proc->pid = result.pid;
	proc->started_at = loop_now(s->loop);
	list_init(&proc->graced);
	proc->in_table = table_insert_u64(&s->procs, &proc->by_pid, (uint64_t)result.pid) == 0;
	for (int i = 0; i < 2; i++) {
		proc->out[i] = take_ptr(call->out[i]);
		if (proc->out[i] != NULL)
			proc->out[i]->proc = proc;
	}
	if (call->input != NULL) {
		proc->input = take_ptr(call->input);
		proc->input->call = NULL;
		proc->input->proc = proc;
	}
	call_free(call);
	if (proc->out[0] == NULL && proc->out[1] == NULL && proc->input == NULL) {
		proc_free(proc);
		return;
	}
	loop_timer_set(s->loop, &proc->hold, HOLD_NS, on_hold_limit);
	if (proc->input != NULL)
		input_pump(proc->input);
}

static bool open_output(struct call *call, int index, int64_t mode, int64_t *ret_channel)
{
	if (mode == RPC_STDIO_NULL)
		return true;
	call->out[index] = output_new(call->s);
	if (call->out[index] == NULL)
		return false;
	*ret_channel = call->out[index]->cs.id;
	return true;
}

void handle_spawn(struct call *call, void *params)
{
	struct rpc_spawn *p = params;
	struct session *s = call->s;

	call->done = spawn_done;
	if (p->stdin_stream_id >= 0) {
		struct input *in = input_find_unbound(s, p->stdin_stream_id);
		uint32_t id = channel_next_stream(sandbox_channel(s->client.sb));

		if (in == NULL || input_bind(in, id) < 0) {
			call_answer_issue(call, "stdinStreamId", "open stream", "custom",
				"no stream with this id has been started, or it is in use");
			call_free(call);
			return;
		}
		call->input = in;
		in->call = call;
		p->stdin_channel = id;
	}
	if (!open_output(call, 0, p->stdout_mode, &p->stdout_channel) ||
		!open_output(call, 1, p->stderr_mode, &p->stderr_channel)) {
		call_answer_error(call, -32000, "Too many open streams");
		call_free(call);
		return;
	}
	(void)call_send(call, p, finish_spawn);
}

/* --- processWait ------------------------------------------------------------------------------ */

static void wait_answer(struct call *call)
{
	call_answer_value(call, &rpc_process_status_schema, &call->status, false);
	call_free(call);
}

static void on_grace_limit(struct loop_timer *timer)
{
	wait_answer(container_of(timer, struct call, grace));
}

/* The status is known: answer behind the output, if that is about to end. */
static void wait_settle(struct call *call)
{
	struct proc *proc = proc_find(call->s, call->pid);

	if (proc == NULL || (proc->out[0] == NULL && proc->out[1] == NULL)) {
		wait_answer(call);
		return;
	}
	list_push_back(&proc->graced, &call->graced);
	loop_timer_set(call->s->loop, &call->grace, GRACE_NS, on_grace_limit);
}

static void on_oom_verdict(struct sandbox_oom_query *q, const char *verdict)
{
	struct call *call = container_of(q, struct call, oom);

	call->status.oom = mem_strdup(verdict);
	wait_settle(call);
}

static void finish_wait(struct call *call, bool failed, const uint8_t *data, size_t len)
{
	struct rpc_process_status *st = &call->status;
	bool by_signal;

	if (failed) {
		call_answer_packed_failure(call, data, len);
		call_free(call);
		return;
	}
	if (rpc_unpack(data, len, &rpc_process_status_schema, st) < 0) {
		call_answer_error(call, RPC_ERR_ISOLATE, "Isolate internal error");
		call_free(call);
		return;
	}
	by_signal = st->signal != NULL && strcmp(st->signal, "SIGKILL") == 0;
	if (by_signal || st->code == 128 + SIGKILL) {
		sandbox_query_oom(
			call->s->client.sb, &call->oom, call->pid, by_signal, on_oom_verdict);
		return;
	}
	sandbox_note_exit(call->s->client.sb);
	wait_settle(call);
}

void handle_process_wait(struct call *call, void *params)
{
	const struct rpc_pid *p = params;
	struct session *s = call->s;
	struct proc *proc = proc_find(s, p->pid);

	call->pid = p->pid;
	call->oom.started_at = proc != NULL ? proc->started_at : 0;
	(void)call_send(call, params, finish_wait);
	if (proc != NULL)
		proc_release(proc);
}

/* --- processKill ------------------------------------------------------------------------------ */

static void finish_kill(struct call *call, bool failed, const uint8_t *data, size_t len)
{
	if (failed)
		call_answer_packed_failure(call, data, len);
	else
		call_answer_null(call);
	call_free(call);
}

void handle_process_kill(struct call *call, void *params)
{
	const struct rpc_process_kill *p = params;

	if (p->signal != NULL && strcmp(p->signal, "SIGKILL") == 0)
		sandbox_note_killed(call->s->client.sb, p->pid);
	(void)call_send(call, params, finish_kill);
}
