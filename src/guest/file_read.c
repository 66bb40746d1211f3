/* readFile and readTextFile: the bytes of a file into a stream. Decoding is the daemon's. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "guest/calls.h"
#include "guest/path.h"
#include "guest/source.h"

struct reader {
	struct request req;
	struct source source;
	char *path; /* as the client gave it */
};

static void reader_free(struct reader *reader)
{
	source_stop(&reader->source);
	channel_stream_close(&reader->source.stream);
	request_close(&reader->req);
	free(reader->path);
	free(reader);
}

static void reader_end(struct reader *reader, int err)
{
	struct agent *agent = reader->req.agent;
	uint32_t id = reader->req.id;

	if (err < 0) {
		agent_reset_stream(&reader->source.stream, err, "readfile '%s'", reader->path);
		agent_fail(agent, id, err, "readfile '%s'", reader->path);
	} else {
		agent_reply_void(agent, id);
	}
	reader_free(reader);
}

static void on_done(struct source *source, int err)
{
	reader_end(container_of(source, struct reader, source), err);
}

static void on_cancel(struct request *req)
{
	reader_end(container_of(req, struct reader, req), -ECANCELED);
}

static void on_drop(struct request *req)
{
	reader_free(container_of(req, struct reader, req));
}

static const struct request_ops reader_ops = {
	.cancel = on_cancel,
	.drop = on_drop,
};

/* Never waits: a FIFO without a writer is opened at once and waited for in the loop. */
static int open_file(const struct agent *agent, const char *name, bool *ret_fifo)
{
	auto_free char *path = path_resolve(agent->config.home, name);
	auto_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	*ret_fifo = S_ISFIFO(st.st_mode);
	return take_fd(fd);
}

void call_read_file(struct agent *agent, uint32_t id, struct rpc_read_file *params)
{
	struct reader *reader = mem_new(struct reader);
	bool fifo = false;
	int fd = -EBADF;
	int r;

	reader->path = take_ptr(params->path);
	r = request_open(agent, &reader->req, id, &reader_ops);
	if (r == 0)
		r = fd = open_file(agent, reader->path, &fifo);
	if (r >= 0)
		r = source_start(&reader->source, agent, fd, agent_stream_id(params->channel),
			false, on_done);
	if (r < 0) {
		fd_close(fd);
		agent_refuse_stream(agent, params->channel, true, r, "readfile '%s'", reader->path);
		agent_fail(agent, id, r, "readfile '%s'", reader->path);
		reader_free(reader);
		return;
	}
	/* An empty FIFO that nobody has opened for writing yet looks like one at its end. */
	if (fifo)
		source_wait(&reader->source);
	else
		source_pump(&reader->source);
}
