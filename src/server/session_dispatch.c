/* From one text message to one call, and from the call's outcome to one answer. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rpc/pack.h"
#include "server/session_priv.h"

#define ANSWER_MAX (512 * 1024 * 1024)

static void handle_abort(struct call *call, void *params);

/* Methods that need more than "pack, ask the agent, answer". */
static const call_handler handlers[RPC_METHOD_COUNT] = {
	[RPC_SPAWN] = handle_spawn,
	[RPC_PROCESS_WAIT] = handle_process_wait,
	[RPC_PROCESS_KILL] = handle_process_kill,
	[RPC_READ_FILE] = handle_read_file,
	[RPC_READ_TEXT_FILE] = handle_read_file,
	[RPC_WRITE_FILE] = handle_write_file,
	[RPC_WRITE_TEXT_FILE] = handle_write_file,
	[RPC_ABORT] = handle_abort,
	[RPC_FETCH] = handle_fetch,
};

/* --- answers -------------------------------------------------------------------------------- */

static void send_answer(struct call *call, struct buf *b)
{
	struct session *s = call->s;

	if (call->answered)
		return;
	call->answered = true;
	if (b->len <= session_message_max(s)) {
		session_send_buf(s, b);
		return;
	}
	/* Such a message would cost the client its connection: an error instead. */
	{
		auto_buf struct buf small;
		auto_free char *text = mem_printf(
			"The result of %s is %zu bytes long, more than this client takes in one "
			"message (%zu); read the file in parts with open and read",
			call->method->name, b->len, session_message_max(s));
		struct rpc_failure f = {.context = text, .constructor = (char *)"RangeError"};

		buf_init(&small, 65536);
		(void)rpc_put_failure(&small, call->id, &f);
		session_send_buf(s, &small);
	}
}

void call_answer_ok(struct call *call, struct buf *json)
{
	send_answer(call, json);
}

void call_answer_value(
	struct call *call, const struct rpc_schema *schema, const void *object, bool bare)
{
	auto_buf struct buf b;

	buf_init(&b, ANSWER_MAX);
	(void)rpc_put_ok_begin(&b, call->id);
	(void)rpc_json_encode(&b, schema, object, bare);
	(void)rpc_put_ok_end(&b);
	send_answer(call, &b);
}

void call_answer_null(struct call *call)
{
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)rpc_put_ok_begin(&b, call->id);
	(void)buf_append_str(&b, "null");
	(void)rpc_put_ok_end(&b);
	send_answer(call, &b);
}

void call_answer_failure(struct call *call, const struct rpc_failure *failure)
{
	auto_buf struct buf b;

	buf_init(&b, 1024 * 1024);
	(void)rpc_put_failure(&b, call->id, failure);
	send_answer(call, &b);
}

void call_answer_packed_failure(struct call *call, const uint8_t *data, size_t len)
{
	struct rpc_failure f;

	if (rpc_unpack(data, len, &rpc_failure_schema, &f) < 0) {
		call_answer_error(call, RPC_ERR_ISOLATE, "Isolate internal error");
		return;
	}
	call_answer_failure(call, &f);
	rpc_clear(&rpc_failure_schema, &f);
}

void call_answer_error(struct call *call, int code, const char *message)
{
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)rpc_put_protocol_error(&b, call->id, code, message);
	send_answer(call, &b);
}

static void answer_params(struct call *call, const struct rpc_issue *issue)
{
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)rpc_put_params_error(&b, call->id, issue);
	send_answer(call, &b);
}

void call_answer_issue(struct call *call, const char *field, const char *expected, const char *code,
	const char *message)
{
	struct rpc_issue issue = {0};

	snprintf(issue.path, sizeof(issue.path), "%s", field);
	snprintf(issue.expected, sizeof(issue.expected), "%s", expected);
	snprintf(issue.code, sizeof(issue.code), "%s", code);
	snprintf(issue.message, sizeof(issue.message), "%s", message);
	answer_params(call, &issue);
}

