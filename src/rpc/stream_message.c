/*
 * The notifications that carry byte streams. Nearly all bytes a client and a sandbox exchange go
 * through the enqueue notification, so its canonical spellings never meet the JSON parser: the text
 * around the number and the data is compared, the base64 is decoded where it stands.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/json.h"
#include "rpc/json_priv.h"
#include "wire/base64.h"

#define METHOD_PREFIX "$sandbox.stream."

/* --- recognising --------------------------------------------------------------------------- */

/* A spelling is fixed text around two holes, the stream id and the data. */
struct spelling {
	const char *before, *between, *after;
	size_t before_len, between_len, after_len;
	bool data_first;
};

#define SPELLING(first, middle, last, swapped) \
	{ \
		.before = (first), .between = (middle), .after = (last), \
		.before_len = sizeof(first) - 1, .between_len = sizeof(middle) - 1, \
		.after_len = sizeof(last) - 1, .data_first = (swapped), \
	}

static const struct spelling spellings[] = {
	/* The JavaScript client. */
	SPELLING("{\"jsonrpc\":\"2.0\",\"method\":\"$sandbox.stream.enqueue\",\"params\":"
		 "{\"streamId\":",
		",\"data\":\"", "\"}}", false),
	/* The Python client. */
	SPELLING("{\"method\": \"$sandbox.stream.enqueue\", \"params\": {\"streamId\": ",
		", \"data\": \"", "\"}, \"jsonrpc\": \"2.0\"}", false),
	/* The order of Python's without blanks, the order of JavaScript's with them. */
	SPELLING("{\"method\":\"$sandbox.stream.enqueue\",\"params\":{\"streamId\":",
		",\"data\":\"", "\"},\"jsonrpc\":\"2.0\"}", false),
	SPELLING("{\"jsonrpc\": \"2.0\", \"method\": \"$sandbox.stream.enqueue\", \"params\": "
		 "{\"streamId\": ",
		", \"data\": \"", "\"}}", false),
	/* Libraries that sort keys. */
	SPELLING("{\"jsonrpc\":\"2.0\",\"method\":\"$sandbox.stream.enqueue\",\"params\":"
		 "{\"data\":\"",
		"\",\"streamId\":", "}}", true),
};

/* Longest number a stream id may have, 2^53 - 1. */
#define ID_DIGITS 16

struct holes {
	const char *id;
	size_t id_len;
	char *data;
	size_t data_len;
};

static size_t count_digits(const char *p, size_t max)
{
	size_t n = 0;

	while (n < max && p[n] >= '0' && p[n] <= '9')
		n++;
	return n;
}

static size_t count_digits_back(const char *end, size_t max)
{
	size_t n = 0;

	while (n < max && end[-1 - (ptrdiff_t)n] >= '0' && end[-1 - (ptrdiff_t)n] <= '9')
		n++;
	return n;
}

/* Finds the holes from both ends. What lies between them and may be long is not looked at. */
static bool find_holes(const struct spelling *s, char *text, size_t len, struct holes *ret)
{
	if (len < s->before_len + s->between_len + s->after_len ||
		memcmp(text, s->before, s->before_len) != 0 ||
		memcmp(text + len - s->after_len, s->after, s->after_len) != 0)
		return false;
	char *start = text + s->before_len;
	char *end = text + len - s->after_len;
	size_t room = (size_t)(end - start) - s->between_len;
	size_t digits_max = room < ID_DIGITS ? room : ID_DIGITS;

	ret->id_len = s->data_first ? count_digits_back(end, digits_max)
				    : count_digits(start, digits_max);
	ret->data_len = room - ret->id_len;
	ret->id = s->data_first ? end - ret->id_len : start;
	ret->data = s->data_first ? start : start + ret->id_len + s->between_len;
	char *between = s->data_first ? start + ret->data_len : start + ret->id_len;
	return memcmp(between, s->between, s->between_len) == 0;
}

