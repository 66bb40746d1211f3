/*
 * Machines: isolated Linux systems with an agent inside, made and destroyed on request. What a
 * caller may ask is the same for every level (microvm, gvisor, namespace): a machine is an agent
 * reached over a byte stream, a disk, limits, and an end. How a level does it is behind
 * isolation/backend.h.
 *
 * All calls return at once; results come through callbacks from the loop, never from inside the
 * call. Everything runs on the loop's thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loop/loop.h"

struct isolation;
struct machine;

enum isolation_level {
	ISOLATION_AUTO,
	ISOLATION_MICROVM,
	ISOLATION_GVISOR,
	ISOLATION_NAMESPACE,
	ISOLATION_LEVEL_COUNT
};

/* "auto", "microvm", "gvisor", "namespace". NULL when out of range; -EINVAL for other texts. */
const char *isolation_level_name(enum isolation_level level);
int isolation_level_parse(const char *name, enum isolation_level *ret_level);

struct isolation_ops {
	/* The means to make machines is gone (the keeper ended): every machine is lost. Called
	 * once. */
	void (*on_lost)(struct isolation *iso, int err, void *data);
};

/* keeper_fd: socket to the keeper (taken over). Levels that are not built in answer -ENOTSUP with
 * an error that says so; auto picks the strongest that works here. */
int isolation_new(struct loop *loop, enum isolation_level level, int keeper_fd,
	const struct isolation_ops *ops, void *data, struct isolation **ret, struct error *ret_err);
/* Not from inside a callback of this room. Machines that still exist end with the keeper, without a
 * word. NULL is fine. */
void isolation_free(struct isolation *iso);
/* The level machines get. */
enum isolation_level isolation_level(const struct isolation *iso);
/* How many machines to keep half-made below the caller's own pool (0: none). */
void isolation_prepare(struct isolation *iso, unsigned count);

struct machine_spec {
	unsigned memory_mb;
	unsigned cpu_percent; /* 200 = two CPUs */
	unsigned pids_max;
};

struct machine_usage {
	uint64_t oom_kills;
	uint64_t memory_bytes;
	uint64_t memory_peak;
	uint64_t cpu_ns;
	uint64_t pids;
	uint64_t pids_refused;
	uint64_t disk_bytes;
};

struct machine_ops {
	/* The machine runs; agent_fd (now the caller's) is the stream to its agent, which greets by
	 * itself when it is up. */
	void (*on_started)(struct machine *m, int agent_fd, void *data);
	/* It could not be made; m is freed after the call. */
	void (*on_failed)(struct machine *m, const struct error *err, void *data);
	/* Its first process ended although nobody asked. The machine still has to be destroyed.
	 * oom_kills is the final count. */
	void (*on_exited)(struct machine *m, int status, uint64_t oom_kills, void *data);
};

/* Starts a machine. m is valid until on_failed or machine_destroy(). Never fails at once. */
struct machine *machine_create(struct isolation *iso, const struct machine_spec *spec,
	const struct machine_ops *ops, void *data);
/* Fire and forget; a failure is logged. */
void machine_set_memory(struct machine *m, unsigned memory_mb);
/* fn gets usage, or NULL when it cannot be read any more. Not called after machine_destroy(). */
typedef void (*machine_usage_fn)(const struct machine_usage *usage, void *data);
void machine_get_usage(struct machine *m, machine_usage_fn fn, void *data);
/* Starts the machine's gate, which is its way out (rpc/gate.h): fn gets the daemon's end of the
 * gate's socket (now the caller's), or -1 and why not. Only when the machine runs, and not again
 * before fn has been called; -EBUSY while a gate lives, -EAGAIN when none can be started just now.
 * Not called after machine_destroy(). The gate ends with the machine, or with its socket. */
typedef void (*machine_gate_fn)(int fd, const struct error *err, void *data);
void machine_open_gate(struct machine *m, machine_gate_fn fn, void *data);
/* Ends the machine in any state; no further callback of it comes; m must not be used afterwards.
 * fn (may be NULL) is called when its processes are gone. */
typedef void (*machine_gone_fn)(void *data);
void machine_destroy(struct machine *m, machine_gone_fn fn, void *data);
/* Machines that exist or are being made or destroyed. */
unsigned isolation_machine_count(const struct isolation *iso);
