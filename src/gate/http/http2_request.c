/*
 * Requests on their way to the host. The header list is built anew from what was understood: the
 * authority is the connection's own, values of secrets are put in where they may stand, and with
 * secrets to scrub the host is asked for an answer that can be read. Bodies and trailers pass as
 * they are and are watched for placeholders.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "gate/http/http2_priv.h"

#define PATH_SHOWN_MAX 512
#define METHOD_SHOWN_MAX 32

struct request {
	struct http2_text method, scheme, authority, path;
};

/* What keeps a request from being sent. */
struct fault {
	enum exchange_refusal what;
	const char *detail;
};

/* --- checks --------------------------------------------------------------------------------- */

static bool names_host(const struct http2_stream *s, struct http2_text authority)
{
	return exchange_host_ok(&s->flow->x.params, (const char *)authority.data, authority.len);
}

/* Fills *ret from the pseudo header fields. False: :authority or a Host field names another host.
 */
static bool read_pseudo(
	const struct http2_stream *s, const struct http2_fields *in, struct request *ret)
{
	struct {
		const char *name;
		struct http2_text *to;
	} known[] = {
		{":method", &ret->method},
		{":scheme", &ret->scheme},
		{":authority", &ret->authority},
		{":path", &ret->path},
		{"host", &ret->authority},
	};
	bool ok = true;

	for (size_t i = 0; i < in->count; i++) {
		struct http2_text name = http2_fields_name(in, i);
		struct http2_text value = http2_fields_value(in, i);

		for (size_t k = 0; k < array_len(known); k++) {
			if (http2_text_is(name, known[k].name))
				*known[k].to = value;
		}
		if (http2_text_is(name, "host") || http2_text_is(name, ":authority"))
			ok = ok && names_host(s, value);
	}
	return ok;
}

static bool scheme_fits(struct http2_text scheme, bool tls)
{
	const char *want = tls ? "https" : "http";

	return scheme.len == strlen(want) &&
	       strncasecmp((const char *)scheme.data, want, scheme.len) == 0;
}

/* True: it may be sent. */
static bool check(const struct http2_stream *s, const struct http2_fields *in, struct request *r,
	struct fault *ret)
{
	const struct exchange_params *p = &s->flow->x.params;
	bool named = read_pseudo(s, in, r) && r->authority.len > 0;
	bool trace = http2_text_is(r->method, "TRACE") && (p->secrets != 0 || p->scrub != NULL);
	const struct {
		bool wrong;
		struct fault fault;
	} rules[] = {
		{in->overflow, {EXCHANGE_MALFORMED, "the header list is too long"}},
		{in->invalid, {EXCHANGE_MALFORMED, "a header field has bytes that none may have"}},
		{http2_text_is(r->method, "CONNECT"),
			{EXCHANGE_METHOD, "CONNECT is not passed on"}},
		{trace, {EXCHANGE_METHOD, "TRACE is not passed on to a host of secrets"}},
		{!named, {EXCHANGE_HOST_MISMATCH,
				 "the request's authority is not the host of this connection"}},
		{!scheme_fits(r->scheme, p->tls),
			{EXCHANGE_MALFORMED, "the request's scheme is not the connection's"}},
		{r->path.len == 0, {EXCHANGE_MALFORMED, "the request has no path"}},
	};

	for (size_t i = 0; i < array_len(rules); i++) {
		if (rules[i].wrong) {
			*ret = rules[i].fault;
			return false;
		}
	}
	return true;
}

/* --- the header list as it is sent ---------------------------------------------------------- */

static bool passes(const struct exchange_params *p, struct http2_text name, struct http2_text value)
{
	static const struct {
		const char *name;
		bool when_scrubbed; /* only then it is left out */
	} dropped[] = {
		{"host", false}, /* :authority says it */
		{"http2-settings", false},
		{"accept-encoding", true}, /* "identity" is put in its place */
		{"range", true},           /* a part may hold a part of a value */
		{"if-range", true},
	};

	if (http2_text_is(name, "te"))
		return http2_text_is(value, "trailers");
	for (size_t i = 0; i < array_len(dropped); i++) {
		if (http2_text_is(name, dropped[i].name))
			return dropped[i].when_scrubbed && p->scrub == NULL;
	}
	return true;
}

static void report_stray(
	struct exchange *x, uint64_t secrets, const char *kind, struct http2_text name)
{
	char where[64];

