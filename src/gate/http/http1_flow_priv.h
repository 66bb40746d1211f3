/*
 * An HTTP/1.1 exchange inside: http1_flow.c moves it, http1_request.c and http1_answer.c do what
 * each step says, http1_tunnel.c what follows a 101.
 */
#pragma once

#include "gate/http/http1_flow.h"
#include "gate/http/http1_websocket.h"
#include "gate/secrets/decode.h"
#include "wire/http1_answer.h"

/* A leg with TLS holds LEG_IN_MAX less one record at the least. */
#define HTTP1_REQUEST_HEAD_MAX ((size_t)64 * 1024)
#define HTTP1_ANSWER_HEAD_MAX ((size_t)96 * 1024)
/* Body bytes handled in one step. */
#define HTTP1_PIECE ((size_t)32 * 1024)
/* A head as it is written, secrets put in. */
#define HTTP1_HEAD_OUT_MAX ((size_t)256 * 1024)

enum http1_phase {
	HTTP1_EXCHANGING,
	HTTP1_TUNNEL,  /* WebSocket frames */
	HTTP1_CLOSING, /* what is queued is sent, then it is over */
	HTTP1_OVER,    /* on_done is due */
};

enum http1_request_state {
	HTTP1_REQUEST_HEAD,
	HTTP1_REQUEST_BODY,
	HTTP1_REQUEST_SKIP, /* the body of a refused request, dropped */
	HTTP1_REQUEST_DONE,
};

enum http1_answer_state {
	HTTP1_ANSWER_NONE, /* none is due */
	HTTP1_ANSWER_HEAD,
	HTTP1_ANSWER_BODY,
	HTTP1_ANSWER_DONE,
};

enum http1_timer { HTTP1_TIMER_OFF, HTTP1_TIMER_IDLE, HTTP1_TIMER_HEAD };

struct http1_flow {
	struct exchange x;
	struct leg *client, *upstream; /* NULL: gone */
	bool client_closed;            /* on_close has come */
	bool upstream_closed;
	bool client_paused, upstream_paused;
	int upstream_err; /* of on_close */
	int lost;         /* the client could not be written to */
	int err;          /* for on_done */

	enum http1_phase phase;
	enum http1_request_state request;
	enum http1_answer_state answer;
	enum http1_timer timing;
	struct loop_timer timer;
	struct loop_defer over;

	/* The request. */
	size_t request_seen; /* bytes of an incomplete head that were looked at */
	char method[40];
	bool old;     /* by HTTP/1.0 */
	bool keep;    /* the connection may go on after this exchange */
	bool upgrade; /* to WebSocket, asked for */
	struct http1_body_reader up;
	struct vault_watch watch; /* on its body */
	uint64_t stray;           /* reported */

	/* The answer. */
	size_t answer_seen;
	unsigned interims;
	bool begun;          /* its final head has been sent */
	enum http1_body out; /* framing towards the client */
	struct http1_body_reader down;
	struct scrub *scrub;   /* NULL: the body passes as it is */
	struct decode *decode; /* NULL: it is not encoded */
	struct buf encoded;    /* bytes of the body that are not decoded yet */
	bool decoding;         /* the decoder may hold more without input */
	uint64_t scrubbed;     /* reported */
	struct buf work;       /* decoded, or scrubbed */
	struct buf chunk;      /* a piece in chunked form */

	/* After a 101. */
	struct websocket_scrub frames;
	struct websocket_watch frames_watch;
};

/* --- http1_flow.c: writing and ending --------------------------------------------------------- */

/* Bytes to a side. A host that does not take them may still have answered; that a client does not
 * is noted in f->lost, and ends the flow when the step is over. */
void http1_flow_send_up(struct http1_flow *f, const void *data, size_t len);
void http1_flow_send_down(struct http1_flow *f, const void *data, size_t len);
/* Sends what is queued and ends. */
void http1_flow_close(struct http1_flow *f, int err);
/* Resets both sides. */
void http1_flow_abort(struct http1_flow *f, int err);
/* Answers the request itself. req NULL: it could not be read, and the connection ends. */
void http1_flow_refuse(struct http1_flow *f, const struct http1_request *req,
	enum exchange_refusal what, const char *detail);
/* The answer cannot be passed on: 502 as long as nothing of it was, else a reset. */
void http1_flow_fail(struct http1_flow *f, enum exchange_refusal what, const char *detail);
/* Reports secrets that were not reported yet for this request. */
void http1_flow_stray(struct http1_flow *f, uint64_t secrets, const char *where);
void http1_flow_scrubbed(struct http1_flow *f, uint64_t secrets);
/* Whether a header concerns only the connection it came over: by its name, or because Connection
 * names it. */
bool http1_flow_hop_header(struct http1_fields fields, struct http1_view name);
/* Whether an incomplete head of which *seen bytes were looked at must be looked at again: only when
 * another line has come, so that the work stays bounded however the bytes are cut. */
bool http1_flow_head_grew(const struct buf *in, size_t *seen, size_t max);

/* --- steps: whether something was done -------------------------------------------------------- */

bool http1_request_step(struct http1_flow *f);
bool http1_answer_step(struct http1_flow *f);
/* Makes the state of one answer as new. */
void http1_answer_clear(struct http1_flow *f);
void http1_tunnel_start(struct http1_flow *f);
bool http1_tunnel_step(struct http1_flow *f);
