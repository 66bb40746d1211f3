/* What the JSON files of this room share. */
#pragma once

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/error.h"

/* Stands for U+0000 in the keys of parsed objects, which json-c holds as C strings and would cut
 * there: U+FFFF, a code point reserved for internal use that no text may contain. No field has such
 * a name, and maps refuse such a key. */
#define RPC_JSON_KEY_NUL "\xef\xbf\xbf"

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
