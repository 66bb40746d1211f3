/* Requests: checked, changed where secrets stand, written anew. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gate/http/http1_flow_priv.h"

#define PATH_MAX_SHOWN 512

struct refusal {
	enum exchange_refusal what;
	char detail[400];
};

static void refuse(struct refusal *r, enum exchange_refusal what, const char *detail)
{
	r->what = what;
	snprintf(r->detail, sizeof(r->detail), "%s", detail);
}

static struct http1_fields fields_of(const struct http1_request *req)
{
	return (struct http1_fields){req->headers, req->header_count};
}

/* --- what is let through ---------------------------------------------------------------------- */

static bool names_host(
	const struct exchange_params *p, const struct http1_view *name, struct refusal *ret)
{
	if (exchange_host_ok(p, name->data, name->len))
		return true;
	ret->what = EXCHANGE_HOST_MISMATCH;
	snprintf(ret->detail, sizeof(ret->detail),
		"the request is for \"%.*s\", but this is a connection to %s port %u",
		(int)(name->len < 128 ? name->len : 128), name->data, p->host, p->port);
	return false;
}

/* Whether the request may go to the host; *ret says why not. */
static bool check(const struct http1_flow *f, const struct http1_request *req, struct refusal *ret)
{
	const struct exchange_params *p = &f->x.params;
	const struct http1_view *host = http1_header(req, "host");

	if (http1_view_eq(&req->method, "CONNECT")) {
		refuse(ret, EXCHANGE_METHOD, "CONNECT is not passed on");
		return false;
	}
	if (http1_view_eq(&req->method, "TRACE") && (p->secrets || p->scrub)) {
		refuse(ret, EXCHANGE_METHOD, "TRACE is not passed on to a host of secrets");
		return false;
	}
	/* It would send back its own password. */
	if (http1_view_eq(&req->method, "TRACE") && p->absolute_form) {
		refuse(ret, EXCHANGE_METHOD, "TRACE is not passed on to an upstream proxy");
		return false;
	}
	if (req->scheme.len > 0 && !http1_view_caseeq(&req->scheme, p->tls ? "https" : "http")) {
		refuse(ret, EXCHANGE_HOST_MISMATCH, "the target's scheme is not the connection's");
		return false;
	}
	if (req->authority.len > 0 && !names_host(p, &req->authority, ret))
		return false;
	return !host || names_host(p, host, ret);
}

/* Whether a header stays here. */
static bool dropped(
	const struct http1_flow *f, const struct http1_request *req, struct http1_view name)
{
	static const struct {
		const char *name;
		bool scrub; /* only when the answer is scrubbed */
	} names[] = {
		{"host", false}, /* written anew */
		{"proxy-authorization", false},
		{"accept-encoding", true},
		{"if-range", true}, /* a value cut in two by ranges would not be found */
		{"range", true},
		{"sec-websocket-extensions", true},
	};

	for (size_t i = 0; i < array_len(names); i++)
		if (http1_view_caseeq(&name, names[i].name))
			return !names[i].scrub || f->x.params.scrub;
	/* Nobody waits for the interim answer. */
	if (req->minor == 0 && http1_view_caseeq(&name, "expect"))
		return true;
	return http1_flow_hop_header(fields_of(req), name);
}

/* --- writing the head ------------------------------------------------------------------------- */

static int put_line(struct http1_flow *f, const struct http1_request *req, struct buf *out)
{
	const struct exchange_params *p = &f->x.params;
	auto_buf struct buf target;

	buf_init(&target, HTTP1_HEAD_OUT_MAX);
	if (!p->absolute_form)
		return http1_put_request_line(out, req->method, req->target);
	if (buf_append_str(&target, "http://") < 0 || exchange_put_authority(p, &target) < 0)
		return -ENOBUFS;
	/* "*" is written as no path at all. */
	if (req->target.data[0] == '/' &&
		buf_append(&target, req->target.data, req->target.len) < 0)
		return -ENOBUFS;
	return http1_put_request_line(
		out, req->method, (struct http1_view){(char *)buf_data(&target), target.len});
}

