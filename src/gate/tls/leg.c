/*
 * Without TLS a leg is its stream. With TLS the SSL object takes the stream's received bytes and
 * queues what it wants to send through a BIO that copies once; plain text is read from it into
 * `plain`. turn() does as much of that as there is room for, and is called whenever something may
 * have changed.
 *
 * Callbacks of the owner may free the leg: each goes through a call that tells, and after a false
 * from it the leg must not be touched.
 */
#include "gate/tls/leg.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "loop/stream.h"

#define RECORD_MAX 16384
/* Room for what TLS adds to a full queue. */
#define OUT_SLACK ((size_t)256 * 1024)
/* For what is queued, at a peer's pace, and for its end after ours. */
#define LINGER_NS (30 * CLOCK_SEC)

struct leg {
	struct stream stream;
	struct loop *loop;
	const struct leg_ops *ops;
	void *data;
	SSL *ssl;         /* NULL: no TLS */
	struct buf plain; /* TLS: received plain text */
	bool opened;
	bool paused;
	bool closing;  /* by the owner */
	bool ended;    /* on_close is due */
	bool notified; /* close_notify has come */
	bool reported;
	bool abort;
	int out_err;    /* of what the SSL object has sent, see sent() */
	int err;        /* why it ended */
	bool dead;      /* freed inside a callback */
	unsigned calls; /* callbacks on the stack */
	struct loop_defer defer;
	char text[160];
};

/* --- callbacks ------------------------------------------------------------------------------ */

/* False: the owner has freed the leg. It goes when the outermost call returns. */
static bool call(struct leg *l, void (*fn)(struct leg *l, void *data))
{
	if (fn == NULL)
		return true;
	l->calls++;
	fn(l, l->data);
	l->calls--;
	if (!l->dead)
		return true;
	if (l->calls == 0)
		free(l);
	return false;
}

static void on_deferred(struct loop_defer *defer);

static void later(struct leg *l)
{
	loop_defer(l->loop, &l->defer, on_deferred);
}

static void end(struct leg *l, int err)
{
	if (l->ended)
		return;
	l->ended = true;
	l->err = err;
	later(l);
}

/* --- TLS ------------------------------------------------------------------------------------ */

static void note_tls_error(struct leg *l)
{
	long verify = SSL_get_verify_result(l->ssl);
	unsigned long code = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(code);

	if (verify != X509_V_OK)
		reason = X509_verify_cert_error_string(verify);
	snprintf(l->text, sizeof(l->text), "%s", reason != NULL ? reason : "TLS failure");
	ERR_clear_error();
}

/* Bytes leave together at the end of the turn: the head and the body of an answer, or records, in
 * one system call and one wake-up of the peer. */
static int queue(struct leg *l, const void *data, size_t len)
{
	uint8_t *room = stream_reserve(&l->stream, len);

	if (room == NULL)
		return stream_write(&l->stream, data, len); /* says why not */
	memcpy(room, data, len);
	return stream_commit(&l->stream, len);
}

static int bio_read(BIO *bio, char *data, int len)
{
	struct leg *l = BIO_get_data(bio);
	struct buf *in = &l->stream.in;
	size_t n = in->len < (size_t)len ? in->len : (size_t)len;

	BIO_clear_retry_flags(bio);
	if (n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(data, buf_data(in), n);
	buf_consume(in, n);
	return (int)n;
}

/* The SSL object's state goes on as if all were sent: what became of it, sent() says. */
static int bio_write(BIO *bio, const char *data, int len)
{
	struct leg *l = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (l->out_err == 0)
		l->out_err = queue(l, data, (size_t)len);
	return len;
}

static long bio_ctrl(BIO *bio, int what, long number, void *data)
{
	(void)bio;
	(void)number;
	(void)data;
	return what == BIO_CTRL_FLUSH;
}

static BIO *bio_new(struct leg *l)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (method == NULL) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "leg");
		if (method == NULL)
			return NULL;
		(void)BIO_meth_set_read(method, bio_read);
		(void)BIO_meth_set_write(method, bio_write);
		(void)BIO_meth_set_ctrl(method, bio_ctrl);
	}
	bio = BIO_new(method);
	if (bio == NULL)
		return NULL;
	BIO_set_data(bio, l);
	BIO_set_init(bio, 1);
	return bio;
}

