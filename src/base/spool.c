/*
 * The bytes in order: head, then the file from file_pos to file_end, then tail. While file and
 * tail are empty, new bytes go to head; otherwise to tail, which is written out as it fills up.
 * When head is used up it is refilled from the file, or, when that is used up too, by swapping it
 * with tail.
 */
#include "base/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/random.h"

/* Space of bytes that were read back is given back to the file system in such steps. */
#define PUNCH_STEP (4 * 1024 * 1024)

void spool_init(struct spool *s, int dir_fd, size_t mem_max, uint64_t max)
{
	*s = (struct spool){
		.dir_fd = dir_fd,
		.fd = -EBADF,
		.mem_max = mem_max > 0 ? mem_max : 1,
		.max = max,
	};
	if (dir_fd < 0)
		s->mem_max = max < SIZE_MAX ? (size_t)max : SIZE_MAX;
	buf_init(&s->head, s->mem_max);
	buf_init(&s->tail, s->mem_max);
}

void spool_done(struct spool *s)
{
	buf_done(&s->head);
	buf_done(&s->tail);
	/* A zeroed struct has fd 0 but never held a file. */
	if (s->mem_max > 0)
		fd_close(s->fd);
	*s = (struct spool){.fd = -EBADF, .dir_fd = -1};
}

/* For file systems without O_TMPFILE. */
static int open_unlinked(int dir_fd)
{
	char name[32] = ".spool-";

	random_hex(name + 7, 8);
	int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (unlinkat(dir_fd, name, 0) < 0) {
		int err = -errno;

		fd_close(fd);
		return err;
	}
	return fd;
}

static int open_file(struct spool *s)
{
	if (s->fd >= 0)
		return 0;
	int fd = openat(s->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL
			     ? open_unlinked(s->dir_fd)
			     : -errno;
	if (fd < 0)
		return fd;
	s->fd = fd;
	return 0;
}

static int file_write(struct spool *s, const uint8_t *data, size_t len)
{
	int r = open_file(s);

	while (r == 0 && len > 0) {
		ssize_t n = pwrite(s->fd, data, len, (off_t)s->file_end);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : -EIO;
			break;
		}
		data += n;
		len -= (size_t)n;
		s->file_end += (uint64_t)n;
	}
	return r;
}

static bool all_in_head(const struct spool *s)
{
	return s->file_pos == s->file_end && s->tail.len == 0;
}

int spool_push(struct spool *s, const void *data, size_t len)
{
	int r;

	if (len > s->max - s->len)
		return -ENOBUFS;
	if (all_in_head(s) && len <= s->mem_max - s->head.len) {
		r = buf_append(&s->head, data, len);
	} else if (s->dir_fd < 0) {
		r = -ENOBUFS;
	} else if (len <= s->mem_max - s->tail.len) {
		r = buf_append(&s->tail, data, len);
	} else {
		r = file_write(s, buf_data(&s->tail), s->tail.len);
		if (r < 0)
			return r;
		buf_clear(&s->tail);
		r = len <= s->mem_max / 2 ? buf_append(&s->tail, data, len)
					  : file_write(s, data, len);
	}
	if (r == 0)
		s->len += len;
	return r;
}

/* Gives the space of everything read so far back. File systems that cannot are no worse off than
 * with a file that was never punched. */
static void trim_file(struct spool *s)
{
	if (s->file_pos == s->file_end) {
		if (ftruncate(s->fd, 0) == 0) {
			s->file_pos = 0;
			s->file_end = 0;
		}
		return;
	}
	uint64_t before = s->file_pos / PUNCH_STEP * PUNCH_STEP;
	if (before > 0 && s->file_pos - before < s->mem_max)
		(void)fallocate(
			s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)before);
}

static int refill_from_file(struct spool *s)
{
	uint64_t left = s->file_end - s->file_pos;
	size_t want = left < s->mem_max ? (size_t)left : s->mem_max;
	uint8_t *room = buf_reserve(&s->head, want, NULL);
	ssize_t n;

	if (room == NULL)
		return -ENOMEM;
	do {
		n = pread(s->fd, room, want, (off_t)s->file_pos);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	buf_commit(&s->head, (size_t)n);
	s->file_pos += (uint64_t)n;
	trim_file(s);
	return 0;
}

ssize_t spool_peek(struct spool *s, const uint8_t **ret_data)
{
	if (s->head.len == 0 && s->file_pos < s->file_end) {
		int r = refill_from_file(s);

		if (r < 0)
			return r;
	} else if (s->head.len == 0 && s->tail.len > 0) {
		struct buf empty = s->head;

		s->head = s->tail;
		s->tail = empty;
	}
	*ret_data = buf_data(&s->head);
	return (ssize_t)s->head.len;
}

void spool_consume(struct spool *s, size_t n)
{
	buf_consume(&s->head, n);
	s->len -= n;
}
