/*
 * HTTP/1.1 request heads and bodies, strict: bytes in, fields out, no policy. Everything that
 * could make two parsers disagree is refused: bare LF or CR, obs-fold, white space before a colon,
 * control bytes, several or signed Content-Length, Content-Length together with
 * Transfer-Encoding, encodings other than "chunked", a Host that is missing (HTTP/1.1), repeated or
 * no host name, empty lines in front of the request. RFC 9112; llhttp issue 877 shows what leniency
 * costs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

#define HTTP1_HEADERS_MAX 100

struct http1_view {
	const char *data; /* not NUL-terminated */
	size_t len;
};

struct http1_header {
	struct http1_view name;  /* as received; compare without case */
	struct http1_view value; /* white space at both ends removed */
};

struct http1_fields {
	const struct http1_header *items;
	size_t count;
};

enum http1_body {
	HTTP1_BODY_NONE,
	HTTP1_BODY_LENGTH,
	HTTP1_BODY_CHUNKED,
	HTTP1_BODY_CLOSE, /* answers only: up to the end of the connection */
};

/* Views point into the bytes given to http1_parse_head(). */
struct http1_request {
	struct http1_view method;
	struct http1_view target; /* origin form (starts with '/'), or "*" of OPTIONS */
	struct http1_view path;   /* target up to '?' */
	struct http1_view query;  /* behind '?', may be empty */
	/* Of a target in absolute form; empty else. See http1_parse_proxy_head(). */
	struct http1_view scheme;
	struct http1_view authority;
	int minor;              /* 0 or 1 */
	bool keep_alive;        /* from version and Connection */
	bool upgrade_websocket; /* HTTP/1.1, Connection: upgrade and Upgrade: websocket */
	bool expect_continue;
	enum http1_body body;
	uint64_t content_length;
	size_t header_count;
	struct http1_header headers[HTTP1_HEADERS_MAX];
};

/* Parses one request head from the start of data. Returns its length in bytes (the body follows),
 * -EAGAIN when the head is not complete yet, or an error: -EBADMSG malformed, -E2BIG too many
 * headers or longer than max_head, -EPROTONOSUPPORT for a version other than 1.0 and 1.1,
 * -ENOSYS for a transfer encoding we do not read. *ret_reason (static text) says what is wrong; it
 * is left alone otherwise, while *ret_request is scratch space until the call succeeds. An error is
 * final: more bytes do not change it. */
ssize_t http1_parse_head(const void *data, size_t len, size_t max_head,
	struct http1_request *ret_request, const char **ret_reason);

/* The same for a reader between client and server: also takes targets in absolute form ("http:" or
 * "https:", path not empty), which leave scheme and authority set and the target in origin form,
 * and CONNECT, whose target is the authority. What they name is for the caller to judge. */
ssize_t http1_parse_proxy_head(const void *data, size_t len, size_t max_head,
	struct http1_request *ret_request, const char **ret_reason);

/* The value of a header by name (case-insensitive), or NULL; the first of several. */
const struct http1_view *http1_header(const struct http1_request *req, const char *name);
/* How many headers have that name. */
size_t http1_header_count(const struct http1_request *req, const char *name);
/* True when a comma-separated header holds token (case-insensitive) in any of its lines. */
bool http1_header_has_token(const struct http1_request *req, const char *name, const char *token);
/* The same for the headers of any head. */
const struct http1_view *http1_field(struct http1_fields f, const char *name);
size_t http1_field_count(struct http1_fields f, const char *name);
bool http1_field_has_token(struct http1_fields f, const char *name, const char *token);
/* Steps through a comma-separated list, which it shortens; false at the end. */
bool http1_next_item(struct http1_view *list, struct http1_view *ret_item);
bool http1_view_eq(const struct http1_view *v, const char *s);
bool http1_view_caseeq(const struct http1_view *v, const char *s);

/* --- bodies --------------------------------------------------------------------------------- */

/* Incremental reader of a body with known framing; extracts payload bytes in place. done is true
 * from the start when there is no body. */
struct http1_body_reader {
	enum http1_body kind;
	uint64_t left; /* bytes left of the length or of this chunk */
	int state;     /* private */
	size_t line_len;
	bool done;
};

void http1_body_init(struct http1_body_reader *r, const struct http1_request *req);
/* Looks at data[0..len): *ret_used is how many bytes were consumed, *ret_payload / *ret_payload_len
 * the payload among them (a view into data). Call again with the rest until *ret_used is 0 or
 * r->done. 0 or -EBADMSG. Chunk extensions and trailers are bounded and dropped. A body of
 * HTTP1_BODY_CLOSE is never done. */
int http1_body_read(struct http1_body_reader *r, const uint8_t *data, size_t len, size_t *ret_used,
	const uint8_t **ret_payload, size_t *ret_payload_len);

/* --- targets -------------------------------------------------------------------------------- */

/* Percent-decodes one path segment or query component into a NUL-terminated heap string; plus is a
 * blank when form is true. -EINVAL for a broken escape or an encoded NUL. */
int http1_percent_decode(const struct http1_view *v, bool form, char **ret_text);
/* Steps through "a=b&c=d": *cursor starts at 0; returns false at the end. Views are still encoded;
 * empty parts are skipped, the value of a part without '=' is empty. */
bool http1_query_next(const struct http1_view *query, size_t *cursor, struct http1_view *ret_key,
	struct http1_view *ret_value);

/* --- writing -------------------------------------------------------------------------------- */

const char *http1_status_text(int status);
/* Appends the status line and Date; headers follow with http1_put_header() and an empty line with
 * http1_put_end(). Values with control bytes are refused with -EINVAL (header injection).
 * 0, -EINVAL or -ENOBUFS. */
int http1_put_status(struct buf *b, int status);
int http1_put_header(struct buf *b, const char *name, const char *value);
int http1_put_end(struct buf *b);
/* As the above, for parts that do not end in NUL. */
int http1_put_field(struct buf *b, struct http1_view name, struct http1_view value);
/* "METHOD target HTTP/1.1", "HTTP/1.1 status reason" (an answer passed on: no Date). */
int http1_put_request_line(struct buf *b, struct http1_view method, struct http1_view target);
int http1_put_status_line(struct buf *b, int status, struct http1_view reason);
/* One chunk of a body in chunked form; len 0 writes nothing, for it would end the body. */
int http1_put_chunk(struct buf *b, const void *data, size_t len);
int http1_put_last_chunk(struct buf *b);
