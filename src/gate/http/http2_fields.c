#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/http2_priv.h"

#define FIELD_COST 32

void http2_fields_init(struct http2_fields *f, size_t max)
{
	*f = (struct http2_fields){.max = max};
	buf_init(&f->text, max);
}

void http2_fields_clear(struct http2_fields *f)
{
	if (f->text.base != NULL)
		mem_wipe(f->text.base, f->text.len);
	buf_done(&f->text);
	free(take_ptr(f->items));
	f->count = f->cap = f->size = 0;
	f->overflow = f->invalid = false;
}

void http2_fields_done(struct http2_fields *f)
{
	http2_fields_clear(f);
}

/* Grows the text by hand: an ordinary growth would leave the old block unwiped. */
static int make_room(struct http2_fields *f, size_t need)
{
	struct buf grown;

	if (f->text.base != NULL && f->text.cap - f->text.len >= need)
		return 0;
	buf_init(&grown, f->max);
	size_t want = 2 * f->text.len + need;
	if (buf_reserve(&grown, want < f->max ? want : f->max, NULL) == NULL)
		return -ENOBUFS;
	if (f->text.base != NULL) {
		memcpy(grown.base, f->text.base, f->text.len);
		buf_commit(&grown, f->text.len);
		mem_wipe(f->text.base, f->text.len);
	}
	buf_done(&f->text);
	f->text = grown;
	return 0;
}

int http2_fields_add(
	struct http2_fields *f, struct http2_text name, struct http2_text value, uint8_t flags)
{
	size_t room = f->max - f->size;

	if (room < FIELD_COST || name.len > room - FIELD_COST ||
		value.len > room - FIELD_COST - name.len ||
		make_room(f, name.len + value.len) < 0) {
		f->overflow = true;
		return -ENOBUFS;
	}
	if (f->count == f->cap) {
		f->cap = f->cap > 0 ? 2 * f->cap : 16;
		f->items = mem_realloc(f->items, f->cap * sizeof(*f->items));
	}
	f->items[f->count++] = (struct http2_field){
		.at = f->text.len,
		.name_len = name.len,
		.value_len = value.len,
		.flags = flags & NGHTTP2_NV_FLAG_NO_INDEX,
	};
	(void)buf_append(&f->text, name.data, name.len);
	(void)buf_append(&f->text, value.data, value.len);
	f->size += FIELD_COST + name.len + value.len;
	return 0;
}

static struct http2_text text_of(const char *s)
{
	return (struct http2_text){(uint8_t *)(uintptr_t)s, strlen(s)};
}

int http2_fields_add_str(struct http2_fields *f, const char *name, const char *value)
{
	return http2_fields_add(f, text_of(name), text_of(value), 0);
}

struct http2_text http2_fields_name(const struct http2_fields *f, size_t i)
{
	return (struct http2_text){buf_data(&f->text) + f->items[i].at, f->items[i].name_len};
}

struct http2_text http2_fields_value(const struct http2_fields *f, size_t i)
{
	const struct http2_field *item = &f->items[i];

	return (struct http2_text){buf_data(&f->text) + item->at + item->name_len, item->value_len};
}

nghttp2_nv *http2_fields_nva(const struct http2_fields *f)
{
	nghttp2_nv *nva = mem_zalloc_array(f->count, sizeof(*nva));

	for (size_t i = 0; i < f->count; i++) {
		struct http2_text name = http2_fields_name(f, i);
		struct http2_text value = http2_fields_value(f, i);

		nva[i] = (nghttp2_nv){
			.name = name.data,
			.namelen = name.len,
			.value = value.data,
			.valuelen = value.len,
			.flags = f->items[i].flags,
		};
	}
	return nva;
}

bool http2_text_pseudo(struct http2_text name)
{
	return name.len > 0 && name.data[0] == ':';
}

bool http2_text_is(struct http2_text t, const char *text)
{
	return t.len == strlen(text) && memcmp(t.data, text, t.len) == 0;
}
