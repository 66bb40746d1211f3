#include "gate/flow/refuse.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "loop/stream.h"
#include "rpc/json.h"
#include "wire/http1.h"
#include "wire/tls_hello.h"

#define ANSWER_MAX ((size_t)8192)
#define LINGER_NS (2 * CLOCK_SEC)

struct refuse {
	struct stream stream;
	struct loop_defer defer;
	void (*fn)(struct refuse *r, void *data);
	void *data;
};

void refuse_reset(int fd)
{
	const struct linger now = {.l_onoff = 1};

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	fd_close(fd);
}

static int put_json(struct buf *b, const char *key, const char *text)
{
	int r = buf_printf(b, "\"%s\":", key);

	return r < 0 ? r : rpc_json_put_string(b, text, strlen(text));
}

static int put_body(struct buf *b, const struct refuse_text *t)
{
	int r = buf_append_str(b, "{");

	if (r == 0)
		r = put_json(b, "error", t->code);
	if (r == 0)
		r = buf_append_str(b, ",");
	if (r == 0)
		r = put_json(b, "code", t->reason);
	if (r == 0)
		r = buf_append_str(b, ",");
	if (r == 0)
		r = put_json(b, "host", t->host);
	if (r == 0)
		r = buf_printf(b, ",\"port\":%u,", t->port);
	if (r == 0)
		r = put_json(b, "message", t->detail);
	return r < 0 ? r : buf_append_str(b, "}\n");
}

static void put_answer(struct buf *out, const struct refuse_text *t)
{
	auto_buf struct buf body;

	buf_init(&body, ANSWER_MAX / 2);
	(void)put_body(&body, t);
	(void)http1_put_status(out, t->status);
	(void)http1_put_header(out, "content-type", "application/json");
	(void)buf_printf(out, "content-length: %zu\r\n", body.len);
	(void)http1_put_header(out, "x-warren-refused", t->reason);
	(void)http1_put_header(out, "connection", "close");
	(void)http1_put_end(out);
	(void)buf_append(out, buf_data(&body), body.len);
}

static void on_data(struct stream *s)
{
	buf_clear(&s->in);
}

static void on_close(struct stream *s, int err)
{
	struct refuse *r = container_of(s, struct refuse, stream);

	(void)err;
	r->fn(r, r->data);
}

static const struct stream_ops ops = {.on_data = on_data, .on_close = on_close};

static void on_reset(struct loop_defer *defer)
{
	struct refuse *r = container_of(defer, struct refuse, defer);

	r->fn(r, r->data);
}

struct refuse *refuse_new(struct loop *loop, int fd, enum traffic traffic,
	const struct refuse_text *text, void (*fn)(struct refuse *r, void *data), void *data)
{
	struct refuse *r = mem_new(struct refuse);
	auto_buf struct buf out = {0};
	uint8_t alert[TLS_ALERT_SIZE];
	bool http = traffic == TRAFFIC_HTTP1;

	r->fn = fn;
	r->data = data;
	if (!http && traffic != TRAFFIC_TLS) {
		refuse_reset(fd);
		loop_defer(loop, &r->defer, on_reset);
		return r;
	}
	if (stream_init(&r->stream, loop, fd, &ops, ANSWER_MAX, ANSWER_MAX, ANSWER_MAX) < 0) {
		loop_defer(loop, &r->defer, on_reset);
		return r;
	}
	buf_init(&out, ANSWER_MAX);
	if (http) {
		put_answer(&out, text);
	} else {
		tls_hello_alert(text->alert, alert);
		(void)buf_append(&out, alert, sizeof(alert));
	}
	(void)stream_write(&r->stream, buf_data(&out), out.len);
	stream_close_after_flush(&r->stream, LINGER_NS);
	return r;
}

void refuse_free(struct refuse *r)
{
	if (r == NULL)
		return;
	stream_done(&r->stream);
	loop_defer_cancel(&r->defer);
	free(r);
}
