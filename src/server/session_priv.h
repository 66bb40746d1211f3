/*
 * What the parts of a session share.
 *
 * session.c           frames in and out, heartbeat, closing
 * session_dispatch.c  one text message to one call; the table of handlers; answers
 * session_process.c   spawn, processWait, processKill; when output may flow
 * session_file.c      whole-file reads and writes
 * session_fetch.c     fetch, by curl in the sandbox
 * session_input.c     streams from the client to the agent
 * session_output.c    streams from the agent to the client
 *
 * Life of a process's output (protocol.md 7.4: the Python client loses what comes before it has
 * sent processWait): the answer to spawn goes first; data is HELD, within the stream's window,
 * until the first processWait for that pid on this connection or, failing that, two seconds after
 * the client's last input for it; then `start`, the data and `end` FLOW.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"
#include "base/spool.h"
#include "base/table.h"
#include "rpc/json.h"
#include "rpc/methods.h"
#include "sandbox/sandbox.h"
#include "server/http.h"
#include "server/session.h"
#include "wire/channel.h"
#include "wire/websocket.h"

/* Python's library closes the connection on a larger message (protocol.md 5.1). */
#define SESSION_PYTHON_MESSAGE_MAX 1048576
/* The JavaScript client's limit. */
#define SESSION_MESSAGE_MAX (100 * 1024 * 1024)
#define SESSION_CALLS_MAX 4096
#define SESSION_STREAMS_MAX 4096
/* Bytes of files being collected for answers, all calls of the connection together. */
#define SESSION_COLLECT_MAX (192 * 1024 * 1024)

enum session_state {
	SESSION_OPEN,
	SESSION_CLOSING, /* our close frame is out, the peer's is awaited */
	SESSION_CLOSED,  /* both are: the connection closes when the queue is sent */
};

struct session {
	struct conn *conn;
	struct loop *loop;
	enum session_state state;
	char id[STORE_ID_SIZE]; /* of the sandbox */
	bool python;
	struct sandbox_client client; /* client.sb: NULL once the sandbox has ended */
	struct ws_reader reader;
	struct loop_timer close_timer;

	struct list calls; /* struct call */
	unsigned call_count;
	struct table aborts;  /* struct call by abort id */
	struct table inputs;  /* struct input by the client's stream id */
	struct table outputs; /* struct output by the id the client knows */
	struct table procs;   /* struct proc by pid */
	uint64_t spooled;     /* bytes of client streams waiting for the agent */
	bool braked;          /* the socket is not read until they are fewer */
	bool brake_off;       /* the agent took none of them: read on, until none are left */
	uint64_t brake_mark;  /* spooled when last looked */
	struct loop_timer brake;
	size_t collecting;
	struct list congested; /* outputs whose consumed bytes wait for the socket */
};

/* --- session.c ------------------------------------------------------------------------------- */

/* Sends a text frame. The connection is given up when its queue is full. */
void session_send(struct session *s, const void *text, size_t len);
static inline void session_send_buf(struct session *s, const struct buf *b)
{
	session_send(s, buf_data(b), b->len);
}
/* Starts the closing handshake; the connection is cut at the latest after a second. */
void session_close(struct session *s, uint16_t code, const char *reason);
static inline size_t session_message_max(const struct session *s)
{
	return s->python ? SESSION_PYTHON_MESSAGE_MAX : SESSION_MESSAGE_MAX;
}

/* --- session_dispatch.c ------------------------------------------------------------------ */

struct call;
typedef void (*call_fn)(struct call *call, bool failed, const uint8_t *data, size_t len);

/* One request of the client on its way. */
struct call {
	struct list node;
	struct session *s;
	const struct rpc_method *method;
	char *id; /* JSON text to echo */
	struct sandbox_call rpc;
	call_fn finish;                  /* the agent's answer */
	void (*done)(struct call *call); /* frees what the kind added; may be NULL */
	bool answered;                   /* the client has its answer (abort): only clean up */
	struct table_entry abort_entry;
	bool abortable;
	/* The client gives it up: its answer is given already, if it was open. May be NULL. */
	void (*on_abort)(struct call *call);

	/* processWait */
	int64_t pid;
	struct rpc_process_status status;
	struct sandbox_oom_query oom;
	struct loop_timer grace;
	struct list graced; /* in proc->graced: waits for the output's end */

	/* readFile, readTextFile */
	struct channel_stream content;
	struct buf collected;
	bool too_large;

	/* writeFile, writeTextFile: the stream the content comes from; spawn: stdin */
	struct input *input;

	/* spawn */
	struct output *out[2];

	/* fetch */
	struct fetch *fetch;
};

void session_message(struct session *s, uint8_t *text, size_t len, bool is_text);
/* Packs and sends to the agent. False: could not be sent; the call is answered and freed. */
bool call_send(struct call *call, const void *params, call_fn finish);
/* Answers, each once; the call stays until call_free(). */
void call_answer_ok(struct call *call, struct buf *json); /* whole answer text */
void call_answer_value(
	struct call *call, const struct rpc_schema *schema, const void *object, bool bare);
