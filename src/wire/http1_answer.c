#include "wire/http1_answer.h"

#include <errno.h>
#include <string.h>

#include "wire/http1_priv.h"

#define VERSION_LEN 8

/* HTTP/d.d SP ddd, then nothing, or SP and a reason. */
static struct verdict read_status_line(struct http1_view line, void *data)
{
	struct http1_answer *answer = data;
	const char *p = line.data;
	struct verdict v;

	if (line.len < VERSION_LEN + 4 || p[VERSION_LEN] != ' ')
		return WRONG("status line is not 'HTTP/1.1 200 reason'");
	v = http1_read_version(http1_view_between(p, p + VERSION_LEN), &answer->minor);
	if (v.err)
		return v;
	p += VERSION_LEN + 1;
	for (int i = 0; i < 3; i++, p++) {
		if (!http1_is_digit(*p))
			return WRONG("status is not a number of three digits");
		answer->status = answer->status * 10 + (*p - '0');
	}
	if (answer->status < 100 || answer->status > 599)
		return WRONG("status is not between 100 and 599");
	answer->reason = http1_view_between(p, line.data + line.len);
	if (answer->reason.len == 0)
		return FINE;
	if (*p != ' ')
		return WRONG("status is not a number of three digits");
	answer->reason = http1_view_between(p + 1, line.data + line.len);
	if (!http1_view_all_of(answer->reason, HTTP1_VALUE))
		return WRONG("control byte in the reason");
	return FINE;
}

static struct verdict judge_framing(struct http1_answer *answer, struct http1_view method)
{
	struct http1_fields f = {answer->headers, answer->header_count};
	bool never = answer->status < 200 || answer->status == 204;
	struct verdict v =
		http1_judge_body(f, answer->minor, &answer->body, &answer->content_length);

	if (v.err)
		return v;
	answer->has_length = answer->body == HTTP1_BODY_LENGTH;
	if (never && (answer->body == HTTP1_BODY_CHUNKED || answer->content_length > 0))
		return WRONG("an answer without a body announces one");
	if (never || answer->status == 304 || http1_view_eq(&method, "HEAD"))
		answer->body = HTTP1_BODY_NONE;
	else if (answer->body == HTTP1_BODY_NONE)
		answer->body = HTTP1_BODY_CLOSE;
	return FINE;
}

static struct verdict judge(struct http1_answer *answer, struct http1_view method)
{
	struct http1_fields f = {answer->headers, answer->header_count};
	struct verdict v = judge_framing(answer, method);

	if (v.err)
		return v;
	answer->keep_alive =
		answer->body != HTTP1_BODY_CLOSE && http1_judge_keep_alive(f, answer->minor);
	answer->upgrade_websocket = answer->status == 101 &&
				    http1_field_has_token(f, "connection", "upgrade") &&
				    http1_field_has_token(f, "upgrade", "websocket");
	return FINE;
}

ssize_t http1_parse_answer_head(const void *data, size_t len, size_t max_head,
	struct http1_view method, struct http1_answer *ret_answer, const char **ret_reason)
{
	struct http1_answer *answer = ret_answer;
	struct http1_head head = {
		.first_line = read_status_line,
		.data = answer,
		.headers = answer->headers,
		.max = HTTP1_ANSWER_HEADERS_MAX,
	};
	size_t used = 0;
	struct verdict v;

	memset(answer, 0, offsetof(struct http1_answer, headers));
	v = http1_read_head(&head, data, len, max_head, &used);
	answer->header_count = head.count;
	if (!v.err)
		v = judge(answer, method);
	if (!v.err)
		return (ssize_t)used;
	if (v.reason)
		*ret_reason = v.reason;
	return v.err;
}
