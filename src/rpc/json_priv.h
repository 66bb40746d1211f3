/* What the JSON files of this room share. */
#pragma once

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"
#include "rpc/json.h"

/* Parses as rpc_json_parse() does, telling the value null (0 and *ret NULL) from a failure. */
int rpc_json_read(const char *text, size_t len, struct json_object **ret, struct error *ret_err);

#define WORD_LOW UINT64_C(0x0101010101010101)
#define WORD_HIGH UINT64_C(0x8080808080808080)

/* Not 0 when one of the eight bytes cannot stand in a JSON string as it is. */
static inline uint64_t json_word_special(uint64_t w)
{
	uint64_t quote = w ^ WORD_LOW * '"';
	uint64_t backslash = w ^ WORD_LOW * '\\';

	return (((w - WORD_LOW * 0x20) & ~w) | ((quote - WORD_LOW) & ~quote) |
		       ((backslash - WORD_LOW) & ~backslash)) &
	       WORD_HIGH;
}

static inline uint64_t json_word_load(const uint8_t *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}
