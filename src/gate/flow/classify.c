/*
 * Plain HTTP must not be passed on unread, since the host it asks for could be another than the
 * one that was allowed. So whatever a lenient server might take for a request counts as HTTP,
 * and the strict parser then refuses what is not well-formed.
 */
#include "gate/flow/classify.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "wire/tls_hello.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define METHOD_MAX 32

const char *traffic_name(enum traffic t)
{
	static const char *const names[TRAFFIC_COUNT] = {
		[TRAFFIC_UNKNOWN] = "tcp",
		[TRAFFIC_TLS] = "tls",
		[TRAFFIC_HTTP1] = "http",
		[TRAFFIC_HTTP2] = "http",
		[TRAFFIC_OTHER] = "tcp",
	};

	return names[t];
}

static bool is_token_char(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* White space for one server or another; for Python these are, too, in front of a request. */
static bool is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\f' && c != '\n') || (c >= 0x1c && c <= 0x1f) ||
	       c == 0x85 || c == 0xa0;
}

/* "GET ": how requests begin. 1 yes, 0 no, -1 too short to tell. */
static int begins_like_request(const uint8_t *line, size_t len)
{
	size_t n = 0;

	while (n < len && n <= METHOD_MAX && is_token_char(line[n]))
		n++;
	if (n == len)
		return n <= METHOD_MAX ? -1 : 0;
	return n > 0 && n <= METHOD_MAX && is_blank(line[n]) ? 1 : 0;
}

/* A whole line: HTTP names itself in it, except for HTTP/0.9. What stands in front does not matter:
 * h2o takes any visible bytes for a method, nginx letters without end. */
static bool is_request_line(const uint8_t *line, size_t len)
{
	static const char *const methods[] = {"GET", "POST", "HEAD", "PUT"};

	for (size_t i = 1; i + 5 <= len; i++) {
		if (is_blank(line[i - 1]) && strncasecmp((const char *)line + i, "http/", 5) == 0)
			return true;
	}
	for (size_t i = 0; i < array_len(methods); i++) {
		size_t n = strlen(methods[i]);

		if (len > n + 1 && is_blank(line[n]) &&
			strncasecmp((const char *)line, methods[i], n) == 0)
			return true;
	}
	return false;
}

/* Empty lines and blanks in front of a request are skipped by many servers. */
static size_t skip_empty(const uint8_t *data, size_t len)
{
	size_t n = 0;

	while (n < len && (data[n] == '\r' || data[n] == '\n' || is_blank(data[n])))
		n++;
	return n;
}

static enum traffic classify_text(const uint8_t *data, size_t len, bool waited)
{
	size_t skip = skip_empty(data, len);
	const uint8_t *end;

	data += skip;
	len -= skip;
	end = memchr(data, '\n', len);
	if (end != NULL)
		return is_request_line(data, (size_t)(end - data)) ? TRAFFIC_HTTP1 : TRAFFIC_OTHER;
	if (len > CLASSIFY_LINE_MAX)
		return begins_like_request(data, len) == 1 ? TRAFFIC_HTTP1 : TRAFFIC_OTHER;
	if (begins_like_request(data, len) == 0)
		return TRAFFIC_OTHER;
	if (!waited)
		return TRAFFIC_UNKNOWN;
	/* The rest may follow once it is passed on: only HTTP's reader sees what it becomes. */
	return begins_like_request(data, len) == 1 ? TRAFFIC_HTTP1 : TRAFFIC_OTHER;
}

enum traffic classify(const uint8_t *data, size_t len, bool waited)
{
	size_t preface = strlen(PREFACE);
	int tls;

	if (len == 0)
		return TRAFFIC_UNKNOWN;
	tls = tls_hello_likely(data, len);
	if (tls == 1)
		return TRAFFIC_TLS;
	if (tls < 0 && data[0] == 0x16)
		return waited ? TRAFFIC_OTHER : TRAFFIC_UNKNOWN;
	if (memcmp(data, PREFACE, len < preface ? len : preface) == 0) {
		if (len >= preface)
			return TRAFFIC_HTTP2;
		if (!waited)
			return TRAFFIC_UNKNOWN;
	}
	return classify_text(data, len, waited);
}

int classify_late(const uint8_t *data, size_t len)
{
	size_t skip = skip_empty(data, len);
	const uint8_t *end = memchr(data + skip, '\n', len - skip);

	if (end != NULL)
		return is_request_line(data + skip, (size_t)(end - data) - skip);
	return len < CLASSIFY_LATE_MAX ? -EAGAIN : 0;
}