static bool parse_id(const char *digits, size_t len, int64_t *ret)
{
	int64_t id = 0;

	if (len == 0 || (len > 1 && digits[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++)
		id = id * 10 + (digits[i] - '0');
	if (id > RPC_STREAM_ID_MAX)
		return false;
	*ret = id;
	return true;
}

/*
 * Decoding in place that can be taken back, since text that is not base64 may yet be a message for
 * the ordinary parser (with an escaped slash, say). It goes by pieces. The output of a piece lands
 * on text that is decoded already, and encoding that again restores it. Only the first pieces would
 * land on themselves: they are decoded aside.
 */
#define PIECE_TEXT 8192
#define PIECE_BYTES (PIECE_TEXT / 4 * 3)
#define PIECE_ROOM (PIECE_BYTES + 3) /* base64_decoded_max(PIECE_TEXT) */
#define PIECES_ASIDE 4
_Static_assert(PIECES_ASIDE *PIECE_BYTES + PIECE_ROOM <= PIECES_ASIDE * PIECE_TEXT,
	"later pieces write in front of their own text only");

static void restore_text(char *text, size_t pieces)
{
	uint8_t bytes[PIECE_BYTES];

	while (pieces-- > 0) {
		memcpy(bytes, text + pieces * PIECE_BYTES, PIECE_BYTES);
		base64_encode(text + pieces * PIECE_TEXT, bytes, PIECE_BYTES);
	}
}

/* Returns the number of bytes. -EINVAL: not base64, or padded although more pieces follow; this
 * piece's own text is as it was. */
static ssize_t decode_piece(char *text, size_t piece, size_t len, bool last)
{
	uint8_t aside[PIECE_ROOM];
	char *in = text + piece * PIECE_TEXT;
	char *out = text + piece * PIECE_BYTES;
	bool direct = piece >= PIECES_ASIDE;
	ssize_t n = base64_decode(direct ? (void *)out : aside, in, len);

	if (n < 0 || (n < PIECE_BYTES && !last))
		return -EINVAL;
	if (!direct)
		memcpy(out, aside, (size_t)n);
	return n;
}

/* Returns the number of bytes, or -EINVAL with text as it was. */
static ssize_t decode_in_place(char *text, size_t len)
{
	for (size_t piece = 0;; piece++) {
		size_t left = len - piece * PIECE_TEXT;
		bool last = left <= PIECE_TEXT;
		ssize_t n = decode_piece(text, piece, last ? left : PIECE_TEXT, last);

		if (n < 0) {
			restore_text(text, piece);
			return n;
		}
		if (last)
			return (ssize_t)(piece * PIECE_BYTES) + n;
	}
}

bool rpc_stream_recognise(char *text, size_t len, struct rpc_stream_message *ret)
{
	for (size_t i = 0; i < array_len(spellings); i++) {
		struct holes holes;
		int64_t id;

		if (!find_holes(&spellings[i], text, len, &holes))
			continue;
		if (!parse_id(holes.id, holes.id_len, &id))
			return false;
		ssize_t n = decode_in_place(holes.data, holes.data_len);
		if (n < 0)
			return false;
		*ret = (struct rpc_stream_message){
			.kind = RPC_STREAM_ENQUEUE,
			.stream_id = id,
			.data = (uint8_t *)holes.data,
			.len = (size_t)n,
		};
		return true;
	}
	return false;
}

/* --- the ordinary way ---------------------------------------------------------------------- */

struct stream_params {
	int64_t id;
	struct rpc_bytes data;
};

#define STREAM_ID \
	{ \
		.name = "streamId", .type = RPC_INT, .offset = offsetof(struct stream_params, id), \
		.flags = RPC_REQUIRED, .max = RPC_STREAM_ID_MAX, \
	}

RPC_SCHEMA(plain_schema, struct stream_params, STREAM_ID);
RPC_SCHEMA(enqueue_schema, struct stream_params, STREAM_ID,
	{
		.name = "data",
		.type = RPC_BYTES,
		.offset = offsetof(struct stream_params, data),
		.flags = RPC_REQUIRED,
		.max = RPC_CONTENT_MAX,
	});

static const struct {
	const char *name;
	const struct rpc_schema *schema;
	const char *error_key; /* parameter with an error, or NULL */
} kinds[] = {
	[RPC_STREAM_START] = {METHOD_PREFIX "start", &plain_schema, NULL},
	[RPC_STREAM_ENQUEUE] = {METHOD_PREFIX "enqueue", &enqueue_schema, NULL},
	[RPC_STREAM_END] = {METHOD_PREFIX "end", &plain_schema, NULL},
	[RPC_STREAM_ERROR] = {METHOD_PREFIX "error", &plain_schema, "error"},
	[RPC_STREAM_CANCEL] = {METHOD_PREFIX "cancel", &plain_schema, "reason"},
};

static int find_kind(const struct rpc_message *m, enum rpc_stream_kind *ret)
{
	if (m->kind != RPC_MESSAGE_NOTIFICATION)
		return -ENOENT;
	for (size_t i = 0; i < array_len(kinds); i++) {
		if (strlen(kinds[i].name) == m->method_len &&
			memcmp(kinds[i].name, m->method, m->method_len) == 0) {
			*ret = (enum rpc_stream_kind)i;
			return 0;
		}
	}
	return -ENOENT;
}

static char *copy_text(struct json_object *json, size_t max)
{
	if (!json_object_is_type(json, json_type_string))
		return NULL;
	return mem_strndup(
		json_object_get_string(json), strnlen(json_object_get_string(json), max));
}

/* A plain text (Python), an error object (JavaScript) or nothing; whatever else is no error. */
static void read_error(struct json_object *error, struct rpc_stream_message *ret)
{
	struct json_object *member;

	ret->error = copy_text(error, RPC_STREAM_ERROR_MAX);
	if (!json_object_is_type(error, json_type_object))
		return;
	if (json_object_object_get_ex(error, "message", &member))
		ret->error = copy_text(member, RPC_STREAM_ERROR_MAX);
	if (json_object_object_get_ex(error, "constructorName", &member))
		ret->error_class = copy_text(member, RPC_CLASS_MAX);
}

int rpc_stream_decode(
	const struct rpc_message *m, struct rpc_stream_message *ret, struct rpc_issue *ret_issue)
{
	struct stream_params params;
	struct json_object *error = NULL;
	enum rpc_stream_kind kind;
	int r = find_kind(m, &kind);

	if (r < 0)
		return r;
	r = rpc_json_decode(m->params, kinds[kind].schema, &params, ret_issue);
	if (r < 0)
		return r;
	*ret = (struct rpc_stream_message){
		.kind = kind,
		.stream_id = params.id,
		.data = params.data.data,
		.len = params.data.len,
		.own = params.data.data,
	};
	if (kinds[kind].error_key != NULL &&
		json_object_object_get_ex(m->params, kinds[kind].error_key, &error))
		read_error(error, ret);
	return 0;
}

void rpc_stream_message_done(struct rpc_stream_message *m)
{
	free(m->own);
	free(m->error);
	free(m->error_class);
	*m = (struct rpc_stream_message){0};
}

/* --- writing ------------------------------------------------------------------------------- */

#define NOTIFICATION "{\"jsonrpc\":\"2.0\",\"method\":\""
#define PARAMS "\",\"params\":{\"streamId\":"

static const char enqueue_before[] = NOTIFICATION METHOD_PREFIX "enqueue" PARAMS;
static const char enqueue_between[] = ",\"data\":\"";
static const char enqueue_after[] = "\"}}";

/* Decimal digits of the id, right-aligned; returns how many. */
static size_t format_id(int64_t stream_id, char ret_digits[20])
{
	uint64_t v = (uint64_t)stream_id;
	size_t n = 0;

	do {
		ret_digits[19 - n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	return n;
}

size_t rpc_stream_enqueue_size(int64_t stream_id, size_t len)
{
	char digits[20];

	return sizeof(enqueue_before) - 1 + format_id(stream_id, digits) + sizeof(enqueue_between) -
	       1 + base64_encoded_len(len) + sizeof(enqueue_after) - 1;
}

static char *put(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	return out + len;
}

size_t rpc_stream_put_enqueue(char *out, int64_t stream_id, const void *data, size_t len)
{
	char digits[20];
	size_t n = format_id(stream_id, digits);
	char *p = put(out, enqueue_before, sizeof(enqueue_before) - 1);

	p = put(p, digits + sizeof(digits) - n, n);
	p = put(p, enqueue_between, sizeof(enqueue_between) - 1);
	p += base64_encode(p, data, len);
	p = put(p, enqueue_after, sizeof(enqueue_after) - 1);
	return (size_t)(p - out);
}

int rpc_stream_put(struct buf *b, enum rpc_stream_kind kind, int64_t stream_id)
{
	return buf_printf(b, NOTIFICATION "%s" PARAMS "%" PRId64 "}}", kinds[kind].name, stream_id);
}

int rpc_stream_put_failure(
	struct buf *b, enum rpc_stream_kind kind, int64_t stream_id, const struct rpc_failure *f)
{
	size_t mark = b->len;
	int r = buf_printf(b, NOTIFICATION "%s" PARAMS "%" PRId64 ",\"%s\":", kinds[kind].name,
		stream_id, kinds[kind].error_key);

	if (r == 0)
		r = f != NULL ? rpc_put_failure_object(b, f) : buf_append_str(b, "null");
	if (r == 0)
		r = buf_append_str(b, "}}");
	if (r < 0)
		b->len = mark;
	return r;
}
