/*
 * Levels and machine objects. A machine is STARTING until its backend says how that went. Its owner
 * may destroy it at any time; when that is while it starts, it is DOOMED and destroyed as soon as
 * it has started. When the backend is lost, machines are LOST: they exist as objects until their
 * owner destroys them, and nothing can be asked of them.
 */
#include "isolation/isolation.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "isolation/backend.h"

struct usage_wait {
	struct list node;
	machine_usage_fn fn;
	void *data;
};

/* --- levels ----------------------------------------------------------------------------------- */

struct level {
	const char *name;
	const struct backend_ops *ops; /* NULL: not built in */
};

/* Strongest first, after auto. */
static const struct level levels[ISOLATION_LEVEL_COUNT] = {
	[ISOLATION_AUTO] = {"auto", NULL},
	[ISOLATION_MICROVM] = {"microvm", NULL},
	[ISOLATION_GVISOR] = {"gvisor", NULL},
	[ISOLATION_NAMESPACE] = {"namespace", &namespace_backend_ops},
};

const char *isolation_level_name(enum isolation_level level)
{
	return (unsigned)level < ISOLATION_LEVEL_COUNT ? levels[level].name : NULL;
}

int isolation_level_parse(const char *name, enum isolation_level *ret_level)
{
	for (unsigned i = 0; i < ISOLATION_LEVEL_COUNT; i++) {
		if (strcmp(name, levels[i].name) == 0) {
			*ret_level = (enum isolation_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

static enum isolation_level choose(enum isolation_level wanted)
{
	unsigned i = wanted;

	if (wanted != ISOLATION_AUTO)
		return wanted;
	do {
		i++;
	} while (i + 1 < ISOLATION_LEVEL_COUNT && levels[i].ops == NULL);
	return (enum isolation_level)i;
}

int isolation_new(struct loop *loop, enum isolation_level level, int keeper_fd,
	const struct isolation_ops *ops, void *data, struct isolation **ret, struct error *ret_err)
{
	auto_close int fd = keeper_fd;
	enum isolation_level chosen = choose(level);

	if ((unsigned)chosen >= ISOLATION_LEVEL_COUNT || levels[chosen].ops == NULL)
		return error_set_field(ret_err, -ENOTSUP, "ISOLATION_NOT_BUILT_IN", "isolation",
			"isolation level '%s' is not built into this server; 'namespace' is",
			isolation_level_name(chosen) ?: "?");
	struct isolation *iso = mem_new(struct isolation);
	*iso = (struct isolation){
		.loop = loop,
		.level = chosen,
		.ops = levels[chosen].ops,
		.owner = ops,
		.data = data,
	};
	list_init(&iso->machines);
	int r = iso->ops->open(iso, take_fd(fd), ret_err);
	if (r < 0) {
		free(iso);
		return r;
	}
	*ret = iso;
	return 0;
}

static void free_machine(struct machine *m)
{
	loop_defer_cancel(&m->defer);
	while (!list_empty(&m->usage_waits)) {
		struct usage_wait *w = list_first(&m->usage_waits, struct usage_wait, node);

		list_del(&w->node);
		free(w);
	}
	list_del(&m->node);
	m->iso->count--;
	free(m);
}

void isolation_free(struct isolation *iso)
{
	if (iso == NULL)
		return;
	iso->ops->close(iso);
	while (!list_empty(&iso->machines))
		free_machine(list_first(&iso->machines, struct machine, node));
	free(iso);
}

enum isolation_level isolation_level(const struct isolation *iso)
{
	return iso->level;
}

void isolation_prepare(struct isolation *iso, unsigned count)
{
	if (!iso->lost)
		iso->ops->prepare(iso, count);
}

unsigned isolation_machine_count(const struct isolation *iso)
{
	return iso->count;
}

/* --- what owners ask -------------------------------------------------------------------------- */

static void on_start_refused(struct loop_defer *defer)
{
	struct error err = {0};

	error_set(&err, -ENOTCONN, "ISOLATION_LOST", "the keeper is gone");
	backend_failed(container_of(defer, struct machine, defer), &err);
}

struct machine *machine_create(struct isolation *iso, const struct machine_spec *spec,
	const struct machine_ops *ops, void *data)
{
	struct machine *m = mem_new(struct machine);

	*m = (struct machine){
		.iso = iso,
		.spec = *spec,
		.state = MACHINE_STARTING,
		.owner = ops,
		.data = data,
	};
	list_init(&m->usage_waits);
	list_push_back(&iso->machines, &m->node);
	iso->count++;
	if (iso->lost)
		loop_defer(iso->loop, &m->defer, on_start_refused);
	else
		iso->ops->create(iso, m);
	return m;
}

void machine_set_memory(struct machine *m, unsigned memory_mb)
{
	if (m->state == MACHINE_RUNNING)
		m->iso->ops->set_memory(m, memory_mb);
}

static bool is_waiting(const struct machine *m)
{
	return m->gate_fn != NULL || !list_empty(&m->usage_waits);
}

static void on_refused(struct loop_defer *defer)
{
	struct machine *m = container_of(defer, struct machine, defer);
	struct error err = {0};

	/* The owner may destroy the machine inside the callback. */
	if (!is_waiting(m))
		return;
	loop_defer(m->iso->loop, &m->defer, on_refused);
	if (m->gate_fn == NULL) {
		backend_usage(m, NULL);
		return;
	}
	error_set(&err, -ENOTCONN, "ISOLATION_LOST", "the keeper is gone");
	backend_gate(m, -EBADF, &err);
}

void machine_get_usage(struct machine *m, machine_usage_fn fn, void *data)
{
	struct usage_wait *w = mem_new(struct usage_wait);

	w->fn = fn;
	w->data = data;
	list_push_back(&m->usage_waits, &w->node);
	if (m->state == MACHINE_RUNNING)
		m->iso->ops->get_usage(m);
	else if (m->state == MACHINE_LOST)
		loop_defer(m->iso->loop, &m->defer, on_refused);
	else
		assert(!"a machine that has not started has no counters");
}

void machine_open_gate(struct machine *m, machine_gate_fn fn, void *data)
{
	assert(m->gate_fn == NULL);
	m->gate_fn = fn;
	m->gate_data = data;
	if (m->state == MACHINE_RUNNING)
		m->iso->ops->open_gate(m);
	else if (m->state == MACHINE_LOST)
		loop_defer(m->iso->loop, &m->defer, on_refused);
	else
		assert(!"a machine that has not started has no network");
}

static void on_gone(struct loop_defer *defer)
{
	backend_gone(container_of(defer, struct machine, defer));
}

void machine_destroy(struct machine *m, machine_gone_fn fn, void *data)
{
	assert(m->state != MACHINE_DOOMED && m->state != MACHINE_ENDING);
	m->gone_fn = fn;
	m->gone_data = data;
	m->gate_fn = NULL;
	switch (m->state) {
	case MACHINE_STARTING:
		m->state = MACHINE_DOOMED;
		break;
	case MACHINE_RUNNING:
		m->state = MACHINE_ENDING;
		m->iso->ops->destroy(m);
		break;
	case MACHINE_LOST:
		m->state = MACHINE_ENDING;
		loop_defer_cancel(&m->defer);
		loop_defer(m->iso->loop, &m->defer, on_gone);
		break;
	case MACHINE_DOOMED:
	case MACHINE_ENDING:
	case MACHINE_STATE_COUNT:
		break;
	}
}

/* --- what backends report --------------------------------------------------------------------- */

void backend_started(struct machine *m, int agent_fd)
{
	if (m->state == MACHINE_DOOMED) {
		fd_close(agent_fd);
		m->state = MACHINE_ENDING;
		m->iso->ops->destroy(m);
		return;
	}
	m->state = MACHINE_RUNNING;
	m->owner->on_started(m, agent_fd, m->data);
}

void backend_failed(struct machine *m, const struct error *err)
{
	if (m->state == MACHINE_DOOMED) {
		backend_gone(m);
		return;
	}
	/* Its owner must not use it any more: not even a destroy inside the callback. */
	m->state = MACHINE_ENDING;
	m->owner->on_failed(m, err, m->data);
	free_machine(m);
}

void backend_exited(struct machine *m, int status, uint64_t oom_kills)
{
	if (m->state == MACHINE_RUNNING)
		m->owner->on_exited(m, status, oom_kills, m->data);
}

void backend_usage(struct machine *m, const struct machine_usage *usage)
{
	struct usage_wait *w = list_first(&m->usage_waits, struct usage_wait, node);

	if (w == NULL)
		return;
	list_del(&w->node);
	machine_usage_fn fn = w->fn;
	void *data = w->data;
	free(w);
	fn(usage, data);
}

void backend_gate(struct machine *m, int fd, const struct error *err)
{
	auto_close int mine = fd;
	machine_gate_fn fn = take_ptr(m->gate_fn);

	if (fn != NULL)
		fn(err == NULL ? take_fd(mine) : -1, err, m->gate_data);
}

void backend_gone(struct machine *m)
{
	machine_gone_fn fn = m->gone_fn;
	void *data = m->gone_data;

	free_machine(m);
	if (fn != NULL)
		fn(data);
}

/* What becomes of one machine. May free it. */
static void lose(struct machine *m, const struct error *err)
{
	switch (m->state) {
	case MACHINE_STARTING:
	case MACHINE_DOOMED:
		backend_failed(m, err);
		break;
	case MACHINE_ENDING:
		backend_gone(m);
		break;
	case MACHINE_RUNNING:
		m->state = MACHINE_LOST;
		if (is_waiting(m))
			loop_defer(m->iso->loop, &m->defer, on_refused);
		break;
	case MACHINE_LOST:
	case MACHINE_STATE_COUNT:
		break;
	}
}

void backend_lost(struct isolation *iso, int err)
{
	struct error text = {0};
	struct list todo;

	error_set(&text, -ENOTCONN, "ISOLATION_LOST", "the keeper is gone");
	iso->lost = true;
	/* Owners may create and destroy others meanwhile: take one at a time off the old list. */
	list_init(&todo);
	while (!list_empty(&iso->machines)) {
		struct list *node = iso->machines.next;

		list_del(node);
		list_push_back(&todo, node);
	}
	while (!list_empty(&todo)) {
		struct machine *m = list_first(&todo, struct machine, node);

		list_del(&m->node);
		list_push_back(&iso->machines, &m->node);
		if (!list_empty(&m->defer.node)) /* created after the loss: fails by itself */
			continue;
		lose(m, &text);
	}
	iso->owner->on_lost(iso, err, iso->data);
}
