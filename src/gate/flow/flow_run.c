/*
 * From a connected host to the end. Without secrets TLS is passed on unopened; with them the host
 * comes first: only when its certificate has been verified and a protocol agreed does the program
 * get an answer to its ClientHello, with a certificate of the sandbox's CA and that protocol.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "gate/flow/flow_priv.h"
#include "gate/http/http1_flow.h"
#include "gate/http/http2_flow.h"
#include "wire/tls_flight.h"

#define HANDSHAKE_NS (15 * CLOCK_SEC)

void flow_stop(struct flow *f)
{
	if (f->exchange != NULL)
		f->exchange_free(take_ptr(f->exchange));
	relay_free(take_ptr(f->relay));
	leg_free(take_ptr(f->client_leg));
	leg_free(take_ptr(f->upstream_leg));
}

static void on_end(struct loop_defer *defer)
{
	flow_end(container_of(defer, struct flow, defer));
}

/* The flow may be in use by whoever calls. */
static void end_later(struct flow *f, const char *reason, const char *detail)
{
	f->reason = reason;
	snprintf(f->detail, sizeof(f->detail), "%s", detail);
	loop_defer(f->gate->loop, &f->defer, on_end);
}

static void report_secrets(struct flow *f, enum gate_event_kind kind, uint64_t set,
	const char *reason, const char *detail)
{
	char *names[VAULT_SECRETS_MAX];
	struct gate_event event = {
		.kind = kind,
		.protocol =
			(char *)(uintptr_t)(f->secrets != 0 ? "https" : traffic_name(f->traffic)),
		.host = f->host,
		.port = f->port,
		.rule = f->rule,
		.reason = (char *)(uintptr_t)reason,
		.detail = (char *)(uintptr_t)detail,
		.secrets.items = names,
	};

	for (unsigned i = 0; i < VAULT_SECRETS_MAX; i++) {
		if ((set >> i & 1) != 0)
			names[event.secrets.count++] =
				(char *)(uintptr_t)vault_name(f->gate->vault, i);
	}
	audit_event(&f->gate->audit, &event);
}

/* Each secret once for each connection: a program that does it in a loop shows in the first. */
static void report_stray(struct flow *f, uint64_t set, const char *where)
{
	uint64_t fresh = set & ~f->strayed;

	f->strayed |= set;
	if (fresh != 0)
		report_secrets(f, GATE_EVENT_STRAY, fresh, "placeholder", where);
}

/* --- bytes as they are ---------------------------------------------------------------------- */

static void on_relay_stray(struct relay *r, uint64_t secrets, void *data)
{
	(void)r;
	report_stray(data, secrets, "plain text");
}

/* A host that shows its certificate has to be the one that was asked for: else one that serves
 * several could be another. (From TLS 1.3 on it is not to be seen.) */
