/* writeFile and writeTextFile: the bytes of a stream into a file. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/calls.h"
#include "guest/path.h"
#include "guest/sink.h"

#define MODE_MASK 07777
/* How often a FIFO that nobody reads yet is tried again. */
#define RETRY_NS (20 * CLOCK_MS)

struct writer {
	struct request req;
	struct sink sink;
	struct loop_timer retry;
	char *path; /* as the client gave it */
	struct rpc_write_options options;
};

static void writer_free(struct writer *writer)
{
	loop_timer_cancel(&writer->retry);
	sink_stop(&writer->sink);
	channel_stream_close(&writer->sink.stream);
	request_close(&writer->req);
	free(writer->path);
	free(writer);
}

static void writer_fail(struct writer *writer, int err)
{
	agent_reset_stream(&writer->sink.stream, err, "writefile '%s'", writer->path);
	agent_fail(writer->req.agent, writer->req.id, err, "writefile '%s'", writer->path);
	writer_free(writer);
}

static void on_done(struct sink *sink, int err, const struct rpc_failure *why)
{
	struct writer *writer = container_of(sink, struct writer, sink);
	struct agent *agent = writer->req.agent;
	uint32_t id = writer->req.id;

	if (err == 0)
		agent_reply_void(agent, id);
	else if (why && (why->context || why->err))
		agent_fail_with(agent, id, why);
	else {
		writer_fail(writer, err);
		return;
	}
	writer_free(writer);
}

static void on_cancel(struct request *req)
{
	writer_fail(container_of(req, struct writer, req), -ECANCELED);
}

static void on_drop(struct request *req)
{
	writer_free(container_of(req, struct writer, req));
}

static const struct request_ops writer_ops = {
	.cancel = on_cancel,
	.drop = on_drop,
};

static int open_flags(const struct rpc_write_options *options)
{
	int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	if (options->create_new)
		flags |= O_CREAT | O_EXCL;
	else if (options->create)
		flags |= O_CREAT;
	return flags | (options->append ? O_APPEND : O_TRUNC);
}

static int open_file(
	const struct agent *agent, const char *name, const struct rpc_write_options *options)
{
	auto_free char *path = path_resolve(agent->config.home, name);
	mode_t mode = options->mode < 0 ? 0666 : (mode_t)options->mode & MODE_MASK;
	auto_close int fd = open(path, open_flags(options), mode);

	if (fd < 0)
		return -errno;
	/* A mode that is given holds for a file that was there before, and beyond the umask. */
	if (options->mode >= 0 && fchmod(fd, mode) < 0)
		return -errno;
	return take_fd(fd);
}

static bool is_fifo(const struct agent *agent, const char *name)
{
	auto_free char *path = path_resolve(agent->config.home, name);
	struct stat st;

	return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

static void try_open(struct writer *writer);

static void on_retry(struct loop_timer *timer)
{
	try_open(container_of(timer, struct writer, retry));
}

static void try_open(struct writer *writer)
{
	struct agent *agent = writer->req.agent;
	int fd = open_file(agent, writer->path, &writer->options);
	int r = fd;

	if (r == -ENXIO && is_fifo(agent, writer->path)) {
		loop_timer_set(agent->loop, &writer->retry, RETRY_NS, on_retry);
		return;
	}
	if (r >= 0)
		r = sink_attach(&writer->sink, fd);
	if (r < 0)
		writer_fail(writer, r);
}

void call_write_file(struct agent *agent, uint32_t id, struct rpc_write_file *params)
{
	struct writer *writer = mem_new(struct writer);
	int r;

	writer->path = take_ptr(params->path);
	writer->options = params->options;
	r = request_open(agent, &writer->req, id, &writer_ops);
	if (r == 0)
		r = sink_start(
			&writer->sink, agent, agent_stream_id(params->channel), false, on_done);
	if (r < 0) {
		agent_refuse_stream(
			agent, params->channel, false, r, "writefile '%s'", writer->path);
		agent_fail(agent, id, r, "writefile '%s'", writer->path);
		writer_free(writer);
		return;
	}
	/* From here on what the daemon sends is kept, however long opening takes. */
	try_open(writer);
}
