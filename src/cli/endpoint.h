/* The file `endpoint` in a state folder: where the server that runs there can be reached. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

struct endpoint {
	char url[128];    /* "http://127.0.0.1:8080", no slash at the end */
	char domain[128]; /* "localhost:8080" */
	pid_t pid;
};

/* Parses the text of the file. Addresses that mean "all of this machine's" become loopback ones,
 * which is what a client can connect to. 0, or -EINVAL for a text that warrend does not write. */
int endpoint_parse(const char *text, struct endpoint *ret);
/* Reads the file and checks that its server is alive. -ESRCH when none runs there. */
int endpoint_read(const char *state_dir, struct endpoint *ret, struct error *ret_err);
