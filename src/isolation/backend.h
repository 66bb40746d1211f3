/*
 * What a level must provide, and what isolation.c gives it. isolation.c owns the machine objects
 * and the rules of their callbacks (isolation.h); a backend only makes, asks and destroys, and says
 * what happened through the calls below, which it makes from the loop only.
 */
#pragma once

#include "base/list.h"
#include "isolation/isolation.h"

struct backend_ops {
	/* Takes keeper_fd over, also when it fails. Sets iso->backend. */
	int (*open)(struct isolation *iso, int keeper_fd, struct error *ret_err);
	/* Nothing is reported afterwards. */
	void (*close)(struct isolation *iso);
	void (*prepare)(struct isolation *iso, unsigned count);
	/* Ends in backend_started() or backend_failed(). */
	void (*create)(struct isolation *iso, struct machine *m);
	/* A machine that has started and is neither destroyed nor lost: */
	void (*set_memory)(struct machine *m, unsigned memory_mb);
	/* Ends in backend_usage(). */
	void (*get_usage)(struct machine *m);
	/* Ends in backend_gate(). */
	void (*open_gate)(struct machine *m);
	/* Ends in backend_gone(). Answers still due for the machine are dropped. */
	void (*destroy)(struct machine *m);
};

extern const struct backend_ops namespace_backend_ops;

enum machine_state {
	MACHINE_STARTING,
	MACHINE_DOOMED, /* destroyed by its owner while starting */
	MACHINE_RUNNING,
	MACHINE_ENDING,
	MACHINE_LOST, /* ended with the backend */
	MACHINE_STATE_COUNT
};

struct isolation {
	struct loop *loop;
	enum isolation_level level;
	const struct backend_ops *ops;
	void *backend; /* of the level */
	const struct isolation_ops *owner;
	void *data;
	struct list machines;
	unsigned count;
	bool lost;
};

struct machine {
	struct list node;
	struct isolation *iso;
	struct machine_spec spec;
	enum machine_state state;
	const struct machine_ops *owner;
	void *data;
	machine_gone_fn gone_fn;
	void *gone_data;
	machine_gate_fn gate_fn; /* NULL: nobody waits for a gate */
	void *gate_data;
	struct list usage_waits; /* one for each machine_get_usage(), oldest first */
	struct loop_defer defer; /* a callback that the loop has to make */
	uint64_t name[2];        /* the backend's: what it calls the machine */
};

void backend_started(struct machine *m, int agent_fd);
/* Frees m. */
void backend_failed(struct machine *m, const struct error *err);
void backend_exited(struct machine *m, int status, uint64_t oom_kills);
/* Answers the oldest machine_get_usage(); NULL: cannot be read. */
void backend_usage(struct machine *m, const struct machine_usage *usage);
/* Answers machine_open_gate(); err NULL: fd is the gate's socket (taken over). */
void backend_gate(struct machine *m, int fd, const struct error *err);
/* Frees m. */
void backend_gone(struct machine *m);
/* Every machine has ended; nothing more comes from the backend. */
void backend_lost(struct isolation *iso, int err);
