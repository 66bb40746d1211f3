/*
 * JSON at the edge of the daemon: parameters in, results out, both driven by the schema, and the
 * envelope of JSON-RPC 2.0 in the dialect of protocol.md section 5. Uses json-c.
 */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "rpc/methods.h"
#include "rpc/schema.h"

/* Strict parse of one UTF-8 JSON value other than null, with depth at most 32 and a bounded number
 * of values (262144, of them 32768 objects and lists). NULL and *ret_err (-EBADMSG) when it is not
 * one. json_object_put() the result. Lone surrogates become U+FFFD, of equal keys the last one
 * counts, U+0000 in a key reads as U+FFFF. */
struct json_object *rpc_json_parse(const char *text, size_t len, struct error *ret_err);

/* The same for a text that holds secrets: nothing of it is left behind in freed memory, provided
 * that the value is given back with rpc_json_put_wiped(). */
struct json_object *rpc_json_parse_secret(const char *text, size_t len, struct error *ret_err);
/* Overwrites every string in the value (of which the caller holds the only reference) and puts it.
 * NULL is fine. */
void rpc_json_put_wiped(struct json_object *json);

/* Stands for U+0000 in the keys of parsed objects, which json-c holds as C strings and would cut
 * there: U+FFFF, a code point reserved for internal use that no text may contain. No field has such
 * a name, and maps refuse such a key. */
#define RPC_JSON_KEY_NUL "\xef\xbf\xbf"

/* One thing wrong with the parameters, as the clients' validation errors show it. */
struct rpc_issue {
	char path[256];    /* "options.mode": segments joined by dots */
	char expected[64]; /* "string", "integer", ... */
	char code[32];     /* "invalid_type", "too_big", "too_small", "invalid_value" ... */
	char message[256];
};

/* Decodes an object (NULL or JSON null count as {}) over any content of *object; unknown keys are
 * ignored, null equals absent. 0: clear it with rpc_clear(). -EINVAL: the first issue, *object
 * reset. Strings with an encoded NUL are refused. ret_issue may be NULL. */
int rpc_json_decode(struct json_object *json, const struct rpc_schema *schema, void *object,
	struct rpc_issue *ret_issue);
/* Appends the object as JSON text. Strings that are not UTF-8 (file names) get U+FFFD. RPC_INTERNAL
 * fields are left out; NULL strings and numbers that are absent are `null`. With bare the value of
 * the single field alone is written. 0, or -ENOBUFS with b as it was, as all calls below that
 * append. */
int rpc_json_encode(struct buf *b, const struct rpc_schema *schema, const void *object, bool bare);
/* Appends a JSON string literal; invalid UTF-8 becomes U+FFFD; U+2028/2029 are escaped. */
int rpc_json_put_string(struct buf *b, const void *data, size_t len);

/* --- envelope ------------------------------------------------------------------------------- */

enum rpc_message_kind {
	RPC_MESSAGE_REQUEST,
	RPC_MESSAGE_NOTIFICATION,
	RPC_MESSAGE_RESPONSE, /* a result or error and no method: ignored by the server */
};

struct rpc_message {
	enum rpc_message_kind kind;
	struct json_object *root; /* owner of everything below */
	struct json_object *id;   /* number, string or null (borrowed) */
	const char *method;       /* borrowed */
	size_t method_len;
	struct json_object *params; /* borrowed, may be NULL */
};

/* Longest id that is a string. */
#define RPC_ID_MAX 1024

/* 0; -EBADMSG not JSON (answer: close 4000); -EINVAL JSON but no JSON-RPC message, with ret->id set
 * when one could be read: answer -32600. Call rpc_message_done() in every case. */
int rpc_message_parse(const char *text, size_t len, struct rpc_message *ret);
/* Accepts a zeroed struct. */
void rpc_message_done(struct rpc_message *m);
/* The id as JSON text, for the answers below and for keeping it until then (heap; free()). */
char *rpc_message_id_text(const struct rpc_message *m);

#define RPC_ERR_PARSE (-32700)
#define RPC_ERR_REQUEST (-32600)
#define RPC_ERR_METHOD (-32601)
#define RPC_ERR_PARAMS (-32602)
#define RPC_ERR_INTERNAL (-32603)
#define RPC_ERR_CLOSED 1
#define RPC_ERR_ISOLATE 3

/* Whole answers, appended to b as one JSON text. id: text of a JSON value, echoed as it is; NULL
 * means null. All: 0, or -ENOBUFS with b as it was. */
int rpc_put_ok_begin(struct buf *b, const char *id); /* {"jsonrpc":"2.0","id":ID,"result":{"ok": */
int rpc_put_ok_end(struct buf *b);                   /* }} */
int rpc_put_protocol_error(struct buf *b, const char *id, int code, const char *message);
int rpc_put_params_error(struct buf *b, const char *id, const struct rpc_issue *issue);
/* result.error from a failure of the guest: class and code from the errno table of protocol.md 8.2,
 * message "<strerror> (os error N): <context>". */
int rpc_put_failure(struct buf *b, const char *id, const struct rpc_failure *f);
/* Appends the bare error object: for $sandbox.stream.error and .cancel. */
int rpc_put_failure_object(struct buf *b, const struct rpc_failure *f);
/* result.error AbortError as protocol.md 8.1 demands (no code). */
int rpc_put_abort_error(struct buf *b, const char *id);

/* --- the stream notifications -------------------------------------------------------------- */

enum rpc_stream_kind {
	RPC_STREAM_START,
	RPC_STREAM_ENQUEUE,
	RPC_STREAM_END,
	RPC_STREAM_ERROR,
	RPC_STREAM_CANCEL,
};

struct rpc_stream_message {
	enum rpc_stream_kind kind;
	int64_t stream_id;
	uint8_t *data; /* ENQUEUE: decoded bytes; view into the message text (fast) or into `own` */
	size_t len;
	uint8_t *own; /* heap or NULL */
	char *error;  /* ERROR, CANCEL: message of the given error (heap) or NULL: none given */
	char *error_class; /* its constructorName (heap) or NULL */
};

/* Longest message of an error that is kept; the rest is cut off. */
#define RPC_STREAM_ERROR_MAX 8192

/* Recognises the canonical spellings of the enqueue notification (key orders of the official
 * clients) in place, without a general parse: decodes the base64 over the text. Returns true when
 * it was one, with the result that the ordinary parser would give; otherwise text is as it was and
 * the ordinary parser decides. */
bool rpc_stream_recognise(char *text, size_t len, struct rpc_stream_message *ret);
/* The ordinary way, from a parsed message. 0; -ENOENT not a stream notification; -EINVAL malformed
 * (ret_issue says how). */
int rpc_stream_decode(
	const struct rpc_message *m, struct rpc_stream_message *ret, struct rpc_issue *ret_issue);
/* Accepts a zeroed struct. */
void rpc_stream_message_done(struct rpc_stream_message *m);

/* Length of the text of an enqueue notification with len bytes of data, and the text itself written
 * to out (which has that much room). Returns the bytes written. */
size_t rpc_stream_enqueue_size(int64_t stream_id, size_t len);
size_t rpc_stream_put_enqueue(char *out, int64_t stream_id, const void *data, size_t len);
/* start, end. */
int rpc_stream_put(struct buf *b, enum rpc_stream_kind kind, int64_t stream_id);
/* error, cancel, with the failure (NULL: null). */
int rpc_stream_put_failure(
	struct buf *b, enum rpc_stream_kind kind, int64_t stream_id, const struct rpc_failure *f);
