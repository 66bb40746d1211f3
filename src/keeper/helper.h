/*
 * A program that the keeper keeps running beside itself: when it ends, it is started again, after
 * 100 ms at first, and after twice as long, up to 5 s, each time that it has not lasted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"

struct helper;

struct helper_ops {
	const char *name; /* for the log */
	/* Executes the program: its pid or a negative errno. */
	pid_t (*start)(struct helper *h);
	/* It has ended and been reaped. NULL: nothing to do. */
	void (*on_end)(struct helper *h);
};

struct helper {
	struct loop *loop; /* NULL: not started */
	const struct helper_ops *ops;
	struct loop_child child;
	bool runs;
	struct loop_timer again;
	uint64_t since;
	unsigned failures; /* in a row */
};

/* A failure of this first start is returned and nothing is tried again. Blocks until the program
 * has been executed. */
int helper_start(struct helper *h, struct loop *loop, const struct helper_ops *ops);
/* Kills it, as one that must start anew. */
void helper_kill(struct helper *h);
/* Kills it for good and waits for its end; on_end does not come. Accepts a zeroed one. */
void helper_stop(struct helper *h);
