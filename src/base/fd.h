/* File descriptors: ownership, whole reads and writes, passing over unix sockets. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#define auto_close __attribute__((cleanup(fd_close_ptr)))

/* The value of fd variable F, leaving -EBADF behind: marks a move of ownership. */
#define take_fd(f) \
	({ \
		int *take_f_ = &(f); \
		int take_v_ = *take_f_; \
		*take_f_ = -EBADF; \
		take_v_; \
	})

/* Closes when >= 0, keeps errno, returns -EBADF. */
int fd_close(int fd);
static inline void fd_close_ptr(int *fd)
{
	*fd = fd_close(*fd);
}

/* All: 0 or negative errno. */
int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);
/* Blocking helpers: all bytes or an error (-EPIPE for an early end of file in fd_read_all). */
int fd_write_all(int fd, const void *data, size_t len);
int fd_read_all(int fd, void *data, size_t len);
/* Reads a small file (up to max bytes, else -EFBIG) into a NUL-terminated heap string.
 * dir_fd may be AT_FDCWD. */
int fd_read_file(int dir_fd, const char *path, size_t max, char **ret_text, size_t *ret_len);
/* Writes a file in one write(2) without creating it: for cgroup, proc and sysfs. */
int fd_write_file(int dir_fd, const char *path, const char *text);

/* Sends one message with up to 8 descriptors (borrowed). 0 or negative errno (-EAGAIN). */
int fd_send_msg(int sock, const void *data, size_t len, const int *fds, size_t nfds);
/* Receives one message: returns its length (0: end of file) or negative errno. Received
 * descriptors are close-on-exec and owned by the caller; *ret_nfds on input is the room in fds.
 * A truncated message or descriptor list is -EMSGSIZE (received descriptors are closed). */
ssize_t fd_recv_msg(int sock, void *data, size_t size, int *fds, size_t *ret_nfds);

/* Closes every descriptor from first on. */
int fd_close_from(int first);
