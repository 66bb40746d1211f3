#include "rpc/pack.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/schema_priv.h"

#define NULL_LENGTH UINT32_MAX

/* --- packing ------------------------------------------------------------------------------- */

static int pack_fields(struct buf *b, const struct rpc_schema *schema, const void *object);

static int pack_blob(struct buf *b, const void *data, size_t len)
{
	if (data == NULL)
		return buf_append_u32le(b, NULL_LENGTH);
	if (len >= NULL_LENGTH)
		return -ENOBUFS;
	if (buf_append_u32le(b, (uint32_t)len) < 0)
		return -ENOBUFS;
	return buf_append(b, data, len);
}

static int pack_count(struct buf *b, size_t count)
{
	return count < UINT32_MAX ? buf_append_u32le(b, (uint32_t)count) : -ENOBUFS;
}

static int pack_bool(struct buf *b, const struct rpc_field *f, const void *value)
{
	(void)f;
	return buf_append_byte(b, *(const bool *)value ? 1 : 0);
}

static int pack_number(struct buf *b, const struct rpc_field *f, const void *value)
{
	const int64_t *number = value;

	(void)f;
	return buf_append_u64le(b, (uint64_t)*number);
}

static int pack_string(struct buf *b, const struct rpc_field *f, const void *value)
{
	const char *s = *(char *const *)value;

	(void)f;
	return pack_blob(b, s, s != NULL ? strlen(s) : 0);
}

static int pack_string_list(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_strings *list = value;
	int r = pack_count(b, list->count);

	for (size_t i = 0; r == 0 && i < list->count; i++)
		r = pack_string(b, f, &list->items[i]);
	return r;
}

/* Pairs as well. */
static int pack_string_map(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_map *map = value;
	int r = pack_count(b, map->count);

	for (size_t i = 0; r == 0 && i < map->count; i++) {
		r = pack_string(b, f, &map->items[i].key);
		if (r == 0)
			r = pack_string(b, f, &map->items[i].value);
	}
	return r;
}

static int pack_bytes(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_bytes *bytes = value;

	(void)f;
	return pack_blob(b, bytes->data, bytes->len);
}

static int pack_object(struct buf *b, const struct rpc_field *f, const void *value)
{
	return pack_fields(b, f->sub, value);
}

static int pack_objects(struct buf *b, const struct rpc_field *f, const void *value)
{
	const struct rpc_objects *objects = value;
	int r = pack_count(b, objects->count);

	for (size_t i = 0; r == 0 && i < objects->count; i++)
		r = pack_fields(b, f->sub, (const char *)objects->items + i * f->sub->size);
	return r;
}

typedef int (*pack_fn)(struct buf *b, const struct rpc_field *f, const void *value);

static const pack_fn packers[] = {
	[RPC_BOOL] = pack_bool,
	[RPC_INT] = pack_number,
	[RPC_STRING] = pack_string,
	[RPC_ENUM] = pack_number,
	[RPC_STRING_LIST] = pack_string_list,
	[RPC_STRING_MAP] = pack_string_map,
	[RPC_PAIRS] = pack_string_map,
	[RPC_BYTES] = pack_bytes,
	[RPC_TIME] = pack_number,
	[RPC_OBJECT] = pack_object,
	[RPC_OBJECTS] = pack_objects,
};
_Static_assert(array_len(packers) == RPC_TYPE_COUNT, "a packer for each type");

static int pack_fields(struct buf *b, const struct rpc_schema *schema, const void *object)
{
	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];
		int r;

		if ((f->flags & RPC_UNPACKED) != 0)
			continue;
		r = packers[f->type](b, f, (const char *)object + f->offset);
		if (r < 0)
			return r;
	}
	return 0;
}

int rpc_pack(struct buf *b, const struct rpc_schema *schema, const void *object)
{
	size_t mark = b->len;
	int r = pack_fields(b, schema, object);

	if (r < 0)
		b->len = mark;
	return r;
}

/* --- unpacking ----------------------------------------------------------------------------- */

struct reader {
	const uint8_t *data;
	size_t len;
};

