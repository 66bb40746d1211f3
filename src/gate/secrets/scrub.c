/*
 * Streams. While no view is in the middle of anything, bytes are only compared with the pairs at
 * which something can begin; from there on all views look at every byte until none of them is
 * busy any more.
 */
#include "gate/secrets/scrub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/secrets/scrub_priv.h"

/* 0 or 1, to be joined without a jump. */
static unsigned is_pair(const struct scrub_set *set, const uint8_t *p)
{
	unsigned pair = (unsigned)p[0] << 8 | p[1];

	return set->pairs[pair / 32] >> pair % 32 & 1;
}

/* Whether idle views have to look at a pair of bytes, of which `left` are there. */
static bool is_beginning(const struct scrub_set *set, const uint8_t *p, size_t left)
{
	unsigned pair = (unsigned)p[1] << 8 | p[left > 2 ? 2 : 0];

	return p[0] == '%' || p[0] == '\\' || left <= 2 ||
	       (set->thirds[pair / 32] >> pair % 32 & 1);
}

/* The first index from `from` on at which idle views have to look, or len. */
static size_t find_beginning(
	const struct scrub_set *set, const uint8_t *data, size_t from, size_t len)
{
	size_t i = from;

	while (len - i > 1) {
		while (len - i > 4 &&
			!(is_pair(set, data + i) | is_pair(set, data + i + 1) |
				is_pair(set, data + i + 2) | is_pair(set, data + i + 3)))
			i += 4;
		while (len - i > 1 && !is_pair(set, data + i))
			i++;
		if (len - i <= 1)
			break;
		if (data[i] == '\\' && set->skips[data[i + 1]])
			i += 2;
		else if (is_beginning(set, data + i, len - i))
			return i;
		else
			i++;
	}
	return len - i == 1 && set->wakes[data[i]] ? i : len;
}

static bool is_busy(const struct scrub *s)
{
	for (unsigned kind = 0; kind < VIEW_COUNT; kind++) {
		if (view_busy(&s->views[kind]))
			return true;
	}
	return false;
}

/* Looks at data[from..len); the bytes before are held ones. Overwrites in data. */
static void work(struct scrub *s, uint8_t *data, size_t from, size_t len)
{
	bool busy = is_busy(s);

	s->work = data;
	/* No range yet: no start is behind this one. */
	s->mark_start = SIZE_MAX;
	s->mark_end = 0;
	for (size_t i = from; i < len; i++) {
		if (!busy) {
			i = find_beginning(s->set, data, i, len);
			if (i == len)
				break;
		}
		/* The byte may be overwritten before the last view has seen it. */
		uint8_t c = data[i];

		busy = false;
		for (enum view_kind kind = 0; kind < VIEW_COUNT; kind++) {
			struct view *v = &s->views[kind];

			if (!view_busy(v) && !s->set->views[kind].wakes[c])
				continue;
			view_byte(s, kind, c, i);
			busy |= view_busy(v);
		}
	}
}

/* --- streams ---------------------------------------------------------------------------------- */

struct scrub *scrub_new(const struct scrub_set *set)
{
	struct scrub *s = mem_new(struct scrub);

	s->set = set;
	for (enum view_kind kind = 0; kind < VIEW_COUNT && set != NULL; kind++) {
		const struct view_set *v = &set->views[kind];
		uint32_t size = 1;

		if (v->count == 0)
			continue;
		s->views[kind].progress = mem_zalloc_array(v->count, sizeof(uint16_t));
		s->views[kind].active = mem_zalloc_array(v->count, sizeof(uint16_t));
		if (kind == VIEW_RAW || kind == VIEW_HEX)
			continue;
		while (size < v->longest)
			size *= 2;
		s->views[kind].starts = mem_zalloc_array(size, sizeof(uint32_t));
		s->views[kind].mask = size - 1;
	}
	return s;
}

static void drop_held(struct scrub *s)
{
	if (s->held != NULL)
		mem_wipe(s->held, s->held_cap);
	free(s->held);
	s->held = NULL;
	s->held_len = s->held_cap = 0;
}

void scrub_free(struct scrub *s)
{
	if (s == NULL)
		return;
	for (enum view_kind kind = 0; kind < VIEW_COUNT; kind++) {
		free(s->views[kind].starts);
		free(s->views[kind].progress);
		free(s->views[kind].active);
	}
	drop_held(s);
	/* Escapes that were not clear yet. */
	mem_wipe(s, sizeof(*s));
	free(s);
}

static void hold(struct scrub *s, const uint8_t *data, size_t len)
{
	if (len > s->held_cap) {
		drop_held(s);
		s->held_cap = len + 256;
		s->held = mem_zalloc(s->held_cap);
	}
	if (len > 0)
		memcpy(s->held, data, len);
	s->held_len = len;
}

int scrub_feed(struct scrub *s, const uint8_t *data, size_t len, struct buf *out)
{
	size_t total = s->held_len + len;
	size_t safe = total;
	uint8_t *room;

	if (s->set == NULL)
		return buf_append(out, data, len);
	if (len == 0)
		return 0;
	room = len <= INT32_MAX ? buf_reserve(out, total, NULL) : NULL;
	if (room == NULL)
		return -ENOBUFS;
	if (s->held_len > 0)
		memcpy(room, s->held, s->held_len);
	memcpy(room + s->held_len, data, len);
	work(s, room, s->held_len, total);
	for (enum view_kind kind = 0; kind < VIEW_COUNT; kind++) {
		size_t from = view_hold(s, kind, total);

		safe = from < safe ? from : safe;
	}
	hold(s, room + safe, total - safe);
	mem_wipe(room + safe, total - safe);
	s->offset += (uint32_t)safe;
	buf_commit(out, safe);
	return 0;
}

/* The bytes worked on are the last ones: data[0..len). */
static void finish(struct scrub *s, uint8_t *data, size_t len)
{
	s->work = data;
	for (enum view_kind kind = 0; kind < VIEW_COUNT; kind++) {
		view_end(s, kind, len);
		view_reset(&s->views[kind]);
	}
	s->work = NULL;
}

int scrub_finish(struct scrub *s, struct buf *out)
{
	uint8_t *room;

	if (s->held_len == 0)
		return 0;
	room = buf_reserve(out, s->held_len, NULL);
	if (room == NULL)
		return -ENOBUFS;
	memcpy(room, s->held, s->held_len);
	s->mark_start = SIZE_MAX;
	finish(s, room, s->held_len);
	buf_commit(out, s->held_len);
	s->offset += (uint32_t)s->held_len;
	drop_held(s);
	return 0;
}

uint64_t scrub_found(const struct scrub *s)
{
	return s->found;
}

uint64_t scrub_text(const struct scrub_set *set, uint8_t *data, size_t len)
{
	struct scrub *s;
	uint64_t found;

	if (set == NULL || find_beginning(set, data, 0, len) == len)
		return 0;
	s = scrub_new(set);
	work(s, data, 0, len);
	finish(s, data, len);
	found = s->found;
	scrub_free(s);
	return found;
}