/* What became of the bytes that the SSL object has sent since the last time. */
static int sent(struct leg *l)
{
	int r = l->out_err;

	l->out_err = 0;
	return r;
}

enum progress { PROGRESS_MADE, PROGRESS_STARVED, PROGRESS_OVER };

static enum progress judge(struct leg *l, int result)
{
	switch (SSL_get_error(l->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return PROGRESS_STARVED;
	case SSL_ERROR_ZERO_RETURN:
		l->notified = true;
		end(l, 0);
		return PROGRESS_OVER;
	default:
		note_tls_error(l); /* its alert is queued */
		end(l, -EPROTO);
		return PROGRESS_OVER;
	}
}

/* One step of the handshake. *ret_gone: the owner has freed the leg. */
static enum progress shake(struct leg *l, bool *ret_gone)
{
	ERR_clear_error();
	int n = SSL_do_handshake(l->ssl);

	if (n != 1)
		return judge(l, n);
	l->opened = true;
	*ret_gone = !call(l, l->ops->on_open);
	return PROGRESS_MADE;
}

static enum progress read_plain(struct leg *l, bool *ret_gone)
{
	size_t n = 0;
	uint8_t *room = buf_reserve(&l->plain, RECORD_MAX, NULL);

	if (room == NULL)
		return PROGRESS_OVER; /* the owner has enough for now */
	ERR_clear_error();
	int ok = SSL_read_ex(l->ssl, room, RECORD_MAX, &n);
	if (ok != 1)
		return judge(l, ok);
	buf_commit(&l->plain, n);
	*ret_gone = !call(l, l->ops->on_data);
	return PROGRESS_MADE;
}

static bool wants_more(const struct leg *l)
{
	return !l->ended && !l->closing && (!l->opened || !l->paused);
}

/* Does what can be done. False: the leg is gone. */
static bool turn(struct leg *l)
{
	bool gone = false;

	while (wants_more(l)) {
		enum progress p = l->opened ? read_plain(l, &gone) : shake(l, &gone);

		if (gone)
			return false;
		if (sent(l) < 0 || p != PROGRESS_MADE)
			break;
	}
	if (l->plain.len == 0)
		buf_done(&l->plain);
	return true;
}

/* --- the stream's events -------------------------------------------------------------------- */

static void on_stream_data(struct stream *s)
{
	struct leg *l = container_of(s, struct leg, stream);

	if (l->closing || l->ended)
		buf_clear(&s->in);
	else if (l->ssl != NULL)
		(void)turn(l);
	else if (!l->opened)
		later(l);
	else if (!l->paused)
		(void)call(l, l->ops->on_data);
}

static void on_stream_drain(struct stream *s)
{
	struct leg *l = container_of(s, struct leg, stream);

	if (!l->ended)
		(void)call(l, l->ops->on_drain);
}

static void on_stream_close(struct stream *s, int err)
{
	struct leg *l = container_of(s, struct leg, stream);

	if (err == 0 && l->ssl != NULL && !l->closing && !l->notified) {
		if (!l->opened)
			snprintf(l->text, sizeof(l->text), "the peer ended during the handshake");
		err = l->opened ? -ECONNABORTED : -EPROTO;
	}
	end(l, err);
}

static const struct stream_ops stream_ops = {
	.on_data = on_stream_data,
	.on_drain = on_stream_drain,
	.on_close = on_stream_close,
};

/* From the loop: opens a leg without TLS, delivers what waits, reports the end. */
static void on_deferred(struct loop_defer *defer)
{
	struct leg *l = container_of(defer, struct leg, defer);

	if (l->ssl == NULL && !l->opened && !l->ended) {
		l->opened = true;
		if (!call(l, l->ops->on_open))
			return;
	}
	if (!l->paused && !l->closing && l->opened && leg_in(l)->len > 0 &&
		!call(l, l->ops->on_data))
		return;
	if (l->ssl != NULL && !turn(l))
		return;
	/* An end by close_notify waits for an owner that pauses, as one of the stream does. */
	if (!l->ended || l->reported || (l->paused && l->err == 0 && !l->closing))
		return;
	l->reported = true;
	l->ops->on_close(l, l->err, l->data);
}

/* --- life ----------------------------------------------------------------------------------- */

static int attach_bio(struct leg *l)
{
	BIO *bio = bio_new(l);

	if (bio == NULL)
		return -ENOMEM;
	SSL_set_bio(l->ssl, bio, bio);
	return 0;
}

int leg_new(struct loop *loop, int fd, const void *early, size_t early_len, SSL *ssl,
	const struct leg_ops *ops, void *data, struct leg **ret)
{
	struct leg *l = mem_new(struct leg);

	l->loop = loop;
	l->ops = ops;
	l->data = data;
	l->ssl = ssl;
	buf_init(&l->plain, LEG_IN_MAX);
	int r = stream_init(&l->stream, loop, fd, &stream_ops, LEG_IN_MAX, LEG_OUT_HIGH,
		LEG_OUT_MAX + OUT_SLACK);
	if (r == 0 && ssl != NULL)
		r = attach_bio(l);
	if (r == 0 && early_len > 0)
		r = buf_append(&l->stream.in, early, early_len);
	if (r < 0) {
		leg_free(l);
		return r;
	}
	later(l);
	*ret = l;
	return 0;
}

void leg_free(struct leg *l)
{
	if (l == NULL || l->dead)
		return;
	if (l->abort && l->stream.fd >= 0) {
		const struct linger now = {.l_onoff = 1};

		(void)setsockopt(l->stream.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	}
	stream_done(&l->stream);
	loop_defer_cancel(&l->defer);
	SSL_free(l->ssl);
	l->ssl = NULL;
	buf_done(&l->plain);
	l->dead = true;
	if (l->calls == 0)
		free(l);
}

void leg_set_owner(struct leg *l, const struct leg_ops *ops, void *data)
{
	l->ops = ops;
	l->data = data;
}

/* --- what owners do ------------------------------------------------------------------------- */

struct buf *leg_in(struct leg *l)
{
	return l->ssl != NULL ? &l->plain : &l->stream.in;
}

static int write_tls(struct leg *l, const uint8_t *data, size_t len)
{
	int r = 0;

	while (len > 0 && r == 0) {
		size_t n = len < RECORD_MAX ? len : RECORD_MAX;
		size_t done = 0;

		ERR_clear_error();
		if (SSL_write_ex(l->ssl, data, n, &done) != 1) {
			note_tls_error(l);
			end(l, -EPROTO);
			return -EPROTO;
		}
		data += done;
		len -= done;
		r = sent(l);
	}
	return r;
}

int leg_write(struct leg *l, const void *data, size_t len)
{
	if (l->ended && l->err < 0)
		return l->err;
	if (l->closing || l->stream.ended)
		return -EPIPE;
	if (len > LEG_OUT_MAX || l->stream.out.len > LEG_OUT_MAX - len)
		return -ENOBUFS;
	if (l->ssl != NULL)
		return write_tls(l, data, len);
	return len > 0 ? queue(l, data, len) : 0;
}

bool leg_congested(const struct leg *l)
{
	return stream_congested(&l->stream);
}

void leg_pause(struct leg *l)
{
	l->paused = true;
	if (l->opened)
		stream_pause(&l->stream);
}

void leg_resume(struct leg *l)
{
	l->paused = false;
	stream_resume(&l->stream);
	later(l);
}

void leg_close_after_flush(struct leg *l)
{
	if (l->closing || l->reported)
		return;
	if (l->ssl != NULL && l->opened && !l->ended) {
		ERR_clear_error();
		(void)SSL_shutdown(l->ssl);
	}
	l->closing = true;
	/* A stream that has ended already says so no more. */
	if (l->stream.ended)
		end(l, 0);
	else
		stream_close_after_flush(&l->stream, LINGER_NS);
}

void leg_set_abort(struct leg *l)
{
	l->abort = true;
}

const char *leg_error_text(const struct leg *l)
{
	if (l->text[0] != '\0')
		return l->text;
	return l->err < 0 ? strerror(-l->err) : "";
}

const char *leg_alpn(const struct leg *l)
{
	static const char *const known[] = {"h2", "http/1.1"};
	const uint8_t *name = NULL;
	unsigned len = 0;

	if (l->ssl != NULL)
		SSL_get0_alpn_selected(l->ssl, &name, &len);
	for (size_t i = 0; i < array_len(known); i++) {
		if (len == strlen(known[i]) && memcmp(name, known[i], len) == 0)
			return known[i];
	}
	return "";
}
