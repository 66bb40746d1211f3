/*
 * Runs a fuzzer over files instead of random inputs: every argument is a file or a folder of
 * files. Each input lives in its own heap block of exactly its size, so that a sanitizer sees the
 * first byte read past the end.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX (16 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_fd(int fd, const char *name)
{
	struct stat st;
	size_t done = 0;

	if (fstat(fd, &st) < 0 || st.st_size > INPUT_MAX) {
		fprintf(stderr, "%s: cannot be used as an input\n", name);
		return -1;
	}
	size_t size = (size_t)st.st_size;
	uint8_t *data = malloc(size > 0 ? size : 1);
	if (data == NULL)
		return -1;
	while (done < size) {
		ssize_t n = read(fd, data + done, size - done);
		if (n <= 0) {
			fprintf(stderr, "%s: %s\n", name, n < 0 ? strerror(errno) : "short read");
			free(data);
			return -1;
		}
		done += (size_t)n;
	}
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 1;
}

static int replay_at(int dir_fd, const char *name);

static int replay_dir(int fd)
{
	DIR *dir = fdopendir(fd);
	int total = 0;

	if (dir == NULL) {
		close(fd);
		return -1;
	}
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		int n = replay_at(dirfd(dir), e->d_name);
		if (n < 0) {
			total = -1;
			break;
		}
		total += n;
	}
	closedir(dir);
	return total;
}

/* How many inputs ran, or -1. */
static int replay_at(int dir_fd, const char *name)
{
	struct stat st;
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		fprintf(stderr, "%s: %s\n", name, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		return replay_dir(fd);
	int n = replay_fd(fd, name);
	close(fd);
	return n;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay_at(AT_FDCWD, argv[i]);
		if (n < 0)
			return 1;
		total += n;
	}
	printf("%d inputs\n", total);
	if (total == 0) {
		fprintf(stderr, "no input to replay\n");
		return 1;
	}
	return 0;
}
