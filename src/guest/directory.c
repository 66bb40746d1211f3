/* readDir and mkdir. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "guest/calls.h"
#include "guest/path.h"
#include "rpc/pack.h"

/* Entries read per turn: a large folder must not keep other requests waiting. */
#define ENTRIES_TURN 512
/* Lists in the making, all together. */
#define LISTINGS_MAX (64 * 1024 * 1024)
#define CONGESTED_NS (2 * CLOCK_MS)
#define MODE_DEFAULT 0777

/* --- readDir ---------------------------------------------------------------------------------- */

struct listing {
	struct request req;
	struct loop_timer timer;
	DIR *dir;
	struct buf entries; /* packed; starts with their number */
	uint32_t count;
	char *path; /* as the client gave it */
};

static void listing_free(struct listing *listing)
{
	if (listing->dir)
		closedir(listing->dir);
	if (listing->req.agent)
		listing->req.agent->listing_bytes -= listing->entries.len;
	loop_timer_cancel(&listing->timer);
	request_close(&listing->req);
	buf_done(&listing->entries);
	free(listing->path);
	free(listing);
}

static void listing_fail(struct listing *listing, int err)
{
	agent_fail(listing->req.agent, listing->req.id, err, "readdir '%s'", listing->path);
	listing_free(listing);
}

static void listing_cancel(struct request *req)
{
	listing_fail(container_of(req, struct listing, req), -ECANCELED);
}

static void listing_drop(struct request *req)
{
	listing_free(container_of(req, struct listing, req));
}

static const struct request_ops listing_ops = {
	.cancel = listing_cancel,
	.drop = listing_drop,
};

/* DT_* of an entry, asking the file where the folder does not say. */
static unsigned char entry_type(const struct listing *listing, const struct dirent *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type;
	if (fstatat(dirfd(listing->dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;
	return (unsigned char)IFTODT(st.st_mode);
}

/* The packed form of rpc_dir_entries is the number of entries and then the entries; packed one by
 * one, since as objects they would take many times the memory. */
static int add_entry(struct listing *listing, struct dirent *e)
{
	struct agent *agent = listing->req.agent;
	unsigned char type = entry_type(listing, e);
	struct rpc_dir_entry entry = {
		.name = e->d_name,
		.is_file = type == DT_REG,
		.is_directory = type == DT_DIR,
		.is_symlink = type == DT_LNK,
	};
	size_t before = listing->entries.len;

	if (listing->count >= RPC_DIR_ENTRIES_MAX ||
		rpc_pack(&listing->entries, &rpc_dir_entry_schema, &entry) < 0)
		return -E2BIG;
	listing->count++;
	agent->listing_bytes += listing->entries.len - before;
	return agent->listing_bytes > LISTINGS_MAX ? -EAGAIN : 0;
}

/* 1: there may be more, 0: that was all, or a negative errno. */
static int read_some(struct listing *listing)
{
	for (int i = 0; i < ENTRIES_TURN; i++) {
		struct dirent *e;
		int r;

		errno = 0;
		e = readdir(listing->dir);
		if (!e)
			return -errno;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		r = add_entry(listing, e);
		if (r < 0)
			return r;
	}
	return 1;
}

static void listing_send(struct loop_timer *timer)
{
	struct listing *listing = container_of(timer, struct listing, timer);
	struct agent *agent = listing->req.agent;

	/* A long list is sent only when nothing else waits, and so never fills the queue. */
	if (agent_congested(agent)) {
		loop_timer_set(agent->loop, timer, CONGESTED_NS, listing_send);
		return;
	}
	store_u32le(buf_data(&listing->entries), listing->count);
	agent_reply_packed(
		agent, listing->req.id, buf_data(&listing->entries), listing->entries.len);
	listing_free(listing);
}

static void listing_turn(struct loop_timer *timer)
{
	struct listing *listing = container_of(timer, struct listing, timer);
	int r = read_some(listing);

	if (r < 0)
		listing_fail(listing, r);
	else if (r > 0)
		loop_timer_set(listing->req.agent->loop, timer, 0, listing_turn);
	else
		listing_send(timer);
}

static int open_dir(const struct agent *agent, const char *name, DIR **ret_dir)
{
	auto_free char *path = path_resolve(agent->config.home, name);
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	take_fd(fd);
	*ret_dir = dir;
	return 0;
}

void call_read_dir(struct agent *agent, uint32_t id, struct rpc_path *params)
{
	struct listing *listing = mem_new(struct listing);
	int r;

	listing->path = take_ptr(params->path);
	buf_init(&listing->entries, CHANNEL_MESSAGE_MAX);
	buf_append_u32le(&listing->entries, 0);
	r = request_open(agent, &listing->req, id, &listing_ops);
	if (r == 0) {
		agent->listing_bytes += listing->entries.len;
		r = open_dir(agent, listing->path, &listing->dir);
	}
	if (r < 0) {
		agent_fail(agent, id, r, "readdir '%s'", listing->path);
		listing_free(listing);
		return;
	}
	listing_turn(&listing->timer);
}

/* --- mkdir ------------------------------------------------------------------------------------ */

static bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Makes the missing folders of a path from the left. */
static int make_all(char *path, mode_t mode)
{
	for (char *p = path + 1;; p++) {
		char c = *p;
		int r;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		r = mkdir(path, mode) < 0 ? -errno : 0;
		/* Whatever the parents answer, only a folder there lets us go on. */
		if (r < 0 && is_directory(path))
			r = 0;
		*p = c;
		if (r < 0 || c == '\0')
			return r;
	}
}

static int make(const char *home, const struct rpc_mkdir *params)
{
	auto_free char *path = path_resolve(home, params->path);
	int64_t given = params->options.mode;
	mode_t mode = given < 0 ? MODE_DEFAULT : (mode_t)given & 07777;
	int r;

	r = mkdir(path, mode) < 0 ? -errno : 0;
	if (r == 0 || !params->options.recursive)
		return r;
	if (r == -EEXIST)
		return is_directory(path) ? 0 : r;
	return r == -ENOENT && *path ? make_all(path, mode) : r;
}

void call_mkdir(struct agent *agent, uint32_t id, struct rpc_mkdir *params)
{
	int r = make(agent->config.home, params);

	if (r < 0)
		agent_fail(agent, id, r, "mkdir '%s'", params->path);
	else
		agent_reply_void(agent, id);
}