static int put_host(const struct exchange_params *p, struct buf *out)
{
	int r = buf_append_str(out, "Host: ");

	if (r == 0)
		r = exchange_put_authority(p, out);
	if (r == 0)
		r = buf_append_str(out, "\r\n");
	if (r == 0 && p->absolute_form && p->proxy_authorization)
		r = http1_put_header(out, "Proxy-Authorization", p->proxy_authorization);
	return r;
}

static void report_stray(struct http1_flow *f, const struct http1_view *name, uint64_t secrets)
{
	char where[64];

	snprintf(where, sizeof(where), "header %.*s", (int)name->len, name->data);
	for (char *c = where; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c | 0x20);
	http1_flow_stray(f, secrets, where);
}

/* value: scratch space, where a secret stands for a moment. */
static int put_substituted(struct http1_flow *f, const struct http1_header *h, struct buf *value,
	struct buf *out, uint64_t *used)
{
	const struct exchange_params *p = &f->x.params;
	uint64_t allowed = vault_header_ok(h->name.data, h->name.len) ? p->secrets : 0;
	struct vault_swap swap = {0};
	int r;

	buf_clear(value);
	r = vault_substitute(p->vault, allowed, h->name.data, h->name.len, h->value.data,
		h->value.len, value, &swap);
	if (r < 0)
		return r;
	*used |= swap.used;
	report_stray(f, &h->name, swap.stray);
	return http1_put_field(
		out, h->name, (struct http1_view){(char *)buf_data(value), value->len});
}

static int put_fields(
	struct http1_flow *f, const struct http1_request *req, struct buf *out, uint64_t *used)
{
	struct buf value;
	int r = 0;

	buf_init(&value, HTTP1_HEAD_OUT_MAX);
	value.wipe = f->x.params.secrets != 0;
	for (size_t i = 0; i < req->header_count && r == 0; i++) {
		const struct http1_header *h = &req->headers[i];

		if (dropped(f, req, h->name))
			continue;
		if (f->x.params.vault)
			r = put_substituted(f, h, &value, out, used);
		else
			r = http1_put_field(out, h->name, h->value);
	}
	buf_done(&value);
	return r;
}

