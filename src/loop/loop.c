#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#define BATCH_MAX 128
#define SIGNALS_MAX 65
/* After so long without an event a process is idle and gives memory back. */
#define IDLE_MS 250

struct signal_slot {
	loop_signal_fn fn;
	void *data;
};

struct loop {
	int epoll_fd;
	bool stopped;
	bool trimmed; /* since the last event */
	int code;
	uint64_t now;

	/* The batch being handled: loop_io_del() voids entries from batch_at on. */
	struct epoll_event batch[BATCH_MAX];
	int batch_at;
	int batch_len;

	/* Binary heap by deadline; timer->slot is the index. */
	struct loop_timer **timers;
	size_t timer_count;
	size_t timer_room;

	struct list deferred;

	int signal_fd;
	struct loop_io signal_io;
	sigset_t signal_mask;
	struct signal_slot signals[SIGNALS_MAX];
};

struct loop *loop_new(void)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	if (epoll_fd < 0)
		return NULL;
	struct loop *loop = mem_new(struct loop);
	loop->epoll_fd = epoll_fd;
	loop->signal_fd = -EBADF;
	loop->now = clock_mono_ns();
	list_init(&loop->deferred);
	sigemptyset(&loop->signal_mask);
	return loop;
}

void loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	while (loop->timer_count > 0)
		loop_timer_cancel(loop->timers[0]);
	while (!list_empty(&loop->deferred))
		list_del(loop->deferred.next);
	loop_io_del(&loop->signal_io);
	fd_close(loop->signal_fd);
	fd_close(loop->epoll_fd);
	free(loop->timers);
	free(loop);
}

void loop_stop(struct loop *loop, int code)
{
	loop->stopped = true;
	loop->code = code;
}

uint64_t loop_now(const struct loop *loop)
{
	return loop->now;
}

/* --- file descriptors --------------------------------------------------------------------- */

static int control(struct loop_io *io, int op, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = io};

	return epoll_ctl(io->loop->epoll_fd, op, io->fd, &event) < 0 ? -errno : 0;
}

int loop_io_add(struct loop *loop, struct loop_io *io, int fd, uint32_t events, loop_io_fn fn)
{
	struct loop_io added = {.loop = loop, .fd = fd, .events = events, .fn = fn};
	struct epoll_event event = {.events = events, .data.ptr = io};

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	*io = added;
	return 0;
}

int loop_io_set(struct loop_io *io, uint32_t events)
{
	if (io->loop == NULL)
		return -ENOENT;
	if (io->events == events)
		return 0;
	int r = control(io, EPOLL_CTL_MOD, events);
	if (r == 0)
		io->events = events;
	return r;
}

void loop_io_del(struct loop_io *io)
{
	struct loop *loop = io->loop;

	if (loop == NULL)
		return;
	control(io, EPOLL_CTL_DEL, 0);
	for (int i = loop->batch_at; i < loop->batch_len; i++) {
		if (loop->batch[i].data.ptr == io)
			loop->batch[i].data.ptr = NULL;
	}
	io->loop = NULL;
}

static int wait_for_events(struct loop *loop, int timeout_ms)
{
	if (!loop->trimmed && (timeout_ms < 0 || timeout_ms > IDLE_MS)) {
		int n = epoll_wait(loop->epoll_fd, loop->batch, BATCH_MAX, IDLE_MS);

		if (n != 0)
			return n;
		buf_trim();
		loop->trimmed = true;
		timeout_ms = timeout_ms < 0 ? -1 : timeout_ms - IDLE_MS;
	}
	int n = epoll_wait(loop->epoll_fd, loop->batch, BATCH_MAX, timeout_ms);
	if (n > 0)
		loop->trimmed = false;
	return n;
}

static void run_batch(struct loop *loop, int timeout_ms)
{
	int n = wait_for_events(loop, timeout_ms);

	loop->now = clock_mono_ns();
	loop->batch_len = n > 0 ? n : 0; /* the only error of a valid epoll is EINTR */
	for (loop->batch_at = 0; loop->batch_at < loop->batch_len;) {
		const struct epoll_event *event = &loop->batch[loop->batch_at++];
		struct loop_io *io = event->data.ptr;

		if (io != NULL)
			io->fn(io, event->events);
	}
	loop->batch_at = 0;
	loop->batch_len = 0;
}

/* --- timers ------------------------------------------------------------------------------- */

static void place(struct loop *loop, struct loop_timer *timer, size_t slot)
{
	loop->timers[slot] = timer;
	timer->slot = slot;
}

static void sift_up(struct loop *loop, struct loop_timer *timer, size_t slot)
{
	while (slot > 0) {
		size_t parent = (slot - 1) / 2;

		if (loop->timers[parent]->deadline <= timer->deadline)
			break;
		place(loop, loop->timers[parent], slot);
		slot = parent;
	}
	place(loop, timer, slot);
}

static void sift_down(struct loop *loop, struct loop_timer *timer, size_t slot)
{
	for (;;) {
		size_t child = 2 * slot + 1;

		if (child >= loop->timer_count)
			break;
		if (child + 1 < loop->timer_count &&
			loop->timers[child + 1]->deadline < loop->timers[child]->deadline)
			child++;
		if (loop->timers[child]->deadline >= timer->deadline)
			break;
		place(loop, loop->timers[child], slot);
		slot = child;
	}
	place(loop, timer, slot);
}

void loop_timer_set(
	struct loop *loop, struct loop_timer *timer, uint64_t delay_ns, loop_timer_fn fn)
{
	/* Not loop_now(): that may lie far back while a program is still starting. */
	uint64_t now = clock_mono_ns();

