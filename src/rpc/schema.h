/*
 * How a parameter or result is described. One description drives everything: decoding and
 * validating the client's JSON (rpc/json.h), the compact binary form on the agent channel
 * (rpc/pack.h), freeing, and the text of errors. A parser written by hand for a described message
 * is a bug.
 *
 * A described object is a plain C struct; a field says where in the struct its value lives.
 *
 *   RPC_BOOL         bool
 *   RPC_INT          int64_t              min..max
 *   RPC_STRING       char *               heap, NUL-terminated; NULL = absent / null
 *   RPC_ENUM         int64_t              index into names (or the value of a synonym)
 *   RPC_STRING_LIST  struct rpc_strings
 *   RPC_STRING_MAP   struct rpc_map
 *   RPC_PAIRS        struct rpc_map       JSON: [[key, value], ...] in their order, keys may repeat
 *   RPC_BYTES        struct rpc_bytes     JSON: base64, or plain text with RPC_TEXT
 *   RPC_TIME         int64_t              nanoseconds since 1970; JSON: ISO 8601 string
 *   RPC_OBJECT       the sub struct, inline; absent in JSON = every field at its absent value
 *   RPC_OBJECTS      struct rpc_objects   array of heap structs
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rpc_type {
	RPC_BOOL,
	RPC_INT,
	RPC_STRING,
	RPC_ENUM,
	RPC_STRING_LIST,
	RPC_STRING_MAP,
	RPC_PAIRS,
	RPC_BYTES,
	RPC_TIME,
	RPC_OBJECT,
	RPC_OBJECTS,
	RPC_TYPE_COUNT
};

struct rpc_strings {
	char **items;
	size_t count;
};

struct rpc_pair {
	char *key;
	char *value;
};

struct rpc_map {
	struct rpc_pair *items;
	size_t count;
};

struct rpc_bytes {
	uint8_t *data; /* NULL: absent */
	size_t len;
};

struct rpc_objects {
	void *items; /* count structs of sub->size bytes each */
	size_t count;
};

/* Field flags. */
#define RPC_REQUIRED 0x01  /* JSON: absent or null is an error; otherwise both mean `absent` */
#define RPC_INTERNAL 0x02  /* never read from or written to JSON; on the channel only */
#define RPC_NOT_EMPTY 0x04 /* strings, keys of pairs: "" is an error */
#define RPC_ENV_NAME 0x08  /* strings and map keys: not empty, no '=' */
/* 0x10 is RPC_UNPACKED of rpc/pack.h. */
#define RPC_TEXT 0x20   /* bytes: the JSON string is the content itself (UTF-8, NUL allowed) */
#define RPC_ONE_OF 0x40 /* JSON: exactly one of the fields marked so must be given */

struct rpc_schema;

/* A further spelling of an enumerated value; lists of them end with a NULL name. */
struct rpc_synonym {
	const char *name;
	int64_t value;
};

struct rpc_field {
	const char *name; /* JSON key, camelCase */
	enum rpc_type type;
	unsigned flags;
	size_t offset;            /* of the value in the struct */
	int64_t absent;           /* value of BOOL, INT, ENUM, TIME when absent */
	int64_t min;              /* INT */
	int64_t max;              /* INT. STRING, BYTES, lists, maps, pairs: longest string */
	int64_t count_max;        /* lists, maps, pairs, objects: most elements */
	const char *const *names; /* ENUM: NULL-terminated */
	const struct rpc_synonym *synonyms; /* ENUM: accepted from JSON, never written; or NULL */
	const char *alias;                  /* JSON: another key that is accepted, or NULL */
	const struct rpc_schema *sub;
};

struct rpc_schema {
	const char *name;
	const struct rpc_field *fields;
	size_t count;
	size_t size; /* of the struct */
};

#define RPC_SCHEMA(tag, structure, ...) \
	static const struct rpc_field tag##_fields[] = {__VA_ARGS__}; \
	const struct rpc_schema tag = {#tag, tag##_fields, \
		sizeof(tag##_fields) / sizeof(tag##_fields[0]), sizeof(structure)}

/* Sets every field of a fresh struct to its absent value. */
void rpc_reset(const struct rpc_schema *schema, void *object);
/* Frees what the fields own and resets the struct. Accepts a zeroed one. */
void rpc_clear(const struct rpc_schema *schema, void *object);
