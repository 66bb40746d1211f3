/* Asking a running server through its API, over libcurl. */
#pragma once

#include "base/buf.h"
#include "cli/cli.h"

struct api;

/* The server and token: of the call's --state-dir or --config, else of the variables
 * DENO_SANDBOX_ENDPOINT and DENO_DEPLOY_TOKEN, else of the default state folder. Says itself what
 * is wrong, and returns NULL with the exit code. */
struct api *api_open(const struct cli_call *call, int *ret_code);
/* NULL is fine. */
void api_close(struct api *api);

/* One request; path and query are well encoded, body (JSON) may be NULL. CLI_OK with the answer's
 * text appended to out for a 2xx answer; else an exit code, and what is wrong has been said. */
int api_request(
	struct api *api, const char *method, const char *path, const char *body, struct buf *out);
/* A GET whose answer is server-sent events: fn gets the data of each. Returns as above when the
 * server has ended the answer, or fn's value when it is not CLI_OK. */
typedef int (*api_event_fn)(const char *data, size_t len, void *data_of_fn);
int api_follow(struct api *api, const char *path, api_event_fn fn, void *data);
/* text percent-encoded for a path or query (heap). */
char *api_encode(const char *text);
