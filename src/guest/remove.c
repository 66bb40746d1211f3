/*
 * remove: one file or folder, or a whole tree.
 *
 * A tree is walked depth first with descriptors, never by path, and never through a link, while
 * its owner may be changing it. At most OPEN_LEVELS folders of the way down are kept open; a folder
 * that was closed meanwhile is found again through ".." and must be the one it was. The walk works
 * in slices between which the loop turns.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "guest/calls.h"
#include "guest/path.h"

/* Steps (entries looked at) per turn. */
#define STEPS_TURN 256
#define OPEN_LEVELS 48
#define LEVELS_MAX 65536

struct level {
	struct level *up;
	DIR *dir; /* NULL: closed to save descriptors */
	dev_t dev;
	ino_t ino;
	bool removed_some; /* in this pass over the folder */
	char name[];       /* in the folder above */
};

struct remover {
	struct request req;
	struct loop_timer timer;
	struct level *level; /* the deepest; NULL: all below the top is gone */
	unsigned depth;
	char *name; /* as the client gave it */
	char *path;
};

static void level_pop(struct remover *rm)
{
	struct level *level = rm->level;

	rm->level = level->up;
	rm->depth--;
	if (level->dir)
		closedir(level->dir);
	free(level);
}

static void remover_free(struct remover *rm)
{
	while (rm->level)
		level_pop(rm);
	loop_timer_cancel(&rm->timer);
	request_close(&rm->req);
	free(rm->name);
	free(rm->path);
	free(rm);
}

static void remover_end(struct remover *rm, int err)
{
	if (err < 0)
		agent_fail(rm->req.agent, rm->req.id, err, "remove '%s'", rm->name);
	else
		agent_reply_void(rm->req.agent, rm->req.id);
	remover_free(rm);
}

static void remover_cancel(struct request *req)
{
	remover_end(container_of(req, struct remover, req), -ECANCELED);
}

static void remover_drop(struct request *req)
{
	remover_free(container_of(req, struct remover, req));
}

static const struct request_ops remover_ops = {
	.cancel = remover_cancel,
	.drop = remover_drop,
};

/* --- the walk --------------------------------------------------------------------------------- */

/* NULL and errno on failure. */
static DIR *open_folder(int at, const char *name, struct stat *ret_st)
{
	auto_close int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = NULL;

	if (fd >= 0 && fstat(fd, ret_st) == 0)
		dir = fdopendir(fd);
	if (dir)
		take_fd(fd);
	return dir;
}

/* The folder OPEN_LEVELS above the deepest one need not stay open. */
static void close_far(struct remover *rm)
{
	struct level *level = rm->level;

	for (unsigned i = 0; i < OPEN_LEVELS && level; i++)
		level = level->up;
	if (level && level->dir) {
		closedir(level->dir);
		level->dir = NULL;
	}
}

static int descend(struct remover *rm, int at, const char *name)
{
	size_t len = strlen(name);
	struct level *level;
	struct stat st = {0};
	DIR *dir;

	if (rm->depth >= LEVELS_MAX)
		return -ENAMETOOLONG;
	dir = open_folder(at, name, &st);
	if (!dir)
		return -errno;
	level = mem_zalloc(sizeof(*level) + len + 1);
	memcpy(level->name, name, len + 1);
	level->dir = dir;
	level->dev = st.st_dev;
	level->ino = st.st_ino;
	level->up = rm->level;
	rm->level = level;
	rm->depth++;
	close_far(rm);
	return 0;
}

/* Opens the folder above the deepest one again. It is read from its start, which is right: what
 * was removed does not come again. */
static int reopen_up(struct level *level)
{
	struct level *up = level->up;
	struct stat st = {0};
	DIR *dir;

	if (up->dir)
		return 0;
	dir = open_folder(dirfd(level->dir), "..", &st);
	if (!dir)
		return -errno;
	if (st.st_dev != up->dev || st.st_ino != up->ino) {
		closedir(dir);
		return -EBUSY; /* somebody has moved the tree apart under us */
	}
	up->dir = dir;
	return 0;
}

