#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "loop/loop.h"

static struct loop *loop;

static int make_loop(void **state)
{
	loop = loop_new();
	return loop == NULL;
}

static int drop_loop(void **state)
{
	loop_free(loop);
	loop = NULL;
	return 0;
}

/* --- timers ------------------------------------------------------------------------------- */

static char trace[64];
static size_t trace_len;

static void note(char c)
{
	trace[trace_len++] = c;
	trace[trace_len] = '\0';
}

static void reset_trace(void)
{
	trace_len = 0;
	trace[0] = '\0';
}

struct named_timer {
	struct loop_timer timer;
	char name;
	struct named_timer *victim;
	bool last;
};

static void on_named(struct loop_timer *timer)
{
	struct named_timer *t = container_of(timer, struct named_timer, timer);

	assert_false(loop_timer_armed(timer));
	note(t->name);
	if (t->victim != NULL)
		loop_timer_cancel(&t->victim->timer);
	if (t->last)
		loop_stop(loop, 0);
}

static void test_timer_order(void **state)
{
	static const int delays[] = {5, 1, 4, 2, 3, 0};
	struct named_timer timers[6] = {0};

	reset_trace();
	for (int i = 0; i < 6; i++) {
		timers[i].name = (char)('0' + delays[i]);
		timers[i].last = delays[i] == 5;
		loop_timer_set(
			loop, &timers[i].timer, (uint64_t)delays[i] * 3 * CLOCK_MS, on_named);
	}
	uint64_t start = clock_mono_ns();
	loop_run(loop);
	assert_string_equal(trace, "012345");
	assert_true(clock_mono_ns() - start >= 14 * CLOCK_MS);
}

/* Due in the same turn, yet cancelled by the one before. */
static void test_timer_cancels_another_in_its_handler(void **state)
{
	struct named_timer a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c', .last = true};

	reset_trace();
	a.victim = &b;
	loop_timer_set(loop, &a.timer, 0, on_named);
	loop_timer_set(loop, &b.timer, 1, on_named);
	loop_timer_set(loop, &c.timer, 2, on_named);
	usleep(1000);
	loop_run(loop);
	assert_string_equal(trace, "ac");
}

static void test_timer_rearm_and_cancel(void **state)
{
	struct named_timer a = {.name = 'a'}, b = {.name = 'b', .last = true};

	reset_trace();
	loop_timer_cancel(&a.timer);
	loop_timer_set(loop, &a.timer, 0, on_named);
	loop_timer_set(loop, &a.timer, 3600 * CLOCK_SEC, on_named);
	loop_timer_set(loop, &b.timer, CLOCK_MS, on_named);
	assert_true(loop_timer_armed(&a.timer));
	loop_run(loop);
	assert_string_equal(trace, "b");
	assert_true(loop_timer_armed(&a.timer));
	loop_timer_cancel(&a.timer);
	loop_timer_cancel(&a.timer);
	assert_false(loop_timer_armed(&a.timer));
}

static void test_timer_never(void **state)
{
	struct named_timer a = {.name = 'a'}, b = {.name = 'b', .last = true};

	reset_trace();
	loop_timer_set(loop, &a.timer, UINT64_MAX, on_named);
	loop_timer_set(loop, &b.timer, CLOCK_MS, on_named);
	loop_run(loop);
	assert_string_equal(trace, "b");
	loop_timer_cancel(&a.timer);
}

static int repeats;

static void on_repeat(struct loop_timer *timer)
{
	if (++repeats == 1000)
		loop_stop(loop, repeats);
	else
		loop_timer_set(loop, timer, 0, on_repeat);
}

static void on_ready_stop(struct loop_io *io, uint32_t events)
{
	loop_stop(loop, -1);
}

/* A timer that re-arms itself with no delay must not keep io from being seen. */
static void test_timer_without_delay_does_not_starve(void **state)
{
	struct loop_timer timer = {0};
	struct loop_io io = {0};
	auto_close int fd = eventfd(1, EFD_CLOEXEC);

	repeats = 0;
	loop_timer_set(loop, &timer, 0, on_repeat);
	assert_int_equal(loop_io_add(loop, &io, fd, EPOLLIN, on_ready_stop), 0);
	assert_int_equal(loop_run(loop), -1);
	assert_true(repeats < 1000);
	loop_io_del(&io);
	assert_int_equal(loop_run(loop), 1000);
}

static uint64_t last_deadline;
static size_t fired;

static void on_checked(struct loop_timer *timer)
{
	assert_true(timer->deadline >= last_deadline);
	last_deadline = timer->deadline;
	fired++;
}

