/*
 * What the files of the HTTP/2 engine share: http2_flow.c has the two sides and their ends,
 * http2_session.c what nghttp2 reports, http2_stream.c one request with its answer and how it is
 * cut off, http2_request.c and http2_answer.c what goes up and down, http2_fields.c header lists.
 *
 * No call into a session is made from its own callbacks except those that only queue (submit,
 * consume, resume): what they lead to is sent by http2_flow.c when the callbacks are over.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "gate/http/exchange.h"
#include "gate/secrets/decode.h"
#include "gate/secrets/scrub.h"
#include "gate/secrets/vault.h"
#include "gate/tls/leg.h"
#include "loop/loop.h"

/* --- limits that a peer can push against ---------------------------------------------------- */

#define HTTP2_STREAMS_MAX 100
/* Streams that are over for the program may still wait for the host, so more than the above can
 * be held; a program that resets its streams faster than the host lets go of them is told to try
 * later. */
#define HTTP2_STREAMS_HELD_MAX 200
/* A header list, counted as RFC 9113 (10.5.1) has it: names, values and 32 for each field. */
#define HTTP2_FIELDS_MAX ((size_t)64 * 1024)
/* The same when values of secrets have been put in. */
#define HTTP2_FIELDS_SENT_MAX ((size_t)512 * 1024)
#define HTTP2_STREAM_WINDOW (256 * 1024)
#define HTTP2_WINDOW (1024 * 1024)
/* Received bytes of an answer are scrubbed ahead of the program this far. */
#define HTTP2_ANSWER_AHEAD ((size_t)64 * 1024)
#define HTTP2_CONTINUATIONS_MAX 8
#define HTTP2_ACKS_MAX 500
#define HTTP2_INTERIM_MAX 16
/* Frames other than DATA that wait for a peer which does not read. */
#define HTTP2_QUEUE_MAX 4096
/* Frames of a kind that a peer may send within HTTP2_FLOOD_NS. */
#define HTTP2_FLOOD_NS (10 * CLOCK_SEC)
#define HTTP2_RESETS_MAX 200
#define HTTP2_SETTINGS_MAX 100
#define HTTP2_PINGS_MAX 20000
#define HTTP2_EMPTY_MAX 1000

#define HTTP2_IDLE_NS (300 * CLOCK_SEC)
#define HTTP2_LINGER_NS (5 * CLOCK_SEC)

/* --- header lists --------------------------------------------------------------------------- */

struct http2_field {
	size_t at; /* of the name in text; the value follows */
	size_t name_len, value_len;
	uint8_t flags; /* NGHTTP2_NV_FLAG_NO_INDEX */
};

struct http2_fields {
	struct buf text;
	struct http2_field *items;
	size_t count, cap;
	size_t size; /* with 32 for each field */
	size_t max;
	bool overflow; /* one did not fit */
	bool invalid;  /* nghttp2 has left one out */
};

/* A piece of a field: not terminated. */
struct http2_text {
	uint8_t *data;
	size_t len;
};

void http2_fields_init(struct http2_fields *f, size_t max);
/* Both wipe: lists hold values of secrets. */
void http2_fields_clear(struct http2_fields *f);
void http2_fields_done(struct http2_fields *f);
/* Copies. 0, or -ENOBUFS, and overflow is set. */
int http2_fields_add(
	struct http2_fields *f, struct http2_text name, struct http2_text value, uint8_t flags);
int http2_fields_add_str(struct http2_fields *f, const char *name, const char *value);
struct http2_text http2_fields_name(const struct http2_fields *f, size_t i);
struct http2_text http2_fields_value(const struct http2_fields *f, size_t i);
/* As nghttp2 takes it, pointing into f; free(). */
nghttp2_nv *http2_fields_nva(const struct http2_fields *f);
bool http2_text_is(struct http2_text t, const char *text);
/* Whether it is the name of a pseudo header field: ":path". */
bool http2_text_pseudo(struct http2_text name);

/* --- the engine ----------------------------------------------------------------------------- */

enum http2_flood {
	HTTP2_FLOOD_RESET,
	HTTP2_FLOOD_SETTINGS,
	HTTP2_FLOOD_PING,
	HTTP2_FLOOD_EMPTY,
	HTTP2_FLOOD_COUNT
};

struct http2_flow;

struct http2_side {
	struct http2_flow *flow;
	struct leg *leg;            /* NULL: gone */
	nghttp2_session *session;   /* NULL: nothing more is said or heard */
	struct http2_fields fields; /* the header block that is coming in: one at a time */
	struct {
		uint64_t since;
		unsigned count;
	} floods[HTTP2_FLOOD_COUNT];
	bool failed; /* the session cannot go on */
	bool mute;   /* the leg takes nothing more; its on_close is due */
};

