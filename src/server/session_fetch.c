/*
 * fetch: curl, run inside the sandbox as any program of the user's would be, so that it reaches
 * what the sandbox reaches and nothing else. What it prints is the sandbox's and believed as little
 * as other output of it.
 *
 *   HOLDING   a body is coming and may be complete in a moment (then its length can be sent)
 *   STARTING  the request to start curl is on its way
 *   HEAD      heads of answers are read from its output
 *   BODY      the client has its answer; output goes to the client as it comes
 *   REFUSED   the gate has answered itself: the body, which says why, is awaited
 *   DRAINING  the client has its answer and no stream
 *
 * The call stays open until curl has ended, since abort counts until then. It ends when curl has
 * ended and its output too, or at once when nobody wants it any more; curl is killed then.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/pack.h"
#include "server/fetch_command.h"
#include "server/session_priv.h"

#define HOLD_NS (20 * CLOCK_MS)
/* curl keeps a body whose length it sends in memory. */
#define WHOLE_MAX (8 * 1024 * 1024)
#define HEAD_MAX (128 * 1024)
#define SAID_MAX 8192
#define REFUSAL_MAX 4096

enum fetch_state {
	FETCH_HOLDING,
	FETCH_STARTING,
	FETCH_HEAD,
	FETCH_BODY,
	FETCH_REFUSED,
	FETCH_DRAINING
};

struct fetch {
	struct call *call;
	enum fetch_state state;
	struct rpc_fetch params;
	struct output *out; /* curl's output, then the client's stream; NULL: over */
	int64_t pid;        /* 0: not known */
	bool unwanted;      /* ends when the answer to its start is here */
	bool exited;
	int64_t code; /* of the exit */
	struct loop_timer hold;
};

/* --- giving up -------------------------------------------------------------------------------- */

/* Nobody waits for the answer. */
static void kill_curl(struct fetch *f)
{
	struct rpc_process_kill params = {.pid = f->pid, .signal = (char *)"SIGKILL"};
	struct sandbox *sb = f->call->s->client.sb;
	struct sandbox_call kill = {0};

	if (f->pid == 0 || f->exited || sb == NULL)
		return;
	if (sandbox_call(sb, &kill, rpc_method_by_id(RPC_PROCESS_KILL), &params, NULL) == 0)
		sandbox_call_drop(&kill);
}

static void drop_output(struct fetch *f)
{
	struct output *out = take_ptr(f->out);

	if (out == NULL)
		return;
	out->ops = NULL;
	output_abandon(out);
}

static void drop_input(struct call *call)
{
	struct input *in = take_ptr(call->input);

	if (in == NULL)
		return;
	in->call = NULL;
	in->on_end = NULL;
	channel_reset(&in->cs, NULL, 0);
	input_release(in);
}

static void fetch_done(struct call *call)
{
	struct fetch *f = take_ptr(call->fetch);

	loop_timer_cancel(&f->hold);
	kill_curl(f);
	drop_output(f);
	drop_input(call);
	channel_reset(&call->content, NULL, 0);
	buf_done(&call->collected);
	rpc_clear(&rpc_fetch_schema, &f->params);
	free(f);
}

/* The client has been told, or need not be. */
static void give_up(struct fetch *f)
{
	struct call *call = f->call;

	if (f->state != FETCH_STARTING) {
		call_free(call);
		return;
	}
	f->unwanted = true; /* its pid is needed to end it */
	drop_output(f);
	drop_input(call);
}

/* Tells the client, by the answer or by its stream. */
static void fail_with(struct fetch *f, const struct rpc_failure *failure)
{
	call_answer_failure(f->call, failure);
	if (f->state == FETCH_BODY && f->out != NULL) {
		f->out->ops = NULL;
		output_finish(take_ptr(f->out), failure);
	}
	give_up(f);
}

static void fail(struct fetch *f, const char *text)
{
	fail_with(f, &(struct rpc_failure){
			     .context = (char *)(uintptr_t)text,
			     .constructor = (char *)"TypeError",
		     });
}

static void fail_request(struct fetch *f, const char *why)
{
	auto_free char *text = fetch_failure(f->params.url, why, strlen(why), 0);

	fail(f, text);
}

static void on_abort(struct call *call)
{
	/* The call has its answer; what is under way towards the client has not. */
	fail_with(call->fetch, &(struct rpc_failure){
				       .context = (char *)"The signal has been aborted",
				       .constructor = (char *)"DOMException",
			       });
}

static void fail_refused(struct fetch *f)
{
	const struct buf *body = &f->out->held;
	auto_free char *text = fetch_failure(f->params.url, buf_data(body), body->len, f->code);

	fail(f, text);
}

/* --- end -------------------------------------------------------------------------------------- */