/* The heap under random insertion, re-arming and cancelling. */
static void test_timer_heap(void **state)
{
	enum { COUNT = 2000 };
	struct loop_timer *timers = mem_zalloc_array(COUNT, sizeof(*timers));
	struct named_timer end = {.name = 'e', .last = true};
	size_t armed = 0;

	srand(3);
	for (int i = 0; i < 20000; i++) {
		struct loop_timer *t = &timers[rand() % COUNT];

		if (rand() % 3 == 0)
			loop_timer_cancel(t);
		else
			loop_timer_set(loop, t, (uint64_t)(rand() % 20) * CLOCK_MS, on_checked);
	}
	for (int i = 0; i < COUNT; i++)
		armed += loop_timer_armed(&timers[i]);
	last_deadline = 0;
	fired = 0;
	loop_timer_set(loop, &end.timer, 60 * CLOCK_MS, on_named);
	loop_run(loop);
	assert_int_equal(fired, armed);
	free(timers);
}

static void test_free_disarms(void **state)
{
	struct loop *other = loop_new();
	struct loop_timer timer = {0};
	struct loop_defer defer = {0};

	loop_timer_set(other, &timer, CLOCK_SEC, on_checked);
	loop_defer(other, &defer, NULL);
	loop_free(other);
	assert_false(loop_timer_armed(&timer));
	assert_true(list_empty(&defer.node));
	loop_free(NULL);
}

/* --- file descriptors --------------------------------------------------------------------- */

struct peer {
	struct loop_io io;
	int fd;
	int calls;
	struct peer *victim; /* freed by this one's handler */
};

static void on_kill(struct loop_io *io, uint32_t events)
{
	struct peer *p = container_of(io, struct peer, io);

	p->calls++;
	note('k');
	if (p->victim != NULL) {
		loop_io_del(&p->victim->io);
		fd_close(p->victim->fd);
		free(take_ptr(p->victim));
	}
	loop_stop(loop, 0);
}

/* Both are ready in one batch; whichever comes first deletes and frees the other. */
static void test_io_freed_in_batch(void **state)
{
	struct peer *a = mem_new(struct peer), *b = mem_new(struct peer);

	reset_trace();
	a->fd = eventfd(1, EFD_CLOEXEC);
	b->fd = eventfd(1, EFD_CLOEXEC);
	a->victim = b;
	b->victim = a;
	assert_int_equal(loop_io_add(loop, &a->io, a->fd, EPOLLIN, on_kill), 0);
	assert_int_equal(loop_io_add(loop, &b->io, b->fd, EPOLLIN, on_kill), 0);
	loop_run(loop);
	assert_string_equal(trace, "k");
	/* The kernel reports in the order of readiness: a was first. */
	loop_io_del(&a->io);
	fd_close(a->fd);
	free(a);
}

static struct loop_io moved;
static int moved_fd;

static void on_moved(struct loop_io *io, uint32_t events)
{
	note('m');
	loop_stop(loop, 0);
}

static void on_mover(struct loop_io *io, uint32_t events)
{
	note('a');
	loop_io_del(io);
	/* The same watch, for another descriptor that is not ready: its old event is void. */
	loop_io_del(&moved);
	assert_int_equal(loop_io_add(loop, &moved, moved_fd, EPOLLIN, on_moved), 0);
	loop_stop(loop, 0);
}

static void test_io_reused_in_batch(void **state)
{
	auto_close int first = eventfd(1, EFD_CLOEXEC);
	auto_close int second = eventfd(1, EFD_CLOEXEC);
	auto_close int idle = eventfd(0, EFD_CLOEXEC);
	struct loop_io io = {0};

	reset_trace();
	moved_fd = idle;
	assert_int_equal(loop_io_add(loop, &io, first, EPOLLIN, on_mover), 0);
	assert_int_equal(loop_io_add(loop, &moved, second, EPOLLIN, on_moved), 0);
	loop_run(loop);
	assert_string_equal(trace, "a");
	eventfd_write(idle, 1);
	loop_run(loop);
	assert_string_equal(trace, "am");
	loop_io_del(&moved);
}

static uint32_t seen_events;

static void on_events(struct loop_io *io, uint32_t events)
{
	seen_events = events;
	loop_stop(loop, 0);
}

