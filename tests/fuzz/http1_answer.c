/*
 * Answer heads; the first byte chooses the method. Whatever comes in, the verdict is the same
 * however the bytes arrive, every view lies inside the head, none holds a byte that could end a
 * line, and what is written from it reads the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "wire/http1_answer.h"

#define HEAD_MAX 2048
/* Longest input that is also given byte by byte. */
#define SLOW_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct http1_view method;

static void check_view(struct http1_view v, const uint8_t *data, size_t len)
{
	check(v.data >= (const char *)data);
	check(v.len <= len - (size_t)((const uint8_t *)v.data - data));
	check(v.len == 0 || (!memchr(v.data, '\n', v.len) && !memchr(v.data, '\r', v.len) &&
				    !memchr(v.data, '\0', v.len)));
}

static void check_answer(const struct http1_answer *a, const uint8_t *data, size_t len)
{
	struct http1_fields f = {a->headers, a->header_count};

	check(a->status >= 100 && a->status <= 599 && (a->minor == 0 || a->minor == 1));
	check(a->header_count <= HTTP1_ANSWER_HEADERS_MAX);
	check(a->content_length <= INT64_MAX);
	check_view(a->reason, data, len);
	for (size_t i = 0; i < a->header_count; i++) {
		check_view(a->headers[i].name, data, len);
		check_view(a->headers[i].value, data, len);
		check(a->headers[i].name.len > 0);
	}
	check(http1_field_count(f, "content-length") + http1_field_count(f, "transfer-encoding") <=
		1);
	if (method.len == 4 || a->status < 200 || a->status == 204 || a->status == 304)
		check(a->body == HTTP1_BODY_NONE);
	else
		check(a->body != HTTP1_BODY_NONE);
}

static ssize_t parse_copy(const uint8_t *data, size_t size, struct http1_answer *ret)
{
	auto_free uint8_t *copy = mem_dup(data, size);
	const char *reason = NULL;
	ssize_t n = http1_parse_answer_head(copy, size, HEAD_MAX, method, ret, &reason);

	check((reason != NULL) == (n < 0 && n != -EAGAIN));
	return n;
}

/* What is written from an answer is an answer again, and the same one. */
static void check_rewritten(const struct http1_answer *a)
{
	static struct http1_answer again;
	auto_buf struct buf b;

	buf_init(&b, 65536);
	check(http1_put_status_line(&b, a->status, a->reason) == 0);
	for (size_t i = 0; i < a->header_count; i++)
		check(http1_put_field(&b, a->headers[i].name, a->headers[i].value) == 0);
	check(http1_put_end(&b) == 0);
	if (a->minor == 0 || b.len > HEAD_MAX)
		return;
	check(parse_copy(buf_data(&b), b.len, &again) == (ssize_t)b.len);
	check(again.status == a->status && again.header_count == a->header_count);
	check(again.body == a->body && again.content_length == a->content_length);
	check(again.keep_alive == a->keep_alive);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http1_answer a;
	static struct http1_answer other;
	const char *reason = NULL;
	ssize_t n;

	if (size < 1)
		return 0;
	method = data[0] & 1 ? (struct http1_view){"HEAD", 4} : (struct http1_view){"GET", 3};
	data++;
	size--;
	n = http1_parse_answer_head(data, size, HEAD_MAX, method, &a, &reason);
	if (n > 0) {
		check((size_t)n <= size && (size_t)n <= HEAD_MAX);
		check_answer(&a, data, (size_t)n);
		check(parse_copy(data, (size_t)n, &other) == n);
		check(parse_copy(data, (size_t)n - 1, &other) == -EAGAIN);
		check_rewritten(&a);
	}
	if (size > SLOW_MAX)
		return 0;
	for (size_t len = 0; len <= size; len++) {
		ssize_t early = parse_copy(data, len, &other);

		if (early != -EAGAIN) {
			check(early == n);
			return 0;
		}
	}
	check(n == -EAGAIN);
	return 0;
}
