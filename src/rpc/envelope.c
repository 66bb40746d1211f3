#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/json.h"
#include "rpc/json_priv.h"

/* --- messages from the client -------------------------------------------------------------- */

/* Ids are echoed, so they must be what both sides can tell apart: text of bounded length, or a
 * number that neither json-c nor JavaScript rounds. */
static bool good_id(struct json_object *id)
{
	if (id == NULL)
		return true;
	if (json_object_is_type(id, json_type_string))
		return json_object_get_string_len(id) <= RPC_ID_MAX;
	if (json_object_is_type(id, json_type_int)) {
		int64_t number = json_object_get_int64(id);

		return number >= -RPC_STREAM_ID_MAX && number <= RPC_STREAM_ID_MAX;
	}
	return json_object_is_type(id, json_type_double) && isfinite(json_object_get_double(id));
}

static bool has_version(struct json_object *root)
{
	struct json_object *version;

	return json_object_object_get_ex(root, "jsonrpc", &version) &&
	       json_object_is_type(version, json_type_string) &&
	       json_object_get_string_len(version) == 3 &&
	       memcmp(json_object_get_string(version), "2.0", 3) == 0;
}

static bool has_key(struct json_object *root, const char *key)
{
	return json_object_object_get_ex(root, key, NULL);
}

int rpc_message_parse(const char *text, size_t len, struct rpc_message *ret)
{
	struct json_object *method, *id = NULL;

	*ret = (struct rpc_message){0};
	if (rpc_json_read(text, len, &ret->root, NULL) < 0)
		return -EBADMSG;
	if (!json_object_is_type(ret->root, json_type_object))
		return -EINVAL;
	bool has_id = json_object_object_get_ex(ret->root, "id", &id);
	if (!good_id(id))
		return -EINVAL;
	ret->id = id;
	if (!has_version(ret->root))
		return -EINVAL;
	if (!json_object_object_get_ex(ret->root, "method", &method)) {
		ret->kind = RPC_MESSAGE_RESPONSE;
		return has_id && (has_key(ret->root, "result") || has_key(ret->root, "error"))
			       ? 0
			       : -EINVAL;
	}
	if (!json_object_is_type(method, json_type_string))
		return -EINVAL;
	ret->kind = has_id ? RPC_MESSAGE_REQUEST : RPC_MESSAGE_NOTIFICATION;
	ret->method = json_object_get_string(method);
	ret->method_len = (size_t)json_object_get_string_len(method);
	json_object_object_get_ex(ret->root, "params", &ret->params);
	return 0;
}

void rpc_message_done(struct rpc_message *m)
{
	json_object_put(m->root);
	*m = (struct rpc_message){0};
}

char *rpc_message_id_text(const struct rpc_message *m)
{
	const int style = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;

	return mem_strdup(m->id != NULL ? json_object_to_json_string_ext(m->id, style) : "null");
}

/* --- answers ------------------------------------------------------------------------------- */

/* Appends the texts up to the NULL at the end, all or nothing. */
static int put_texts(struct buf *b, const char *const *texts)
{
	size_t mark = b->len;

	for (; *texts != NULL; texts++) {
		if (buf_append_str(b, *texts) < 0) {
			b->len = mark;
			return -ENOBUFS;
		}
	}
	return 0;
}

#define PUT(b, ...) put_texts(b, (const char *const[]){__VA_ARGS__, NULL})

static int put_head(struct buf *b, const char *id)
{
	return PUT(b, "{\"jsonrpc\":\"2.0\",\"id\":", id != NULL ? id : "null", ",");
}

int rpc_put_ok_begin(struct buf *b, const char *id)
{
	size_t mark = b->len;

	if (put_head(b, id) < 0 || PUT(b, "\"result\":{\"ok\":") < 0) {
		b->len = mark;
		return -ENOBUFS;
	}
	return 0;
}

int rpc_put_ok_end(struct buf *b)
{
	return PUT(b, "}}");
}

int rpc_put_protocol_error(struct buf *b, const char *id, int code, const char *message)
{
	size_t mark = b->len;

	if (put_head(b, id) < 0 || buf_printf(b, "\"error\":{\"code\":%d,\"message\":", code) < 0 ||
		rpc_json_put_string(b, message, strlen(message)) < 0 || PUT(b, "}}") < 0) {
		b->len = mark;
		return -ENOBUFS;
	}
	return 0;
}

static int put_member(struct buf *b, const char *key, const char *value)
{
	if (PUT(b, key) < 0)
		return -ENOBUFS;
	return rpc_json_put_string(b, value, strlen(value));
}

/* ["options","mode"] */
static int put_path(struct buf *b, const char *path)
{
	int r = PUT(b, "[");

	while (r == 0 && *path != '\0') {
		size_t len = strcspn(path, ".");

		r = rpc_json_put_string(b, path, len);
		path += len;
		if (r == 0 && *path == '.') {
			path++;
			r = PUT(b, ",");
		}
	}
	return r < 0 ? r : PUT(b, "]");
}

static int put_issue(struct buf *b, const struct rpc_issue *issue)
{
	if (put_member(b, "[{\"expected\":", issue->expected) < 0 ||
		put_member(b, ",\"code\":", issue->code) < 0 || PUT(b, ",\"path\":") < 0 ||
		put_path(b, issue->path) < 0 ||
		put_member(b, ",\"message\":", issue->message) < 0 || PUT(b, "}]") < 0)
		return -ENOBUFS;
	return 0;
}

int rpc_put_params_error(struct buf *b, const char *id, const struct rpc_issue *issue)
{
	auto_buf struct buf inner = {0};
	size_t mark = b->len;

	/* The clients expect JSON text inside a JSON string here. */
	buf_init(&inner, 16384);
	if (put_issue(&inner, issue) < 0 || put_head(b, id) < 0 ||
		PUT(b, "\"error\":{\"code\":-32602,\"message\":\"Invalid params\",\"data\":"
		       "{\"constructorName\":\"ZodError\",\"message\":") < 0 ||
		rpc_json_put_string(b, buf_data(&inner), inner.len) < 0 || PUT(b, "}}}") < 0) {
		b->len = mark;
		return -ENOBUFS;
	}
	return 0;
}

int rpc_put_failure(struct buf *b, const char *id, const struct rpc_failure *f)
{
	size_t mark = b->len;

	if (put_head(b, id) < 0 || PUT(b, "\"result\":{\"error\":") < 0 ||
		rpc_put_failure_object(b, f) < 0 || PUT(b, "}}") < 0) {
		b->len = mark;
		return -ENOBUFS;
	}
	return 0;
}

int rpc_put_abort_error(struct buf *b, const char *id)
{
	size_t mark = b->len;

	if (put_head(b, id) < 0 ||
		PUT(b, "\"result\":{\"error\":{\"constructorName\":\"DOMException\","
		       "\"name\":\"AbortError\",\"message\":\"The signal has been aborted\","
		       "\"code\":null}}}") < 0) {
		b->len = mark;
		return -ENOBUFS;
	}
	return 0;
}
