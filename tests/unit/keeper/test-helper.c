#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/helper.h"

#define LIMIT (30 * CLOCK_SEC)

struct play {
	struct helper helper;
	struct loop *loop;
	struct loop_timer limit;
	unsigned starts, ends;
	unsigned stop_after; /* starts */
	unsigned fail_first; /* so many starts fail, after the first */
	bool stays;
	uint64_t times[8];
};

static pid_t start(struct helper *h)
{
	struct play *p = container_of(h, struct play, helper);

	p->times[p->starts++] = clock_mono_ns();
	if (p->starts == p->stop_after)
		loop_stop(p->loop, 0);
	if (p->starts > 1 && p->starts <= 1 + p->fail_first)
		return -ENOMEM;
	pid_t pid = fork();
	if (pid == 0) {
		if (p->stays)
			pause();
		_exit(0);
	}
	return pid;
}

static void on_end(struct helper *h)
{
	container_of(h, struct play, helper)->ends++;
}

static const struct helper_ops ops = {"a helper", start, on_end};

static void on_limit(struct loop_timer *timer)
{
	loop_stop(container_of(timer, struct play, limit)->loop, 1);
}

static void begin(struct play *p)
{
	p->loop = loop_new();
	loop_timer_set(p->loop, &p->limit, LIMIT, on_limit);
	assert_int_equal(helper_start(&p->helper, p->loop, &ops), 0);
}

static void finish(struct play *p)
{
	helper_stop(&p->helper);
	helper_stop(&p->helper);
	loop_timer_cancel(&p->limit);
	loop_free(p->loop);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

/* What ends is started again, after a while that doubles. */
static void test_again(void **state)
{
	struct play p = {.stop_after = 4};

	begin(&p);
	assert_int_equal(loop_run(p.loop), 0);
	assert_int_equal(p.ends, 3);
	for (unsigned i = 1; i < 4; i++)
		assert_true(p.times[i] - p.times[i - 1] >= (100 * CLOCK_MS) << (i - 1));
	finish(&p);
}

/* A start that fails later on is tried again as well. */
static void test_failed_start(void **state)
{
	struct play p = {.stop_after = 4, .fail_first = 2};

	begin(&p);
	assert_int_equal(loop_run(p.loop), 0);
	assert_int_equal(p.ends, 1);
	finish(&p);
}

static void test_kill_and_stop(void **state)
{
	struct play p = {.stop_after = 2, .stays = true};

	begin(&p);
	helper_kill(&p.helper);
	assert_int_equal(loop_run(p.loop), 0);
	assert_int_equal(p.ends, 1);
	finish(&p);
	assert_int_equal(p.ends, 1);
}

static pid_t refuse(struct helper *h)
{
	return -ENOENT;
}

static void test_first_start_fails(void **state)
{
	static const struct helper_ops refusing = {"a helper", refuse, NULL};
	struct helper h = {0};
	struct loop *loop = loop_new();

	helper_stop(&h);
	assert_int_equal(helper_start(&h, loop, &refusing), -ENOENT);
	helper_stop(&h);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_failed_start),
		cmocka_unit_test(test_kill_and_stop),
		cmocka_unit_test(test_first_start_fails),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
