#include "keeper/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"

/* The state folder belongs to the daemon's user; what it could put in the keeper's place must not
 * be followed. */
static int open_own_dir(int parent, const char *name)
{
	struct stat st;

	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	auto_close int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != 0 || (st.st_mode & 077) != 0)
		return -EPERM;
	return take_fd(fd);
}

static int take_lock(int dir, unsigned timeout_ms)
{
	uint64_t deadline = clock_mono_ns() + timeout_ms * CLOCK_MS;
	auto_close int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		if (clock_mono_ns() >= deadline)
			return -EBUSY;
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	return take_fd(fd);
}

static bool is_instance(const char *text, size_t len)
{
	return len >= STATE_INSTANCE_SIZE - 1 &&
	       strspn(text, "0123456789abcdef") == STATE_INSTANCE_SIZE - 1;
}

/* Written under another name first, so that a keeper killed meanwhile leaves no half of it. */
static int draw_instance(struct state *s)
{
	random_hex(s->instance, (STATE_INSTANCE_SIZE - 1) / 2);
	auto_close int fd = openat(s->dir, "instance.new",
		O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = fd_write_all(fd, s->instance, STATE_INSTANCE_SIZE - 1);
	if (r == 0 && renameat(s->dir, "instance.new", s->dir, "instance") < 0)
		r = -errno;
	return r;
}

static int read_instance(struct state *s)
{
	auto_free char *text = NULL;
	size_t len = 0;
	int r = fd_read_file(s->dir, "instance", 64, &text, &len);

	if (r == -ENOENT)
		return draw_instance(s);
	if (r < 0)
		return r;
	if (!is_instance(text, len))
		return draw_instance(s);
	memcpy(s->instance, text, STATE_INSTANCE_SIZE - 1);
	return 0;
}

static int open_all(struct state *s, int parent, unsigned timeout_ms, const char **ret_what)
{
	*ret_what = "open the keeper's state folder";
	s->dir = open_own_dir(parent, "keeper");
	if (s->dir < 0)
		return s->dir;
	*ret_what = "lock the keeper's state folder";
	s->lock = take_lock(s->dir, timeout_ms);
	if (s->lock < 0)
		return s->lock;
	*ret_what = "read the name of the instance";
	int r = read_instance(s);
	if (r < 0)
		return r;
	*ret_what = "open the folder for disks";
	s->disks = open_own_dir(s->dir, "disks");
	return s->disks < 0 ? s->disks : 0;
}

int state_open(struct state *s, int parent, unsigned timeout_ms, const char **ret_what)
{
	*s = (struct state){.dir = -EBADF, .lock = -EBADF, .disks = -EBADF};
	int r = open_all(s, parent, timeout_ms, ret_what);
	if (r < 0)
		state_close(s);
	return r;
}

void state_close(struct state *s)
{
	s->disks = fd_close(s->disks);
	s->lock = fd_close(s->lock);
	s->dir = fd_close(s->dir);
}