static int put_framing(struct http1_flow *f, const struct http1_request *req, struct buf *out)
{
	int r = 0;

	if (f->x.params.scrub)
		r = http1_put_header(out, "Accept-Encoding", "identity");
	if (r == 0 && req->body == HTTP1_BODY_LENGTH)
		r = buf_printf(
			out, "Content-Length: %llu\r\n", (unsigned long long)req->content_length);
	if (r == 0 && req->body == HTTP1_BODY_CHUNKED)
		r = http1_put_header(out, "Transfer-Encoding", "chunked");
	if (r == 0 && f->upgrade)
		r = buf_append_str(out, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
	else if (r == 0 && !req->keep_alive)
		r = http1_put_header(out, "Connection", "close");
	return r < 0 ? r : http1_put_end(out);
}

static bool write_head(
	struct http1_flow *f, const struct http1_request *req, uint64_t *used, struct refusal *ret)
{
	struct buf out;
	int r;

	buf_init(&out, HTTP1_HEAD_OUT_MAX);
	out.wipe = f->x.params.secrets != 0;
	r = put_line(f, req, &out);
	if (r == 0)
		r = put_host(&f->x.params, &out);
	if (r == 0)
		r = put_fields(f, req, &out, used);
	if (r == 0)
		r = put_framing(f, req, &out);
	if (r == 0)
		http1_flow_send_up(f, buf_data(&out), out.len);
	buf_done(&out);
	if (r == -EINVAL)
		refuse(ret, EXCHANGE_SECRET,
			"the value of a secret holds bytes that no header may have");
	else if (r < 0)
		refuse(ret, EXCHANGE_MALFORMED, "the request's head is too long");
	return r == 0;
}

/* --- steps ------------------------------------------------------------------------------------ */

static void start(struct http1_flow *f, const struct http1_request *req)
{
	f->old = req->minor == 0;
	f->upgrade = req->upgrade_websocket && req->body == HTTP1_BODY_NONE &&
		     http1_view_eq(&req->method, "GET");
	f->keep = req->keep_alive;
	f->stray = 0;
	f->watch = (struct vault_watch){0};
	f->interims = 0;
	f->answer_seen = 0;
	f->request_seen = 0;
	snprintf(f->method, sizeof(f->method), "%.*s", (int)req->method.len, req->method.data);
}

static void pass_request(struct http1_flow *f, const struct http1_request *req)
{
	struct vault_watch watch = {0};
	char path[PATH_MAX_SHOWN];
	struct refusal refusal = {0};
	uint64_t used = 0;

	start(f, req);
	if (!check(f, req, &refusal)) {
		http1_flow_refuse(f, req, refusal.what, refusal.detail);
		return;
	}
	if (f->x.params.vault)
		http1_flow_stray(f,
			vault_watch(f->x.params.vault, &watch, (const uint8_t *)req->target.data,
				req->target.len),
			"target");
	if (!write_head(f, req, &used, &refusal)) {
		http1_flow_refuse(f, req, refusal.what, refusal.detail);
		return;
	}
	f->x.requests++;
	snprintf(path, sizeof(path), "%.*s", (int)req->path.len, req->path.data);
	f->x.params.ops->on_request(&f->x, f->method, path);
	if (used)
		f->x.params.ops->on_used(&f->x, used);
	http1_body_init(&f->up, req);
	f->request = f->up.done ? HTTP1_REQUEST_DONE : HTTP1_REQUEST_BODY;
	f->answer = HTTP1_ANSWER_HEAD;
}

static bool read_head(struct http1_flow *f)
{
	static struct http1_request req;
	struct buf *in = leg_in(f->client);
	const char *reason = NULL;
	ssize_t n;

	if (in->len == 0 || !http1_flow_head_grew(in, &f->request_seen, HTTP1_REQUEST_HEAD_MAX))
		return false;
	n = http1_parse_proxy_head(buf_data(in), in->len, HTTP1_REQUEST_HEAD_MAX, &req, &reason);
	if (n == -EAGAIN)
		return false;
	if (n < 0) {
		f->method[0] = '\0';
		http1_flow_refuse(f, NULL, EXCHANGE_MALFORMED, reason);
		return true;
	}
	pass_request(f, &req);
	/* Unless that has ended the flow, and the leg has dropped what it held. */
	if (f->phase == HTTP1_EXCHANGING)
		buf_consume(in, (size_t)n);
	return true;
}

static void pass_body(struct http1_flow *f, const uint8_t *data, size_t len)
{
	if (f->x.params.vault)
		http1_flow_stray(f, vault_watch(f->x.params.vault, &f->watch, data, len), "body");
	if (f->up.kind != HTTP1_BODY_CHUNKED) {
		http1_flow_send_up(f, data, len);
		return;
	}
	/* The maximum is above what a step passes on. */
	(void)http1_put_chunk(&f->chunk, data, len);
	if (f->up.done)
		(void)http1_put_last_chunk(&f->chunk);
	http1_flow_send_up(f, buf_data(&f->chunk), f->chunk.len);
	buf_clear(&f->chunk);
}

static bool read_body(struct http1_flow *f)
{
	struct buf *in = leg_in(f->client);
	bool skip = f->request == HTTP1_REQUEST_SKIP;
	const uint8_t *payload;
	size_t used = 0;
	size_t n;

	if (!f->up.done) {
		if (in->len == 0 || (!skip && leg_congested(f->upstream)))
			return false;
		n = in->len < HTTP1_PIECE ? in->len : HTTP1_PIECE;
		if (http1_body_read(&f->up, buf_data(in), n, &used, &payload, &n) < 0) {
			http1_flow_refuse(f, NULL, EXCHANGE_MALFORMED,
				"the chunks of the request's body are malformed");
			return true;
		}
		if (!skip)
			pass_body(f, payload, n);
		buf_consume(in, used);
	}
	if (f->up.done)
		f->request = HTTP1_REQUEST_DONE;
	return true;
}

bool http1_request_step(struct http1_flow *f)
{
	switch (f->request) {
	case HTTP1_REQUEST_HEAD:
		return f->answer == HTTP1_ANSWER_NONE && read_head(f);
	case HTTP1_REQUEST_BODY:
	case HTTP1_REQUEST_SKIP:
		return read_body(f);
	case HTTP1_REQUEST_DONE:
		break;
	}
	return false;
}
