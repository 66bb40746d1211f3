#include "keeper/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static int close_range_of(unsigned first, unsigned last)
{
	if (first > last)
		return 0;
	return syscall(SYS_close_range, first, last, 0) < 0 ? -errno : 0;
}

int fds_close_except(int *keep, size_t count)
{
	unsigned from = 3;

	qsort(keep, count, sizeof(*keep), by_number);
	for (size_t i = 0; i < count; i++) {
		if (keep[i] < (int)from)
			continue;
		int r = close_range_of(from, (unsigned)keep[i] - 1);
		if (r < 0)
			return r;
		from = (unsigned)keep[i] + 1;
	}
	return close_range_of(from, ~0U);
}

int fds_open_here(int dir)
{
	struct stat was, is;
	char link[40], path[PATH_MAX];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	auto_close int fd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &is) < 0 || fstat(dir, &was) < 0)
		return -errno;
	return is.st_dev == was.st_dev && is.st_ino == was.st_ino ? take_fd(fd) : -ESTALE;
}
