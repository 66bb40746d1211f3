#include "guest/system_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define OPEN_FLAGS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

/* A descriptor of a regular file and its size, or negative errno. */
static int open_regular(const char *path, int flags, off_t *ret_size)
{
	auto_close int fd = open(path, flags | OPEN_FLAGS, 0644);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*ret_size = st.st_size;
	return take_fd(fd);
}

int system_file_read(const char *path, size_t max, char **ret_text, size_t *ret_len)
{
	auto_free char *text = NULL;
	off_t size = 0;
	auto_close int fd = open_regular(path, O_RDONLY, &size);
	int r;

	if (fd < 0)
		return fd;
	if ((uint64_t)size > max)
		return -EFBIG;
	text = mem_realloc(NULL, (size_t)size + 1);
	r = fd_read_all(fd, text, (size_t)size);
	if (r < 0)
		return r;
	text[size] = '\0';
	*ret_len = (size_t)size;
	*ret_text = take_ptr(text);
	return 0;
}

static int write_parts(int fd, const struct iovec *parts, size_t count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++)
		r = fd_write_all(fd, parts[i].iov_base, parts[i].iov_len);
	return r;
}

int system_file_replace(const char *path, const struct iovec *parts, size_t count)
{
	auto_free char *fresh = mem_printf("%s.warren-new", path);
	auto_close int fd = -EBADF;
	off_t size;
	int r;

	(void)unlink(fresh);
	fd = open_regular(fresh, O_WRONLY | O_CREAT | O_EXCL, &size);
	if (fd < 0)
		return fd;
	r = write_parts(fd, parts, count);
	if (r == 0 && rename(fresh, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(fresh);
	return r;
}

int system_file_link(const char *target, const char *path)
{
	char now[256];
	ssize_t n = readlink(path, now, sizeof(now));

	if (n == (ssize_t)strlen(target) && memcmp(now, target, (size_t)n) == 0)
		return 0;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return symlink(target, path) < 0 ? -errno : 0;
}

static int put_aside(const char *path)
{
	auto_free char *old = mem_printf("%s.1", path);

	return rename(path, old) < 0 ? -errno : 0;
}

int system_file_append(const char *path, const struct iovec *parts, size_t count, size_t max)
{
	const int flags = O_WRONLY | O_APPEND | O_CREAT;
	size_t len = 0;
	off_t size = 0;
	auto_close int fd = open_regular(path, flags, &size);
	int r;

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < count; i++)
		len += parts[i].iov_len;
	if (size > 0 && (uint64_t)size + len > max) {
		r = put_aside(path);
		if (r < 0)
			return r;
		fd_close(take_fd(fd));
		fd = open_regular(path, flags, &size);
		if (fd < 0)
			return fd;
	}
	return write_parts(fd, parts, count);
}
