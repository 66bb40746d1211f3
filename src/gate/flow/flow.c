#include "gate/flow/flow.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "gate/flow/flow_priv.h"
#include "policy/refused.h"
#include "policy/resolvers.h"

/* SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST; the headers that name them clash with the C library. */
#define ORIGINAL_TARGET 80
#define EARLY_MAX (TLS_HELLO_MAX + 1024)
/* Refusals are to come within 100 ms: this long a program may take to show what it speaks. */
#define DENIED_WAIT_NS (90 * CLOCK_MS)
/* Without a byte for this long the host is left to speak first, when it had to wait for that. */
#define SILENT_NS (300 * CLOCK_MS)
/* On the ports of the web it is the program that speaks first, however long it takes. */
#define WEB_SILENT_NS (60 * CLOCK_SEC)
/* A request line, or a ClientHello, that stops in the middle. */
#define PARTIAL_NS (1000 * CLOCK_MS)
#define HELLO_NS (10 * CLOCK_SEC)
#define DNS_PORT 53
#define HTTP_PORT 80
#define SMTP_PORT 25
#define HTTPS_PORT 443

static void on_client(struct loop_io *io, uint32_t events);
static void on_patience(struct loop_timer *timer);

/* --- end ------------------------------------------------------------------------------------ */

static void release(struct flow *f)
{
	loop_io_del(&f->client_io);
	loop_io_del(&f->upstream_io);
	loop_timer_cancel(&f->timer);
	loop_defer_cancel(&f->defer);
	dial_cancel(take_ptr(f->dial));
	flow_stop(f);
	refuse_free(take_ptr(f->refuse));
	if (f->client >= 0)
		refuse_reset(take_fd(f->client));
	if (f->upstream >= 0)
		refuse_reset(take_fd(f->upstream));
	buf_done(&f->early);
}

static void free_flow(struct flow *f)
{
	release(f);
	list_del(&f->node);
	if (--f->gate->flow_count == 0)
		gate_rest(f->gate);
	free(f->rule);
	free(f);
}

void flows_free(struct gate *g)
{
	while (!list_empty(&g->flows))
		free_flow(list_first(&g->flows, struct flow, node));
}

struct flow *flow_next(struct gate *g, const struct flow *f)
{
	struct list *pos = f != NULL ? f->node.next : g->flows.next;

	return pos == &g->flows ? NULL : container_of(pos, struct flow, node);
}

static const char *protocol_of(const struct flow *f)
{
	return f->secrets != 0 && f->traffic == TRAFFIC_TLS ? "https" : traffic_name(f->traffic);
}

static size_t secret_names(const struct flow *f, uint64_t set, char **ret)
{
	size_t n = 0;

	for (unsigned i = 0; i < VAULT_SECRETS_MAX; i++) {
		if ((set >> i & 1) != 0)
			ret[n++] = (char *)(uintptr_t)vault_name(f->gate->vault, i);
	}
	return n;
}

void flow_end(struct flow *f)
{
	char address[ADDRESS_TEXT_SIZE];
	char *names[VAULT_SECRETS_MAX];
	struct gate_event event = {
		.kind = GATE_EVENT_FLOW,
		.time_ms = f->began_ms,
		.duration_ms = (int64_t)((clock_mono_ns() - f->began_ns) / CLOCK_MS),
		.protocol = (char *)(uintptr_t)protocol_of(f),
		.host = f->host,
		.port = f->port,
		.bytes_up = (int64_t)f->bytes_up,
		.bytes_down = (int64_t)f->bytes_down,
		.rule = f->rule,
		.reason = (char *)(uintptr_t)f->reason,
		.detail = f->detail[0] != '\0' ? f->detail : NULL,
		.requests = f->requests,
		.secrets = {names, secret_names(f, f->used, names)},
	};

	if (f->dialled) {
		address_format(&f->peer, address);
		event.address = address;
	}
	/* A refusal has been reported as such. */
	if (f->rule != NULL && !f->denied)
		audit_event(&f->gate->audit, &event);
	free_flow(f);
}

static void on_refused(struct refuse *r, void *data)
{
	(void)r;
	flow_end(data);
}

void flow_report_denied(
	struct flow *f, const char *protocol, const char *reason, const char *detail)
{
	struct gate_event event = {
		.kind = GATE_EVENT_DENIED,
		.protocol = (char *)(uintptr_t)(protocol != NULL ? protocol : protocol_of(f)),
		.host = f->host,
		.port = f->port,
		.rule = f->rule,
		.reason = (char *)(uintptr_t)reason,
		.detail = (char *)(uintptr_t)detail,
	};

	audit_event(&f->gate->audit, &event);
}

