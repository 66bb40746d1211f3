#include "keeper/slot.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "keeper/init.h"
#include "keeper/keeper.h"
#include "keeper/launcher.h"

#define CLEAN_RETRY_NS (5 * CLOCK_SEC)
#define SETTLE_NS (100 * CLOCK_MS)

struct slot *slot_new(struct keeper *k, uint32_t index)
{
	struct slot *s = mem_new(struct slot);

	s->keeper = k;
	s->index = index;
	s->status_fd = s->channel = s->disk = s->root = s->netns = -EBADF;
	s->loop_no = -1;
	list_init(&s->node);
	slot_gate_init(&s->gate);
	return s;
}

static void close_status(struct slot *s)
{
	loop_io_del(&s->status);
	s->status_fd = fd_close(s->status_fd);
}

void slot_free(struct slot *s)
{
	if (s == NULL)
		return;
	close_status(s);
	slot_gate_done(&s->gate);
	loop_child_del(&s->child);
	loop_timer_cancel(&s->later);
	list_del(&s->node);
	fd_close(s->channel);
	fd_close(s->disk);
	fd_close(s->root);
	fd_close(s->netns);
	free(s);
}

/* --- cleaning --------------------------------------------------------------------------------- */

static void start_cleaning(struct slot *s);

static void on_retry(struct loop_timer *timer)
{
	start_cleaning(container_of(timer, struct slot, later));
}

static void clean_later(struct slot *s)
{
	loop_timer_set(s->keeper->loop, &s->later, CLEAN_RETRY_NS, on_retry);
}

static void finish(struct slot *s)
{
	if (s->state != SLOT_CLEANING || !s->cleaned || !slot_gate_gone(&s->gate))
		return;
	s->state = SLOT_FREE;
	pool_on_free(&s->keeper->pool, s);
}

void slot_on_gate_gone(struct slot *s)
{
	finish(s);
}

static void on_cleaned(struct loop_child *child, int status)
{
	struct slot *s = container_of(child, struct slot, child);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		log_warn("remains of a machine cannot be removed yet slot=%u", s->index);
		clean_later(s);
		return;
	}
	if (s->loop_no >= 0)
		loopdev_return(&s->keeper->loops, s->loop_no);
	s->loop_no = -1;
	s->cleaned = true;
	finish(s);
}

static void start_cleaning(struct slot *s)
{
	loop_timer_cancel(&s->later);
	close_status(s);
	s->channel = fd_close(s->channel);
	s->netns = fd_close(s->netns);
	s->cleaned = false;
	s->state = SLOT_CLEANING;
	pid_t pid = cleaner_start(s);
	int r = pid < 0 ? pid : loop_child_add(s->keeper->loop, &s->child, pid, -1, on_cleaned);
	if (r < 0) {
		log_warn("cannot clean up yet: %s slot=%u", strerror(-r), s->index);
		clean_later(s);
	}
}

/* --- ends ------------------------------------------------------------------------------------- */

static void reply_destroyed(struct slot *s)
{
	struct keeper_reply reply = {
		.verb = KEEPER_DESTROY,
		.slot = s->index,
		.cookie = s->destroy.cookie,
		.generation = s->generation,
	};

	if (s->destroy.set)
		link_send(&s->keeper->link, &reply, -EBADF);
	s->destroy.set = false;
}

static void report_exit(struct slot *s, int status)
{
	struct keeper_reply reply = {
		.verb = KEEPER_EXITED,
		.slot = s->index,
		.generation = s->generation,
		.exited.status = status,
		.exited.oom_kills = s->oom_kills,
	};

	link_send(&s->keeper->link, &reply, -EBADF);
}

static void kill_init(struct slot *s)
{
	(void)syscall(SYS_pidfd_send_signal, s->child.pidfd, SIGKILL, NULL, 0);
	s->state = SLOT_ENDING;
}

/* Not yet RUNNING: tells the pool. The report comes before the end of the process, or not at all.
 */
static void fail(struct slot *s, int err, const char *what)
{
	kill_init(s);
	pool_on_failed(&s->keeper->pool, s, err, what);
}

static void on_status(struct loop_io *io, uint32_t events);

static void on_init_end(struct loop_child *child, int status)
{
	struct slot *s = container_of(child, struct slot, child);

	/* What it said last may still lie in the socket. */
	s->reaped = true;
	if (s->status_fd >= 0)
		on_status(&s->status, EPOLLIN);
	slot_gate_end(&s->gate);
	switch (s->state) {
	case SLOT_RUNNING:
		s->state = SLOT_EXITED;
		s->oom_kills = cgroup_oom_kills(&s->keeper->cgroups, s->index);
		report_exit(s, status);
		return;
	case SLOT_MAKING:
	case SLOT_READY:
		pool_on_failed(&s->keeper->pool, s, -ECHILD, "keep the first process alive");
		break;
	case SLOT_ENDING:
		reply_destroyed(s);
		break;
	case SLOT_FREE:
	case SLOT_EXITED:
	case SLOT_CLEANING:
	case SLOT_STATE_COUNT:
		break;
	}
	start_cleaning(s);
}

