/*
 * What the tests of machines begin with: one keeper for all of them, or none where machines are not
 * possible, and commands inside that must work. Included once by a test program.
 */
#pragma once

#include "unit.h"

#include "host.h"

static struct host host;
static bool possible;

static int begin(void **state)
{
	struct error err = {0};

	possible = host_possible();
	if (!possible)
		return 0;
	int r = host_start(&host, &err);
	if (r < 0)
		print_error("keeper: %s %s\n", strerror(-r), err.message);
	return r;
}

static int finish(void **state)
{
	if (possible)
		host_stop(&host);
	return 0;
}

#define need_host() \
	do { \
		if (!possible) \
			skip(); \
	} while (0)

static char out[65536];

static void must(struct guest *g, uint32_t uid, const char *command)
{
	int status = guest_run(g, uid, command, out, sizeof(out));

	if (status != 0)
		fail_msg("'%s' as %u: status %#x: %s", command, uid, (unsigned)status, out);
}