void flow_refuse(struct flow *f, int status, const char *reason, const char *detail)
{
	struct refuse_text text = {
		.status = status,
		.code = status == 403 ? "EGRESS_DENIED" : "EGRESS_FAILED",
		.reason = reason,
		.host = f->host,
		.port = f->port,
		.detail = f->detail,
		.alert = status == 403 ? TLS_ALERT_ACCESS_DENIED : TLS_ALERT_INTERNAL_ERROR,
	};

	if (detail != f->detail)
		snprintf(f->detail, sizeof(f->detail), "%s", detail);
	f->reason = reason;
	f->denied = status == 403;
	if (f->denied)
		flow_report_denied(f, NULL, reason, f->detail);
	loop_io_del(&f->client_io);
	loop_io_del(&f->upstream_io);
	loop_timer_cancel(&f->timer);
	dial_cancel(take_ptr(f->dial));
	f->state = FLOW_REFUSING;
	f->refuse = refuse_new(f->gate->loop, take_fd(f->client), f->traffic, &text, on_refused, f);
}

/* --- what it speaks ------------------------------------------------------------------------- */

static void refuse_denied(struct flow *f)
{
	flow_refuse(f, f->dial_failed ? 502 : 403, f->reason, f->detail);
}

/* The name in the ClientHello is the name that was connected to. */
static bool check_hello(struct flow *f)
{
	char name[HOST_NAME_SIZE] = "";

	if (!f->named)
		return true;
	if (f->hello.name[0] != '\0' &&
		(host_name_normalise(f->hello.name, strlen(f->hello.name), name) < 0 ||
			strcmp(name, f->host) != 0)) {
		snprintf(f->detail, sizeof(f->detail),
			"the TLS server name is \"%.100s\", but the connection is to %.100s",
			f->hello.name, f->host);
		flow_refuse(f, 403, "sni-mismatch", f->detail);
		return false;
	}
	f->secrets = vault_for_host(f->gate->vault, f->host, f->port);
	if (f->hello.has_ech && f->secrets == 0) {
		flow_refuse(f, 403, "ech",
			"Encrypted Client Hello would hide the host that is asked for: turn it off "
			"in the client");
		return false;
	}
	return true;
}

/* -EAGAIN: wait for more; 0: known; 1: the flow has taken another way. */
static int find_traffic(struct flow *f, bool waited)
{
	enum traffic t = classify(buf_data(&f->early), f->early.len, waited);

	if (t == TRAFFIC_UNKNOWN)
		return -EAGAIN;
	if (f->state == FLOW_DENIED) {
		f->traffic = t == TRAFFIC_HTTP2 ? TRAFFIC_OTHER : t;
		return 0;
	}
	if (t == TRAFFIC_TLS) {
		int r = tls_hello_parse(buf_data(&f->early), f->early.len, &f->hello);

		f->traffic = t;
		if (r == -EAGAIN && !f->client_eof)
			return r;
		if (r != 1) {
			flow_refuse(f, 403, "malformed", "the ClientHello is malformed");
			return 1;
		}
		return check_hello(f) ? 0 : 1;
	}
	/* On the port of plain HTTP nothing else may be passed on unread. */
	if (t == TRAFFIC_OTHER && f->named && f->port == HTTP_PORT)
		t = TRAFFIC_HTTP1;
	f->traffic = t;
	return 0;
}

static void dial(struct flow *f);

/* What the program speaks is known, and the host may be connected. */
static void proceed(struct flow *f)
{
	if (f->state == FLOW_DENIED) {
		refuse_denied(f);
		return;
	}
	loop_timer_cancel(&f->timer);
	loop_io_del(&f->client_io);
	if (f->upstream >= 0)
		flow_run(f);
	else if (f->dial == NULL)
		dial(f);
}

static void look(struct flow *f, bool waited)
{
	struct loop *loop = f->gate->loop;
	bool had = f->traffic != TRAFFIC_UNKNOWN;
	int r = find_traffic(f, waited);

	if (r == 0)
		proceed(f);
	if (r != -EAGAIN)
		return;
	if (f->state == FLOW_READING && f->early.len > 0 && !had)
		loop_timer_set(loop, &f->timer, f->traffic == TRAFFIC_TLS ? HELLO_NS : PARTIAL_NS,
			on_patience);
}

static bool is_web(const struct flow *f)
{
	return f->port == HTTP_PORT || f->port == HTTPS_PORT;
}

