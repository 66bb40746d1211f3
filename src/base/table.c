#include "base/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"

#define SIZE_MIN 16

static uint64_t load_word(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static uint64_t rotate(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/* SipHash-1-3: keyed, so that whoever picks the keys cannot predict the slots. */
static uint64_t sip_hash(const uint64_t seed[2], const uint8_t *p, size_t len)
{
	uint64_t v[4] = {
		seed[0] ^ UINT64_C(0x736f6d6570736575),
		seed[1] ^ UINT64_C(0x646f72616e646f6d),
		seed[0] ^ UINT64_C(0x6c7967656e657261),
		seed[1] ^ UINT64_C(0x7465646279746573),
	};
	size_t rest = len % 8;

	for (const uint8_t *end = p + len - rest; p < end; p += 8)
		sip_word(v, load_word(p, 8));
	sip_word(v, load_word(p, rest) | (uint64_t)len << 56);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uint64_t hash_u64(const struct table *t, uint64_t key)
{
	uint8_t raw[8];

	memcpy(raw, &key, sizeof(raw));
	return sip_hash(t->seed, raw, sizeof(raw));
}

static uint64_t hash_str(const struct table *t, const char *key)
{
	return sip_hash(t->seed, (const uint8_t *)key, strlen(key));
}

void table_init(struct table *t)
{
	*t = (struct table){0};
	random_bytes(t->seed, sizeof(t->seed));
}

void table_done(struct table *t)
{
	free(t->slots);
	t->slots = NULL;
	t->size = 0;
	t->count = 0;
}

static struct table_entry **slot_of(const struct table *t, uint64_t hash)
{
	return &t->slots[hash & (t->size - 1)];
}

static void grow(struct table *t)
{
	struct table_entry **old = t->slots;
	size_t old_size = t->size;

	t->size = old_size > 0 ? old_size * 2 : SIZE_MIN;
	t->slots = mem_zalloc_array(t->size, sizeof(struct table_entry *));
	for (size_t i = 0; i < old_size; i++) {
		struct table_entry *next;

		for (struct table_entry *e = old[i]; e != NULL; e = next) {
			struct table_entry **slot = slot_of(t, e->hash);

			next = e->next;
			e->next = *slot;
			*slot = e;
		}
	}
	free(old);
}

static void link_entry(struct table *t, struct table_entry *e)
{
	if (t->count >= t->size)
		grow(t);
	struct table_entry **slot = slot_of(t, e->hash);
	e->next = *slot;
	*slot = e;
	t->count++;
}

static struct table_entry *find_u64(const struct table *t, uint64_t hash, uint64_t key)
{
	struct table_entry *e = t->size > 0 ? *slot_of(t, hash) : NULL;

	while (e != NULL && (e->name != NULL || e->number != key))
		e = e->next;
	return e;
}

static struct table_entry *find_str(const struct table *t, uint64_t hash, const char *key)
{
	struct table_entry *e = t->size > 0 ? *slot_of(t, hash) : NULL;

	while (e != NULL && (e->hash != hash || e->name == NULL || strcmp(e->name, key) != 0))
		e = e->next;
	return e;
}

int table_insert_u64(struct table *t, struct table_entry *e, uint64_t key)
{
	uint64_t hash = hash_u64(t, key);

	if (find_u64(t, hash, key) != NULL)
		return -EEXIST;
	*e = (struct table_entry){.hash = hash, .number = key};
	link_entry(t, e);
	return 0;
}

int table_insert_str(struct table *t, struct table_entry *e, const char *key)
{
	uint64_t hash = hash_str(t, key);

	if (find_str(t, hash, key) != NULL)
		return -EEXIST;
	*e = (struct table_entry){.hash = hash, .name = key};
	link_entry(t, e);
	return 0;
}

struct table_entry *table_find_u64(const struct table *t, uint64_t key)
{
	return t->count > 0 ? find_u64(t, hash_u64(t, key), key) : NULL;
}

struct table_entry *table_find_str(const struct table *t, const char *key)
{
	return t->count > 0 ? find_str(t, hash_str(t, key), key) : NULL;
}

void table_remove(struct table *t, struct table_entry *e)
{
	struct table_entry **at = slot_of(t, e->hash);

	while (*at != e) {
		assert(*at != NULL);
		at = &(*at)->next;
	}
	*at = e->next;
	e->next = NULL;
	t->count--;
}

static struct table_entry *first_from(const struct table *t, size_t slot)
{
	for (; slot < t->size; slot++) {
		if (t->slots[slot] != NULL)
			return t->slots[slot];
	}
	return NULL;
}

struct table_entry *table_any(const struct table *t)
{
	return t->count > 0 ? first_from(t, 0) : NULL;
}

struct table_entry *table_next(const struct table *t, const struct table_entry *e)
{
	if (e == NULL)
		return table_any(t);
	if (e->next != NULL)
		return e->next;
	return first_from(t, (size_t)(slot_of(t, e->hash) - t->slots) + 1);
}