/* The deepest folder has been read to its end. */
static int ascend(struct remover *rm)
{
	struct level *level = rm->level;
	const struct level *up = level->up;
	int r = 0;

	if (up)
		r = reopen_up(level);
	if (r < 0)
		return r;
	/* By path only at the top; what is there by now goes only when it is an empty folder. */
	if (unlinkat(up ? dirfd(up->dir) : AT_FDCWD, up ? level->name : rm->path, AT_REMOVEDIR) < 0)
		r = -errno;
	/* Some file systems skip entries when others are removed while reading. */
	if ((r == -ENOTEMPTY || r == -EEXIST) && level->removed_some) {
		level->removed_some = false;
		rewinddir(level->dir);
		return 0;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	level_pop(rm);
	if (rm->level)
		rm->level->removed_some = true;
	return 0;
}

static int remove_folder(struct remover *rm, int at, const char *name)
{
	int r = descend(rm, at, name);

	if (r == 0)
		return 0;
	/* A folder that may not be read may still be empty. */
	if (r == -EACCES && unlinkat(at, name, AT_REMOVEDIR) < 0)
		return r;
	/* One that is gone, or has become something else, is met again in the next pass. */
	if (r != -EACCES && r != -ENOENT && r != -ENOTDIR && r != -ELOOP)
		return r;
	rm->level->removed_some = true;
	return 0;
}

static int remove_entry(struct remover *rm, const struct dirent *e)
{
	int at = dirfd(rm->level->dir);

	if (e->d_type == DT_DIR)
		return remove_folder(rm, at, e->d_name);
	if (unlinkat(at, e->d_name, 0) == 0 || errno == ENOENT) {
		rm->level->removed_some = true;
		return 0;
	}
	/* Not all file systems say what an entry is, or it is that no more. */
	return errno == EISDIR ? remove_folder(rm, at, e->d_name) : -errno;
}

static int step(struct remover *rm)
{
	struct dirent *e;

	errno = 0;
	e = readdir(rm->level->dir);
	if (!e)
		return errno ? -errno : ascend(rm);
	if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
		return 0;
	return remove_entry(rm, e);
}

static void turn(struct loop_timer *timer)
{
	struct remover *rm = container_of(timer, struct remover, timer);
	int r = 0;

	for (int i = 0; i < STEPS_TURN && r == 0 && rm->level; i++)
		r = step(rm);
	if (r < 0 || !rm->level)
		remover_end(rm, r);
	else
		loop_timer_set(rm->req.agent->loop, timer, 0, turn);
}

/* --- the request ------------------------------------------------------------------------------ */

/* Removes what is not a tree. 1: it is one. */
static int remove_one(struct remover *rm, bool recursive)
{
	auto_free char *stripped = mem_strdup(rm->path);
	struct stat st = {0};

	/* "link/" means the folder behind the link, which a walk must not enter. */
	path_strip(stripped);
	if (lstat(stripped, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return unlink(rm->path) < 0 ? -errno : 0;
	if (rmdir(rm->path) == 0)
		return 0;
	return recursive && (errno == ENOTEMPTY || errno == EEXIST) ? 1 : -errno;
}

void call_remove(struct agent *agent, uint32_t id, struct rpc_remove *params)
{
	struct remover *rm = mem_new(struct remover);
	int r;

	rm->name = take_ptr(params->path);
	rm->path = path_resolve(agent->config.home, rm->name);
	r = remove_one(rm, params->options.recursive);
	if (r > 0)
		r = request_open(agent, &rm->req, id, &remover_ops);
	else if (r == 0) {
		agent_reply_void(agent, id);
		remover_free(rm);
		return;
	}
	if (r == 0) {
		path_strip(rm->path);
		r = descend(rm, AT_FDCWD, rm->path);
	}
	if (r < 0) {
		agent_fail(agent, id, r, "remove '%s'", rm->name);
		remover_free(rm);
		return;
	}
	turn(&rm->timer);
}
