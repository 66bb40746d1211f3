/*
 * The keeper's run folder: a tmpfs of its own at <state>/keeper/run, in its private mount
 * namespace, and its working directory. Machines' first processes start with a copy of it.
 */
#pragma once

#define RUN_BASE "base"   /* mount point of the base image */
#define RUN_LOWER "lower" /* where a machine mounts its shifted view of the base */
#define RUN_DISK "disk"   /* where a machine mounts its disk */
#define RUN_UPPER "disk/upper"
#define RUN_WORK "disk/work"
#define RUN_ROOT "root"   /* where a machine mounts the two together */
#define RUN_VEIL "veil"   /* where a machine mounts what it lays over parts of /proc */
#define RUN_NODES "nodes" /* files of loop devices */
#define RUN_AGENT "agent" /* the agent, root's, mode 0711 */

#define AGENT_PATH "/run/warren/agent" /* the same, inside */
