/* After a 101: WebSocket frames in both directions. */
#include <errno.h>

#include "gate/http/http1_flow_priv.h"

/* What one step of the scrubber may write. */
#define FRAMES_MAX ((size_t)2 * 1024 * 1024)

void http1_tunnel_start(struct http1_flow *f)
{
	f->phase = HTTP1_TUNNEL;
	f->frames_watch = (struct websocket_watch){0};
	if (f->x.params.scrub)
		websocket_scrub_init(&f->frames, f->x.params.scrub);
}

static bool up(struct http1_flow *f)
{
	struct buf *in = leg_in(f->client);
	size_t n = in->len < HTTP1_PIECE ? in->len : HTTP1_PIECE;

	if (n == 0 || leg_congested(f->upstream))
		return false;
	if (f->x.params.vault)
		http1_flow_stray(f,
			websocket_watch(&f->frames_watch, f->x.params.vault, buf_data(in), n),
			"websocket");
	http1_flow_send_up(f, buf_data(in), n);
	buf_consume(in, n);
	return true;
}

/* How many bytes were taken, or a negative errno. */
static ssize_t scrub_frame(struct http1_flow *f, struct buf *in)
{
	auto_buf struct buf out;
	size_t used = 0;
	int r;

	buf_init(&out, FRAMES_MAX);
	r = websocket_scrub_read(&f->frames, buf_data(in), in->len, &out, &used);
	http1_flow_scrubbed(f, websocket_scrub_found(&f->frames));
	if (r < 0)
		return r;
	http1_flow_send_down(f, buf_data(&out), out.len);
	return (ssize_t)used;
}

static bool down(struct http1_flow *f)
{
	struct buf *in = leg_in(f->upstream);
	ssize_t n = (ssize_t)(in->len < HTTP1_PIECE ? in->len : HTTP1_PIECE);

	if (n == 0 || leg_congested(f->client))
		return false;
	if (f->x.params.scrub)
		n = scrub_frame(f, in);
	else
		http1_flow_send_down(f, buf_data(in), (size_t)n);
	if (n < 0) {
		http1_flow_fail(
			f, EXCHANGE_BAD_ANSWER, "the host sent a malformed WebSocket frame");
		return true;
	}
	buf_consume(in, (size_t)n);
	return n > 0;
}

bool http1_tunnel_step(struct http1_flow *f)
{
	bool done = up(f);

	if (down(f))
		return true;
	/* What is left then is a frame that will never be whole. */
	if (f->upstream_closed && !leg_congested(f->client)) {
		if (f->upstream_err < 0)
			http1_flow_abort(f, f->upstream_err);
		else
			http1_flow_close(f, 0);
		return true;
	}
	return done;
}
