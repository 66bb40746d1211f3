/*
 * Real addresses of names, asked of warren-resolver (resolver/request.h). Answers are kept for a
 * short time, so that a page's worth of connections costs one look-up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "loop/loop.h"
#include "policy/address.h"
#include "resolver/request.h"

struct resolve;
struct resolve_query;

/* count 0: err is -ENOENT (there is no such name), -EAGAIN (no answer now), -EBUSY or -ETIMEDOUT.
 */
typedef void (*resolve_fn)(
	struct resolve_query *q, const struct address *addresses, size_t count, int err);

/* Embedded in the asker's object. */
struct resolve_query {
	struct list node; /* zero or in no list: not pending */
	resolve_fn fn;
};

/* sock: this end of the resolver's pair, borrowed. */
struct resolve *resolve_new(struct loop *loop, int sock);
void resolve_free(struct resolve *r);
/* fn is called once, from the loop, unless the query is cancelled. name is normalised. */
void resolve_ask(struct resolve *r, const char *name, struct resolve_query *q, resolve_fn fn);
/* Safe when not pending. */
void resolve_cancel(struct resolve_query *q);
