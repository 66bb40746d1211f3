/* The namespace level: every request goes to the keeper, which makes the machines. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "isolation/backend.h"
#include "isolation/namespace/keeper_client.h"

/* A predecessor may still be cleaning up, and the base image may have to be read from disk. */
#define START_TIMEOUT_MS 20000

struct space {
	struct keeper_client client;
	struct isolation *iso;
	struct table machines; /* struct named by slot */
};

/* A machine that the keeper knows by name. */
struct named {
	struct table_entry by_slot;
	struct machine *m;
};

/* m->name: the slot (and, once known, its entry of the table) and the generation. */
enum { NAME_SLOT, NAME_GENERATION };

static struct space *space_of(const struct machine *m)
{
	return m->iso->backend;
}

static struct keeper_request request_for(const struct machine *m, enum keeper_verb verb)
{
	return (struct keeper_request){
		.verb = verb,
		.slot = (uint32_t)m->name[NAME_SLOT],
		.generation = m->name[NAME_GENERATION],
	};
}

static void remember(struct space *sp, struct machine *m)
{
	struct named *n = mem_new(struct named);

	n->m = m;
	if (table_insert_u64(&sp->machines, &n->by_slot, m->name[NAME_SLOT]) < 0)
		free(n); /* the keeper gave one slot twice; it will not answer for either */
}

static struct machine *find(struct space *sp, uint64_t slot, uint64_t generation)
{
	struct table_entry *e = table_find_u64(&sp->machines, slot);
	struct machine *m = e != NULL ? container_of(e, struct named, by_slot)->m : NULL;

	return m != NULL && m->name[NAME_GENERATION] == generation ? m : NULL;
}

static void forget(struct space *sp, struct machine *m)
{
	struct table_entry *e = table_find_u64(&sp->machines, m->name[NAME_SLOT]);

	if (e == NULL || container_of(e, struct named, by_slot)->m != m)
		return;
	table_remove(&sp->machines, e);
	free(container_of(e, struct named, by_slot));
}

/* --- requests --------------------------------------------------------------------------------- */

static void on_created(
	struct keeper_client *c, const struct keeper_reply *reply, int fd, void *data)
{
	struct space *sp = container_of(c, struct space, client);
	struct machine *m = data;
	auto_close int agent = fd;
	struct error err = {0};

	if (reply->err == 0 && agent < 0) {
		error_set(&err, -EPROTO, "ISOLATION_FAILED", "the keeper gave no agent socket");
		backend_failed(m, &err);
		return;
	}
	if (reply->err < 0) {
		error_set(&err, reply->err, "ISOLATION_FAILED", "cannot %s: %s", reply->what,
			strerror(-reply->err));
		backend_failed(m, &err);
		return;
	}
	m->name[NAME_SLOT] = reply->slot;
	m->name[NAME_GENERATION] = reply->generation;
	remember(sp, m);
	backend_started(m, take_fd(agent));
}

static void ns_create(struct isolation *iso, struct machine *m)
{
	struct space *sp = iso->backend;
	struct keeper_request req = {
		.verb = KEEPER_CREATE,
		.create.memory_mb = m->spec.memory_mb,
		.create.cpu_percent = m->spec.cpu_percent,
		.create.pids_max = m->spec.pids_max,
	};

	keeper_client_ask(&sp->client, &req, on_created, m);
}

static void on_done(struct keeper_client *c, const struct keeper_reply *reply, int fd, void *data)
{
	(void)c;
	(void)data;
	fd_close(fd);
	if (reply->err < 0)
		log_warn("the keeper cannot %s: %s", reply->what, strerror(-reply->err));
}

static void ns_set_memory(struct machine *m, unsigned memory_mb)
{
	struct keeper_request req = request_for(m, KEEPER_LIMIT);

	req.limit.memory_mb = memory_mb;
	keeper_client_ask(&space_of(m)->client, &req, on_done, m);
}