	if (secrets == 0)
		return;
	snprintf(where, sizeof(where), "%s%s%.*s", kind, name.len > 0 ? " " : "",
		(int)(name.len < sizeof(where) ? name.len : sizeof(where)),
		name.len > 0 ? (const char *)name.data : "");
	x->params.ops->on_stray(x, secrets, where);
}

/* One field with the values of secrets put in. 0, -ENOBUFS or -EINVAL. */
static int put_field(struct exchange *x, const struct http2_fields *in, size_t i,
	struct http2_fields *out, uint64_t *used)
{
	const struct exchange_params *p = &x->params;
	struct http2_text name = http2_fields_name(in, i);
	struct http2_text value = http2_fields_value(in, i);
	uint8_t flags = in->items[i].flags;
	struct vault_swap swap = {0};
	struct buf swapped;

	if (p->vault == NULL)
		return http2_fields_add(out, name, value, flags);
	buf_init(&swapped, HTTP2_FIELDS_SENT_MAX);
	/* Room for what mostly comes, because a block that is outgrown would not be wiped. */
	(void)buf_reserve(&swapped, value.len + 2 * VAULT_VALUE_MAX, NULL);
	int r = vault_substitute(p->vault, p->secrets, (const char *)name.data, name.len,
		(const char *)value.data, value.len, &swapped, &swap);
	/* A value must not enter the table of the compression: it could be guessed from lengths. */
	if (swap.used != 0)
		flags |= NGHTTP2_NV_FLAG_NO_INDEX;
	if (r == 0)
		r = http2_fields_add(
			out, name, (struct http2_text){buf_data(&swapped), swapped.len}, flags);
	if (swap.used != 0)
		mem_wipe(swapped.base, swapped.len);
	buf_done(&swapped);
	*used |= swap.used;
	report_stray(x, swap.stray, "header", name);
	return r;
}

static int build(struct http2_stream *s, const struct http2_fields *in, const struct request *r,
	struct http2_fields *out, uint64_t *used)
{
	struct exchange *x = &s->flow->x;
	auto_buf struct buf authority;
	int err;

	buf_init(&authority, RULE_TEXT_MAX);
	err = exchange_put_authority(&x->params, &authority);
	if (err < 0)
		return err;
	err = http2_fields_add(out, (struct http2_text){(uint8_t *)":method", 7}, r->method, 0);
	if (err == 0)
		err = http2_fields_add_str(out, ":scheme", x->params.tls ? "https" : "http");
	if (err == 0)
		err = http2_fields_add(out, (struct http2_text){(uint8_t *)":authority", 10},
			(struct http2_text){buf_data(&authority), authority.len}, 0);
	if (err == 0)
		err = http2_fields_add(out, (struct http2_text){(uint8_t *)":path", 5}, r->path, 0);
	for (size_t i = 0; i < in->count && err == 0; i++) {
		struct http2_text name = http2_fields_name(in, i);

		if (!http2_text_pseudo(name) && passes(&x->params, name, http2_fields_value(in, i)))
			err = put_field(x, in, i, out, used);
	}
	if (err == 0 && x->params.scrub != NULL)
		err = http2_fields_add_str(out, "accept-encoding", "identity");
	return err;
}

/* --- sending -------------------------------------------------------------------------------- */

static ssize_t read_up(nghttp2_session *session, int32_t id, uint8_t *out, size_t max,
	uint32_t *flags, nghttp2_data_source *source, void *data)
{
	struct http2_stream *s = source->ptr;
	struct http2_side *client = &s->flow->client;
	ssize_t n = http2_pipe_read(&s->up, session, id, out, max, flags);

	(void)data;
	/* Only now, as the host takes them: its pace is the program's. */
	if (n > 0 && client->session != NULL)
		(void)nghttp2_session_consume(client->session, s->client_id, (size_t)n);
	return n;
}

static void report(struct http2_stream *s, const struct request *r, uint64_t used)
{
	struct exchange *x = &s->flow->x;
	const uint8_t *query = memchr(r->path.data, '?', r->path.len);
	size_t len = query != NULL ? (size_t)(query - r->path.data) : r->path.len;
	char method[METHOD_SHOWN_MAX];
	char path[PATH_SHOWN_MAX];

	snprintf(method, sizeof(method), "%.*s",
		(int)(r->method.len < sizeof(method) ? r->method.len : sizeof(method)),
		(const char *)r->method.data);
	snprintf(path, sizeof(path), "%.*s", (int)(len < sizeof(path) ? len : sizeof(path)),
		(const char *)r->path.data);
	x->requests++;
	x->params.ops->on_request(x, method, path);
	if (used != 0)
		x->params.ops->on_used(x, used);
	if (x->params.vault != NULL) {
		struct vault_watch w = {0};

		report_stray(x, vault_watch(x->params.vault, &w, r->path.data, r->path.len),
			"target", (struct http2_text){0});
	}
}