static int unpack_fields(struct reader *in, const struct rpc_schema *schema, void *object);

static int read_u32(struct reader *in, uint32_t *ret)
{
	if (in->len < 4)
		return -EBADMSG;
	*ret = load_u32le(in->data);
	in->data += 4;
	in->len -= 4;
	return 0;
}

/* *ret_data is NULL for the NULL length. */
static int read_blob(struct reader *in, const uint8_t **ret_data, size_t *ret_len)
{
	uint32_t len;

	if (read_u32(in, &len) < 0)
		return -EBADMSG;
	if (len == NULL_LENGTH) {
		*ret_data = NULL;
		*ret_len = 0;
		return 0;
	}
	if (len > in->len)
		return -EBADMSG;
	*ret_data = in->data;
	*ret_len = len;
	in->data += len;
	in->len -= len;
	return 0;
}

/* Elements take at least element_min bytes each, so a count is believed, and memory reserved for
 * it, only as far as the bytes that are really there. */
static int read_count(
	struct reader *in, const struct rpc_field *f, size_t element_min, uint32_t *ret_count)
{
	uint32_t count;

	if (read_u32(in, &count) < 0)
		return -EBADMSG;
	if (count > (uint64_t)f->count_max || count > in->len / element_min)
		return -EBADMSG;
	*ret_count = count;
	return 0;
}

static int read_string(struct reader *in, const struct rpc_field *f, bool is_value, char **ret)
{
	const uint8_t *data;
	size_t len;

	if (read_blob(in, &data, &len) < 0)
		return -EBADMSG;
	if (data == NULL) {
		if (f->type != RPC_STRING || (f->flags & RPC_REQUIRED) != 0)
			return -EBADMSG;
		return 0;
	}
	if (rpc_check_string(f, is_value, data, len) != RPC_STRING_FINE)
		return -EBADMSG;
	*ret = mem_strndup((const char *)data, len);
	return 0;
}

static int unpack_bool(struct reader *in, const struct rpc_field *f, void *value)
{
	(void)f;
	if (in->len < 1 || in->data[0] > 1)
		return -EBADMSG;
	*(bool *)value = in->data[0] != 0;
	in->data++;
	in->len--;
	return 0;
}

static int read_number(struct reader *in, int64_t *ret)
{
	if (in->len < 8)
		return -EBADMSG;
	*ret = (int64_t)load_u64le(in->data);
	in->data += 8;
	in->len -= 8;
	return 0;
}

static int unpack_ranged(
	struct reader *in, const struct rpc_field *f, int64_t min, int64_t max, int64_t *ret)
{
	int64_t v;

	if (read_number(in, &v) < 0)
		return -EBADMSG;
	if ((v < min || v > max) && (v != f->absent || (f->flags & RPC_REQUIRED) != 0))
		return -EBADMSG;
	*ret = v;
	return 0;
}

static int unpack_int(struct reader *in, const struct rpc_field *f, void *value)
{
	return unpack_ranged(in, f, f->min, f->max, value);
}

static int unpack_enum(struct reader *in, const struct rpc_field *f, void *value)
{
	return unpack_ranged(in, f, 0, rpc_enum_count(f) - 1, value);
}

static int unpack_time(struct reader *in, const struct rpc_field *f, void *value)
{
	(void)f;
	return read_number(in, value);
}

static int unpack_string(struct reader *in, const struct rpc_field *f, void *value)
{
	return read_string(in, f, true, value);
}

static int unpack_string_list(struct reader *in, const struct rpc_field *f, void *value)
{
	struct rpc_strings *list = value;
	uint32_t count;

	if (read_count(in, f, 4, &count) < 0)
		return -EBADMSG;
	if (count == 0)
		return 0;
	list->items = mem_zalloc_array(count, sizeof(*list->items));
	for (; list->count < count; list->count++) {
		if (read_string(in, f, true, &list->items[list->count]) < 0)
			return -EBADMSG;
	}
	return 0;
}