static void on_patience(struct loop_timer *timer)
{
	struct flow *f = container_of(timer, struct flow, timer);

	if (f->state == FLOW_DENIED) {
		(void)find_traffic(f, true);
		refuse_denied(f);
		return;
	}
	if (f->traffic == TRAFFIC_TLS) {
		flow_refuse(f, 403, "malformed", "the ClientHello did not arrive in time");
		return;
	}
	if (f->early.len > 0) {
		look(f, true);
		return;
	}
	if (f->dial != NULL || f->upstream >= 0)
		return;
	if (is_web(f)) {
		f->reason = "timeout";
		flow_end(f);
		return;
	}
	/* Silent: the host speaks first, so there is no proxy for it. */
	f->proxy = NULL;
	dial(f);
}

/* 1: bytes or the end; 0: nothing; or a negative errno. */
static int read_early(struct flow *f)
{
	size_t want = EARLY_MAX - f->early.len;
	uint8_t *room = want > 0 ? buf_reserve(&f->early, want < 4096 ? want : 4096, NULL) : NULL;
	ssize_t n;

	if (room == NULL)
		return -E2BIG;
	n = recv(f->client, room, want < 4096 ? want : 4096, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		f->client_eof = true;
	buf_commit(&f->early, (size_t)n);
	return 1;
}

static void on_client(struct loop_io *io, uint32_t events)
{
	struct flow *f = container_of(io, struct flow, client_io);
	int r = read_early(f);

	(void)events;
	if (r == 0)
		return;
	if (r < 0) {
		f->reason = "client-gone";
		flow_end(f);
		return;
	}
	if (!f->client_eof) {
		look(f, false);
		return;
	}
	/* The program has said all it has to say. */
	loop_io_del(&f->client_io);
	if (f->early.len > 0) {
		look(f, true);
	} else if (f->state == FLOW_READING) {
		f->traffic = TRAFFIC_OTHER;
		proceed(f);
	} else {
		flow_report_denied(f, NULL, f->reason, f->detail);
		flow_end(f);
	}
}

/* --- the host ------------------------------------------------------------------------------- */

/* The host speaks before the program has said a word. */
static void on_upstream(struct loop_io *io, uint32_t events)
{
	struct flow *f = container_of(io, struct flow, upstream_io);

	(void)events;
	loop_io_del(&f->upstream_io);
	if (f->early.len > 0 || (f->named && f->port == HTTP_PORT))
		return;
	f->traffic = TRAFFIC_OTHER;
	proceed(f);
}

static void on_dialled(struct dial *d, int fd, const struct address *address, const char *reason,
	const char *detail, void *data)
{
	struct flow *f = data;

	(void)d;
	f->dial = NULL;
	if (fd >= 0) {
		f->upstream = fd;
		f->peer = *address;
		f->dialled = true;
		if (f->traffic != TRAFFIC_UNKNOWN && !loop_timer_armed(&f->timer))
			flow_run(f);
		else if (loop_io_add(f->gate->loop, &f->upstream_io, fd, EPOLLIN, on_upstream) < 0)
			flow_end(f);
		return;
	}
	f->reason = reason;
	f->dial_failed = strcmp(reason, "refused-range") != 0;
	snprintf(f->detail, sizeof(f->detail), "%s", detail);
	if (f->traffic != TRAFFIC_UNKNOWN || f->early.len > 0 || f->client_eof) {
		refuse_denied(f);
		return;
	}
	/* Which words to use shows in a moment, or never. */
	f->state = FLOW_DENIED;
	loop_timer_set(f->gate->loop, &f->timer, DENIED_WAIT_NS, on_patience);
}

static void dial(struct flow *f)
{
	struct dial_params params = {
		.loop = f->gate->loop,
		.resolve = f->gate->resolve,
		.name = f->named ? f->host : NULL,
		.address = f->target,
		.port = f->port,
		.proxy = f->proxy,
		.tunnel = f->traffic == TRAFFIC_TLS,
		.opened = f->gate->opened,
		.opened_count = f->gate->opened_count,
	};

	if (f->named && f->traffic == TRAFFIC_TLS)
		params.proxy = f->proxy = proxies_for(&f->gate->proxies, f->host, true);
	else if (f->named && f->traffic == TRAFFIC_HTTP1)
		params.proxy = f->proxy = proxies_for(&f->gate->proxies, f->host, false);
	else
		params.proxy = f->proxy = NULL;
	f->dial = dial_start(&params, on_dialled, f);
}

/* --- the decision --------------------------------------------------------------------------- */

static const struct rule *match(const struct flow *f)
{
	return f->named ? rules_match_name(&f->gate->rules, f->host, f->port)
			: rules_match_address(&f->gate->rules, &f->target, f->port);
}

/* What is closed although a rule may allow it, as reason and detail; NULL: nothing of that kind. */
static const char *judge_closed(struct flow *f, const struct rule *rule)
{
	const struct gate *g = f->gate;
	const char *closed =
		f->named ? NULL : refused_address(&f->target, g->opened, g->opened_count);

	if (closed != NULL) {
		snprintf(f->detail, sizeof(f->detail), "%.60s is closed to every sandbox: %s",
			f->host, closed);
		return "refused-range";
	}
	if (f->port == SMTP_PORT) {
		snprintf(f->detail, sizeof(f->detail),
			"port 25 is closed to every sandbox; submit mail on port 465 or 587");
		return "refused-port";
	}
	if (rule != NULL && rule->kind == RULE_ALL && resolvers_port(f->port) &&
		(f->named ? resolvers_has_name(f->host) : resolvers_has_address(&f->target))) {
		snprintf(f->detail, sizeof(f->detail),
			"%.60s is a public resolver: only a rule that names it allows it", f->host);
		return "resolver-closed";
	}
	return NULL;
}

/* Why not, as reason and detail; NULL: allowed. */
static const char *judge(struct flow *f)
{
	const struct rule *rule = match(f);
	const char *closed = judge_closed(f, rule);

	if (closed != NULL)
		return closed;
	if (rule == NULL) {
		snprintf(f->detail, sizeof(f->detail),
			"no rule of this sandbox allows %.100s port %u; to allow it, add "
			"\"%.60s%s\" to allowNet",
			f->host, f->port, f->host, strlen(f->host) > 60 ? "..." : "");
		return "not-allowed";
	}
	f->rule = mem_strdup(rule->text);
	return NULL;
}

bool flow_recheck(struct flow *f)
{
	if (f->rule == NULL || f->state == FLOW_REFUSING || f->state == FLOW_ENDED ||
		match(f) != NULL)
		return false;
	f->reason = "policy-changed";
	f->denied = true;
	snprintf(f->detail, sizeof(f->detail), "the rules of this sandbox were changed");
	flow_report_denied(f, NULL, f->reason, f->detail);
	flow_end(f);
	return true;
}

static int original_target(int fd, struct address *ret, uint16_t *ret_port)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	len = sizeof(sa);
	if (sa.ss_family == AF_INET6) {
		if (getsockopt(fd, IPPROTO_IPV6, ORIGINAL_TARGET, &sa, &len) < 0)
			return -errno;
	} else if (getsockopt(fd, IPPROTO_IP, ORIGINAL_TARGET, &sa, &len) < 0) {
		return -errno;
	}
	return address_from_sockaddr((struct sockaddr *)&sa, ret, ret_port);
}

