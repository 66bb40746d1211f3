#include "server/session.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "server/rest.h"
#include "server/session_priv.h"

#define CLOSE_LIMIT_NS (1 * CLOCK_SEC)

/* --- sending --------------------------------------------------------------------------------- */

void session_send(struct session *s, const void *text, size_t len)
{
	uint8_t header[WS_HEADER_MAX];
	struct iovec iov[2];

	if (s->state != SESSION_OPEN)
		return;
	iov[0] = (struct iovec){header, ws_put_header(header, WS_OP_TEXT, len)};
	iov[1] = (struct iovec){(void *)(uintptr_t)text, len};
	/* A lost connection is reported by the stream; a full queue means a client that asks for
	 * much and reads nothing. */
	if (stream_writev(&s->conn->stream, iov, 2) == -ENOBUFS)
		session_close(s, WS_CLOSE_POLICY, "the client does not read its answers");
}

static void send_control(struct session *s, enum ws_opcode opcode, const void *data, size_t len)
{
	uint8_t frame[WS_HEADER_MAX + 125];
	size_t n = ws_put_header(frame, opcode, len);

	memcpy(frame + n, data, len);
	(void)stream_write(&s->conn->stream, frame, n + len);
}

/* --- closing --------------------------------------------------------------------------------- */

static void on_close_limit(struct loop_timer *timer)
{
	struct session *s = container_of(timer, struct session, close_timer);

	conn_destroy(s->conn);
}

void session_close(struct session *s, uint16_t code, const char *reason)
{
	uint8_t frame[WS_HEADER_MAX + 125];

	if (s->state != SESSION_OPEN)
		return;
	(void)stream_write(&s->conn->stream, frame, ws_put_close(frame, code, reason));
	s->state = SESSION_CLOSING;
	loop_timer_set(s->loop, &s->close_timer, CLOSE_LIMIT_NS, on_close_limit);
}

/* Nothing of this connection is wanted any more: neither by its client nor from the agent. */
static void abandon(struct session *s)
{
	calls_abandon(s);
	outputs_free(s);
	inputs_free(s);
	procs_free(s);
}

/* The peer's close frame: echo its code, and the connection is over when that is sent. */
static void on_peer_close(struct session *s, const struct ws_event *ev)
{
	if (s->state == SESSION_OPEN) {
		session_close(s, ev->code == WS_CLOSE_NO_STATUS ? 0 : ev->code, "");
		/* A session sandbox ends here, not when the TCP connection is finally gone. */
		abandon(s);
		sandbox_detach(&s->client);
	}
	s->state = SESSION_CLOSED;
	stream_close_after_flush(&s->conn->stream, CLOSE_LIMIT_NS);
}

static void on_sandbox_end(
	struct sandbox_client *client, enum store_end_reason reason, const char *detail)
{
	static const struct {
		uint16_t code;
		const char *text;
	} closes[STORE_END_COUNT] = {
		[STORE_END_NONE] = {WS_CLOSE_NORMAL, "sandbox ended"},
		[STORE_END_CLIENT_CLOSED] = {WS_CLOSE_NORMAL,
			"sandbox ended: its creator disconnected"},
		[STORE_END_TIMEOUT] = {WS_CLOSE_NORMAL, "sandbox ended: timeout"},
		[STORE_END_KILLED] = {WS_CLOSE_NORMAL, "sandbox ended: killed"},
		[STORE_END_OOM] = {WS_CLOSE_INTERNAL, "sandbox ended: out of memory"},
		[STORE_END_CRASHED] = {WS_CLOSE_INTERNAL, "sandbox ended: crashed"},
		[STORE_END_START_FAILED] = {WS_CLOSE_INTERNAL, "sandbox did not start"},
		[STORE_END_HOST_RESTART] = {WS_CLOSE_GOING_AWAY, "sandbox ended: server shutdown"},
		[STORE_END_EVICTED] = {WS_CLOSE_GOING_AWAY, "sandbox ended: evicted"},
	};
	struct session *s = container_of(client, struct session, client);