/* Opens the stream to the host. */
static void submit(struct http2_stream *s, const struct http2_fields *fields,
	const struct request *r, uint64_t used)
{
	nghttp2_data_provider source = {.source.ptr = s, .read_callback = read_up};
	nghttp2_nv *nva = http2_fields_nva(fields);
	int32_t id = nghttp2_submit_request(s->flow->upstream.session, NULL, nva, fields->count,
		s->up.ended ? NULL : &source, s);

	free(nva);
	if (id < 0) { /* no stream ids are left: the program opens another connection */
		http2_flow_stop_new(s->flow, NGHTTP2_NO_ERROR);
		http2_stream_cut(s, NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL);
		return;
	}
	s->upstream_id = id;
	s->upstream_open = true;
	report(s, r, used);
}

void http2_request_head(struct http2_stream *s, const struct http2_fields *in, bool ends)
{
	struct http2_fields out;
	struct request r = {0};
	struct fault fault = {0};
	uint64_t used = 0;

	s->up.ended = ends;
	if (s->flow->no_new || s->flow->upstream.session == NULL) {
		http2_stream_cut(s, NGHTTP2_REFUSED_STREAM, NGHTTP2_CANCEL);
		return;
	}
	bool ok = check(s, in, &r, &fault);
	s->head = http2_text_is(r.method, "HEAD");
	if (!ok) {
		http2_stream_refuse(s, fault.what, fault.detail);
		return;
	}
	http2_fields_init(&out, HTTP2_FIELDS_SENT_MAX);
	int err = build(s, in, &r, &out, &used);
	if (err == 0)
		submit(s, &out, &r, used);
	else if (err == -EINVAL)
		http2_stream_refuse(
			s, EXCHANGE_SECRET, "the secret's value has bytes that no header may have");
	else
		http2_stream_refuse(s, EXCHANGE_MALFORMED,
			"the header list is too long with the values of secrets");
	http2_fields_done(&out);
}

static void resume(struct http2_stream *s)
{
	/* Fails unless the source was waiting, which is as good. */
	if (s->upstream_open && s->flow->upstream.session != NULL)
		(void)nghttp2_session_resume_data(s->flow->upstream.session, s->upstream_id);
}

static void watch(struct http2_stream *s, const uint8_t *data, size_t len, const char *where)
{
	struct exchange *x = &s->flow->x;

	if (x->params.vault == NULL)
		return;
	uint64_t stray = vault_watch(x->params.vault, &s->watch, data, len) & ~s->stray;
	s->stray |= stray;
	if (stray != 0)
		x->params.ops->on_stray(x, stray, where);
}

void http2_request_data(struct http2_stream *s, const uint8_t *data, size_t len)
{
	if (s->detached || !s->upstream_open) {
		(void)nghttp2_session_consume(s->flow->client.session, s->client_id, len);
		return;
	}
	watch(s, data, len, "body");
	if (buf_append(&s->up.data, data, len) < 0) { /* the window forbids it */
		(void)nghttp2_session_consume(s->flow->client.session, s->client_id, len);
		http2_stream_cut(s, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL);
		return;
	}
	resume(s);
}

void http2_request_trailers(struct http2_stream *s, const struct http2_fields *in)
{
	if (s->detached || !s->upstream_open)
		return;
	if (in->overflow || in->invalid) {
		http2_stream_refuse(s, EXCHANGE_MALFORMED, "the trailers are not valid");
		return;
	}
	s->up.trailers = mem_new(struct http2_fields);
	http2_fields_init(s->up.trailers, HTTP2_FIELDS_MAX);
	for (size_t i = 0; i < in->count; i++) {
		struct http2_text value = http2_fields_value(in, i);

		(void)http2_fields_add(
			s->up.trailers, http2_fields_name(in, i), value, in->items[i].flags);
		watch(s, value.data, value.len, "trailer");
	}
}

void http2_request_end(struct http2_stream *s)
{
	s->up.ended = true;
	resume(s);
}
