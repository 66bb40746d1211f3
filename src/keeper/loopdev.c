#include "keeper/loopdev.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

/* The number in "loop7", -1 for anything else. */
static int parse_name(const char *name)
{
	char *end;

	if (strncmp(name, "loop", 4) != 0 || name[4] < '0' || name[4] > '9')
		return -1;
	long n = strtol(name + 4, &end, 10);
	return *end == '\0' && n < LOOPDEV_MAX ? (int)n : -1;
}

/* Numbers start above what there is now. */
static int start_numbers(struct loopdevs *l)
{
	unsigned first = 0;
	DIR *dir = opendir("/sys/block");

	if (dir == NULL)
		return -errno;
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		int n = parse_name(e->d_name);

		if (n >= 0 && (unsigned)n >= first)
			first = (unsigned)n + 1;
	}
	closedir(dir);
	free(take_ptr(l->state));
	l->first = l->top = first;
	return 0;
}

int loopdevs_open(struct loopdevs *l, int state_fd, int nodes_fd)
{
	*l = (struct loopdevs){.control = -EBADF, .record = -EBADF, .nodes = nodes_fd};
	auto_close int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return -errno;
	auto_close int record =
		openat(state_fd, "loops", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (record < 0)
		return -errno;
	int r = start_numbers(l);
	if (r < 0)
		return r;
	l->control = take_fd(control);
	l->record = take_fd(record);
	return 0;
}

void loopdevs_close(struct loopdevs *l)
{
	l->control = fd_close(l->control);
	l->record = fd_close(l->record);
	free(take_ptr(l->state));
}

static int record(const struct loopdevs *l, int number, bool added)
{
	uint8_t byte = added ? 1 : 0;

	return pwrite(l->record, &byte, 1, number) == 1 ? 0 : -EIO;
}

static int remove_node(const struct loopdevs *l, int number)
{
	if (ioctl(l->control, LOOP_CTL_REMOVE, number) < 0 && errno != ENODEV)
		return -errno;
	(void)unlinkat(l->nodes, loopdev_name(number).text, 0);
	return record(l, number, false);
}

/* A device is freed by a worker of the kernel some time after its last user has gone. */
int loopdevs_sweep(struct loopdevs *l, unsigned timeout_ms)
{
	uint64_t deadline = clock_mono_ns() + timeout_ms * CLOCK_MS;
	struct stat st;
	int r = 0;

	if (fstat(l->record, &st) < 0)
		return -errno;
	for (off_t i = 0; i < st.st_size && i < LOOPDEV_MAX; i++) {
		uint8_t byte = 0;

		if (pread(l->record, &byte, 1, i) != 1 || byte == 0)
			continue;
		int err;
		while ((err = remove_node(l, (int)i)) == -EBUSY && clock_mono_ns() < deadline)
			nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
		if (err < 0)
			r = err;
	}
	if (r == 0 && ftruncate(l->record, 0) < 0)
		r = -errno;
	return r < 0 ? r : start_numbers(l);
}

struct loopdev_name loopdev_name(int number)
{
	struct loopdev_name name;

	snprintf(name.text, sizeof(name.text), "loop%d", number);
	return name;
}

/* The minor number is not the device's number when the module was loaded with max_part. */
static int make_node(const struct loopdevs *l, int number)
{
	char path[64];
	auto_free char *text = NULL;
	char *end;

	snprintf(path, sizeof(path), "/sys/block/loop%d/dev", number);
	int r = fd_read_file(AT_FDCWD, path, 64, &text, NULL);
	if (r < 0)
		return r;
	unsigned major_no = (unsigned)strtoul(text, &end, 10);
	if (*end != ':')
		return -EINVAL;
	unsigned minor_no = (unsigned)strtoul(end + 1, NULL, 10);
	if (mknodat(l->nodes, loopdev_name(number).text, S_IFBLK | 0600,
		    makedev(major_no, minor_no)) < 0 &&
		errno != EEXIST)
		return -errno;
	return 0;
}

/* The record comes first: a keeper killed in between leaves a number that its successor tries to
 * remove in vain, rather than a device nobody knows of. */
static int add(struct loopdevs *l, int number)
{
	int r = record(l, number, true);

	if (r < 0)
		return r;
	if (ioctl(l->control, LOOP_CTL_ADD, number) < 0) {
		r = -errno;
		(void)record(l, number, false);
		return r;
	}
	r = make_node(l, number);
	if (r < 0)
		(void)remove_node(l, number);
	return r;
}

int loopdev_lend(struct loopdevs *l)
{
	for (unsigned i = l->first; i < l->top; i++) {
		uint8_t *state = &l->state[i - l->first];

		/* Somebody else may have found a returned device free and bound it. */
		if (*state == LOOPDEV_FREE && !loopdev_bound(l, (int)i)) {
			*state = LOOPDEV_LENT;
			return (int)i;
		}
	}
	while (l->top < LOOPDEV_MAX) {
		unsigned number = l->top++;

		l->state = mem_realloc(l->state, l->top - l->first);
		l->state[number - l->first] = LOOPDEV_ABSENT;
		int r = add(l, (int)number);
		if (r == 0) {
			l->state[number - l->first] = LOOPDEV_LENT;
			return (int)number;
		}
		if (r != -EEXIST)
			return r;
	}
	return -ENOSPC;
}

void loopdev_return(struct loopdevs *l, int number)
{
	assert(number >= 0 && (unsigned)number >= l->first && (unsigned)number < l->top);
	l->state[(unsigned)number - l->first] = LOOPDEV_FREE;
}

static int open_node(const struct loopdevs *l, int number, int flags)
{
	int fd = openat(l->nodes, loopdev_name(number).text, flags | O_CLOEXEC);

	return fd >= 0 ? fd : -errno;
}

bool loopdev_bound(const struct loopdevs *l, int number)
{
	struct loop_info64 info;
	auto_close int fd = open_node(l, number, O_RDONLY);

	return fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) == 0 || errno != ENXIO;
}

int loopdev_attach(const struct loopdevs *l, int number, int backing, bool read_only)
{
	struct loop_config config = {
		.fd = (uint32_t)backing,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0),
	};
	auto_close int fd = open_node(l, number, read_only ? O_RDONLY : O_RDWR);

	if (fd < 0)
		return fd;
	if (ioctl(fd, LOOP_CONFIGURE, &config) < 0)
		return -errno;
	return take_fd(fd);
}

int loopdev_set_direct(const struct loopdevs *l, int number)
{
	auto_close int fd = open_node(l, number, O_RDONLY);

	if (fd < 0)
		return fd;
	return ioctl(fd, LOOP_SET_DIRECT_IO, 1UL) < 0 ? -errno : 0;
}
