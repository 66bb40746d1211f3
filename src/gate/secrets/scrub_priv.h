/*
 * Inside of the scrubber. A stream is looked at in several views at once; a view turns bytes into
 * symbols (undoes escapes, for instance) and looks for its patterns among them.
 */
#pragma once

#include <stdbool.h>

#include "gate/secrets/scrub.h"

enum view_kind {
	VIEW_RAW,     /* bytes as they are */
	VIEW_HEX,     /* the same, letters lowered */
	VIEW_PERCENT, /* %XX undone */
	VIEW_JSON,    /* \uXXXX, \/, \n, \xXX and the like undone, as UTF-8 */
	VIEW_BASE64,  /* both undone, '-' and '_' as '+' and '/', line ends left out */
	VIEW_COUNT
};

/* Values shorter than this are looked for in VIEW_RAW only: too much else looks like them. */
#define SCRUB_ENCODED_MIN 4
/* Base64 of fewer characters than this is not looked for. */
#define SCRUB_BASE64_MIN 6

/* One pattern of a view, for the algorithm of Knuth, Morris and Pratt. */
struct pattern {
	const uint8_t *text;
	const uint16_t *back; /* longest border of text[0..i] */
	uint16_t len;
	uint16_t next; /* 1 + index of the next one with the same first symbol, 0: none */
	uint8_t secret;
};

struct view_set {
	struct pattern *patterns;
	uint16_t count;
	uint16_t longest;
	uint16_t heads[256]; /* first symbol -> 1 + index of a pattern, 0: none */
	bool wakes[256];     /* bytes at which an idle view has to look */
};

struct scrub_set {
	struct view_set views[VIEW_COUNT];
	/* Pairs of bytes (first << 8 | second) at which something may begin while all views are
	 * idle, and bytes at which it may: nearly all traffic gets no further than this. */
	uint32_t pairs[65536 / 32];
	bool wakes[256];
	/* The same for the second and third byte, asked when the first pair is one. */
	uint32_t thirds[65536 / 32];
	/* Bytes that with a backslash in front are nothing to idle views: "\\n" is frequent. */
	bool skips[256];
	void *texts; /* locked: text and back of all patterns */
	size_t texts_size;
};

/* Escapes: up to two \uXXXX. */
#define ESCAPE_MAX 12

struct view {
	/* Where symbols began (offset in the stream, counted in 32 bits), by number: a ring that
	 * holds the longest pattern. NULL where every byte is a symbol. */
	uint32_t *starts;
	uint32_t mask;
	uint32_t symbols;
	uint16_t *progress; /* of each pattern: symbols that match */
	uint16_t *active;   /* patterns with progress */
	uint16_t active_count;
	uint8_t escape[ESCAPE_MAX]; /* bytes that are not a symbol yet */
	uint8_t escape_len;
	uint8_t skipped; /* line ends in a row */
};

struct scrub {
	const struct scrub_set *set;
	struct view views[VIEW_COUNT];
	uint64_t found;
	uint32_t offset; /* of the first held byte in the stream */
	uint8_t *held;   /* what is overwritten already is so in here */
	size_t held_len, held_cap;
	/* While bytes are worked on: the held ones and those after them, and the last range that
	 * was overwritten. */
	uint8_t *work;
	size_t mark_start, mark_end;
};

static inline bool view_busy(const struct view *v)
{
	return v->active_count > 0 || v->escape_len > 0;
}

/* What a backslash and c stand for in JSON when that is all of the escape, or -1. */
int escape_meaning(uint8_t c);
/* Takes the byte c, which stood at work[at], into one view. */
void view_byte(struct scrub *s, enum view_kind kind, uint8_t c, size_t at);
/* The stream ends behind work[len - 1]: what looked like an escape was none. */
void view_end(struct scrub *s, enum view_kind kind, size_t len);
/* The first index in work that the view cannot let go yet, len when there is none. */
size_t view_hold(const struct scrub *s, enum view_kind kind, size_t len);
/* Forgets everything before. */
void view_reset(struct view *v);
