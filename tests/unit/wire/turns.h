/* Runs a loop for a number of turns. Socket pairs pass bytes at once, so a few turns are enough for
 * everything that follows from what was done, without waiting for the clock. */
#pragma once

#include "base/mem.h"
#include "loop/loop.h"

struct turns {
	struct loop_defer defer;
	struct loop *loop;
	int left;
	const bool *until;
};

static void turns_step(struct loop_defer *defer)
{
	struct turns *t = container_of(defer, struct turns, defer);

	if (t->left-- <= 0 || (t->until && *t->until))
		loop_stop(t->loop, 0);
	else
		loop_defer(t->loop, &t->defer, turns_step);
}

/* At most n turns; fewer when *until (may be NULL) becomes true. */
static inline void turns_run(struct loop *loop, int n, const bool *until)
{
	struct turns t = {.loop = loop, .left = n, .until = until};

	loop_defer(loop, &t.defer, turns_step);
	loop_run(loop);
}
