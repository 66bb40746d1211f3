#include "harness.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/identity.h"
#include "rpc/pack.h"

#define PATIENCE (10 * CLOCK_SEC)
/* The agent's process when the channel did not end between two frames. */
#define ENDED_IN_FRAME 3
#define KEEP_MAX (64 * 1024 * 1024)

/* --- the agent's process ---------------------------------------------------------------------- */

static int run_agent(int fd, const struct agent_config *config)
{
	struct loop *loop = loop_new();
	struct agent agent;
	int r;

	signal(SIGPIPE, SIG_IGN);
	umask(022);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (config->become &&
		identity_assume("nobody-known", config->uid, config->gid, "/dev/null") < 0)
		return 101;
	if (agent_init(&agent, loop, fd, config) < 0)
		return 102;
	r = loop_run(loop);
	agent_done(&agent);
	loop_free(loop);
	return r == 0 ? 0 : ENDED_IN_FRAME;
}

/* --- the channel's events --------------------------------------------------------------------- */

static struct answer *find_answer(struct guest *g, uint32_t id)
{
	struct list *pos;

	list_for_each (pos, &g->answers) {
		struct answer *a = container_of(pos, struct answer, node);

		if (a->id == id)
			return a;
	}
	return NULL;
}

static void on_response(
	struct channel *ch, uint32_t id, bool failed, const uint8_t *data, size_t len)
{
	struct guest *g = container_of(ch, struct guest, channel);
	struct answer *a = find_answer(g, id);

	assert_non_null(a);
	assert_false(a->done);
	a->done = true;
	a->failed = failed;
	if (failed)
		assert_int_equal(rpc_unpack(data, len, &rpc_failure_schema, &a->failure), 0);
	else
		assert_int_equal(buf_append(&a->data, data, len), 0);
	loop_stop(g->loop, 1);
}

static void on_hello(struct channel *ch, uint32_t version)
{
	struct guest *g = container_of(ch, struct guest, channel);

	assert_int_equal(version, CHANNEL_VERSION);
	loop_stop(g->loop, 1);
}

static void on_close(struct channel *ch, int err)
{
	struct guest *g = container_of(ch, struct guest, channel);

	g->over = true;
	g->over_err = err;
	loop_stop(g->loop, 1);
}

static const struct channel_ops channel_ops = {
	.on_hello = on_hello,
	.on_response = on_response,
	.on_close = on_close,
};

struct guest *guest_new(void (*change)(struct agent_config *config))
{
	struct guest *g = mem_new(struct guest);
	struct agent_config config;
	int pair[2];