void slot_destroy(struct slot *s, const struct slot_ask *ask)
{
	if (ask != NULL)
		s->destroy = *ask;
	list_del(&s->node);
	slot_gate_end(&s->gate);
	switch (s->state) {
	case SLOT_MAKING:
	case SLOT_READY:
	case SLOT_RUNNING:
		kill_init(s);
		break;
	case SLOT_EXITED:
		reply_destroyed(s);
		start_cleaning(s);
		break;
	case SLOT_FREE:
	case SLOT_ENDING:
	case SLOT_CLEANING:
	case SLOT_STATE_COUNT:
		break;
	}
}

/* --- making ----------------------------------------------------------------------------------- */

/* The switch to direct I/O waits for the disk, so it is not in the way of the start. Without it the
 * machine works, only slower. */
static void on_settle(struct loop_timer *timer)
{
	struct slot *s = container_of(timer, struct slot, later);

	if (s->state == SLOT_READY || s->state == SLOT_RUNNING)
		settler_start(s->keeper, s->loop_no);
}

static void on_report(struct slot *s, struct init_report *report, int fds[INIT_FD_COUNT])
{
	report->what[INIT_WHAT_SIZE - 1] = '\0';
	if (s->state != SLOT_MAKING)
		return;
	if (report->event == INIT_FAILED) {
		fail(s, report->err < 0 ? report->err : -EIO, report->what);
		return;
	}
	s->root = take_fd(fds[INIT_FD_ROOT]);
	s->netns = take_fd(fds[INIT_FD_NETNS]);
}

/* The process has said all it has to say: either it has become the agent, or it has ended, which
 * its pidfd tells. */
static void on_status_end(struct slot *s)
{
	close_status(s);
	if (s->state != SLOT_MAKING || s->root < 0 || s->reaped)
		return;
	s->state = SLOT_READY;
	loop_timer_set(s->keeper->loop, &s->later, SETTLE_NS, on_settle);
	pool_on_ready(&s->keeper->pool, s);
}

static void on_status(struct loop_io *io, uint32_t events)
{
	struct slot *s = container_of(io, struct slot, status);
	struct init_report report = {0};

	(void)events;
	while (s->status_fd >= 0) {
		int fds[INIT_FD_COUNT] = {-EBADF, -EBADF};
		size_t nfds = INIT_FD_COUNT;
		ssize_t n = fd_recv_msg(s->status_fd, &report, sizeof(report), fds, &nfds);

		if (n == -EAGAIN)
			return;
		if (n == (ssize_t)sizeof(report))
			on_report(s, &report, fds);
		else
			on_status_end(s);
		for (size_t i = 0; i < INIT_FD_COUNT; i++)
			fd_close(fds[i]);
	}
}

static int watch(struct slot *s, pid_t pid, int pidfd)
{
	struct loop *loop = s->keeper->loop;
	int r = loop_child_add(loop, &s->child, pid, pidfd, on_init_end);

	if (r == 0)
		r = loop_io_add(loop, &s->status, s->status_fd, EPOLLIN, on_status);
	return r;
}

int slot_launch(struct slot *s, const struct cgroup_limits *limits, const char **ret_what)
{
	int pidfd = -EBADF;

	assert(s->state == SLOT_FREE);
	s->generation = random_u64() | 1;
	s->limits = *limits;
	s->oom_kills = 0;
	s->reaped = false;
	pid_t pid = launcher_start(s, &pidfd, ret_what);
	if (pid < 0) {
		(void)cgroup_remove(&s->keeper->cgroups, s->index);
		return pid;
	}
	s->state = SLOT_MAKING;
	*ret_what = "watch the first process";
	int r = watch(s, pid, pidfd);
	if (r < 0) {
		/* Out of kernel memory, in effect: it cannot be waited for in the loop. */
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		loop_child_del(&s->child);
		start_cleaning(s);
	}
	return r;
}

/* --- running ---------------------------------------------------------------------------------- */

int slot_go(
	struct slot *s, const struct cgroup_limits *limits, int *ret_channel, const char **ret_what)
{
	assert(s->state == SLOT_READY);
	*ret_what = "set the limits";
	int r = cgroup_limit(&s->keeper->cgroups, s->index, &s->limits, limits);
	if (r < 0) {
		slot_destroy(s, NULL);
		return r;
	}
	s->limits = *limits;
	s->state = SLOT_RUNNING;
	*ret_channel = take_fd(s->channel);
	return 0;
}

int slot_limit(struct slot *s, uint32_t memory_mb)
{
	struct cgroup_limits limits = s->limits;

	limits.memory_mb = memory_mb;
	int r = cgroup_limit(&s->keeper->cgroups, s->index, &s->limits, &limits);
	if (r == 0)
		s->limits = limits;
	return r;
}

int slot_usage(const struct slot *s, struct keeper_reply *reply)
{
	struct cgroup_counters c;
	struct stat st;
	int r = cgroup_read(&s->keeper->cgroups, s->index, &c);

	if (r < 0)
		return r;
	if (fstat(s->disk, &st) < 0)
		return -errno;
	reply->usage.oom_kills = c.oom_kills;
	reply->usage.memory_bytes = c.memory_bytes;
	reply->usage.memory_peak = c.memory_peak;
	reply->usage.cpu_ns = c.cpu_ns;
	reply->usage.pids = c.pids;
	reply->usage.pids_refused = c.pids_refused;
	reply->usage.disk_bytes = (uint64_t)st.st_blocks * 512;
	return 0;
}