static void on_usage(struct keeper_client *c, const struct keeper_reply *reply, int fd, void *data)
{
	struct machine_usage usage = {
		.oom_kills = reply->usage.oom_kills,
		.memory_bytes = reply->usage.memory_bytes,
		.memory_peak = reply->usage.memory_peak,
		.cpu_ns = reply->usage.cpu_ns,
		.pids = reply->usage.pids,
		.pids_refused = reply->usage.pids_refused,
		.disk_bytes = reply->usage.disk_bytes,
	};

	(void)c;
	fd_close(fd);
	backend_usage(data, reply->err == 0 ? &usage : NULL);
}

static void ns_get_usage(struct machine *m)
{
	struct keeper_request req = request_for(m, KEEPER_USAGE);

	keeper_client_ask(&space_of(m)->client, &req, on_usage, m);
}

static void on_gate(struct keeper_client *c, const struct keeper_reply *reply, int fd, void *data)
{
	auto_close int gate = fd;
	struct error err = {0};

	(void)c;
	if (reply->err < 0)
		error_set(&err, reply->err, "ISOLATION_FAILED", "cannot %s: %s", reply->what,
			strerror(-reply->err));
	else if (gate < 0)
		error_set(&err, -EPROTO, "ISOLATION_FAILED", "the keeper gave no gate socket");
	backend_gate(data, take_fd(gate), err.err < 0 ? &err : NULL);
}

static void ns_open_gate(struct machine *m)
{
	struct keeper_request req = request_for(m, KEEPER_GATE);

	keeper_client_ask(&space_of(m)->client, &req, on_gate, m);
}

static void on_destroyed(
	struct keeper_client *c, const struct keeper_reply *reply, int fd, void *data)
{
	(void)c;
	fd_close(fd);
	if (reply->err < 0)
		log_warn("the keeper cannot %s: %s", reply->what, strerror(-reply->err));
	backend_gone(data);
}

static void ns_destroy(struct machine *m)
{
	struct space *sp = space_of(m);
	struct keeper_request req = request_for(m, KEEPER_DESTROY);

	keeper_client_forget(&sp->client, m);
	forget(sp, m);
	keeper_client_ask(&sp->client, &req, on_destroyed, m);
}

static void ns_prepare(struct isolation *iso, unsigned count)
{
	struct space *sp = iso->backend;
	struct keeper_request req = {
		.verb = KEEPER_PREPARE,
		.prepare.count = count < KEEPER_PREPARE_MAX ? count : KEEPER_PREPARE_MAX,
	};

	keeper_client_ask(&sp->client, &req, on_done, NULL);
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_event(struct keeper_client *c, const struct keeper_reply *reply)
{
	struct space *sp = container_of(c, struct space, client);
	struct machine *m = find(sp, reply->slot, reply->generation);

	/* One that is being destroyed is not in the table any more. */
	if (reply->verb == KEEPER_EXITED && m != NULL)
		backend_exited(m, reply->exited.status, reply->exited.oom_kills);
}

static void drop_names(struct space *sp)
{
	struct table_entry *e;

	while ((e = table_any(&sp->machines)) != NULL) {
		table_remove(&sp->machines, e);
		free(container_of(e, struct named, by_slot));
	}
}

static void on_end(struct keeper_client *c, int err)
{
	struct space *sp = container_of(c, struct space, client);

	drop_names(sp);
	backend_lost(sp->iso, err);
}

static const struct keeper_client_ops client_ops = {
	.on_event = on_event,
	.on_end = on_end,
};

static int ns_open(struct isolation *iso, int keeper_fd, struct error *ret_err)
{
	struct space *sp = mem_new(struct space);

	sp->iso = iso;
	table_init(&sp->machines);
	int r = keeper_client_open(
		&sp->client, iso->loop, keeper_fd, START_TIMEOUT_MS, &client_ops, ret_err);
	if (r < 0) {
		free(sp);
		return r;
	}
	iso->backend = sp;
	return 0;
}

static void ns_close(struct isolation *iso)
{
	struct space *sp = iso->backend;

	keeper_client_close(&sp->client);
	drop_names(sp);
	table_done(&sp->machines);
	free(sp);
}

const struct backend_ops namespace_backend_ops = {
	.open = ns_open,
	.close = ns_close,
	.prepare = ns_prepare,
	.create = ns_create,
	.set_memory = ns_set_memory,
	.get_usage = ns_get_usage,
	.open_gate = ns_open_gate,
	.destroy = ns_destroy,
};
