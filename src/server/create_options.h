/*
 * What a client wants at create: the configuration header of protocol.md section 4.4, in the
 * dialects of both official clients.
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "sandbox/sandbox.h"

/* header: text of x-deno-sandbox-config (base64 of JSON), or NULL: all defaults. host_region: a
 * region the client chose by host name, or "". now_ms: wall clock. 0, or a negative errno with code
 * and field: -EINVAL for wrong values, -EOPNOTSUPP for what this server cannot give. */
int create_options_parse(const char *header, size_t len, const struct config *config,
	const char *host_region, int64_t now_ms, struct sandbox_options *ret,
	struct error *ret_err);
