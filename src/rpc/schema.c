#include "rpc/schema.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/schema_priv.h"

static void *value_at(void *object, const struct rpc_field *f)
{
	return (char *)object + f->offset;
}

void rpc_reset(const struct rpc_schema *schema, void *object)
{
	memset(object, 0, schema->size);
	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];
		void *value = value_at(object, f);

		switch (f->type) {
		case RPC_BOOL:
			*(bool *)value = f->absent != 0;
			break;
		case RPC_INT:
		case RPC_ENUM:
		case RPC_TIME:
			*(int64_t *)value = f->absent;
			break;
		case RPC_OBJECT:
			rpc_reset(f->sub, value);
			break;
		case RPC_STRING:
		case RPC_STRING_LIST:
		case RPC_STRING_MAP:
		case RPC_PAIRS:
		case RPC_BYTES:
		case RPC_OBJECTS:
		case RPC_TYPE_COUNT:
			break; /* zeroed is absent */
		}
	}
}

static void free_strings(struct rpc_strings *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
}

static void free_map(struct rpc_map *map)
{
	for (size_t i = 0; i < map->count; i++) {
		free(map->items[i].key);
		free(map->items[i].value);
	}
	free(map->items);
}

static void free_objects(const struct rpc_schema *sub, struct rpc_objects *objects)
{
	for (size_t i = 0; i < objects->count; i++)
		rpc_clear(sub, (char *)objects->items + i * sub->size);
	free(objects->items);
}

void rpc_clear(const struct rpc_schema *schema, void *object)
{
	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];
		void *value = value_at(object, f);

		switch (f->type) {
		case RPC_STRING:
			free(*(char **)value);
			break;
		case RPC_STRING_LIST:
			free_strings(value);
			break;
		case RPC_STRING_MAP:
		case RPC_PAIRS:
			free_map(value);
			break;
		case RPC_BYTES:
			free(((struct rpc_bytes *)value)->data);
			break;
		case RPC_OBJECT:
			rpc_clear(f->sub, value);
			break;
		case RPC_OBJECTS:
			free_objects(f->sub, value);
			break;
		case RPC_BOOL:
		case RPC_INT:
		case RPC_ENUM:
		case RPC_TIME:
		case RPC_TYPE_COUNT:
			break; /* own nothing */
		}
	}
	rpc_reset(schema, object);
}

enum rpc_string_fault rpc_check_string(
	const struct rpc_field *f, bool is_value, const void *data, size_t len)
{
	if (memchr(data, '\0', len) != NULL)
		return RPC_STRING_NUL;
	if (len > (uint64_t)f->max)
		return RPC_STRING_LONG;
	if (is_value && (f->type == RPC_STRING_MAP || f->type == RPC_PAIRS))
		return RPC_STRING_FINE;
	if (len == 0 && (f->flags & (RPC_NOT_EMPTY | RPC_ENV_NAME)) != 0)
		return RPC_STRING_EMPTY;
	if ((f->flags & RPC_ENV_NAME) != 0 && memchr(data, '=', len) != NULL)
		return RPC_STRING_EQUALS;
	return RPC_STRING_FINE;
}

int64_t rpc_enum_count(const struct rpc_field *f)
{
	int64_t n = 0;

	while (f->names[n] != NULL)
		n++;
	return n;
}
