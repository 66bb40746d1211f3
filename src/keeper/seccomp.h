/*
 * System call filters: classic BPF built from one table of what is refused. The keeper runs under
 * the part of the table that nobody here needs (its children inherit it, so it may refuse nothing
 * that programs in a machine may use); the first process of a machine adds the whole table before
 * it starts the agent.
 *
 * Refused calls fail with an errno, never by a signal: programs probe for features. Calls newer
 * than the table are ENOSYS, and so is everything in another instruction set (i386, x32).
 */
#pragma once

#include <linux/filter.h>
#include <stddef.h>

enum seccomp_set { SECCOMP_SET_KEEPER, SECCOMP_SET_MACHINE };

#define SECCOMP_LEN_MAX 512

struct seccomp_filter {
	enum seccomp_set set;
	size_t len;
	struct sock_filter code[SECCOMP_LEN_MAX];
};

/* Builds the filter. Does no system call. */
void seccomp_build(struct seccomp_filter *f, enum seccomp_set set);
/* Puts the calling process under it. Needs CAP_SYS_ADMIN in its user namespace, since no_new_privs
 * would take sudo from the machine. 0 or negative errno. */
int seccomp_install(const struct seccomp_filter *f);
