/*
 * From a json-c tree to a described struct. The first thing that is wrong becomes an issue whose
 * path, code and expected type follow what the clients' own validation shows.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rpc/json.h"
#include "rpc/json_priv.h"
#include "rpc/schema_priv.h"
#include "wire/base64.h"

/* Where in the parameters the decoder is: a chain through the stack. */
struct place {
	const struct place *up;
	const char *name; /* NULL at the top */
};

/* The field that is being decoded, and where to report what is wrong with it. */
struct target {
	const struct rpc_field *field;
	struct place place;
	struct rpc_issue *issue;
};

static int decode_fields(struct json_object *json, const struct rpc_schema *schema, void *object,
	const struct place *place, struct rpc_issue *issue);

/* --- issues -------------------------------------------------------------------------------- */

static void write_path(const struct place *place, char *path, size_t size)
{
	if (place == NULL || place->name == NULL)
		return;
	write_path(place->up, path, size);
	size_t len = strlen(path);
	snprintf(path + len, size - len, "%s%s", len > 0 ? "." : "", place->name);
}

__attribute__((format(printf, 5, 6))) static int issue_at(const struct place *place,
	struct rpc_issue *issue, const char *code, const char *expected, const char *fmt, ...)
{
	va_list ap;

	if (issue == NULL)
		return -EINVAL;
	*issue = (struct rpc_issue){0};
	write_path(place, issue->path, sizeof(issue->path));
	snprintf(issue->code, sizeof(issue->code), "%s", code);
	snprintf(issue->expected, sizeof(issue->expected), "%s", expected);
	va_start(ap, fmt);
	vsnprintf(issue->message, sizeof(issue->message), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int wrong_type(const struct target *t, const char *expected, struct json_object *json)
{
	static const char *const names[] = {
		[json_type_null] = "null",
		[json_type_boolean] = "boolean",
		[json_type_double] = "number",
		[json_type_int] = "number",
		[json_type_object] = "object",
		[json_type_array] = "array",
		[json_type_string] = "string",
	};

	return issue_at(&t->place, t->issue, "invalid_type", expected,
		"Invalid input: expected %s, received %s", expected,
		names[json_object_get_type(json)]);
}

static int wrong_string(const struct target *t, const char *what, enum rpc_string_fault fault)
{
	static const struct {
		const char *code, *text;
	} faults[] = {
		[RPC_STRING_FINE] = {"", ""},
		[RPC_STRING_NUL] = {"invalid_format", "must not contain a NUL character"},
		[RPC_STRING_LONG] = {"too_big", ""},
		[RPC_STRING_EMPTY] = {"too_small", "must not be empty"},
		[RPC_STRING_EQUALS] = {"invalid_format", "must not contain '='"},
	};
	_Static_assert(array_len(faults) == RPC_STRING_FAULT_COUNT, "a text for each fault");

	if (fault == RPC_STRING_LONG)
		return issue_at(&t->place, t->issue, "too_big", "string",
			"Too big: expected %s to have at most %lld bytes", what,
			(long long)t->field->max);
	return issue_at(&t->place, t->issue, faults[fault].code, "string", "Invalid string: %s",
		faults[fault].text);
}

static int too_many(const struct target *t, const char *expected)
{
	return issue_at(&t->place, t->issue, "too_big", expected,
		"Too big: expected %s to have at most %lld entries", expected,
		(long long)t->field->count_max);
}

/* --- values -------------------------------------------------------------------------------- */

static int decode_bool(struct json_object *json, const struct target *t, void *value)
{
	if (!json_object_is_type(json, json_type_boolean))
		return wrong_type(t, "boolean", json);
	*(bool *)value = json_object_get_boolean(json) != 0;
	return 0;
}

/* An integer, also when it is written as 5.0 or 5e0. Numbers beyond 64 bits become *ret_beyond, -1
 * or 1 by their sign. */
static bool to_integer(struct json_object *json, int *ret_beyond, int64_t *ret)
{
	if (json_object_is_type(json, json_type_int)) {
		*ret = json_object_get_int64(json);
		*ret_beyond = *ret == INT64_MAX && json_object_get_uint64(json) > INT64_MAX;
		return true;
	}
	double d = json_object_get_double(json);
	if (!json_object_is_type(json, json_type_double) || !isfinite(d) || trunc(d) != d)
		return false;
	*ret_beyond = d >= 0x1p63 ? 1 : d < -0x1p63 ? -1 : 0;
	*ret = *ret_beyond == 0 ? (int64_t)d : 0;
	return true;
}

static int decode_int(struct json_object *json, const struct target *t, void *value)
{
	const struct rpc_field *f = t->field;
	int beyond;
	int64_t v;

	if (!to_integer(json, &beyond, &v))
		return wrong_type(t, "int", json);
	if (beyond > 0 || v > f->max)
		return issue_at(&t->place, t->issue, "too_big", "int",
			"Too big: expected int to be at most %lld", (long long)f->max);
	if (beyond < 0 || v < f->min)
		return issue_at(&t->place, t->issue, "too_small", "int",
			"Too small: expected int to be at least %lld", (long long)f->min);
	*(int64_t *)value = v;
	return 0;
}

static int copy_text(struct json_object *json, const struct target *t, bool is_value, char **ret)
{
	if (!json_object_is_type(json, json_type_string))
		return wrong_type(t, "string", json);
	const char *text = json_object_get_string(json);
	size_t len = (size_t)json_object_get_string_len(json);
	enum rpc_string_fault fault = rpc_check_string(t->field, is_value, text, len);
	if (fault != RPC_STRING_FINE)
		return wrong_string(t, "string", fault);
	*ret = mem_strndup(text, len);
	return 0;
}

static int copy_string(struct json_object *json, const struct target *t, char **ret)
{
	return copy_text(json, t, true, ret);
}

static int decode_string(struct json_object *json, const struct target *t, void *value)
{
	return copy_string(json, t, value);
}

static int wrong_enum(const struct target *t)
{
	char expected[sizeof(t->issue->expected)] = "";

	for (const char *const *name = t->field->names; *name != NULL; name++) {
		size_t len = strlen(expected);

		snprintf(expected + len, sizeof(expected) - len, "%s\"%s\"", len > 0 ? "|" : "",
			*name);
	}
	return issue_at(&t->place, t->issue, "invalid_value", expected,
		"Invalid option: expected one of %s", expected);
}

static int decode_enum(struct json_object *json, const struct target *t, void *value)
{
	const struct rpc_synonym *synonym = t->field->synonyms;

	if (!json_object_is_type(json, json_type_string))
		return wrong_enum(t);
	const char *text = json_object_get_string(json);
	if (strlen(text) != (size_t)json_object_get_string_len(json))
		return wrong_enum(t);
	for (int64_t i = 0; t->field->names[i] != NULL; i++) {
		if (strcmp(text, t->field->names[i]) == 0) {
			*(int64_t *)value = i;
			return 0;
		}
	}
	for (; synonym != NULL && synonym->name != NULL; synonym++) {
		if (strcmp(text, synonym->name) == 0) {
			*(int64_t *)value = synonym->value;
			return 0;
		}
	}
	return wrong_enum(t);
}

/* How many elements json has, if it is an array of no more than the field may have. */
static int array_count(struct json_object *json, const struct target *t, size_t *ret_count)
{
	if (!json_object_is_type(json, json_type_array))
		return wrong_type(t, "array", json);
	size_t count = json_object_array_length(json);
	if (count > (uint64_t)t->field->count_max)
		return too_many(t, "array");
	*ret_count = count;
	return 0;
}

static int decode_string_list(struct json_object *json, const struct target *t, void *value)
{
	struct rpc_strings *list = value;
	char index[24];
	struct target entry = {.field = t->field, .place = {&t->place, index}, .issue = t->issue};
	size_t count = 0;

	int r = array_count(json, t, &count);
	if (r < 0 || count == 0)
		return r;
	list->items = mem_zalloc_array(count, sizeof(*list->items));
	for (; list->count < count; list->count++) {
		snprintf(index, sizeof(index), "%zu", list->count);
		if (copy_string(json_object_array_get_idx(json, list->count), &entry,
			    &list->items[list->count]) < 0)
			return -EINVAL;
	}
	return 0;
}

/* Keys that would not survive in a dotted path are left out of it. */
static bool fits_path(const char *key)
{
	size_t len = strlen(key);

	return len > 0 && len <= 64 &&
	       strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
		       len;
}

static int decode_pair(
	const char *key, struct json_object *json, const struct target *t, struct rpc_pair *pair)
{
	struct target entry = {.field = t->field, .place = {&t->place, key}, .issue = t->issue};
	enum rpc_string_fault fault = rpc_check_string(t->field, false, key, strlen(key));

	if (!fits_path(key))
		entry.place = t->place;
	if (strstr(key, RPC_JSON_KEY_NUL) != NULL)
		fault = RPC_STRING_NUL;
	if (fault != RPC_STRING_FINE)
		return wrong_string(&entry, "key", fault);
	pair->key = mem_strdup(key);
	return copy_string(json, &entry, &pair->value);
}

static int decode_string_map(struct json_object *json, const struct target *t, void *value)
{
	struct rpc_map *map = value;
	struct json_object_iter i;

	if (!json_object_is_type(json, json_type_object))
		return wrong_type(t, "record", json);
	size_t count = (size_t)json_object_object_length(json);
	if (count > (uint64_t)t->field->count_max)
		return too_many(t, "record");
	if (count == 0)
		return 0;
	map->items = mem_zalloc_array(count, sizeof(*map->items));
	json_object_object_foreachC(json, i)
	{
		if (decode_pair(i.key, i.val, t, &map->items[map->count++]) < 0)
			return -EINVAL;
	}
	return 0;
}

/* One [key, value]. */
static int decode_couple(struct json_object *json, const struct target *t, struct rpc_pair *pair)
{
	struct target key = {.field = t->field, .place = {&t->place, "0"}, .issue = t->issue};
	struct target value = {.field = t->field, .place = {&t->place, "1"}, .issue = t->issue};

	if (!json_object_is_type(json, json_type_array))
		return wrong_type(t, "array", json);
	if (json_object_array_length(json) != 2)
		return issue_at(&t->place, t->issue, "invalid_value", "array",
			"Invalid input: expected a pair of strings");
	if (copy_text(json_object_array_get_idx(json, 0), &key, false, &pair->key) < 0)
		return -EINVAL;
	return copy_string(json_object_array_get_idx(json, 1), &value, &pair->value);
}

static int decode_pairs(struct json_object *json, const struct target *t, void *value)
{
	struct rpc_map *map = value;
	char index[24];
	struct target entry = {.field = t->field, .place = {&t->place, index}, .issue = t->issue};
	size_t count = 0;

	int r = array_count(json, t, &count);
	if (r < 0 || count == 0)
		return r;
	map->items = mem_zalloc_array(count, sizeof(*map->items));
	for (size_t i = 0; i < count; i++) {
		snprintf(index, sizeof(index), "%zu", i);
		if (decode_couple(json_object_array_get_idx(json, i), &entry,
			    &map->items[map->count++]) < 0)
			return -EINVAL;
	}
	return 0;
}

static int decode_bytes(struct json_object *json, const struct target *t, void *value)
{
	struct rpc_bytes *bytes = value;

	if (!json_object_is_type(json, json_type_string))
		return wrong_type(t, "string", json);
	const char *text = json_object_get_string(json);
	size_t len = (size_t)json_object_get_string_len(json);
	ssize_t size = (ssize_t)len;

	if ((t->field->flags & RPC_TEXT) != 0) {
		bytes->data = mem_dup(text, len);
	} else {
		bytes->data = mem_realloc(NULL, base64_decoded_max(len));
		size = base64_decode(bytes->data, text, len);
	}
	if (size < 0)
		return issue_at(&t->place, t->issue, "invalid_format", "string",
			"Invalid base64-encoded string");
	if (size > t->field->max)
		return wrong_string(t, "string", RPC_STRING_LONG);
	bytes->len = (size_t)size;
	return 0;
}

static int decode_time(struct json_object *json, const struct target *t, void *value)
{
	int64_t ms;

	if (!json_object_is_type(json, json_type_string))
		return wrong_type(t, "string", json);
	const char *text = json_object_get_string(json);
	if (strlen(text) != (size_t)json_object_get_string_len(json) ||
		clock_parse_iso(text, &ms) < 0 ||
		__builtin_mul_overflow(ms, INT64_C(1000000), (int64_t *)value))
		return issue_at(
			&t->place, t->issue, "invalid_format", "string", "Invalid ISO datetime");
	return 0;
}

static int decode_object(struct json_object *json, const struct target *t, void *value)
{
	if (!json_object_is_type(json, json_type_object))
		return wrong_type(t, "object", json);
	return decode_fields(json, t->field->sub, value, &t->place, t->issue);
}

static int decode_objects(struct json_object *json, const struct target *t, void *value)
{
	const struct rpc_schema *sub = t->field->sub;
	struct rpc_objects *objects = value;
	char index[24];
	struct target entry = {.field = t->field, .place = {&t->place, index}, .issue = t->issue};
	size_t count = 0;

	int r = array_count(json, t, &count);
	if (r < 0 || count == 0)
		return r;
	objects->items = mem_zalloc_array(count, sub->size);
	for (size_t i = 0; i < count; i++) {
		void *item = (char *)objects->items + i * sub->size;

		snprintf(index, sizeof(index), "%zu", i);
		rpc_reset(sub, item);
		objects->count++;
		if (decode_object(json_object_array_get_idx(json, i), &entry, item) < 0)
			return -EINVAL;
	}
	return 0;
}

/* --- fields -------------------------------------------------------------------------------- */

static const struct decoder {
	const char *expected;
	int (*decode)(struct json_object *json, const struct target *t, void *value);
} decoders[] = {
	[RPC_BOOL] = {"boolean", decode_bool},
	[RPC_INT] = {"int", decode_int},
	[RPC_STRING] = {"string", decode_string},
	[RPC_ENUM] = {"string", decode_enum},
	[RPC_STRING_LIST] = {"array", decode_string_list},
	[RPC_STRING_MAP] = {"record", decode_string_map},
	[RPC_PAIRS] = {"array", decode_pairs},
	[RPC_BYTES] = {"string", decode_bytes},
	[RPC_TIME] = {"string", decode_time},
	[RPC_OBJECT] = {"object", decode_object},
	[RPC_OBJECTS] = {"array", decode_objects},
};
_Static_assert(array_len(decoders) == RPC_TYPE_COUNT, "a decoder for each type");

/* The value under the field's name, or its alias; NULL when absent or null. */
static struct json_object *find_value(struct json_object *json, const struct rpc_field *f)
{
	struct json_object *value = NULL;

	if (json == NULL)
		return NULL;
	if (json_object_object_get_ex(json, f->name, &value) && value != NULL)
		return value;
	if (f->alias != NULL)
		json_object_object_get_ex(json, f->alias, &value);
	return value;
}

static int missing(const struct target *t, struct json_object *json, const char *expected)
{
	bool is_null = json != NULL && json_object_object_get_ex(json, t->field->name, NULL);

	return issue_at(&t->place, t->issue, "invalid_type", expected,
		"Invalid input: expected %s, received %s", expected,
		is_null ? "null" : "undefined");
}

/* Exactly one of the fields marked RPC_ONE_OF, if there are any. */
static int check_one_of(struct json_object *json, const struct rpc_schema *schema,
	const struct place *place, struct rpc_issue *issue)
{
	struct target first = {.place = {place, NULL}, .issue = issue};
	size_t given = 0;

	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];

		if ((f->flags & RPC_ONE_OF) == 0)
			continue;
		if (first.field == NULL) {
			first.field = f;
			first.place.name = f->name;
		}
		if (find_value(json, f) != NULL && given++ > 0) {
			struct place second = {place, f->name};

			return issue_at(&second, issue, "invalid_value", "undefined",
				"Invalid input: either %s or %s, not both", first.field->name,
				f->name);
		}
	}
	if (first.field != NULL && given == 0)
		return missing(&first, json, decoders[first.field->type].expected);
	return 0;
}

static int decode_fields(struct json_object *json, const struct rpc_schema *schema, void *object,
	const struct place *place, struct rpc_issue *issue)
{
	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];
		struct target t = {.field = f, .place = {place, f->name}, .issue = issue};

		if ((f->flags & RPC_INTERNAL) != 0)
			continue;
		struct json_object *value = find_value(json, f);
		if (value == NULL && (f->flags & RPC_REQUIRED) != 0)
			return missing(&t, json, decoders[f->type].expected);
		if (value != NULL &&
			decoders[f->type].decode(value, &t, (char *)object + f->offset) < 0)
			return -EINVAL;
	}
	return check_one_of(json, schema, place, issue);
}

int rpc_json_decode(struct json_object *json, const struct rpc_schema *schema, void *object,
	struct rpc_issue *ret_issue)
{
	struct place top = {NULL, NULL};
	struct target t = {.place = top, .issue = ret_issue};
	int r;

	rpc_reset(schema, object);
	if (json != NULL && !json_object_is_type(json, json_type_object))
		return wrong_type(&t, "object", json);
	r = decode_fields(json, schema, object, &top, ret_issue);
	if (r < 0)
		rpc_clear(schema, object);
	return r;
}
