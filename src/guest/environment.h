/*
 * A set of environment variables with a bounded size: the sandbox's own, and the one that is put
 * together for each child.
 */
#pragma once

#include <stddef.h>

#include "base/list.h"
#include "base/table.h"
#include "rpc/schema.h"

/* Names, values, '=' and NUL and a pointer each, in all. */
#define ENVIRONMENT_MAX (1024 * 1024)

struct environment {
	struct table by_name;
	struct list order; /* oldest first */
	size_t bytes;
};

void environment_init(struct environment *env);
/* Empties it for good. Accepts a zeroed struct. */
void environment_done(struct environment *env);
void environment_clear(struct environment *env);

/* -EINVAL for an empty name, one with '=', or NULL; -E2BIG when the set would grow beyond
 * ENVIRONMENT_MAX or RPC_LIST_MAX variables; the set is unchanged then. */
int environment_set(struct environment *env, const char *name, const char *value);
/* Removing what is not there is fine. 0 or -EINVAL. */
int environment_delete(struct environment *env, const char *name);
/* Borrowed until the variable changes; NULL when unset. */
const char *environment_get(const struct environment *env, const char *name);

/* Sets all of another set, or of a map, on top. Stops at the first error, which is returned. */
int environment_add(struct environment *env, const struct environment *other);
int environment_add_map(struct environment *env, const struct rpc_map *map);
/* What every sandbox starts with. */
int environment_add_defaults(struct environment *env, const char *home);

/* NULL-terminated array for execve(2): free() the array; the strings are borrowed. */
char **environment_vector(const struct environment *env);
/* A map whose items are borrowed: free() its array only. */
struct rpc_map environment_map(const struct environment *env);
