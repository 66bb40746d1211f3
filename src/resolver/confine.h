/* What the resolver gives up before it takes the first request. */
#pragma once

#include <sys/types.h>

/* As root: becomes uid (user and group), without capabilities. In any case: cannot gain rights,
 * cannot be traced, dies with parent, and loses the system calls of which no name service has need.
 * 0 or negative errno; *ret_what says what could not be done. */
int confine(uid_t uid, pid_t parent, const char **ret_what);