static void settle(struct fetch *f)
{
	struct call *call = f->call;
	auto_free char *text = NULL;

	if (!f->exited || (f->out != NULL && !f->out->ended))
		return;
	if (f->state == FETCH_REFUSED && f->out != NULL) {
		fail_refused(f);
		return;
	}
	if (f->code == 0 && f->state == FETCH_HEAD) {
		fail_request(f, "the connection ended before the answer was complete");
		return;
	}
	if (f->code != 0 && f->state != FETCH_DRAINING) {
		text = fetch_failure(
			f->params.url, buf_data(&call->collected), call->collected.len, f->code);
		fail(f, text);
		return;
	}
	if (f->out != NULL) {
		f->out->ops = NULL;
		output_finish(take_ptr(f->out), NULL);
	}
	call_free(call);
}

static void on_exit_status(struct sandbox_call *rpc, bool failed, const uint8_t *data, size_t len)
{
	struct call *call = container_of(rpc, struct call, rpc);
	struct rpc_process_status status = {.code = 255};

	if (!failed && rpc_unpack(data, len, &rpc_process_status_schema, &status) < 0)
		status = (struct rpc_process_status){.code = 255};
	call->fetch->exited = true;
	call->fetch->code = status.code;
	rpc_clear(&rpc_process_status_schema, &status);
	settle(call->fetch);
}

/* --- output ----------------------------------------------------------------------------------- */

static void respond(struct fetch *f, const struct http1_answer *head, size_t head_len)
{
	struct rpc_fetched result;
	bool bodyless = fetch_is_bodyless(&f->params, head->status);

	fetch_answer(head, &result);
	if (!bodyless)
		result.body_stream_id = f->out->id;
	call_answer_value(f->call, &rpc_fetched_schema, &result, false);
	rpc_clear(&rpc_fetched_schema, &result);
	if (bodyless) {
		f->state = FETCH_DRAINING;
		drop_output(f);
		settle(f);
		return;
	}
	f->state = FETCH_BODY;
	output_skip(f->out, head_len);
	output_flow(f->out);
}

/* One head from the start of what is held. False when there is none, or the fetch is over. */
static bool read_head(struct fetch *f)
{
	const struct http1_view method = {f->params.method, strlen(f->params.method)};
	struct output *out = f->out;
	struct http1_answer head;
	const char *reason = "malformed";
	ssize_t n = http1_parse_answer_head(
		buf_data(&out->held), out->held.len, HEAD_MAX, method, &head, &reason);

	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		auto_free char *text = mem_printf("the answer is not valid HTTP: %s", reason);

		fail_request(f, text);
		return false;
	}
	if (head.status < 200 ||
		(fetch_is_redirect(&head) && f->params.redirect == RPC_REDIRECT_FOLLOW)) {
		output_skip(out, (size_t)n);
		return true;
	}
	if (fetch_is_refusal(&head)) {
		output_skip(out, (size_t)n);
		f->state = FETCH_REFUSED;
		return false;
	}
	respond(f, &head, (size_t)n);
	return false;
}

static void out_data(struct output *out)
{
	struct fetch *f = out->call->fetch;

	while (f->state == FETCH_HEAD && out->held.len > 0) {
		if (!read_head(f))
			return;
	}
	if (f->state == FETCH_REFUSED && out->held.len > REFUSAL_MAX)
		fail_refused(f);
}

static void out_end(struct output *out)
{
	settle(out->call->fetch);
}

/* The client has cancelled its stream. */
static void out_gone(struct output *out)
{
	struct fetch *f = out->call->fetch;

	f->out = NULL;
	give_up(f);
}

static const struct output_ops output_ops = {
	.on_held = out_data,
	.on_end = out_end,
	.on_gone = out_gone,
};

/* What curl says on its standard error. */
static void said_data(struct channel_stream *cs, const uint8_t *data, size_t len)
{
	struct call *call = container_of(cs, struct call, content);
	size_t room = SAID_MAX - call->collected.len;

	(void)buf_append(&call->collected, data, len < room ? len : room);
	channel_consume(cs, len);
}

static void said_end(struct channel_stream *cs)
{
	channel_stream_close(cs);
}

static void said_reset(struct channel_stream *cs, const uint8_t *data, size_t len)
{
	(void)cs;
	(void)data;
	(void)len;
}

static const struct channel_stream_ops said_ops = {
	.on_data = said_data,
	.on_end = said_end,
	.on_reset = said_reset,
};

/* --- start ------------------------------------------------------------------------------------ */

static void on_started(struct sandbox_call *rpc, bool failed, const uint8_t *data, size_t len)
{
	struct call *call = container_of(rpc, struct call, rpc);
	struct fetch *f = call->fetch;
	struct rpc_spawned result = {0};
	struct rpc_pid params;

	f->state = FETCH_HEAD;
	if (failed || rpc_unpack(data, len, &rpc_spawned_schema, &result) < 0) {
		if (f->unwanted)
			call_free(call);
		else
			fail_request(f, "curl cannot be started in this sandbox");
		return;
	}
	f->pid = result.pid;
	if (f->unwanted) {
		call_free(call);
		return;
	}
	params.pid = f->pid;
	if (sandbox_call(call->s->client.sb, &call->rpc, rpc_method_by_id(RPC_PROCESS_WAIT),
		    &params, on_exit_status) < 0) {
		call_answer_error(call, RPC_ERR_CLOSED, "WebSocket connection closed");
		call_free(call);
		return;
	}
	if (f->out != NULL)
		out_data(f->out);
}

