/* HTTP/1.1 between the two sides of flow_fixture.h, and what its tests say most often. */
#pragma once

#include "flow_fixture.h"

#include "gate/http/http1_flow.h"

/* What the gate writes for "GET / HTTP/1.1" with nothing but Host. */
#define ASK "GET / HTTP/1.1\r\nHost: a.example\r\n"
#define IDENTITY "Accept-Encoding: identity\r\n"
#define ASKED ASK IDENTITY "\r\n"
#define OK_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define GET_ANSWERED \
	{PROGRAM, ASK "\r\n"}, {AT_HOST, ASKED}, {HOST, OK_5}, \
	{ \
		AT_PROGRAM, OK_5 \
	}
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define CLOSE "Connection: close\r\n"

#define HOST_LINE "Host: a.example\r\n"

/* --- fixtures ----------------------------------------------------------------------------- */

static inline void begin(void)
{
	fixture_open();
	f.x = http1_flow_new(&f.params, f.legs[0], f.legs[1]);
	turns_run(TURNS);
}

static inline int setup(void **state)
{
	fixture_prepare();
	return 0;
}

static inline int teardown(void **state)
{
	fixture_close(http1_flow_free);
	return 0;
}

/* For the next case of a table. */
static inline void again(void)
{
	teardown(NULL);
	setup(NULL);
}

/* Nothing to put in, nothing to take out. */
static inline void without_secrets(void)
{
	f.params.secrets = 0;
	f.params.scrub = NULL;
}