struct http2_flow {
	struct exchange x; /* first: the owner's view */
	struct http2_side client, upstream;
	struct list streams; /* struct http2_stream.node */
	size_t stream_count;
	struct list work; /* struct http2_stream.work: answers that may have room again */
	bool no_new;      /* the host takes no new streams */
	bool closing;     /* both sides are ending */
	bool terminated;  /* their sessions have been told so */
	bool done;
	int err;
	struct loop_timer timer; /* idle, or how long the ending may take */
	struct loop_defer defer; /* on_done */
};

/* Bytes on their way to one side, read by nghttp2 as it may send. */
struct http2_pipe {
	struct buf data;
	bool ended;                    /* nothing is added any more */
	struct http2_fields *trailers; /* to be sent after data, or NULL */
};

/* A request with its answer: a stream of either side. */
struct http2_stream {
	struct http2_flow *flow;
	struct list node, work;
	int32_t client_id, upstream_id; /* upstream: 0 until there is one */
	bool client_open, upstream_open;
	bool client_reset, upstream_reset; /* by the peer */
	/* What comes from one side is no longer for the other: the gate has answered, or has cut
	 * the stream off. */
	bool detached;

	struct http2_pipe up;
	bool head;
	bool sent; /* the host has seen the request */
	struct vault_watch watch;
	uint64_t stray; /* reported for the body */

	bool answered;  /* final headers are queued for the client */
	bool delivered; /* END_STREAM has been sent to the client */
	bool whole;     /* END_STREAM has come from the host */
	unsigned interims;
	struct buf raw;        /* received, neither decoded nor scrubbed; counts in the window */
	struct decode *decode; /* or NULL */
	struct scrub *scrub;
	uint64_t scrubbed; /* reported */
	struct http2_pipe down;
	/* The host has reset a stream whose answer was whole, or the gate has answered a request
	 * that goes on: to be passed on after the answer. */
	bool reset_later;
	uint32_t reset_code;
};

/* --- http2_session.c ------------------------------------------------------------------------ */

/* Makes the session and queues its settings. 0 or -ENOMEM. */
int http2_session_new(struct http2_side *side);

/* --- http2_flow.c --------------------------------------------------------------------------- */

/* The host takes no new streams: neither does the gate. */
void http2_flow_stop_new(struct http2_flow *f, uint32_t code);

/* --- http2_stream.c ------------------------------------------------------------------------- */

struct http2_stream *http2_stream_new(struct http2_flow *f, int32_t client_id);
void http2_stream_free(struct http2_stream *s);
/* The stream of a side is over. lost: the whole side is gone. They may free s. */
void http2_stream_client_closed(struct http2_stream *s, uint32_t code);
void http2_stream_upstream_closed(struct http2_stream *s, uint32_t code, bool lost);
/* Answers the request in place of the host, or cuts it off when its answer is on its way. */
void http2_stream_refuse(struct http2_stream *s, enum exchange_refusal what, const char *detail);
/* Resets it at both sides. */
void http2_stream_cut(struct http2_stream *s, uint32_t client_code, uint32_t upstream_code);
/* The answer's last frame has been sent to the client. */
void http2_stream_delivered(struct http2_stream *s);
/* For data source callbacks. */
ssize_t http2_pipe_read(struct http2_pipe *p, nghttp2_session *session, int32_t id, uint8_t *out,
	size_t max, uint32_t *flags);
/* A data provider that reads s->down. */
nghttp2_data_provider http2_stream_down_source(struct http2_stream *s);

/* --- http2_request.c ------------------------------------------------------------------------ */

void http2_request_head(struct http2_stream *s, const struct http2_fields *in, bool ends);
void http2_request_data(struct http2_stream *s, const uint8_t *data, size_t len);
void http2_request_trailers(struct http2_stream *s, const struct http2_fields *in);
void http2_request_end(struct http2_stream *s);

/* --- http2_answer.c ------------------------------------------------------------------------- */

void http2_answer_head(struct http2_stream *s, struct http2_fields *in, bool ends);
void http2_answer_data(struct http2_stream *s, const uint8_t *data, size_t len);
void http2_answer_trailers(struct http2_stream *s, struct http2_fields *in);
void http2_answer_end(struct http2_stream *s);
/* Decodes and scrubs as far as the client's side has room. */
void http2_answer_advance(struct http2_stream *s);
