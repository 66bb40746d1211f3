#include "guest/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/dispatch.h"
#include "guest/identity.h"
#include "guest/process.h"
#include "guest/stdio.h"
#include "rpc/pack.h"

/* Answers held back because the daemon does not read. Reading requests stops meanwhile, so only
 * what is already here or under way can add to them. */
#define LATE_BYTES_MAX (16 * 1024 * 1024)
#define LATE_COUNT_MAX 131072
#define LATE_RETRY_NS (2 * CLOCK_MS)

struct late {
	struct list node;
	uint32_t id;
	bool failed;
	size_t len;
	uint8_t data[];
};

void agent_config_default(struct agent_config *config)
{
	*config = (struct agent_config){
		.root = "",
		.oom_score_adj = 500,
		.oom_fd = -EBADF,
		.requests_max = 4096,
		.processes_max = 4096,
		.results_max = 65536,
		.streams_max = 16384,
	};
}

/* --- the channel's events --------------------------------------------------------------------- */

static void agent_end(struct agent *agent, int err)
{
	process_kill_all(agent);
	loop_stop(agent->loop, err == 0 ? 0 : 1);
}

static void on_request(
	struct channel *ch, uint32_t id, uint16_t method, const uint8_t *data, size_t len)
{
	dispatch_request(container_of(ch, struct agent, channel), id, method, data, len);
}

static void on_cancel(struct channel *ch, uint32_t id)
{
	struct agent *agent = container_of(ch, struct agent, channel);
	struct table_entry *e = table_find_u64(&agent->requests, id);
	struct request *req;

	if (!e) /* answered meanwhile */
		return;
	req = container_of(e, struct request, entry);
	req->ops->cancel(req);
}

static void on_close(struct channel *ch, int err)
{
	agent_end(container_of(ch, struct agent, channel), err);
}

static const struct channel_ops channel_ops = {
	.on_request = on_request,
	.on_cancel = on_cancel,
	.on_close = on_close,
};

/* --- requests that are not answered at once --------------------------------------------------- */

int request_open(
	struct agent *agent, struct request *req, uint32_t id, const struct request_ops *ops)
{
	int r;

	if (agent->requests.count >= agent->config.requests_max)
		return -EAGAIN;
	r = table_insert_u64(&agent->requests, &req->entry, id);
	if (r < 0)
		return r;
	req->agent = agent;
	req->ops = ops;
	req->id = id;
	return 0;
}

void request_close(struct request *req)
{
	if (!req->agent)
		return;
	table_remove(&req->agent->requests, &req->entry);
	req->agent = NULL;
}

/* --- answers ---------------------------------------------------------------------------------- */

static void late_timer(struct loop_timer *timer)
{
	struct agent *agent = container_of(timer, struct agent, late_timer);
	struct late *late;

	while ((late = list_first(&agent->late, struct late, node))) {
		int r = channel_respond(
			&agent->channel, late->id, late->failed, late->data, late->len);

		if (r == -ENOBUFS) {
			loop_timer_set(agent->loop, timer, LATE_RETRY_NS, late_timer);
			return;
		}
		list_del(&late->node);
		agent->late_bytes -= late->len;
		agent->late_count--;
		free(late);
	}
	stream_resume(&agent->channel.stream);
}

static void answer_later(
	struct agent *agent, uint32_t id, bool failed, const void *data, size_t len)
{
	struct late *late;

	if (!failed && len > LATE_BYTES_MAX - agent->late_bytes) {
		agent_fail(agent, id, -EAGAIN, "too many answers are waiting");
		return;
	}
	if (agent->late_count >= LATE_COUNT_MAX) {
		agent_end(agent, -ENOBUFS);
		return;
	}
	late = mem_zalloc(sizeof(*late) + len);
	late->id = id;
	late->failed = failed;
	late->len = len;
	if (len > 0)
		memcpy(late->data, data, len);
	list_push_back(&agent->late, &late->node);
	agent->late_bytes += failed ? 0 : len;
	agent->late_count++;
	if (!loop_timer_armed(&agent->late_timer)) {
		stream_pause(&agent->channel.stream);
		loop_timer_set(agent->loop, &agent->late_timer, LATE_RETRY_NS, late_timer);
	}
}

static void answer(struct agent *agent, uint32_t id, bool failed, const void *data, size_t len)
{
	int r = -ENOBUFS;

	if (list_empty(&agent->late))
		r = channel_respond(&agent->channel, id, failed, data, len);
	if (r == -ENOBUFS)
		answer_later(agent, id, failed, data, len);
	else if (r == -E2BIG)
		agent_fail(agent, id, r, "answer");
	/* Any other error is the channel's own and ends the agent. */
}

void agent_reply_packed(struct agent *agent, uint32_t id, const void *data, size_t len)
{
	answer(agent, id, false, data, len);
}

void agent_reply(
	struct agent *agent, uint32_t id, const struct rpc_schema *schema, const void *result)
{
	auto_buf struct buf b = {.max = CHANNEL_MESSAGE_MAX};

	if (rpc_pack(&b, schema, result) < 0)
		agent_fail(agent, id, -E2BIG, "answer");
	else
		answer(agent, id, false, buf_data(&b), b.len);
}

void agent_reply_void(struct agent *agent, uint32_t id)
{
	answer(agent, id, false, NULL, 0);
}

