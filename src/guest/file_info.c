/* stat, lstat and symlink. */
#include <errno.h>
#include <fcntl.h>
/* musl has no statx(2) of its own before 1.2.5: the kernel's description and a raw call. */
#include <linux/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/mem.h"
#include "guest/calls.h"
#include "guest/path.h"

static int64_t nanoseconds(const struct statx_timestamp *t)
{
	int64_t ns;

	/* A file may claim any time at all. */
	if (__builtin_mul_overflow((int64_t)t->tv_sec, INT64_C(1000000000), &ns) ||
		__builtin_add_overflow(ns, (int64_t)t->tv_nsec, &ns))
		return t->tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

static int64_t smallest(int64_t a, int64_t b, int64_t c)
{
	int64_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

static void fill_info(const struct statx *st, struct rpc_file_info *info)
{
	unsigned type = st->stx_mode & S_IFMT;

	*info = (struct rpc_file_info){
		.is_file = type == S_IFREG,
		.is_directory = type == S_IFDIR,
		.is_symlink = type == S_IFLNK,
		.is_block_device = type == S_IFBLK,
		.is_char_device = type == S_IFCHR,
		.is_fifo = type == S_IFIFO,
		.is_socket = type == S_IFSOCK,
		.size = (int64_t)st->stx_size,
		.mtime = nanoseconds(&st->stx_mtime),
		.atime = nanoseconds(&st->stx_atime),
		.ctime = nanoseconds(&st->stx_ctime),
		.mode = st->stx_mode,
		.dev = (int64_t)makedev(st->stx_dev_major, st->stx_dev_minor),
		.ino = (int64_t)st->stx_ino,
		.nlink = st->stx_nlink,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		.rdev = (int64_t)makedev(st->stx_rdev_major, st->stx_rdev_minor),
		.blksize = st->stx_blksize,
		.blocks = (int64_t)st->stx_blocks,
	};
	info->birthtime = st->stx_mask & STATX_BTIME
				  ? nanoseconds(&st->stx_btime)
				  : smallest(info->mtime, info->atime, info->ctime);
}

static void stat_path(struct agent *agent, uint32_t id, const char *op, const char *name, int flags)
{
	auto_free char *path = path_resolve(agent->config.home, name);
	struct rpc_file_info info;
	struct statx st;

	if (syscall(SYS_statx, AT_FDCWD, path, flags | AT_NO_AUTOMOUNT,
		    STATX_BASIC_STATS | STATX_BTIME, &st) < 0) {
		agent_fail(agent, id, -errno, "%s '%s'", op, name);
		return;
	}
	fill_info(&st, &info);
	agent_reply(agent, id, &rpc_file_info_schema, &info);
}

void call_stat(struct agent *agent, uint32_t id, struct rpc_path *params)
{
	stat_path(agent, id, "stat", params->path, 0);
}

void call_lstat(struct agent *agent, uint32_t id, struct rpc_path *params)
{
	stat_path(agent, id, "lstat", params->path, AT_SYMLINK_NOFOLLOW);
}

void call_symlink(struct agent *agent, uint32_t id, struct rpc_symlink *params)
{
	auto_free char *path = path_resolve(agent->config.home, params->path);

	if (symlink(params->target, path) < 0)
		agent_fail(agent, id, -errno, "symlink '%s' -> '%s'", params->target, params->path);
	else
		agent_reply_void(agent, id);
}