void call_answer_abort(struct call *call)
{
	auto_buf struct buf b;

	buf_init(&b, 65536);
	(void)rpc_put_abort_error(&b, call->id);
	send_answer(call, &b);
}

/* --- calls ---------------------------------------------------------------------------------- */

static struct call *call_new(struct session *s, const struct rpc_method *method, char *id)
{
	struct call *call = mem_new(struct call);

	call->s = s;
	call->method = method;
	call->id = id;
	list_init(&call->graced);
	list_push_back(&s->calls, &call->node);
	s->call_count++;
	return call;
}

void call_free(struct call *call)
{
	struct session *s = call->s;

	if (call->done != NULL)
		call->done(call);
	sandbox_call_drop(&call->rpc);
	sandbox_oom_query_drop(&call->oom);
	loop_timer_cancel(&call->grace);
	list_del(&call->graced);
	if (call->abortable)
		table_remove(&s->aborts, &call->abort_entry);
	list_del(&call->node);
	s->call_count--;
	rpc_clear(&rpc_process_status_schema, &call->status);
	free(call->id);
	free(call);
}

static void on_response(struct sandbox_call *rpc, bool failed, const uint8_t *data, size_t len)
{
	struct call *call = container_of(rpc, struct call, rpc);

	call->finish(call, failed, data, len);
}

bool call_send(struct call *call, const void *params, call_fn finish)
{
	int r;

	call->finish = finish;
	r = sandbox_call(call->s->client.sb, &call->rpc, call->method, params, on_response);
	if (r == 0)
		return true;
	if (r == -E2BIG) {
		struct rpc_failure f = {.err = E2BIG, .context = (char *)call->method->name};

		call_answer_failure(call, &f);
	} else {
		call_answer_error(call, RPC_ERR_CLOSED, "WebSocket connection closed");
	}
	call_free(call);
	return false;
}

bool call_set_abort(struct call *call, int64_t abort_id)
{
	if (abort_id < 0)
		return true;
	if (table_insert_u64(&call->s->aborts, &call->abort_entry, (uint64_t)abort_id) < 0) {
		call_answer_issue(call, "abortId", "unused id", "custom",
			"this abortId belongs to a call that is still open");
		call_free(call);
		return false;
	}
	call->abortable = true;
	return true;
}

static void handle_abort(struct call *call, void *params)
{
	const struct rpc_abort *p = params;
	struct table_entry *e = table_find_u64(&call->s->aborts, (uint64_t)p->abort_id);

	if (e != NULL) {
		struct call *target = container_of(e, struct call, abort_entry);

		call_answer_abort(target);
		sandbox_call_cancel(&target->rpc);
		/* The agent still answers; by then there is nothing left to say. */
		table_remove(&call->s->aborts, &target->abort_entry);
		target->abortable = false;
		if (target->on_abort != NULL)
			target->on_abort(target);
	}
	call_answer_null(call);
	call_free(call);
}

static void finish_simple(struct call *call, bool failed, const uint8_t *data, size_t len)
{
	const struct rpc_method *m = call->method;

	if (failed) {
		call_answer_packed_failure(call, data, len);
	} else if (m->result == NULL || (m->flags & RPC_VOID) != 0) {
		call_answer_null(call);
	} else {
		auto_free void *result = mem_zalloc(m->result->size);

		if (rpc_unpack(data, len, m->result, result) < 0)
			call_answer_error(call, RPC_ERR_ISOLATE, "Isolate internal error");
		else
			call_answer_value(call, m->result, result, (m->flags & RPC_BARE) != 0);
		rpc_clear(m->result, result);
	}
	call_free(call);
}

