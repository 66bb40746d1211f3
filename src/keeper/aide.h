/*
 * Short-lived children of a machine's first process that do one thing beside it, in its own memory
 * and with its descriptors. As such a child has credentials and a place in the process tree of its
 * own, it can do what the first process must not do to itself, or wait in its stead.
 */
#pragma once

#include <sys/types.h>

#define AIDE_STACK_SIZE 16384

struct aide {
	pid_t pid; /* 0: none */
	int (*fn)(void *data);
	void *data;
	int result;
	char stack[AIDE_STACK_SIZE] __attribute__((aligned(16)));
};

/* Runs fn(data) in a child. It may use system calls, snprintf() and the helpers of base; memory of
 * the heap is the parent's alone. a and data stay in use until aide_join(). 0 or a negative errno.
 */
int aide_start(struct aide *a, int (*fn)(void *data), void *data);
/* Waits for its end: what fn returned. -ECHILD when it was killed or there is none. */
int aide_join(struct aide *a);
