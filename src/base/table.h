/*
 * Intrusive hash tables: by 64-bit number and by string. The entry lives inside the caller's
 * object; the table never copies or frees objects. String keys are hashed with a key drawn at
 * random when the table is made, so a peer that picks names cannot force collisions.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_entry {
	struct table_entry *next;
	uint64_t hash;
	uint64_t number;  /* key of table_*_u64 */
	const char *name; /* key of table_*_str: borrowed, must live as long as the entry */
};

struct table {
	struct table_entry **slots;
	size_t size; /* number of slots: 0 or a power of two */
	size_t count;
	uint64_t seed[2];
};

void table_init(struct table *t);
/* Frees the slots; the objects are the caller's. Accepts a zeroed struct. */
void table_done(struct table *t);

/* Insert: 0, or -EEXIST when the key is there already. */
int table_insert_u64(struct table *t, struct table_entry *e, uint64_t key);
int table_insert_str(struct table *t, struct table_entry *e, const char *key);
/* NULL when absent. */
struct table_entry *table_find_u64(const struct table *t, uint64_t key);
struct table_entry *table_find_str(const struct table *t, const char *key);
/* Removes an entry that is in the table. */
void table_remove(struct table *t, struct table_entry *e);
/* Any entry, or NULL when empty: for emptying a table. */
struct table_entry *table_any(const struct table *t);
/* Iteration: table_next(t, NULL) is the first entry. The table must not change meanwhile, except
 * that the entry returned last may be removed after its successor was fetched. */
struct table_entry *table_next(const struct table *t, const struct table_entry *e);
