/* Intrusive doubly linked list with a sentinel head. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

#define LIST_INIT(name) \
	{ \
		&(name), &(name) \
	}

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

#ifdef __clang_analyzer__
/* It cannot follow removal from a list, and would take each round of a loop that frees the first
 * node for the same node again; so here it learns nothing about what a list holds. */
bool list_empty(const struct list *l);
struct list *list_next(const struct list *l) __attribute__((returns_nonnull));
#else
/* True for an empty head and for a node that is in no list (after list_init()/list_del()). */
static inline bool list_empty(const struct list *l)
{
	return l->next == l || l->next == NULL;
}

static inline struct list *list_next(const struct list *l)
{
	return l->next;
}
#endif

static inline void list_insert_before(struct list *at, struct list *node)
{
	node->prev = at->prev;
	node->next = at;
	at->prev->next = node;
	at->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
	list_insert_before(head, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
	list_insert_before(head->next, node);
}

/* Safe on a node that is in no list. */
static inline void list_del(struct list *node)
{
	if (node->next == NULL)
		return;
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

#ifdef __clang_analyzer__
#define list_first(head, type, member) container_of(list_next(head), type, member)
#else
#define list_first(head, type, member) \
	(list_empty(head) ? NULL : container_of((head)->next, type, member))
#endif

/* pos is a struct list *; the _safe form allows removal of pos (and only pos). */
#define list_for_each(pos, head) for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)
#define list_for_each_safe(pos, tmp, head) \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head); \
		(pos) = (tmp), (tmp) = (pos)->next)
