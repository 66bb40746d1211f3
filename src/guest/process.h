/*
 * Processes that spawn started: which run, how the others ended, who waits. As the first process
 * of its namespace the agent also reaps what others left behind, silently.
 *
 * A running process is our child until we reap it, so its pid cannot mean another one: plain
 * kill(2) is safe.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/table.h"

struct agent;
struct stdio_out;

struct process {
	struct table_entry entry; /* by pid */
	struct list node;         /* ended: agent->results */
	struct list waiters;      /* running: requests that wait */
	struct stdio_out *out[2]; /* stdout and stderr while their pipes are open */
	pid_t pid;
	int status; /* ended: as of waitpid(2) */
	bool running;
};

/* Starts reaping. 0 or negative errno. */
int process_watch(struct agent *agent);
/* A record for a child that was just started. A result with the same pid is forgotten. */
struct process *process_new(struct agent *agent, pid_t pid);
unsigned process_running_count(const struct agent *agent);
/* SIGKILL to everything in the namespace when the agent is its first process, else to all running
 * children. */
void process_kill_all(struct agent *agent);
/* Frees the records; waiting requests must be gone. */
void process_free_all(struct agent *agent);
