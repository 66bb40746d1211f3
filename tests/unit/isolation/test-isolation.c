/* The room against a keeper played by the test itself: order of events that a real one rarely
 * makes. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "isolation/isolation.h"
#include "keeper/request.h"

struct play {
	struct loop *loop;
	struct isolation *iso;
	int keeper; /* the test's end */
	struct loop_timer stop;
	unsigned lost;
	unsigned started, failed, exited, gone, usages, usages_failed;
	int agent;
	int err;
	struct machine_usage usage;
	unsigned gates, gates_failed;
	int gate;
	int gate_err;
};

static const struct machine_spec spec = {.memory_mb = 1280, .cpu_percent = 200, .pids_max = 512};

static void on_lost(struct isolation *iso, int err, void *data)
{
	((struct play *)data)->lost++;
}

static void on_started(struct machine *m, int agent_fd, void *data)
{
	struct play *p = data;

	p->started++;
	fd_close(p->agent);
	p->agent = agent_fd;
}

static void on_failed(struct machine *m, const struct error *err, void *data)
{
	struct play *p = data;

	p->failed++;
	p->err = err->err;
}

static void on_exited(struct machine *m, int status, uint64_t oom_kills, void *data)
{
	((struct play *)data)->exited++;
}

static void on_usage(const struct machine_usage *usage, void *data)
{
	struct play *p = data;

	p->usages++;
	if (usage == NULL)
		p->usages_failed++;
	else
		p->usage = *usage;
}

static void on_gate(int fd, const struct error *err, void *data)
{
	struct play *p = data;

	fd_close(p->gate);
	p->gate = fd;
	p->gates++;
	p->gate_err = err != NULL ? err->err : 0;
	assert_int_equal(err == NULL, fd >= 0);
	if (err != NULL)
		p->gates_failed++;
}

static void on_gone(void *data)
{
	((struct play *)data)->gone++;
}

static const struct isolation_ops iso_ops = {.on_lost = on_lost};
static const struct machine_ops ops = {
	.on_started = on_started, .on_failed = on_failed, .on_exited = on_exited};

static void on_stop(struct loop_timer *timer)
{
	loop_stop(container_of(timer, struct play, stop)->loop, 0);
}

static void turn(struct play *p)
{
	loop_timer_set(p->loop, &p->stop, 3000000, on_stop);
	loop_run(p->loop);
}

static struct keeper_request expect(struct play *p, enum keeper_verb verb)
{
	struct keeper_request req = {0};

	assert_int_equal(recv(p->keeper, &req, sizeof(req), MSG_DONTWAIT), sizeof(req));
	assert_int_equal(req.verb, verb);
	return req;
}

static void answer(struct play *p, const struct keeper_request *req, uint32_t slot, int err)
{
	struct keeper_reply reply = {.verb = req->verb,
		.cookie = req->cookie,
		.slot = slot,
		.generation = 1000 + slot,
		.err = err,
		.what = "do it"};
	bool has_fd = (req->verb == KEEPER_CREATE || req->verb == KEEPER_GATE) && err == 0;
	int fd = has_fd ? open("/dev/null", O_RDWR) : -1;

	if (req->verb == KEEPER_USAGE)
		reply.usage.oom_kills = 3;
	assert_int_equal(fd_send_msg(p->keeper, &reply, sizeof(reply), &fd, fd >= 0 ? 1 : 0), 0);
	fd_close(fd);
}

static int open_play(struct play *p, const struct keeper_reply *hello, struct error *err)
{
	int pair[2];

	*p = (struct play){.loop = loop_new(), .agent = -1, .gate = -1};
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	p->keeper = pair[1];
	if (hello != NULL)
		assert_int_equal(send(p->keeper, hello, sizeof(*hello), 0), sizeof(*hello));
	else
		p->keeper = fd_close(p->keeper);
	return isolation_new(p->loop, ISOLATION_NAMESPACE, pair[0], &iso_ops, p, &p->iso, err);
}

static void begin(struct play *p)
{
	struct keeper_reply hello = {.verb = KEEPER_HELLO};

	assert_int_equal(open_play(p, &hello, NULL), 0);
	struct keeper_request req = expect(p, KEEPER_HELLO);
	assert_int_equal(req.hello.version, KEEPER_VERSION);
}

static void finish(struct play *p)
{
	isolation_free(p->iso);
	fd_close(p->keeper);
	fd_close(p->agent);
	fd_close(p->gate);
	loop_timer_cancel(&p->stop);
	loop_free(p->loop);
}