static int unpack_string_map(struct reader *in, const struct rpc_field *f, void *value)
{
	struct rpc_map *map = value;
	uint32_t count;

	if (read_count(in, f, 8, &count) < 0)
		return -EBADMSG;
	if (count == 0)
		return 0;
	map->items = mem_zalloc_array(count, sizeof(*map->items));
	while (map->count < count) {
		struct rpc_pair *pair = &map->items[map->count++];

		if (read_string(in, f, false, &pair->key) < 0 ||
			read_string(in, f, true, &pair->value) < 0)
			return -EBADMSG;
	}
	return 0;
}

static int unpack_bytes(struct reader *in, const struct rpc_field *f, void *value)
{
	struct rpc_bytes *bytes = value;
	const uint8_t *data;
	size_t len;

	if (read_blob(in, &data, &len) < 0 || len > (uint64_t)f->max)
		return -EBADMSG;
	if (data == NULL)
		return (f->flags & RPC_REQUIRED) != 0 ? -EBADMSG : 0;
	bytes->data = mem_dup(data, len);
	bytes->len = len;
	return 0;
}

static int unpack_object(struct reader *in, const struct rpc_field *f, void *value)
{
	return unpack_fields(in, f->sub, value);
}

/* Fewest bytes that the fields can take. */
static size_t packed_min(const struct rpc_schema *schema)
{
	size_t sum = 0;

	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];

		if ((f->flags & RPC_UNPACKED) != 0)
			continue;
		switch (f->type) {
		case RPC_BOOL:
			sum += 1;
			break;
		case RPC_INT:
		case RPC_ENUM:
		case RPC_TIME:
			sum += 8;
			break;
		case RPC_OBJECT:
			sum += packed_min(f->sub);
			break;
		case RPC_STRING:
		case RPC_STRING_LIST:
		case RPC_STRING_MAP:
		case RPC_PAIRS:
		case RPC_BYTES:
		case RPC_OBJECTS:
			sum += 4;
			break;
		case RPC_TYPE_COUNT:
			break;
		}
	}
	return sum > 0 ? sum : 1;
}

static int unpack_objects(struct reader *in, const struct rpc_field *f, void *value)
{
	struct rpc_objects *objects = value;
	uint32_t count;

	if (read_count(in, f, packed_min(f->sub), &count) < 0)
		return -EBADMSG;
	if (count == 0)
		return 0;
	objects->items = mem_zalloc_array(count, f->sub->size);
	while (objects->count < count) {
		void *item = (char *)objects->items + objects->count++ * f->sub->size;

		rpc_reset(f->sub, item);
		if (unpack_fields(in, f->sub, item) < 0)
			return -EBADMSG;
	}
	return 0;
}

typedef int (*unpack_fn)(struct reader *in, const struct rpc_field *f, void *value);

static const unpack_fn unpackers[] = {
	[RPC_BOOL] = unpack_bool,
	[RPC_INT] = unpack_int,
	[RPC_STRING] = unpack_string,
	[RPC_ENUM] = unpack_enum,
	[RPC_STRING_LIST] = unpack_string_list,
	[RPC_STRING_MAP] = unpack_string_map,
	[RPC_PAIRS] = unpack_string_map,
	[RPC_BYTES] = unpack_bytes,
	[RPC_TIME] = unpack_time,
	[RPC_OBJECT] = unpack_object,
	[RPC_OBJECTS] = unpack_objects,
};
_Static_assert(array_len(unpackers) == RPC_TYPE_COUNT, "an unpacker for each type");

static int unpack_fields(struct reader *in, const struct rpc_schema *schema, void *object)
{
	for (size_t i = 0; i < schema->count; i++) {
		const struct rpc_field *f = &schema->fields[i];

		if ((f->flags & RPC_UNPACKED) != 0)
			continue;
		if (unpackers[f->type](in, f, (char *)object + f->offset) < 0)
			return -EBADMSG;
	}
	return 0;
}

int rpc_unpack(const uint8_t *data, size_t len, const struct rpc_schema *schema, void *object)
{
	struct reader in = {.data = data, .len = len};

	rpc_reset(schema, object);
	if (unpack_fields(&in, schema, object) < 0 || in.len != 0) {
		rpc_clear(schema, object);
		return -EBADMSG;
	}
	return 0;
}