static bool open_streams(struct fetch *f, struct rpc_spawn *spawn)
{
	struct call *call = f->call;
	struct channel *ch = sandbox_channel(call->s->client.sb);

	if (call->input != NULL) {
		spawn->stdin_channel = channel_next_stream(ch);
		if (input_bind(call->input, (uint32_t)spawn->stdin_channel) < 0)
			return false;
	}
	f->out = output_new(call->s);
	if (f->out == NULL)
		return false;
	f->out->ops = &output_ops;
	f->out->call = call;
	spawn->stdout_channel = f->out->cs.id;
	spawn->stderr_channel = channel_next_stream(ch);
	return channel_open_recv(ch, &call->content, (uint32_t)spawn->stderr_channel, &said_ops) ==
	       0;
}

static enum fetch_body body_of(const struct input *in)
{
	if (in == NULL)
		return FETCH_NO_BODY;
	return in->ended && spool_len(&in->spool) <= WHOLE_MAX ? FETCH_WHOLE_BODY
							       : FETCH_STREAMED_BODY;
}

static void start(struct fetch *f)
{
	struct call *call = f->call;
	struct rpc_spawn spawn = {.command = (char *)"curl", .cwd = (char *)"/"};
	int r;

	loop_timer_cancel(&f->hold);
	if (!open_streams(f, &spawn)) {
		call_answer_error(call, -32000, "Too many open streams");
		call_free(call);
		return;
	}
	spawn.args = fetch_arguments(&f->params, body_of(call->input));
	r = sandbox_call(
		call->s->client.sb, &call->rpc, rpc_method_by_id(RPC_SPAWN), &spawn, on_started);
	fetch_arguments_done(&spawn.args);
	if (r == -E2BIG) {
		fail_request(f, "the request is too long");
	} else if (r < 0) {
		call_answer_error(call, RPC_ERR_CLOSED, "WebSocket connection closed");
		call_free(call);
	} else {
		f->state = FETCH_STARTING;
		if (call->input != NULL)
			input_pump(call->input);
	}
}

static void on_hold_limit(struct loop_timer *timer)
{
	start(container_of(timer, struct fetch, hold));
}

/* --- the client's body ------------------------------------------------------------------------ */

static void on_body_end(struct input *in)
{
	struct fetch *f = in->call->fetch;

	if (in->failed) {
		auto_free char *text =
			mem_strdup(in->error != NULL ? in->error : "the body failed");
		auto_free char *class =
			mem_strdup(in->error_class != NULL ? in->error_class : "Error");

		fail_with(f, &(struct rpc_failure){.context = text, .constructor = class});
	} else if (f->state == FETCH_HOLDING) {
		start(f);
	} else {
		input_pump(in);
	}
}

/* False: there is no such stream; the call is answered and freed. */
static bool take_body(struct fetch *f)
{
	struct call *call = f->call;
	struct input *in;

	if (f->params.body_stream_id < 0)
		return true;
	in = input_find_unbound(call->s, f->params.body_stream_id);
	if (in == NULL || in->call != NULL) {
		call_answer_issue(call, "bodyStreamId", "open stream", "custom",
			"no stream with this id has been started, or it is in use");
		call_free(call);
		return false;
	}
	call->input = in;
	in->call = call;
	in->on_end = on_body_end;
	return true;
}

void handle_fetch(struct call *call, void *params)
{
	struct fetch *f = mem_new(struct fetch);
	auto_free char *wrong = NULL;

	f->call = call;
	/* What it owns moves over; the caller clears what is left. */
	f->params = *(struct rpc_fetch *)params;
	rpc_reset(&rpc_fetch_schema, params);
	call->fetch = f;
	call->done = fetch_done;
	buf_init(&call->collected, SAID_MAX);
	if (f->params.pid >= 0) {
		fail_with(f, &(struct rpc_failure){
				     .context = (char *)"fetch with a pid: Deno processes are not "
							"supported by this server",
				     .constructor = (char *)"NotSupported",
			     });
		return;
	}
	wrong = fetch_check(&f->params);
	if (wrong != NULL) {
		fail(f, wrong);
		return;
	}
	if (!take_body(f) || !call_set_abort(call, f->params.abort_id))
		return;
	call->on_abort = on_abort;
	if (call->input != NULL && call->input->ended)
		on_body_end(call->input);
	else if (call->input != NULL)
		loop_timer_set(call->s->loop, &f->hold, HOLD_NS, on_hold_limit);
	else
		start(f);
}