void call_answer_null(struct call *call);
void call_answer_failure(struct call *call, const struct rpc_failure *failure);
/* From a packed failure of the agent. */
void call_answer_packed_failure(struct call *call, const uint8_t *data, size_t len);
void call_answer_issue(struct call *call, const char *field, const char *expected, const char *code,
	const char *message);
void call_answer_error(struct call *call, int code, const char *message);
void call_answer_abort(struct call *call);
/* Makes the call cancellable by abort_id (-1: not). False (answered, freed) when in use. */
bool call_set_abort(struct call *call, int64_t abort_id);
/* Forgets the call; its request, if in flight, is dropped. */
void call_free(struct call *call);
/* For the official Python client, before its socket goes away: an answer to every open call. */
void calls_answer_end(struct session *s);
/* Frees every call; what the agent still does for them is given up. */
void calls_abandon(struct session *s);

typedef void (*call_handler)(struct call *call, void *params);

/* --- session_process.c ------------------------------------------------------------------- */

struct proc {
	struct table_entry by_pid;
	bool in_table;
	struct session *s;
	int64_t pid;
	uint64_t started_at;   /* monotonic ns */
	struct output *out[2]; /* NULL: none, ended or cancelled */
	struct input *input;   /* NULL: none or ended */
	bool released;
	struct loop_timer hold;
	struct list graced; /* struct call: processWait answers that wait for the output's end */
};

void handle_spawn(struct call *call, void *params);
void handle_process_wait(struct call *call, void *params);
void handle_process_kill(struct call *call, void *params);
/* An output of the process is over. */
void proc_output_over(struct proc *proc, struct output *out);
void proc_input_over(struct proc *proc, struct input *in);
void procs_free(struct session *s);

/* --- session_file.c ---------------------------------------------------------------------- */

void handle_read_file(struct call *call, void *params);
void handle_write_file(struct call *call, void *params);

/* --- session_fetch.c --------------------------------------------------------------------- */

void handle_fetch(struct call *call, void *params);

/* --- session_input.c --------------------------------------------------------------------- */

/* A stream from the client: bytes wait in a spool until the agent takes them. */
struct input {
	struct table_entry entry;
	bool in_table;
	struct session *s;
	int64_t id;
	struct spool spool;
	const uint8_t *fixed; /* content that came inside the request, instead of a spool */
	uint8_t *fixed_own;
	size_t fixed_left;
	bool ended;     /* the client has sent everything */
	bool failed;    /* the client's source failed: error has the text */
	bool cancelled; /* the agent wants no more: swallow what still comes */
	char *error;
	char *error_class; /* its constructorName, or NULL */
	bool bound;
	struct channel_stream cs;
	struct call *call; /* writeFile, fetch: fails with the source */
	struct proc *proc; /* stdin */
	/* Nothing more comes, or it has failed: pumps or releases it. NULL: pumped. */
	void (*on_end)(struct input *in);
};

void input_message(struct session *s, struct rpc_stream_message *m);
/* The client's stream by id, not yet used by a request; NULL otherwise. */
struct input *input_find_unbound(struct session *s, int64_t id);
/* Content of a request as a stream. Takes data (heap). */
struct input *input_from_bytes(struct session *s, uint8_t *data, size_t len);
/* Opens the channel stream; bytes flow when input_pump() is called. */
int input_bind(struct input *in, uint32_t channel_id);
void input_pump(struct input *in);
/* The request that took it is over: further bytes are swallowed. */
void input_release(struct input *in);
void inputs_free(struct session *s);

/* --- session_output.c -------------------------------------------------------------------- */

struct output;
/* For an owner that looks at what is held before it flows, and ends the client's stream itself. */
struct output_ops {
	void (*on_held)(struct output *out); /* more is held; may free out */
	void (*on_end)(struct output *out);  /* the agent has ended it; may free out */
	void (*on_gone)(struct output *out); /* it is being freed, not by its owner */
};

struct output {
	struct table_entry entry;
	bool in_table;
	struct session *s;
	int64_t id; /* what the client knows it by */
	struct channel_stream cs;
	struct proc *proc;
	const struct output_ops *ops; /* or NULL */
	struct call *call;            /* for ops */
	bool flowing;                 /* start has been sent */
	bool ended;                   /* the agent has ended it */
	struct buf held;
	uint32_t unconsumed; /* bytes passed on whose credit waits for the socket */
	struct list congested;
};

/* Opens a channel stream towards us. NULL when there are too many. */
struct output *output_new(struct session *s);
/* Sends start and what was held. */
void output_flow(struct output *out);
/* Drops the first bytes of what is held. */
void output_skip(struct output *out, size_t len);
/* Ends the client's stream, with an error when f is given (Python knows the end only), and frees.
 */
void output_finish(struct output *out, const struct rpc_failure *f);
/* The client wants no more of it: nothing may be sent for its id. */
void output_cancel(struct session *s, int64_t id);
/* Gives the stream up towards the agent and frees. */
void output_abandon(struct output *out);
/* The request failed: the agent never opened it. */
void output_forget(struct output *out);
/* The socket has room again: grant the credit that was held back. */
void outputs_resume(struct session *s);
/* Sends end for every stream the client may wait for (Python, before the socket goes). */
void outputs_send_end(struct session *s);
void outputs_free(struct session *s);