	loop_timer_cancel(timer);
	if (loop->timer_count == loop->timer_room) {
		loop->timer_room = loop->timer_room > 0 ? loop->timer_room * 2 : 16;
		loop->timers =
			mem_realloc(loop->timers, loop->timer_room * sizeof(struct loop_timer *));
	}
	timer->loop = loop;
	timer->fn = fn;
	timer->deadline = delay_ns > UINT64_MAX - now ? UINT64_MAX : now + delay_ns;
	sift_up(loop, timer, loop->timer_count++);
}

void loop_timer_cancel(struct loop_timer *timer)
{
	struct loop *loop = timer->loop;

	if (loop == NULL)
		return;
	timer->loop = NULL;
	size_t slot = timer->slot;
	struct loop_timer *last = loop->timers[--loop->timer_count];
	if (last == timer)
		return;
	if (last->deadline < timer->deadline)
		sift_up(loop, last, slot);
	else
		sift_down(loop, last, slot);
}

/* Runs what was due when the turn began. A timer set meanwhile has a later deadline, so handlers
 * that re-arm themselves with no delay cannot keep the turn from ending. */
static void run_timers(struct loop *loop)
{
	uint64_t due = loop->now;

	while (loop->timer_count > 0 && loop->timers[0]->deadline <= due) {
		struct loop_timer *timer = loop->timers[0];

		loop_timer_cancel(timer);
		timer->fn(timer);
	}
}

/* --- deferred work -------------------------------------------------------------------------- */

void loop_defer(struct loop *loop, struct loop_defer *defer, loop_defer_fn fn)
{
	defer->fn = fn;
	if (list_empty(&defer->node))
		list_push_back(&loop->deferred, &defer->node);
}

void loop_defer_cancel(struct loop_defer *defer)
{
	list_del(&defer->node);
}

/* What is deferred meanwhile waits for the next turn, so that io gets its chance between. */
static void run_deferred(struct loop *loop)
{
	struct list mine;

	if (list_empty(&loop->deferred))
		return;
	list_init(&mine);
	list_push_back(&loop->deferred, &mine);
	list_del(&loop->deferred); /* mine is now the head of the whole ring */
	while (!list_empty(&mine)) {
		struct loop_defer *defer = container_of(mine.next, struct loop_defer, node);

		list_del(&defer->node);
		defer->fn(defer);
	}
}

/* --- running -------------------------------------------------------------------------------- */

static int wait_ms(const struct loop *loop)
{
	if (!list_empty(&loop->deferred))
		return 0;
	if (loop->timer_count == 0)
		return -1;
	uint64_t now = clock_mono_ns();
	uint64_t deadline = loop->timers[0]->deadline;
	if (deadline <= now)
		return 0;
	uint64_t ms = (deadline - now) / CLOCK_MS;
	return ms < INT_MAX ? (int)ms + 1 : INT_MAX;
}

int loop_run(struct loop *loop)
{
	while (!loop->stopped) {
		run_batch(loop, wait_ms(loop));
		run_timers(loop);
		run_deferred(loop);
	}
	loop->stopped = false;
	return loop->code;
}

/* --- signals and children ------------------------------------------------------------------- */

static void on_signal_fd(struct loop_io *io, uint32_t events)
{
	struct loop *loop = container_of(io, struct loop, signal_io);
	struct signalfd_siginfo info;

	(void)events;
	while (read(loop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		struct signal_slot *slot = &loop->signals[info.ssi_signo];

		if (slot->fn != NULL)
			slot->fn(loop, (int)info.ssi_signo, slot->data);
	}
}

int loop_signal(struct loop *loop, int signo, loop_signal_fn fn, void *data)
{
	sigset_t one;

	sigemptyset(&one);
	if (signo <= 0 || signo >= SIGNALS_MAX || sigaddset(&one, signo) < 0)
		return -EINVAL;
	if (sigprocmask(SIG_BLOCK, &one, NULL) < 0)
		return -errno;
	sigaddset(&loop->signal_mask, signo);
	/* Of all negative numbers only -1 asks for a new descriptor. */
	int fd = signalfd(loop->signal_fd < 0 ? -1 : loop->signal_fd, &loop->signal_mask,
		SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	loop->signal_fd = fd;
	if (loop->signal_io.loop == NULL) {
		int r = loop_io_add(loop, &loop->signal_io, fd, EPOLLIN, on_signal_fd);

		if (r < 0)
			return r;
	}
	loop->signals[signo] = (struct signal_slot){fn, data};
	return 0;
}

static void on_child(struct loop_io *io, uint32_t events)
{
	struct loop_child *child = container_of(io, struct loop_child, io);
	int status = -1;

	(void)events;
	/* __WALL: a child may have been made with an exit signal other than SIGCHLD. */
	pid_t pid = waitpid(child->pid, &status, WNOHANG | __WALL);
	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	loop_child_del(child);
	child->fn(child, pid < 0 ? -1 : status);
}

int loop_child_add(
	struct loop *loop, struct loop_child *child, pid_t pid, int pidfd, loop_child_fn fn)
{
	auto_close int fd = pidfd >= 0 ? pidfd : (int)syscall(SYS_pidfd_open, pid, 0);

	if (fd < 0)
		return -errno;
	fd_set_cloexec(fd, true);
	*child = (struct loop_child){.pid = pid, .pidfd = -EBADF, .fn = fn};
	int r = loop_io_add(loop, &child->io, fd, EPOLLIN, on_child);
	if (r < 0)
		return r;
	child->pidfd = take_fd(fd);
	return 0;
}

void loop_child_del(struct loop_child *child)
{
	if (child->io.loop == NULL)
		return;
	loop_io_del(&child->io);
	child->pidfd = fd_close(child->pidfd);
}
