/* Starting warren-keeper: for the daemon, while it is still root. Linked without the rest of this
 * room. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct keeper_spawn_params {
	const char *program;  /* path of warren-keeper */
	const char *agent;    /* path of warren-agent */
	const char *gate;     /* path of warren-gate */
	const char *resolver; /* path of warren-resolver */
	const char *image_dir;
	const char *host_ca;   /* certificates that the host trusts; NULL: the default */
	const char *extra_ca;  /* further ones; NULL: none */
	int state_fd;          /* the state folder; borrowed */
	uint32_t uid_base;     /* 0: the default */
	const char *log_level; /* NULL: the default */
};

/* Starts it, with absolute paths, and with one end of a socket pair. *ret_sock (the caller's,
 * close-on-exec) is the other end, *ret_pid a child to be reaped. It shares the caller's standard
 * error and nothing else; its start takes up to some seconds when a predecessor is still cleaning
 * up, which the first reply on the socket tells (request.h). Blocks until the program has been
 * executed; its failure is reported as a negative errno. */
int keeper_spawn(const struct keeper_spawn_params *params, int *ret_sock, pid_t *ret_pid);