static struct machine *start(struct play *p, uint32_t slot)
{
	struct machine *m = machine_create(p->iso, &spec, &ops, p);
	struct keeper_request req = expect(p, KEEPER_CREATE);

	assert_int_equal(req.create.memory_mb, 1280);
	assert_int_equal(req.create.cpu_percent, 200);
	assert_int_equal(req.create.pids_max, 512);
	answer(p, &req, slot, 0);
	unsigned before = p->started;
	turn(p);
	assert_int_equal(p->started, before + 1);
	return m;
}

/* --- levels ----------------------------------------------------------------------------------- */

static void test_levels(void **state)
{
	enum isolation_level level;

	for (unsigned i = 0; i < ISOLATION_LEVEL_COUNT; i++) {
		assert_int_equal(isolation_level_parse(
					 isolation_level_name((enum isolation_level)i), &level),
			0);
		assert_int_equal(level, i);
	}
	assert_int_equal(isolation_level_parse("vm", &level), -EINVAL);
	assert_null(isolation_level_name(ISOLATION_LEVEL_COUNT));
}

static void test_not_built_in(void **state)
{
	static const enum isolation_level levels[] = {ISOLATION_MICROVM, ISOLATION_GVISOR};
	struct isolation *iso = NULL;
	struct error err;

	for (size_t i = 0; i < array_len(levels); i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
		assert_int_equal(
			isolation_new(NULL, levels[i], pair[0], &iso_ops, NULL, &iso, &err),
			-ENOTSUP);
		assert_non_null(strstr(err.message, "not built in"));
		assert_non_null(strstr(err.message, isolation_level_name(levels[i])));
		assert_string_equal(err.field, "isolation");
		assert_true(fcntl(pair[0], F_GETFD) < 0); /* taken over */
		close(pair[1]);
	}
}

/* --- greeting --------------------------------------------------------------------------------- */

static void test_keeper_cannot_start(void **state)
{
	struct keeper_reply hello = {
		.verb = KEEPER_HELLO, .err = -ENOENT, .what = "mount the base image"};
	struct error err = {0};
	struct play p;

	assert_int_equal(open_play(&p, &hello, &err), -ENOENT);
	assert_non_null(strstr(err.message, "mount the base image"));
	fd_close(p.keeper);
	loop_free(p.loop);

	assert_int_equal(open_play(&p, NULL, &err), -EPROTO);
	assert_non_null(strstr(err.message, "ended at its start"));
	loop_free(p.loop);

	hello = (struct keeper_reply){.verb = KEEPER_HELLO, .err = -EPROTONOSUPPORT};
	assert_int_equal(open_play(&p, &hello, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.message, "version"));
	fd_close(p.keeper);
	loop_free(p.loop);
}

/* --- machines --------------------------------------------------------------------------------- */

static void test_life(void **state)
{
	struct play p;

	begin(&p);
	isolation_prepare(p.iso, 1000);
	struct keeper_request req = expect(&p, KEEPER_PREPARE);
	assert_int_equal(req.prepare.count, KEEPER_PREPARE_MAX);
	answer(&p, &req, 0, 0);
	assert_int_equal(isolation_level(p.iso), ISOLATION_NAMESPACE);

	struct machine *m = start(&p, 5);
	assert_true(fcntl(p.agent, F_GETFD) >= 0);
	machine_set_memory(m, 2048);
	req = expect(&p, KEEPER_LIMIT);
	assert_int_equal(req.limit.memory_mb, 2048);
	assert_int_equal(req.slot, 5);
	assert_int_equal(req.generation, 1005);
	answer(&p, &req, 5, 0);

	machine_get_usage(m, on_usage, &p);
	machine_get_usage(m, on_usage, &p);
	req = expect(&p, KEEPER_USAGE);
	answer(&p, &req, 5, 0);
	req = expect(&p, KEEPER_USAGE);
	answer(&p, &req, 5, -EIO);
	turn(&p);
	assert_int_equal(p.usages, 2);
	assert_int_equal(p.usages_failed, 1);
	assert_int_equal(p.usage.oom_kills, 3);

	struct keeper_reply exited = {.verb = KEEPER_EXITED, .slot = 5, .generation = 1005};
	assert_int_equal(send(p.keeper, &exited, sizeof(exited), 0), sizeof(exited));
	exited.generation = 7; /* a former machine of the slot */
	assert_int_equal(send(p.keeper, &exited, sizeof(exited), 0), sizeof(exited));
	turn(&p);
	assert_int_equal(p.exited, 1);

	machine_destroy(m, on_gone, &p);
	req = expect(&p, KEEPER_DESTROY);
	assert_int_equal(p.gone, 0);
	assert_int_equal(isolation_machine_count(p.iso), 1);
	answer(&p, &req, 5, 0);
	turn(&p);
	assert_int_equal(p.gone, 1);
	assert_int_equal(isolation_machine_count(p.iso), 0);
	finish(&p);
}