	list_init(&g->answers);
	snprintf(g->home, sizeof(g->home), "/tmp/warren-guest-XXXXXX");
	assert_non_null(mkdtemp(g->home));
	agent_config_default(&config);
	config.home = g->home;
	if (change)
		change(&config);
	if (config.become)
		assert_int_equal(chown(g->home, config.uid, config.gid), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fflush(NULL);
	g->pid = fork();
	assert_true(g->pid >= 0);
	if (g->pid == 0) {
		close(pair[0]);
		exit(run_agent(pair[1], &config));
	}
	close(pair[1]);
	g->loop = loop_new();
	assert_int_equal(channel_init(&g->channel, g->loop, pair[0], false, &channel_ops), 0);
	loop_run(g->loop); /* until it has greeted */
	assert_false(g->over);
	return g;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void guest_free(struct guest *g)
{
	struct answer *a;
	int status;

	channel_done(&g->channel);
	assert_int_equal(waitpid(g->pid, &status, 0), g->pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != ENDED_IN_FRAME)
		assert_int_equal(WEXITSTATUS(status), 0);
	while ((a = list_first(&g->answers, struct answer, node)))
		answer_free(a);
	loop_free(g->loop);
	nftw(g->home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(g);
}

/* --- requests --------------------------------------------------------------------------------- */

struct answer *guest_send_raw(struct guest *g, uint16_t method, const void *data, size_t len)
{
	struct answer *a = mem_new(struct answer);

	buf_init(&a->data, CHANNEL_MESSAGE_MAX);
	assert_int_equal(channel_request(&g->channel, method, data, len, &a->id), 0);
	list_push_back(&g->answers, &a->node);
	return a;
}

struct answer *guest_send(struct guest *g, uint16_t method, const void *params)
{
	const struct rpc_method *m = rpc_method_by_id(method);
	auto_buf struct buf b = {.max = CHANNEL_MESSAGE_MAX};

	assert_non_null(m);
	if (m->params)
		assert_int_equal(rpc_pack(&b, m->params, params), 0);
	return guest_send_raw(g, method, buf_data(&b), b.len);
}

struct deadline {
	struct loop_timer timer;
	struct loop *loop;
	bool over;
};

static void on_deadline(struct loop_timer *timer)
{
	struct deadline *d = container_of(timer, struct deadline, timer);

	d->over = true;
	loop_stop(d->loop, 2);
}

void guest_await(struct guest *g, const bool *flag)
{
	struct deadline d = {.loop = g->loop};

	loop_timer_set(g->loop, &d.timer, PATIENCE, on_deadline);
	while (!*flag) {
		loop_run(g->loop);
		if (d.over)
			fail_msg("waited too long");
		if (g->over && !*flag)
			fail_msg("the channel has ended: %d", g->over_err);
	}
	loop_timer_cancel(&d.timer);
}

void guest_turn(struct guest *g, unsigned ms)
{
	struct deadline d = {.loop = g->loop};

	loop_timer_set(g->loop, &d.timer, ms * CLOCK_MS, on_deadline);
	while (!d.over)
		loop_run(g->loop);
}

struct answer *guest_call(struct guest *g, uint16_t method, const void *params)
{
	struct answer *a = guest_send(g, method, params);

	guest_await(g, &a->done);
	return a;
}

void guest_ok(struct guest *g, uint16_t method, const void *params, void *result)
{
	const struct rpc_method *m = rpc_method_by_id(method);
	struct answer *a = guest_call(g, method, params);

	if (a->failed)
		fail_msg("%s: errno %d: %s", m->name, (int)a->failure.err, a->failure.context);
	if (result)
		assert_int_equal(rpc_unpack(buf_data(&a->data), a->data.len, m->result, result), 0);
	else if (!m->result)
		assert_int_equal(a->data.len, 0);
	answer_free(a);
}

void answer_check_failed(const struct answer *a, int err, const char *constructor, const char *text)
{
	assert_true(a->done);
	assert_true(a->failed);
	assert_int_equal(a->failure.err, err);
	if (constructor)
		assert_string_equal(a->failure.constructor, constructor);
	else
		assert_null(a->failure.constructor);
	if (!strstr(a->failure.context, text))
		fail_msg("'%s' is not in '%s'", text, a->failure.context);
}

void guest_fails(struct guest *g, uint16_t method, const void *params, int err,
	const char *constructor, const char *text)
{
	struct answer *a = guest_call(g, method, params);

	answer_check_failed(a, err, constructor, text);
	answer_free(a);
}

void answer_free(struct answer *a)
{
	list_del(&a->node);
	buf_done(&a->data);
	rpc_clear(&rpc_failure_schema, &a->failure);
	free(a);
}

/* --- streams ---------------------------------------------------------------------------------- */

static void stop_loop(struct channel *ch)
{
	loop_stop(container_of(ch, struct guest, channel)->loop, 1);
}

static void unpack_reset(const uint8_t *data, size_t len, struct rpc_failure *failure)
{
	if (len > 0)
		assert_int_equal(rpc_unpack(data, len, &rpc_failure_schema, failure), 0);
}

static void inbox_data(struct channel_stream *s, const uint8_t *data, size_t len)
{
	struct inbox *in = container_of(s, struct inbox, stream);

	assert_true(len > 0);
	in->total += len;
	if (!in->discard)
		assert_int_equal(buf_append(&in->data, data, len), 0);
	if (!in->hold)
		channel_consume(s, len);
}

static void inbox_end(struct channel_stream *s)
{
	struct inbox *in = container_of(s, struct inbox, stream);

	in->ended = true;
	channel_stream_close(s);
	stop_loop(in->channel);
}

static void inbox_reset(struct channel_stream *s, const uint8_t *data, size_t len)
{
	struct inbox *in = container_of(s, struct inbox, stream);

	in->reset = true;
	unpack_reset(data, len, &in->failure);
	stop_loop(in->channel);
}

static const struct channel_stream_ops inbox_ops = {
	.on_data = inbox_data,
	.on_end = inbox_end,
	.on_reset = inbox_reset,
};

void inbox_open(struct guest *g, struct inbox *in)
{
	uint32_t id = channel_next_stream(&g->channel);

	in->channel = &g->channel;
	buf_init(&in->data, KEEP_MAX);
	assert_int_equal(channel_open_recv(&g->channel, &in->stream, id, &inbox_ops), 0);
}

void inbox_release(struct inbox *in)
{
	in->hold = false;
	channel_consume(&in->stream, in->total);
}

void inbox_free(struct inbox *in)
{
	channel_stream_close(&in->stream);
	buf_done(&in->data);
	rpc_clear(&rpc_failure_schema, &in->failure);
}

static void outbox_send(struct outbox *out)
{
	size_t whole = out->len * (out->repeat ? out->repeat : 1);

	while (out->sent < whole) {
		size_t at = out->sent % out->len;
		size_t n = out->len - at;
		size_t room = channel_send_room(&out->stream);

		if (room == 0)
			return;
		if (n > room)
			n = room;
		assert_int_equal(channel_send(&out->stream, out->data + at, n), 0);
		out->sent += n;
	}
	if (!out->keep_open)
		channel_send_end(&out->stream);
}

static void outbox_writable(struct channel_stream *s)
{
	outbox_send(container_of(s, struct outbox, stream));
}

static void outbox_reset(struct channel_stream *s, const uint8_t *data, size_t len)
{
	struct outbox *out = container_of(s, struct outbox, stream);

	out->reset = true;
	unpack_reset(data, len, &out->failure);
	stop_loop(out->channel);
}

static const struct channel_stream_ops outbox_ops = {
	.on_reset = outbox_reset,
	.on_writable = outbox_writable,
};

void outbox_open(struct guest *g, struct outbox *out)
{
	uint32_t id = channel_next_stream(&g->channel);

	out->channel = &g->channel;
	assert_int_equal(channel_open_send(&g->channel, &out->stream, id, &outbox_ops), 0);
}

void outbox_start(struct outbox *out)
{
	outbox_send(out);
}

/* --- processes -------------------------------------------------------------------------------- */

void spawn_params(struct guest *g, struct rpc_spawn *params, const char *command, struct outbox *in,
	struct inbox *out, struct inbox *err)
{
	rpc_reset(&rpc_spawn_schema, params);
	params->command = (char *)(uintptr_t)command;
	if (in) {
		outbox_open(g, in);
		params->stdin_channel = in->stream.id;
	}
	if (out) {
		inbox_open(g, out);
		params->stdout_channel = out->stream.id;
	}
	if (err) {
		inbox_open(g, err);
		params->stderr_channel = err->stream.id;
	}
}

int64_t spawn_shell(struct guest *g, const char *script, struct outbox *in, struct inbox *out,
	struct inbox *err)
{
	char *args[] = {"-c", (char *)(uintptr_t)script};
	struct rpc_spawned result;
	struct rpc_spawn params;

	spawn_params(g, &params, "sh", in, out, err);
	params.args = (struct rpc_strings){args, array_len(args)};
	guest_ok(g, RPC_SPAWN, &params, &result);
	assert_true(result.pid > 1);
	return result.pid;
}

void expect_end(struct guest *g, int64_t pid, int code, const char *signal)
{
	const struct rpc_pid params = {.pid = pid};
	struct rpc_process_status status;

	guest_ok(g, RPC_PROCESS_WAIT, &params, &status);
	assert_int_equal(status.code, code);
	assert_int_equal(status.success, code == 0);
	if (signal)
		assert_string_equal(status.signal, signal);
	else
		assert_null(status.signal);
	rpc_clear(&rpc_process_status_schema, &status);
}

/* --- files ------------------------------------------------------------------------------------ */

char *home_path(const struct guest *g, const char *name)
{
	return mem_printf("%s/%s", g->home, name);
}

void home_write(const struct guest *g, const char *name, const char *text)
{
	auto_free char *path = home_path(g, name);
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

char *home_read(const struct guest *g, const char *name)
{
	auto_free char *path = home_path(g, name);
	char *text = NULL;

	assert_int_equal(fd_read_file(AT_FDCWD, path, KEEP_MAX, &text, NULL), 0);
	return text;
}
