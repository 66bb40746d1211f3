/*
 * Request heads. Whatever comes in, the verdict is the same however the bytes arrive, every view
 * lies inside the head, and none holds a byte that could end a line.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "wire/http1.h"

#define HEAD_MAX 2048
/* Longest input that is also given byte by byte. */
#define SLOW_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_view(struct http1_view v, const uint8_t *data, size_t len)
{
	check(v.data >= (const char *)data);
	check(v.len <= len - (size_t)((const uint8_t *)v.data - data));
	check(v.len == 0 || !memchr(v.data, '\n', v.len));
	check(v.len == 0 || !memchr(v.data, '\r', v.len));
	check(v.len == 0 || !memchr(v.data, '\0', v.len));
}

static void check_target(const struct http1_request *req)
{
	struct http1_view key;
	struct http1_view value;
	size_t cursor = 0;

	check(req->target.data[0] == '/' || http1_view_eq(&req->target, "*"));
	while (http1_query_next(&req->query, &cursor, &key, &value)) {
		const struct http1_view *parts[] = {&key, &value, &req->path};

		for (size_t i = 0; i < array_len(parts); i++) {
			auto_free char *text = NULL;

			if (http1_percent_decode(parts[i], i != 2, &text) == 0)
				check(strlen(text) <= parts[i]->len);
		}
	}
	check(cursor <= req->query.len);
}

static void check_request(const struct http1_request *req, const uint8_t *data, size_t len)
{
	size_t lengths = http1_header_count(req, "content-length");
	size_t encodings = http1_header_count(req, "transfer-encoding");

	check_view(req->method, data, len);
	check_view(req->target, data, len);
	check_view(req->path, data, len);
	check_view(req->query, data, len);
	check(req->header_count <= HTTP1_HEADERS_MAX);
	for (size_t i = 0; i < req->header_count; i++) {
		check_view(req->headers[i].name, data, len);
		check_view(req->headers[i].value, data, len);
		check(req->headers[i].name.len > 0);
	}
	check(lengths + encodings <= 1);
	check((req->body == HTTP1_BODY_LENGTH) == (lengths == 1));
	check((req->body == HTTP1_BODY_CHUNKED) == (encodings == 1));
	check(req->content_length <= INT64_MAX);
	check(http1_header_count(req, "host") <= 1);
	check_target(req);
}

static ssize_t parse_copy(const uint8_t *data, size_t size)
{
	static struct http1_request req;
	auto_free uint8_t *copy = mem_dup(data, size);
	const char *reason = NULL;
	ssize_t n = http1_parse_head(copy, size, HEAD_MAX, &req, &reason);

	check((reason != NULL) == (n < 0 && n != -EAGAIN));
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http1_request req;
	const char *reason = NULL;
	ssize_t n = http1_parse_head(data, size, HEAD_MAX, &req, &reason);

	if (n > 0) {
		check((size_t)n <= size && (size_t)n <= HEAD_MAX);
		check_request(&req, data, (size_t)n);
		check(parse_copy(data, (size_t)n) == n);
		check(parse_copy(data, (size_t)n - 1) == -EAGAIN);
	}
	if (size > SLOW_MAX)
		return 0;
	for (size_t len = 0; len <= size; len++) {
		ssize_t early = parse_copy(data, len);

		if (early != -EAGAIN) {
			check(early == n);
			return 0;
		}
	}
	check(n == -EAGAIN);
	return 0;
}