static void test_io_masks(void **state)
{
	struct loop_io io = {0};
	struct loop_timer timer = {0};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(loop_io_set(&io, EPOLLIN), -ENOENT);
	assert_int_equal(loop_io_add(loop, &io, pair[0], EPOLLIN, on_events), 0);
	assert_int_equal(
		loop_io_add(loop, &(struct loop_io){0}, pair[0], EPOLLIN, on_events), -EEXIST);
	assert_int_equal(loop_io_set(&io, EPOLLOUT), 0);
	loop_run(loop);
	assert_int_equal(seen_events, EPOLLOUT);
	assert_int_equal(loop_io_set(&io, 0), 0);
	assert_int_equal(write(pair[1], "x", 1), 1);
	repeats = 998;
	seen_events = 0;
	loop_timer_set(loop, &timer, CLOCK_MS, on_repeat);
	assert_int_equal(loop_run(loop), 1000);
	assert_int_equal(seen_events, 0);
	assert_int_equal(loop_io_set(&io, EPOLLIN), 0);
	loop_run(loop);
	assert_int_equal(seen_events, EPOLLIN);
	fd_close(pair[1]);
	loop_io_set(&io, EPOLLRDHUP);
	loop_run(loop);
	assert_true((seen_events & EPOLLRDHUP) != 0);
	loop_io_del(&io);
	loop_io_del(&io);
	fd_close(pair[0]);
}

static void test_io_refused(void **state)
{
	struct loop_io io = {0};
	char path[] = "/tmp/warren-test-loop-XXXXXX";
	auto_close int file = mkstemp(path);

	unlink(path);
	assert_int_equal(loop_io_add(loop, &io, -1, EPOLLIN, on_events), -EBADF);
	assert_int_equal(loop_io_add(loop, &io, file, EPOLLIN, on_events), -EPERM);
	assert_null(io.loop);
	loop_io_del(&io);
}

static int many_left;

static void on_one_of_many(struct loop_io *io, uint32_t events)
{
	loop_io_del(io);
	if (--many_left == 0)
		loop_stop(loop, 0);
}

static void test_more_ready_than_one_batch(void **state)
{
	enum { COUNT = 300 };
	struct peer *peers = mem_zalloc_array(COUNT, sizeof(*peers));

	many_left = COUNT;
	for (int i = 0; i < COUNT; i++) {
		peers[i].fd = eventfd(1, EFD_CLOEXEC);
		assert_int_equal(
			loop_io_add(loop, &peers[i].io, peers[i].fd, EPOLLIN, on_one_of_many), 0);
	}
	loop_run(loop);
	assert_int_equal(many_left, 0);
	for (int i = 0; i < COUNT; i++)
		fd_close(peers[i].fd);
	free(peers);
}

/* --- deferred work ------------------------------------------------------------------------ */

struct named_defer {
	struct loop_defer defer;
	char name;
	struct named_defer *queue;
	struct named_defer *cancel;
	bool last;
};

static void on_defer(struct loop_defer *defer)
{
	struct named_defer *d = container_of(defer, struct named_defer, defer);

	note(d->name);
	if (d->cancel != NULL)
		loop_defer_cancel(&d->cancel->defer);
	if (d->queue != NULL)
		loop_defer(loop, &d->queue->defer, on_defer);
	if (d->last)
		loop_stop(loop, 0);
}

static void test_defer_order(void **state)
{
	struct named_defer a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c', .last = true};

	reset_trace();
	a.queue = &c;
	loop_defer(loop, &a.defer, on_defer);
	loop_defer(loop, &b.defer, on_defer);
	loop_defer(loop, &a.defer, on_defer); /* queued already */
	loop_run(loop);
	assert_string_equal(trace, "abc");
}

static void test_defer_cancel(void **state)
{
	struct named_defer a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c', .last = true};
	struct named_defer d = {.name = 'd'};

	reset_trace();
	a.cancel = &b;
	loop_defer_cancel(&d.defer);
	loop_defer(loop, &a.defer, on_defer);
	loop_defer(loop, &b.defer, on_defer);
	loop_defer(loop, &d.defer, on_defer);
	loop_defer(loop, &c.defer, on_defer);
	loop_defer_cancel(&d.defer);
	loop_run(loop);
	assert_string_equal(trace, "ac");
}

/* Work that queues itself again runs once a turn, so timers still come. */
static void test_defer_again_and_again(void **state)
{
	struct named_timer end = {.name = '!', .last = true};
	struct named_defer again = {.name = '.'};
	struct named_defer echo = {.name = ','};

	reset_trace();
	again.queue = &echo;
	loop_timer_set(loop, &end.timer, 0, on_named);
	loop_defer(loop, &again.defer, on_defer);
	usleep(100);
	loop_run(loop);
	assert_string_equal(trace, "!.");
	loop_defer_cancel(&echo.defer);
}

static void on_defer_free(struct loop_defer *defer)
{
	free(container_of(defer, struct named_defer, defer));
	loop_stop(loop, 0);
}

static void test_defer_frees_its_object(void **state)
{
	struct named_defer *d = mem_new(struct named_defer);

	loop_defer(loop, &d->defer, on_defer_free);
	loop_run(loop);
}