static void test_gate(void **state)
{
	struct play p;

	begin(&p);
	struct machine *m = start(&p, 5);
	machine_open_gate(m, on_gate, &p);
	struct keeper_request req = expect(&p, KEEPER_GATE);
	assert_int_equal(req.slot, 5);
	assert_int_equal(req.generation, 1005);
	assert_int_equal(p.gates, 0);
	answer(&p, &req, 5, 0);
	turn(&p);
	assert_int_equal(p.gates, 1);
	assert_int_equal(p.gates_failed, 0);
	assert_true(fcntl(p.gate, F_GETFD) >= 0);

	machine_open_gate(m, on_gate, &p);
	req = expect(&p, KEEPER_GATE);
	answer(&p, &req, 5, -EBUSY);
	turn(&p);
	assert_int_equal(p.gates_failed, 1);
	assert_int_equal(p.gate_err, -EBUSY);

	/* promised, and not there */
	machine_open_gate(m, on_gate, &p);
	req = expect(&p, KEEPER_GATE);
	struct keeper_reply reply = {.verb = KEEPER_GATE, .cookie = req.cookie};
	assert_int_equal(send(p.keeper, &reply, sizeof(reply), 0), sizeof(reply));
	turn(&p);
	assert_int_equal(p.gates_failed, 2);
	assert_int_equal(p.gate_err, -EPROTO);
	finish(&p);
}

static void test_failed(void **state)
{
	struct play p;

	begin(&p);
	machine_create(p.iso, &spec, &ops, &p);
	struct keeper_request req = expect(&p, KEEPER_CREATE);
	answer(&p, &req, 0, -ENOSPC);
	turn(&p);
	assert_int_equal(p.failed, 1);
	assert_int_equal(p.err, -ENOSPC);
	assert_int_equal(isolation_machine_count(p.iso), 0);
	finish(&p);
}

/* A reply that promises a socket and brings none. */
static void test_no_socket(void **state)
{
	struct play p;

	begin(&p);
	machine_create(p.iso, &spec, &ops, &p);
	struct keeper_request req = expect(&p, KEEPER_CREATE);
	struct keeper_reply reply = {.verb = KEEPER_CREATE, .cookie = req.cookie};
	assert_int_equal(send(p.keeper, &reply, sizeof(reply), 0), sizeof(reply));
	turn(&p);
	assert_int_equal(p.failed, 1);
	assert_int_equal(p.err, -EPROTO);
	finish(&p);
}

static void test_destroy_while_starting(void **state)
{
	struct play p;

	begin(&p);
	struct machine *good = machine_create(p.iso, &spec, &ops, &p);
	struct keeper_request first = expect(&p, KEEPER_CREATE);
	struct machine *bad = machine_create(p.iso, &spec, &ops, &p);
	struct keeper_request second = expect(&p, KEEPER_CREATE);
	machine_destroy(good, on_gone, &p);
	machine_destroy(bad, on_gone, &p);
	answer(&p, &second, 0, -EIO);
	answer(&p, &first, 9, 0);
	turn(&p);
	assert_int_equal(p.gone, 1); /* the one that failed */
	struct keeper_request req = expect(&p, KEEPER_DESTROY);
	assert_int_equal(req.slot, 9);
	answer(&p, &req, 9, 0);
	turn(&p);
	assert_int_equal(p.gone, 2);
	assert_int_equal(p.started + p.failed, 0);
	finish(&p);
}

