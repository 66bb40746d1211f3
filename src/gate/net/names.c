#include "gate/net/names.h"

#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/table.h"

struct entry {
	struct table_entry by_name;
	struct list age; /* in half.used: least lately used first */
	unsigned index;
	char *name; /* NULL: free */
};

struct half {
	struct entry *entries;
	unsigned max;
	unsigned taken; /* entries that have been used at least once */
	struct table by_name;
	struct list used;
};

struct names {
	struct half halves[2]; /* known, others */
};

static void half_init(struct half *h, unsigned max)
{
	h->max = max;
	table_init(&h->by_name);
	list_init(&h->used);
}

struct names *names_new(void)
{
	struct names *n = mem_new(struct names);

	half_init(&n->halves[0], NAMES_KNOWN_MAX);
	half_init(&n->halves[1], NAMES_OTHER_MAX);
	return n;
}

void names_free(struct names *n)
{
	if (n == NULL)
		return;
	for (size_t i = 0; i < array_len(n->halves); i++) {
		struct half *h = &n->halves[i];

		for (unsigned k = 0; k < h->taken; k++)
			free(h->entries[k].name);
		free(h->entries);
		table_done(&h->by_name);
	}
	free(n);
}

static void touch(struct half *h, struct entry *e)
{
	list_del(&e->age);
	list_push_back(&h->used, &e->age);
}

/* A free entry, or the one that was not used for longest. */
static struct entry *take(struct half *h)
{
	struct entry *e;

	if (h->entries == NULL)
		h->entries = mem_zalloc_array(h->max, sizeof(*h->entries));
	if (h->taken < h->max) {
		e = &h->entries[h->taken];
		e->index = h->taken++;
		list_init(&e->age);
		return e;
	}
	e = list_first(&h->used, struct entry, age);
	table_remove(&h->by_name, &e->by_name);
	free(e->name);
	e->name = NULL;
	return e;
}

void names_address(struct names *n, const char *name, bool known, uint8_t ret[4])
{
	unsigned which = known ? 0 : 1;
	struct half *h = &n->halves[which];
	struct table_entry *found = table_find_str(&h->by_name, name);
	struct entry *e;

	if (found != NULL) {
		e = container_of(found, struct entry, by_name);
	} else {
		e = take(h);
		e->name = mem_strdup(name);
		(void)table_insert_str(&h->by_name, &e->by_name, e->name);
	}
	touch(h, e);
	/* .0 and .255 are left out: some programs take them for what they once were. */
	ret[0] = 198;
	ret[1] = (uint8_t)(18 + which);
	ret[2] = (uint8_t)(e->index / 254);
	ret[3] = (uint8_t)(e->index % 254 + 1);
}

bool names_is_ours(const struct address *a)
{
	return address_is_v4(a) && a->bytes[12] == 198 && (a->bytes[13] & 0xfe) == 18;
}

const char *names_find(struct names *n, const struct address *a)
{
	const struct half *h;
	unsigned index;

	if (!names_is_ours(a) || a->bytes[15] == 0 || a->bytes[15] == 255)
		return NULL;
	h = &n->halves[a->bytes[13] - 18];
	index = a->bytes[14] * 254U + a->bytes[15] - 1;
	return index < h->taken ? h->entries[index].name : NULL;
}
