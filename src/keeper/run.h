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
#define RUN_ROOT "root"                /* where a machine mounts the two together */
#define RUN_VEIL "veil"                /* where a machine mounts what it lays over parts of /proc */
#define RUN_NODES "nodes"              /* files of loop devices */
#define RUN_AGENT "agent"              /* the agent, root's, mode 0711 */
#define RUN_GATE "warren-gate"         /* the program, from where it is installed */
#define RUN_RESOLVER "warren-resolver" /* likewise */
#define RUN_TRUST "trust.pem"          /* certificates that the host trusts; may be missing */

#define AGENT_PATH "/run/warren/agent" /* the agent, inside; there is "trust.pem" beside it */