/* Answers that come after the machine was destroyed are nobody's. */
static void test_late_answers(void **state)
{
	struct play p;

	begin(&p);
	struct machine *m = start(&p, 1);
	machine_get_usage(m, on_usage, &p);
	machine_set_memory(m, 2000);
	machine_open_gate(m, on_gate, &p);
	machine_destroy(m, on_gone, &p);
	struct keeper_request usage = expect(&p, KEEPER_USAGE);
	struct keeper_request limit = expect(&p, KEEPER_LIMIT);
	struct keeper_request gate = expect(&p, KEEPER_GATE);
	struct keeper_request destroy = expect(&p, KEEPER_DESTROY);
	answer(&p, &destroy, 1, 0);
	answer(&p, &usage, 1, 0);
	answer(&p, &limit, 1, -ESTALE);
	answer(&p, &gate, 1, 0);
	turn(&p);
	assert_int_equal(p.gone, 1);
	assert_int_equal(p.usages, 0);
	assert_int_equal(p.gates, 0);
	finish(&p);
}

static void test_lost(void **state)
{
	struct play p;

	begin(&p);
	struct machine *running = start(&p, 1);
	struct machine *ending = start(&p, 2);
	machine_create(p.iso, &spec, &ops, &p); /* starting */
	struct machine *doomed = machine_create(p.iso, &spec, &ops, &p);
	machine_destroy(ending, on_gone, &p);
	machine_destroy(doomed, on_gone, &p);
	machine_get_usage(running, on_usage, &p);
	machine_open_gate(running, on_gate, &p);
	p.keeper = fd_close(p.keeper);
	turn(&p);
	turn(&p);
	assert_int_equal(p.lost, 1);
	assert_int_equal(p.failed, 1);
	assert_int_equal(p.gone, 2);
	assert_int_equal(p.usages_failed, 1);
	assert_int_equal(p.gates_failed, 1);
	assert_int_equal(p.gate_err, -ENOTCONN);

	/* What is asked afterwards is answered too, from the loop. */
	machine_get_usage(running, on_usage, &p);
	machine_open_gate(running, on_gate, &p);
	assert_int_equal(p.gates, 1);
	machine_set_memory(running, 99);
	machine_create(p.iso, &spec, &ops, &p);
	isolation_prepare(p.iso, 3);
	assert_int_equal(p.failed, 1);
	turn(&p);
	assert_int_equal(p.usages_failed, 2);
	assert_int_equal(p.gates_failed, 2);
	assert_int_equal(p.failed, 2);
	machine_open_gate(running, on_gate, &p); /* dropped */
	machine_destroy(running, on_gone, &p);
	assert_int_equal(p.gone, 2);
	turn(&p);
	assert_int_equal(p.gone, 3);
	assert_int_equal(p.gates, 2);
	assert_int_equal(isolation_machine_count(p.iso), 0);
	assert_int_equal(p.lost, 1);
	finish(&p);
}

static void test_free_with_machines(void **state)
{
	struct play p;

	begin(&p);
	(void)start(&p, 1);
	struct machine *m = start(&p, 2);
	machine_get_usage(m, on_usage, &p);
	machine_create(p.iso, &spec, &ops, &p);
	machine_destroy(m, on_gone, &p);
	finish(&p);
	assert_int_equal(p.gone, 0);
}

/* The keeper is trusted, but a bug in it must not become one here. */
static void test_odd_keeper(void **state)
{
	struct keeper_reply unknown = {.verb = KEEPER_USAGE, .cookie = 4711};
	struct play p;

	begin(&p);
	assert_int_equal(send(p.keeper, &unknown, sizeof(unknown), 0), sizeof(unknown));
	turn(&p);
	turn(&p);
	assert_int_equal(p.lost, 1);
	finish(&p);

	begin(&p);
	assert_int_equal(send(p.keeper, "x", 1, 0), 1);
	turn(&p);
	turn(&p);
	assert_int_equal(p.lost, 1);
	finish(&p);
}

/* More requests than the socket takes: they wait, in order. */
static void test_queue(void **state)
{
	struct keeper_request req;
	struct play p;
	unsigned sent = 3000, got = 0;

	begin(&p);
	struct machine *m = start(&p, 1);
	for (unsigned i = 1; i <= sent; i++)
		machine_set_memory(m, i);
	while (got < sent) {
		if (recv(p.keeper, &req, sizeof(req), MSG_DONTWAIT) < 0) {
			turn(&p);
			continue;
		}
		assert_int_equal(req.limit.memory_mb, ++got);
	}
	finish(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_not_built_in),
		cmocka_unit_test(test_keeper_cannot_start),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_gate),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_no_socket),
		cmocka_unit_test(test_destroy_while_starting),
		cmocka_unit_test(test_late_answers),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_free_with_machines),
		cmocka_unit_test(test_odd_keeper),
		cmocka_unit_test(test_queue),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
