#include "keeper/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"

#define DATA_MAX (8 << 20)

/* For file systems that know no nameless files. */
static int new_unlinked(int dir)
{
	char name[40] = "new-";

	random_hex(name + 4, 16);
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	(void)unlinkat(dir, name, 0);
	return fd;
}

int disk_new(int dir)
{
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return -errno;
	return new_unlinked(dir);
}

struct disk_range {
	off_t at;
	size_t len;
};

static bool is_zero(const uint8_t *data, size_t len)
{
	return len > 0 && data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

static int add_range(struct disk_template *t, off_t at, off_t end, size_t *total)
{
	size_t len = (size_t)(end - at);

	if (end - at > DATA_MAX || *total + len > DATA_MAX)
		return -EFBIG;
	t->data = mem_realloc(t->data, *total + len);
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(t->fd, t->data + *total + done, len - done, at + (off_t)done);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	/* Blocks that are allocated but hold nothing may as well be a hole. */
	if (is_zero(t->data + *total, len))
		return 0;
	t->ranges = mem_realloc(t->ranges, (t->count + 1) * sizeof(*t->ranges));
	t->ranges[t->count++] = (struct disk_range){at, len};
	*total += len;
	return 0;
}

static int read_ranges(struct disk_template *t)
{
	size_t total = 0;

	for (off_t at = 0; at < t->size;) {
		off_t data = lseek(t->fd, at, SEEK_DATA);

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		at = lseek(t->fd, data, SEEK_HOLE);
		if (at < 0)
			return -errno;
		int r = add_range(t, data, at, &total);
		if (r < 0)
			return r;
	}
	return 0;
}

int disk_template_open(struct disk_template *t, const char *path)
{
	struct stat st;

	*t = (struct disk_template){.fd = open(path, O_RDONLY | O_CLOEXEC)};
	if (t->fd < 0 || fstat(t->fd, &st) < 0)
		return -errno;
	t->size = st.st_size;
	return read_ranges(t);
}

void disk_template_close(struct disk_template *t)
{
	t->fd = fd_close(t->fd);
	free(take_ptr(t->ranges));
	free(take_ptr(t->data));
}

static int write_range(int disk, const struct disk_range *range, const uint8_t *data)
{
	for (size_t done = 0; done < range->len;) {
		ssize_t n = pwrite(disk, data + done, range->len - done, range->at + (off_t)done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

int disk_clone(int disk, const struct disk_template *t)
{
	const uint8_t *data = t->data;

	if (ioctl(disk, FICLONE, t->fd) == 0)
		return 0;
	if (ftruncate(disk, t->size) < 0)
		return -errno;
	for (size_t i = 0; i < t->count; i++) {
		int r = write_range(disk, &t->ranges[i], data);
		if (r < 0)
			return r;
		data += t->ranges[i].len;
	}
	return 0;
}
