/* From a request's method number and bytes to the call that carries it out. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct agent;

/* Checks the request against the table of methods and carries it out, or answers why not. */
void dispatch_request(
	struct agent *agent, uint32_t id, uint16_t method, const uint8_t *data, size_t len);
