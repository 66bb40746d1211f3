/* A folder of its own for a test, removed at the end. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "unit.h"

struct folder {
	char path[64];
	int fd;
};

static inline void folder_make(struct folder *f)
{
	snprintf(f->path, sizeof(f->path), "/tmp/warren-test-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->fd >= 0);
}

/* names: what the test has made in it, children before parents, NULL at the end. */
static inline void folder_remove(struct folder *f, const char *const *names)
{
	for (; *names != NULL; names++) {
		if (unlinkat(f->fd, *names, 0) < 0)
			(void)unlinkat(f->fd, *names, AT_REMOVEDIR);
	}
	close(f->fd);
	assert_int_equal(rmdir(f->path), 0);
}
