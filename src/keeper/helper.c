#include "keeper/helper.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define DELAY_MIN_NS (100 * CLOCK_MS)
#define DELAY_MAX_NS (5 * CLOCK_SEC)
#define LASTED_NS (10 * CLOCK_SEC)

static void start_later(struct helper *h);

static void on_end(struct loop_child *child, int status)
{
	struct helper *h = container_of(child, struct helper, child);

	h->runs = false;
	if (loop_now(h->loop) - h->since >= LASTED_NS)
		h->failures = 0;
	log_warn("%s has ended and is started again status=%#x", h->ops->name, (unsigned)status);
	if (h->ops->on_end != NULL)
		h->ops->on_end(h);
	start_later(h);
}

static void reap(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int start(struct helper *h)
{
	pid_t pid = h->ops->start(h);

	if (pid < 0)
		return pid;
	int r = loop_child_add(h->loop, &h->child, pid, -1, on_end);
	if (r < 0) {
		loop_child_del(&h->child);
		reap(pid);
		return r;
	}
	h->runs = true;
	h->since = loop_now(h->loop);
	return 0;
}

static void on_again(struct loop_timer *timer)
{
	struct helper *h = container_of(timer, struct helper, again);
	int r = start(h);

	if (r == 0)
		return;
	log_warn("cannot start %s: %s", h->ops->name, strerror(-r));
	start_later(h);
}

static void start_later(struct helper *h)
{
	uint64_t delay = DELAY_MIN_NS;

	for (unsigned i = 0; i < h->failures && delay < DELAY_MAX_NS; i++)
		delay *= 2;
	h->failures++;
	loop_timer_set(h->loop, &h->again, delay < DELAY_MAX_NS ? delay : DELAY_MAX_NS, on_again);
}

int helper_start(struct helper *h, struct loop *loop, const struct helper_ops *ops)
{
	*h = (struct helper){.loop = loop, .ops = ops};
	int r = start(h);
	if (r < 0)
		h->loop = NULL;
	return r;
}

void helper_kill(struct helper *h)
{
	if (h->runs)
		(void)syscall(SYS_pidfd_send_signal, h->child.pidfd, SIGKILL, NULL, 0);
}

void helper_stop(struct helper *h)
{
	if (h->loop == NULL)
		return;
	loop_timer_cancel(&h->again);
	if (h->runs) {
		loop_child_del(&h->child);
		reap(h->child.pid);
		h->runs = false;
	}
	h->loop = NULL;
}