static void request(struct session *s, struct rpc_message *m)
{
	auto_free char *id = rpc_message_id_text(m);
	const struct rpc_method *method = rpc_method_by_name(m->method, m->method_len);
	auto_free void *params = NULL;
	struct rpc_issue issue = {0};
	struct call *call;

	if (method == NULL || s->call_count >= SESSION_CALLS_MAX) {
		auto_buf struct buf b;

		buf_init(&b, 65536);
		if (method == NULL)
			(void)rpc_put_protocol_error(&b, id, RPC_ERR_METHOD, "Method not found");
		else
			(void)rpc_put_protocol_error(&b, id, -32000, "Too many open requests");
		session_send_buf(s, &b);
		return;
	}
	call = call_new(s, method, take_ptr(id));
	if (method->params != NULL) {
		params = mem_zalloc(method->params->size);
		if (rpc_json_decode(m->params, method->params, params, &issue) < 0) {
			answer_params(call, &issue);
			call_free(call);
			return;
		}
	}
	if (method->audit != NULL)
		log_debug("sandbox %s: %s", s->id, method->audit);
	if (handlers[method->id] != NULL)
		handlers[method->id](call, params);
	else
		(void)call_send(call, params, finish_simple);
	if (params != NULL)
		rpc_clear(method->params, params);
}

/* --- notifications --------------------------------------------------------------------------- */

static void stream_message(struct session *s, struct rpc_stream_message *m)
{
	if (m->kind == RPC_STREAM_CANCEL)
		output_cancel(s, m->stream_id);
	else
		input_message(s, m);
	rpc_stream_message_done(m);
}

static void notification(struct session *s, const struct rpc_message *m)
{
	struct rpc_stream_message sm = {0};
	struct rpc_issue issue = {0};
	int r = rpc_stream_decode(m, &sm, &issue);

	if (r == 0)
		stream_message(s, &sm);
	else if (r == -EINVAL) /* nothing can be answered to a notification */
		log_debug("sandbox %s: malformed stream notification: %s: %s", s->id, issue.path,
			issue.message);
	else
		log_debug("sandbox %s: unknown notification", s->id);
}

void session_message(struct session *s, uint8_t *text, size_t len, bool is_text)
{
	struct rpc_stream_message sm = {0};
	struct rpc_message m = {0};
	int r;

	if (rpc_stream_recognise((char *)text, len, &sm)) {
		stream_message(s, &sm);
		return;
	}
	if (is_text && !utf8_valid(text, len)) {
		session_close(s, WS_CLOSE_BAD_DATA, "text that is not UTF-8");
		return;
	}
	r = rpc_message_parse((const char *)text, len, &m);
	if (r == -EBADMSG) {
		session_close(s, 4000, "Invalid JSON");
	} else if (r == -EINVAL) {
		auto_free char *id = rpc_message_id_text(&m);
		auto_buf struct buf b;

		buf_init(&b, 65536);
		(void)rpc_put_protocol_error(&b, id, RPC_ERR_REQUEST, "Invalid Request");
		session_send_buf(s, &b);
	} else if (m.kind == RPC_MESSAGE_REQUEST) {
		request(s, &m);
	} else if (m.kind == RPC_MESSAGE_NOTIFICATION) {
		notification(s, &m);
	}
	rpc_message_done(&m);
}

/* --- end ------------------------------------------------------------------------------------ */

void calls_answer_end(struct session *s)
{
	struct list *pos;

	list_for_each (pos, &s->calls) {
		struct call *call = container_of(pos, struct call, node);

		if (call->method->id == RPC_PROCESS_WAIT) {
			struct rpc_process_status killed = {
				.code = 137, .signal = (char *)"SIGKILL"};

			call_answer_value(call, &rpc_process_status_schema, &killed, false);
		} else {
			call_answer_error(call, RPC_ERR_CLOSED, "WebSocket connection closed");
		}
	}
}

void calls_abandon(struct session *s)
{
	while (!list_empty(&s->calls)) {
		struct call *call = list_first(&s->calls, struct call, node);

		call->answered = true;
		if (call->abortable || (call->method->flags & RPC_TAKES_CONTENT) != 0)
			sandbox_call_cancel(&call->rpc);
		call_free(call);
	}
}