static int on_relay_inspect(struct relay *r, const uint8_t *data, size_t len, void *owner)
{
	struct flow *f = owner;
	uint8_t *der = NULL;
	size_t der_len = 0;
	int n = tls_flight_certificate(data, len, &der, &der_len);
	const uint8_t *p = der;

	(void)r;
	if (n != 1)
		return n;
	X509 *cert = d2i_X509(NULL, &p, (long)der_len);
	bool ok = cert != NULL && X509_check_host(cert, f->host, 0,
					  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
	X509_free(cert);
	free(der);
	ERR_clear_error();
	if (ok)
		return 0;
	f->reason = "certificate-mismatch";
	f->denied = true;
	snprintf(f->detail, sizeof(f->detail), "the host's certificate is not for %.100s", f->host);
	flow_report_denied(f, NULL, f->reason, f->detail);
	return -EACCES;
}

static void on_relay_done(struct relay *r, int err, void *data)
{
	struct flow *f = data;

	f->bytes_up = relay_bytes_up(r);
	f->bytes_down = relay_bytes_down(r);
	if (err == -EPROTO)
		flow_report_denied(f, traffic_name(TRAFFIC_HTTP1),
			exchange_refusal_code(EXCHANGE_MALFORMED),
			"an HTTP request that did not begin as one");
	if (err < 0 && f->reason == NULL)
		f->reason = err == -ETIMEDOUT ? "timeout" : "reset";
	flow_end(f);
}

static const struct relay_ops relay_ops = {
	.on_stray = on_relay_stray,
	.on_done = on_relay_done,
};

static const struct relay_ops named_tls_ops = {
	.inspect = on_relay_inspect,
	.on_stray = on_relay_stray,
	.on_done = on_relay_done,
};

static void run_relay(struct flow *f)
{
	bool tls = f->traffic == TRAFFIC_TLS;
	const struct vault *vault = tls ? NULL : f->gate->vault;

	f->state = FLOW_RUNNING;
	f->relay = relay_new(f->gate->loop, take_fd(f->client), take_fd(f->upstream),
		buf_data(&f->early), f->early.len, vault,
		tls && f->named ? &named_tls_ops : &relay_ops, f);
	buf_done(&f->early);
	if (f->named && f->traffic == TRAFFIC_OTHER)
		relay_guard(f->relay);
}

/* --- HTTP ----------------------------------------------------------------------------------- */

static struct flow *owner(struct exchange *x)
{
	return x->params.data;
}

static void on_request(struct exchange *x, const char *method, const char *path)
{
	(void)method;
	(void)path;
	owner(x)->requests++;
}

static void on_refused(struct exchange *x, enum exchange_refusal what, const char *detail)
{
	struct flow *f = owner(x);

	/* The host's fault, or the proxy's: told with the end of the connection. */
	if (what == EXCHANGE_BAD_ANSWER || what == EXCHANGE_PROXY) {
		f->reason = exchange_refusal_code(what);
		snprintf(f->detail, sizeof(f->detail), "%s", detail);
		return;
	}
	flow_report_denied(f, NULL, exchange_refusal_code(what), detail);
}

static void on_used(struct exchange *x, uint64_t secrets)
{
	owner(x)->used |= secrets;
}

static void on_stray(struct exchange *x, uint64_t secrets, const char *where)
{
	report_stray(owner(x), secrets, where);
}

static void on_scrubbed(struct exchange *x, uint64_t secrets)
{
	report_secrets(
		owner(x), GATE_EVENT_SCRUBBED, secrets, "scrubbed", "the host sent a secret back");
}

static void on_exchange_done(struct exchange *x, int err)
{
	struct flow *f = owner(x);

	f->bytes_up = x->bytes_up;
	f->bytes_down = x->bytes_down;
	if (err < 0 && f->reason == NULL)
		f->reason = err == -ETIMEDOUT ? "timeout" : "reset";
	flow_end(f);
}

static const struct exchange_ops exchange_ops = {
	.on_request = on_request,
	.on_refused = on_refused,
	.on_used = on_used,
	.on_stray = on_stray,
	.on_scrubbed = on_scrubbed,
	.on_done = on_exchange_done,
};

/* Both legs are open. What the host was told over TLS it may say without it, on any port. */
static void run_exchange(struct flow *f, bool tls, bool http2)
{
	struct gate *g = f->gate;
	uint64_t told = f->named ? vault_for_name(g->vault, f->host) : 0;
	struct exchange_params params = {
		.loop = g->loop,
		.host = f->host,
		.port = f->port,
		.tls = tls,
		.vault = g->vault,
		.secrets = f->secrets,
		.scrub = gate_scrub_set(g, told),
		.absolute_form = !tls && f->proxy != NULL,
		.proxy_authorization = !tls && f->proxy != NULL ? f->proxy->authorization : NULL,
		.ops = &exchange_ops,
		.data = f,
	};
	struct leg *client = take_ptr(f->client_leg);
	struct leg *upstream = take_ptr(f->upstream_leg);

	loop_timer_cancel(&f->timer);
	f->state = FLOW_RUNNING;
	f->exchange_free = http2 ? http2_flow_free : http1_flow_free;
	f->exchange = http2 ? http2_flow_new(&params, client, upstream)
			    : http1_flow_new(&params, client, upstream);
}

/* --- opening -------------------------------------------------------------------------------- */

static void on_time_limit(struct loop_timer *timer)
{
	struct flow *f = container_of(timer, struct flow, timer);

	f->reason = "timeout";
	if (f->client >= 0)
		flow_refuse(f, 502, "timeout", "the TLS handshake with the host took too long");
	else
		flow_end(f);
}

static void no_data(struct leg *l, void *data)
{
	(void)l;
	(void)data;
}

static void on_client_open(struct leg *l, void *data)
{
	struct flow *f = data;
	bool tls = f->traffic == TRAFFIC_TLS;

	(void)l;
	if (f->upstream_leg == NULL)
		return;
	run_exchange(f, tls,
		tls ? strcmp(leg_alpn(f->upstream_leg), "h2") == 0 : f->traffic == TRAFFIC_HTTP2);
}

static void on_client_close(struct leg *l, int err, void *data)
{
	struct flow *f = data;

	if (err == -EPROTO)
		end_later(f, "client-tls", leg_error_text(l));
	else
		end_later(f, "client-gone", "the program ended the connection");
}

static const struct leg_ops client_ops = {
	.on_open = on_client_open,
	.on_data = no_data,
	.on_close = on_client_close,
};

static bool open_client(struct flow *f, SSL *ssl)
{
	int r = leg_new(f->gate->loop, take_fd(f->client), buf_data(&f->early), f->early.len, ssl,
		&client_ops, f, &f->client_leg);

	buf_done(&f->early);
	if (r < 0)
		end_later(f, "internal", strerror(-r));
	return r == 0;
}

static void on_upstream_open(struct leg *l, void *data)
{
	struct flow *f = data;
	SSL *ssl = NULL;

	if (f->traffic == TRAFFIC_TLS) {
		ssl = authority_accept(f->gate->authority, f->host, leg_alpn(l));
		if (ssl == NULL) {
			end_later(f, "internal", "out of memory");
			return;
		}
	}
	leg_pause(l);
	(void)open_client(f, ssl);
}

static void on_upstream_close(struct leg *l, int err, void *data)
{
	struct flow *f = data;

	snprintf(f->detail, sizeof(f->detail), "%.60s %s: %.120s", f->host,
		err == -EPROTO ? "cannot be trusted or talked to" : "ended the connection",
		leg_error_text(l));
	leg_free(take_ptr(f->upstream_leg));
	if (f->client >= 0)
		flow_refuse(f, 502, err == -EPROTO ? "upstream-tls" : "reset", f->detail);
	else
		end_later(f, err == -EPROTO ? "upstream-tls" : "reset", "the host ended");
}

static const struct leg_ops upstream_ops = {
	.on_open = on_upstream_open,
	.on_data = no_data,
	.on_close = on_upstream_close,
};

/* What the program offers and we can read. */
static int offer_protocols(const struct flow *f, SSL *ssl)
{
	static const uint8_t both[] = "\x02h2\x08http/1.1";
	static const uint8_t one[] = "\x08http/1.1";
	const struct tls_hello *h = &f->hello;
	int r = 0;

	if (h->offers_h2 && h->offers_http1)
		r = SSL_set_alpn_protos(ssl, both, sizeof(both) - 1);
	else if (h->offers_h2)
		r = SSL_set_alpn_protos(ssl, both, 3);
	else if (h->offers_http1)
		r = SSL_set_alpn_protos(ssl, one, sizeof(one) - 1);
	return r == 0 ? 0 : -ENOMEM;
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct flow *f = SSL_get_app_data(ssl);
	uint64_t verified = SSL_session_reused(ssl) ? f->verified_ns : f->began_ns;

	/* A copy: the connection spoils its own when it ends without ceremony. */
	session = SSL_SESSION_dup(session);
	if (session != NULL)
		sessions_keep(f->gate->sessions, f->host, f->port, session, verified);
	return 0;
}

void flow_keep_sessions(SSL_CTX *ctx)
{
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
}

/* Goes on with a session of an earlier connection. The host may not want to: then the certificate
 * is looked at as ever. */
static void resume_session(struct flow *f, SSL *ssl)
{
	SSL_SESSION *session =
		sessions_find(f->gate->sessions, f->host, f->port, f->began_ns, &f->verified_ns);

	SSL_set_app_data(ssl, f);
	if (session != NULL && SSL_set_session(ssl, session) != 1)
		ERR_clear_error();
}

/* A client side that insists on a certificate for the name. */
static SSL *connect_side(struct flow *f)
{
	SSL *ssl = SSL_new(f->gate->setup.client_ctx);

	if (ssl != NULL && SSL_set_tlsext_host_name(ssl, f->host) == 1 &&
		SSL_set1_host(ssl, f->host) == 1 && offer_protocols(f, ssl) == 0) {
		SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
		SSL_set_connect_state(ssl);
		resume_session(f, ssl);
		return ssl;
	}
	ERR_clear_error();
	SSL_free(ssl);
	return NULL;
}

static void open_legs(struct flow *f)
{
	SSL *ssl = NULL;

	f->state = FLOW_OPENING;
	if (f->traffic == TRAFFIC_TLS) {
		ssl = connect_side(f);
		if (ssl == NULL) {
			flow_refuse(f, 502, "internal", "out of memory");
			return;
		}
	}
	int r = leg_new(f->gate->loop, take_fd(f->upstream), NULL, 0, ssl, &upstream_ops, f,
		&f->upstream_leg);
	if (r < 0) {
		flow_refuse(f, 502, "internal", strerror(-r));
		return;
	}
	loop_timer_set(f->gate->loop, &f->timer, HANDSHAKE_NS, on_time_limit);
}

void flow_run(struct flow *f)
{
	bool http = f->traffic == TRAFFIC_HTTP1 || f->traffic == TRAFFIC_HTTP2;

	loop_io_del(&f->client_io);
	loop_io_del(&f->upstream_io);
	/* A literal address has no name that requests could disagree with, and no secrets. */
	if ((f->traffic == TRAFFIC_TLS && f->secrets != 0) || (http && f->named))
		open_legs(f);
	else
		run_relay(f);
}
