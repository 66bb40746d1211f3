#include "guest/oom_score.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* Needs rights over the whole machine: a virtual machine's agent has them. */
#define OWN_WANTED "-500"

static bool put(int fd, const char *text)
{
	size_t len = strlen(text);

	return pwrite(fd, text, len, 0) == (ssize_t)len;
}

void oom_score_open(struct oom_score *o, int fd, int child)
{
	ssize_t n;

	*o = (struct oom_score){.fd = fd};
	if (child != 0 && fd < 0)
		o->fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	if (o->fd < 0)
		return;
	(void)put(o->fd, OWN_WANTED);
	n = pread(o->fd, o->own, sizeof(o->own) - 1, 0);
	/* A score can be raised by anybody, but not below what it was. */
	if (n <= 0 || strtol(o->own, NULL, 10) >= child) {
		oom_score_close(o);
		return;
	}
	snprintf(o->child, sizeof(o->child), "%d", child);
}

void oom_score_close(struct oom_score *o)
{
	o->fd = fd_close(o->fd);
}

void oom_score_raise(const struct oom_score *o)
{
	if (o->fd >= 0)
		(void)put(o->fd, o->child);
}

void oom_score_restore(const struct oom_score *o)
{
	if (o->fd >= 0)
		(void)put(o->fd, o->own);
}
