#include "keeper/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/random.h"

#define COPY_BYTES 65536

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

static int copy_by_hand(int from, int to, off_t at, off_t end)
{
	auto_free uint8_t *buf = mem_zalloc(COPY_BYTES);

	while (at < end) {
		size_t want = end - at < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
		ssize_t n = pread(from, buf, want, at);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t done = 0; done < n;) {
			ssize_t w = pwrite(to, buf + done, (size_t)(n - done), at + done);

			if (w < 0)
				return -errno;
			done += w;
		}
		at += n;
	}
	return 0;
}

static int copy_range(int from, int to, off_t at, off_t end)
{
	while (at < end) {
		off_t in = at, out = at;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);

		if (n < 0)
			return copy_by_hand(from, to, at, end);
		if (n == 0)
			return 0;
		at += n;
	}
	return 0;
}

int disk_clone(int disk, int template_fd)
{
	struct stat st;

	if (ioctl(disk, FICLONE, template_fd) == 0)
		return 0;
	if (fstat(template_fd, &st) < 0 || ftruncate(disk, st.st_size) < 0)
		return -errno;
	for (off_t at = 0; at < st.st_size;) {
		off_t data = lseek(template_fd, at, SEEK_DATA);

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		off_t hole = lseek(template_fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		int r = copy_range(template_fd, disk, data, hole);
		if (r < 0)
			return r;
		at = hole;
	}
	return 0;
}