	(void)detail;
	if (s->python && s->state == SESSION_OPEN) {
		outputs_send_end(s);
		calls_answer_end(s);
	}
	abandon(s);
	session_close(s, closes[reason].code, closes[reason].text);
}

/* --- life ------------------------------------------------------------------------------------ */

void session_start(struct conn *conn, struct sandbox *sb, bool primary, bool python)
{
	struct session *s = mem_new(struct session);

	s->conn = conn;
	s->loop = conn->server->params.loop;
	s->python = python;
	memcpy(s->id, sandbox_id(sb), sizeof(s->id));
	ws_reader_init(&s->reader, (size_t)conn->server->params.config->max_message);
	list_init(&s->calls);
	list_init(&s->congested);
	table_init(&s->aborts);
	table_init(&s->inputs);
	table_init(&s->outputs);
	table_init(&s->procs);
	s->client.on_end = on_sandbox_end;
	sandbox_attach(sb, &s->client, primary);
	http_answer_upgrade(conn, s->id, s);
}

void session_free(struct session *s)
{
	struct server *server = s->conn->server;
	char id[STORE_ID_SIZE];

	memcpy(id, s->id, sizeof(id));
	s->state = SESSION_CLOSED;
	abandon(s);
	sandbox_detach(&s->client);
	loop_timer_cancel(&s->close_timer);
	loop_timer_cancel(&s->brake);
	ws_reader_done(&s->reader);
	table_done(&s->aborts);
	table_done(&s->inputs);
	table_done(&s->outputs);
	table_done(&s->procs);
	free(s);
	rest_session_gone(server, id);
}

const char *session_sandbox_id(const struct session *s)
{
	return s->id;
}

void session_on_drain(struct session *s)
{
	outputs_resume(s);
}

/* --- receiving --------------------------------------------------------------------------- */

static void on_message(struct session *s, struct ws_event *ev)
{
	if (s->state != SESSION_OPEN || s->client.sb == NULL)
		return;
	if (ev->len == 4 && memcmp(ev->data, "ping", 4) == 0) {
		session_send(s, "pong", 4);
		return;
	}
	session_message(s, ev->data, ev->len, ev->text);
}

/* Returns false when nothing more may be read from this connection. */
static bool on_event(struct session *s, struct ws_event *ev)
{
	switch (ev->type) {
	case WS_EVENT_MESSAGE:
		on_message(s, ev);
		return true;
	case WS_EVENT_PING:
		if (s->state == SESSION_OPEN)
			send_control(s, WS_OP_PONG, ev->data, ev->len);
		return true;
	case WS_EVENT_PONG:
		return true;
	case WS_EVENT_CLOSE:
		on_peer_close(s, ev);
		return false;
	case WS_EVENT_ERROR:
		session_close(s, ev->code, ev->reason);
		s->state = SESSION_CLOSED;
		stream_close_after_flush(&s->conn->stream, CLOSE_LIMIT_NS);
		return false;
	case WS_EVENT_NONE:
		break;
	}
	return false;
}

void session_on_data(struct session *s)
{
	struct conn *conn = s->conn;
	struct buf *in = &conn->stream.in;

	while (s->state != SESSION_CLOSED && in->len > 0) {
		size_t used = 0, need = 0;
		struct ws_event ev = ws_read(&s->reader, buf_data(in), in->len, &used, &need);
		bool more = on_event(s, &ev);

		if (conn->session != s) /* the session was freed meanwhile */
			return;
		/* Fragments may have been put aside although there is no event yet. */
		if (more || ev.type == WS_EVENT_NONE)
			buf_consume(in, used);
		if (!more) {
			if (need > in->len) /* one allocation for a large message */
				(void)buf_reserve(in, need - in->len, NULL);
			break;
		}
	}
	if (s->state == SESSION_CLOSED)
		buf_clear(in);
}
