/*
 * The event loop: one thread, one epoll. Every process of Warren, the agent too, is one of these.
 *
 * A turn: wait for events or the next timer; run io handlers; run due timers; run deferred work;
 * repeat. Handlers never block and never free an object that may still have an event in the
 * current batch: deleting a watch (loop_io_del) makes its pending event void, so freeing the
 * object that embeds it right afterwards is safe.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/list.h"

struct loop;

/* All allocation failures end the process; loop_new() fails with NULL and errno when the kernel
 * refuses an epoll instance. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);
/* Runs until loop_stop(). Returns the value given to it. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int code);
/* Monotonic nanoseconds, sampled once per turn. */
uint64_t loop_now(const struct loop *loop);

/* --- file descriptors --------------------------------------------------------------------- */

struct loop_io;
typedef void (*loop_io_fn)(struct loop_io *io, uint32_t events);

struct loop_io {
	struct loop *loop; /* NULL: not watched */
	int fd;            /* borrowed */
	uint32_t events;
	loop_io_fn fn;
};

/* Watches fd for EPOLLIN/EPOLLOUT/EPOLLRDHUP (level-triggered; EPOLLERR and EPOLLHUP always come).
 * fd is borrowed: delete the watch before closing it. 0 or negative errno. */
int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events, loop_io_fn fn);
/* Changes the mask; cheap when unchanged. */
int loop_io_set(struct loop_io *io, uint32_t events);
/* Stops watching; safe when not watched, and inside any handler. */
void loop_io_del(struct loop_io *io);

/* --- timers ------------------------------------------------------------------------------- */

struct loop_timer;
typedef void (*loop_timer_fn)(struct loop_timer *timer);

struct loop_timer {
	struct loop *loop; /* NULL: not armed */
	uint64_t deadline; /* monotonic ns */
	size_t slot;       /* private to the loop */
	loop_timer_fn fn;
};

/* Arms (or re-arms) a one-shot timer, delay in nanoseconds from now. */
void loop_timer_set(
	struct loop *loop, struct loop_timer *timer, uint64_t delay_ns, loop_timer_fn fn);
/* Safe when not armed. A timer is disarmed before its handler runs. */
void loop_timer_cancel(struct loop_timer *timer);
static inline bool loop_timer_armed(const struct loop_timer *timer)
{
	return timer->loop != NULL;
}

/* --- work at the end of the turn ------------------------------------------------------------ */

struct loop_defer;
typedef void (*loop_defer_fn)(struct loop_defer *defer);

struct loop_defer {
	struct list node; /* zero or list_init() before first use */
	loop_defer_fn fn;
};

/* Runs fn once at the end of this turn. Queuing a queued one again does nothing. */
void loop_defer(struct loop *loop, struct loop_defer *defer, loop_defer_fn fn);
void loop_defer_cancel(struct loop_defer *defer);

/* --- signals and children ------------------------------------------------------------------- */

typedef void (*loop_signal_fn)(struct loop *loop, int signo, void *data);

/* Blocks signo for the calling thread and delivers it through the loop. One handler per signal. It
 * stays blocked after loop_free() and in children: whoever executes a program unblocks it there.
 * 0 or negative errno. */
int loop_signal(struct loop *loop, int signo, loop_signal_fn fn, void *data);

struct loop_child;
/* status as of waitpid(2), or -1 when somebody else has reaped the child. */
typedef void (*loop_child_fn)(struct loop_child *child, int status);

struct loop_child {
	struct loop_io io; /* watches the pidfd */
	pid_t pid;
	int pidfd;
	loop_child_fn fn;
};

/* Watches a child of this process by pidfd and reaps it when it ends. Uses pidfd when >= 0 (taken
 * over), else opens one. 0 or negative errno. */
int loop_child_add(
	struct loop *loop, struct loop_child *child, pid_t pid, int pidfd, loop_child_fn fn);
/* Stops watching and closes the pidfd; the child is not reaped. */
void loop_child_del(struct loop_child *child);
