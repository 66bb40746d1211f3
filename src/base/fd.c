#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define FDS_MAX 8

int fd_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;

		close(fd);
		errno = saved;
	}
	return -EBADF;
}

static int change_flag(int fd, int get, int set, int flag, bool on)
{
	int old = fcntl(fd, get);

	if (old < 0)
		return -errno;
	int new = on ? old | flag : old & ~flag;
	if (new != old && fcntl(fd, set, new) < 0)
		return -errno;
	return 0;
}

int fd_set_nonblock(int fd, bool on)
{
	return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_cloexec(int fd, bool on)
{
	return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

/* A descriptor that somebody made non-blocking is waited for. */
static int wait_ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

int fd_write_all(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n >= 0) {
			at += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		int r = errno == EAGAIN ? wait_ready(fd, POLLOUT) : -errno;
		if (r < 0)
			return r;
	}
	return 0;
}

int fd_read_all(int fd, void *data, size_t len)
{
	uint8_t *at = data;

	while (len > 0) {
		ssize_t n = read(fd, at, len);

		if (n == 0)
			return -EPIPE;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		int r = errno == EAGAIN ? wait_ready(fd, POLLIN) : -errno;
		if (r < 0)
			return r;
	}
	return 0;
}

/* Reads until the end of the file, growing as needed: the sizes that procfs and sysfs report mean
 * nothing. */
static int read_text(int fd, size_t max, char **ret_text, size_t *ret_len)
{
	size_t cap = 4096;
	size_t len = 0;
	char *text = malloc(cap);

	while (text != NULL) {
		ssize_t n = read(fd, text + len, cap - 1 - len);
		int r = n < 0 && errno != EINTR ? -errno : 0;

		if (n > 0)
			len += (size_t)n;
		if (len > max)
			r = -EFBIG;
		if (r < 0) {
			free(text);
			return r;
		}
		if (n == 0) {
			text[len] = '\0';
			*ret_text = text;
			if (ret_len != NULL)
				*ret_len = len;
			return 0;
		}
		if (len == cap - 1) {
			char *bigger = realloc(text, cap * 2);

			if (bigger == NULL)
				break;
			text = bigger;
			cap *= 2;
		}
	}
	free(text);
	return -ENOMEM;
}

int fd_read_file(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_len)
{
	auto_close int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return read_text(fd, max, ret_text, ret_len);
}

int fd_write_file(int dir_fd, const char *path, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;

	auto_close int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = write(fd, text, len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

union control {
	struct cmsghdr align;
	char raw[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

int fd_send_msg(int sock, const void *data, size_t len, const int *fds, size_t nfds)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	union control control = {0};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (nfds > FDS_MAX)
		return -EINVAL;
	if (nfds > 0) {
		msg.msg_control = control.raw;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* Cannot happen where messages are kept whole; on a byte stream it would tear one apart. */
	return (size_t)n == len ? 0 : -EIO;
}

/* Copies the descriptors of one control message; those beyond room are closed. Returns how many
 * there were. */
static size_t take_fds(const struct cmsghdr *c, int *fds, size_t room)
{
	size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, (const char *)CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		if (i < room)
			fds[i] = fd;
		else
			fd_close(fd);
	}
	return count;
}

ssize_t fd_recv_msg(int sock, void *data, size_t size, int *fds, size_t *ret_nfds)
{
	struct iovec iov = {.iov_base = data, .iov_len = size};
	union control control = {0};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.raw,
		.msg_controllen = sizeof(control.raw),
	};
	size_t room = ret_nfds != NULL ? *ret_nfds : 0;
	size_t count = 0;
	ssize_t n;

	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* The kernel puts all descriptors of a message into one control message, and nothing else
	 * is asked for on these sockets; so there is no second one to look for. */
	const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		count = take_fds(c, fds, room);
	if (count > room || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		for (size_t i = 0; i < count && i < room; i++)
			fds[i] = fd_close(fds[i]);
		return -EMSGSIZE;
	}
	if (ret_nfds != NULL)
		*ret_nfds = count;
	return n;
}

static int close_listed(int first)
{
	DIR *dir = opendir("/proc/self/fd");

	if (dir == NULL)
		return -errno;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		char *end;
		long fd = strtol(e->d_name, &end, 10);

		if (end != e->d_name && *end == '\0' && fd >= first && fd <= INT_MAX &&
			fd != dirfd(dir))
			close((int)fd);
	}
	closedir(dir);
	return 0;
}

int fd_close_from(int first)
{
	if (first < 0)
		return -EINVAL;
	if (syscall(SYS_close_range, (unsigned)first, ~0U, 0) == 0)
		return 0;
	return errno == ENOSYS || errno == EPERM ? close_listed(first) : -errno;
}