void agent_fail_with(struct agent *agent, uint32_t id, const struct rpc_failure *failure)
{
	auto_buf struct buf b = {.max = CHANNEL_PAYLOAD_MAX};

	/* Fails only for texts beyond a frame, which no caller makes: then the text is left out. */
	rpc_pack(&b, &rpc_failure_schema, failure);
	answer(agent, id, true, buf_data(&b), b.len);
}

/* The context of a failure. Paths in it were bounded when they came in. */
static char *context_text(const char *fmt, va_list ap)
{
	struct buf b = {.max = RPC_CONTEXT_MAX};
	char *text;

	if (buf_vprintf(&b, fmt, ap) < 0)
		return mem_strdup("request");
	text = mem_strndup((const char *)buf_data(&b), b.len);
	buf_done(&b);
	return text;
}

void agent_fail(struct agent *agent, uint32_t id, int err, const char *fmt, ...)
{
	struct rpc_failure failure = {.err = -err};
	va_list ap;

	va_start(ap, fmt);
	failure.context = context_text(fmt, ap);
	va_end(ap);
	agent_fail_with(agent, id, &failure);
	free(failure.context);
}

void agent_fail_as(
	struct agent *agent, uint32_t id, const char *constructor, int err, const char *fmt, ...)
{
	struct rpc_failure failure = {
		.err = -err,
		.constructor = (char *)(uintptr_t)constructor,
	};
	va_list ap;

	va_start(ap, fmt);
	failure.context = context_text(fmt, ap);
	va_end(ap);
	agent_fail_with(agent, id, &failure);
	free(failure.context);
}

bool agent_congested(const struct agent *agent)
{
	return stream_congested(&agent->channel.stream) || !list_empty(&agent->late);
}

/* --- streams ---------------------------------------------------------------------------------- */

static void reset_stream(struct channel_stream *s, int err, const char *fmt, va_list ap)
{
	struct rpc_failure failure = {.err = -err};
	auto_buf struct buf b = {.max = CHANNEL_PAYLOAD_MAX};

	if (!s->channel)
		return;
	failure.context = context_text(fmt, ap);
	rpc_pack(&b, &rpc_failure_schema, &failure);
	channel_reset(s, buf_data(&b), b.len);
	free(failure.context);
}

void agent_reset_stream(struct channel_stream *s, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reset_stream(s, err, fmt, ap);
	va_end(ap);
}

uint32_t agent_stream_id(int64_t id)
{
	return id > 0 && id <= UINT32_MAX ? (uint32_t)id : 0;
}

void agent_refuse_stream(
	struct agent *agent, int64_t id, bool sender, int err, const char *fmt, ...)
{
	static const struct channel_stream_ops no_ops;
	struct channel_stream s = {0};
	va_list ap;
	int r;

	if (sender)
		r = channel_open_send(&agent->channel, &s, agent_stream_id(id), &no_ops);
	else
		r = channel_open_recv(&agent->channel, &s, agent_stream_id(id), &no_ops);
	if (r < 0) /* no stream, or one that another request is using */
		return;
	va_start(ap, fmt);
	reset_stream(&s, err, fmt, ap);
	va_end(ap);
}

const int *agent_relay(struct agent *agent)
{
	if (agent->relay[0] < 0 && pipe2(agent->relay, O_CLOEXEC) < 0)
		return NULL;
	return agent->relay;
}

/* --- files of the system --------------------------------------------------------------------- */

int agent_system_files(struct agent *agent)
{
	return agent->config.become ? identity_root_files() : 0;
}

void agent_user_files(struct agent *agent)
{
	if (agent->config.become)
		identity_user_files(agent->config.uid, agent->config.gid);
}

/* --- start and end ---------------------------------------------------------------------------- */

int agent_init(struct agent *agent, struct loop *loop, int fd, const struct agent_config *config)
{
	int r;

	*agent = (struct agent){
		.config = *config, .loop = loop, .null_fd = -EBADF, .relay = {-EBADF, -EBADF}};
	oom_score_open(&agent->oom_score, config->oom_fd, config->oom_score_adj);
	environment_init(&agent->env);
	table_init(&agent->requests);
	table_init(&agent->processes);
	list_init(&agent->results);
	list_init(&agent->late);
	list_init(&agent->outputs);
	list_init(&agent->inputs);
	r = environment_add_defaults(&agent->env, config->home);
	if (r == 0) {
		agent->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		r = agent->null_fd < 0 ? -errno : process_watch(agent);
	}
	if (r == 0)
		r = channel_init(&agent->channel, loop, take_fd(fd), true, &channel_ops);
	if (r < 0) {
		fd_close(fd);
		agent_done(agent);
	}
	return r;
}

void agent_done(struct agent *agent)
{
	struct table_entry *e;
	struct late *late;

	while ((e = table_any(&agent->requests))) {
		struct request *req = container_of(e, struct request, entry);

		req->ops->drop(req);
	}
	stdio_free_all(agent);
	process_free_all(agent);
	while ((late = list_first(&agent->late, struct late, node))) {
		list_del(&late->node);
		free(late);
	}
	loop_timer_cancel(&agent->late_timer);
	loop_timer_cancel(&agent->reap_again);
	channel_done(&agent->channel);
	environment_done(&agent->env);
	trust_done(&agent->trust);
	table_done(&agent->requests);
	table_done(&agent->processes);
	agent->null_fd = fd_close(agent->null_fd);
	agent->relay[0] = fd_close(agent->relay[0]);
	agent->relay[1] = fd_close(agent->relay[1]);
	oom_score_close(&agent->oom_score);
}