static void test_stop_before_run_and_again(void **state)
{
	struct named_timer end = {.name = 'e', .last = true};

	loop_stop(loop, 42);
	assert_int_equal(loop_run(loop), 42);
	loop_timer_set(loop, &end.timer, 0, on_named);
	assert_int_equal(loop_run(loop), 0);
	assert_true(loop_now(loop) <= clock_mono_ns());
}

/* --- signals and children ----------------------------------------------------------------- */

static int signals_seen[65];

static void on_signal(struct loop *l, int signo, void *data)
{
	assert_ptr_equal(l, loop);
	signals_seen[signo]++;
	if (data != NULL)
		loop_stop(loop, signo);
}

static void test_signals(void **state)
{
	memset(signals_seen, 0, sizeof(signals_seen));
	assert_int_equal(loop_signal(loop, SIGUSR1, on_signal, NULL), 0);
	assert_int_equal(loop_signal(loop, SIGUSR2, on_signal, state), 0);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	assert_int_equal(loop_run(loop), SIGUSR2);
	assert_int_equal(signals_seen[SIGUSR1], 1);
	assert_int_equal(signals_seen[SIGUSR2], 1);
	assert_int_equal(loop_signal(loop, 0, on_signal, NULL), -EINVAL);
	assert_int_equal(loop_signal(loop, -3, on_signal, NULL), -EINVAL);
	assert_int_equal(loop_signal(loop, 65, on_signal, NULL), -EINVAL);
	/* A new handler replaces the old one. */
	assert_int_equal(loop_signal(loop, SIGUSR1, on_signal, state), 0);
	kill(getpid(), SIGUSR1);
	assert_int_equal(loop_run(loop), SIGUSR1);
}

static int child_status;

static void on_child(struct loop_child *child, int status)
{
	child_status = status;
	assert_null(child->io.loop);
	loop_stop(loop, 0);
}

static pid_t spawn(int code, int signo)
{
	pid_t pid = fork();

	if (pid == 0) {
		if (signo != 0)
			raise(signo);
		_exit(code);
	}
	assert_true(pid > 0);
	return pid;
}

static void test_children(void **state)
{
	struct loop_child child;
	pid_t pid = spawn(7, 0);

	assert_int_equal(loop_child_add(loop, &child, pid, -1, on_child), 0);
	loop_run(loop);
	assert_true(WIFEXITED(child_status));
	assert_int_equal(WEXITSTATUS(child_status), 7);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
	assert_true(child.pidfd < 0);

	pid = spawn(0, SIGKILL);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	assert_int_equal(loop_child_add(loop, &child, pid, pidfd, on_child), 0);
	loop_run(loop);
	assert_true(WIFSIGNALED(child_status));
	assert_int_equal(WTERMSIG(child_status), SIGKILL);
	assert_int_equal(fcntl(pidfd, F_GETFD), -1); /* taken over and closed */
}

static void test_child_reaped_by_somebody_else(void **state)
{
	struct loop_child child;
	pid_t pid = spawn(3, 0);

	assert_int_equal(loop_child_add(loop, &child, pid, -1, on_child), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	loop_run(loop);
	assert_int_equal(child_status, -1);
}

static void test_child_forgotten(void **state)
{
	struct loop_child child;
	pid_t pid = spawn(3, 0);
	int status;

	assert_int_equal(loop_child_add(loop, &child, pid, -1, on_child), 0);
	loop_child_del(&child);
	loop_child_del(&child);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 3);
	/* Reaped: no such process any more. */
	assert_int_equal(loop_child_add(loop, &child, pid, -1, on_child), -ESRCH);
}

#define with_loop(test) cmocka_unit_test_setup_teardown(test, make_loop, drop_loop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_loop(test_timer_order),
		with_loop(test_timer_cancels_another_in_its_handler),
		with_loop(test_timer_rearm_and_cancel),
		with_loop(test_timer_never),
		with_loop(test_timer_without_delay_does_not_starve),
		with_loop(test_timer_heap),
		with_loop(test_free_disarms),
		with_loop(test_io_freed_in_batch),
		with_loop(test_io_reused_in_batch),
		with_loop(test_io_masks),
		with_loop(test_io_refused),
		with_loop(test_more_ready_than_one_batch),
		with_loop(test_defer_order),
		with_loop(test_defer_cancel),
		with_loop(test_defer_again_and_again),
		with_loop(test_defer_frees_its_object),
		with_loop(test_stop_before_run_and_again),
		with_loop(test_signals),
		with_loop(test_children),
		with_loop(test_child_reaped_by_somebody_else),
		with_loop(test_child_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
