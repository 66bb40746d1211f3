/* What the codecs of this room share: the checks that hold for every encoding. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/schema.h"

enum rpc_string_fault {
	RPC_STRING_FINE,
	RPC_STRING_NUL,
	RPC_STRING_LONG,
	RPC_STRING_EMPTY,
	RPC_STRING_EQUALS, /* an '=' in the name of a variable */
	RPC_STRING_FAULT_COUNT
};

/* Checks a string, an entry of a list, or a key (is_value false) or value of a map. */
enum rpc_string_fault rpc_check_string(
	const struct rpc_field *f, bool is_value, const void *data, size_t len);

/* Number of values of an enumeration. */
int64_t rpc_enum_count(const struct rpc_field *f);