/* The gate's own sockets were connected to, not something behind them. */
static bool is_own_socket(int fd, const struct address *target, uint16_t port)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	struct address own;
	uint16_t own_port;

	return getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
	       address_from_sockaddr((struct sockaddr *)&sa, &own, &own_port) < 0 ||
	       (address_equal(&own, target) && own_port == port);
}

static int set_target(struct flow *f)
{
	const char *name;
	int r = original_target(f->client, &f->target, &f->port);

	if (r < 0)
		return r;
	if (is_own_socket(f->client, &f->target, f->port))
		return -EADDRNOTAVAIL;
	name = names_find(f->gate->names, &f->target);
	f->named = name != NULL;
	if (f->named)
		snprintf(f->host, sizeof(f->host), "%s", name);
	else
		address_format(&f->target, f->host);
	return 0;
}

static void start(struct flow *f)
{
	struct gate *g = f->gate;
	bool proxied = g->proxies.http != NULL || g->proxies.https != NULL;

	if (f->port == DNS_PORT) {
		flow_answer_dns(f);
		return;
	}
	f->reason = judge(f);
	f->state = f->reason != NULL ? FLOW_DENIED : FLOW_READING;
	if (loop_io_add(g->loop, &f->client_io, f->client, EPOLLIN, on_client) < 0) {
		free_flow(f);
		return;
	}
	if (f->state == FLOW_DENIED)
		loop_timer_set(g->loop, &f->timer, DENIED_WAIT_NS, on_patience);
	else if (f->named && proxied)
		loop_timer_set(
			g->loop, &f->timer, is_web(f) ? WEB_SILENT_NS : SILENT_NS, on_patience);
	else
		dial(f);
}

void flow_new(struct gate *g, int fd)
{
	static const int one = 1;
	struct flow *f = mem_new(struct flow);

	f->gate = g;
	f->client = fd;
	f->upstream = -EBADF;
	f->began_ms = clock_real_ms();
	f->began_ns = clock_mono_ns();
	buf_init(&f->early, EARLY_MAX);
	list_push_back(&g->flows, &f->node);
	g->flow_count++;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (set_target(f) < 0) {
		free_flow(f);
		return;
	}
	start(f);
}
