/* What a gate reports, made into rows for the store and lines for the sandbox itself. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "rpc/json.h"
#include "rpc/pack.h"
#include "sandbox/sandbox_priv.h"

/* In the order of enum gate_event_kind. */
static const char *const types[GATE_EVENT_KIND_COUNT] = {
	[GATE_EVENT_FLOW] = "flow",
	[GATE_EVENT_DENIED] = "denied",
	[GATE_EVENT_STRAY] = "placeholder",
	[GATE_EVENT_SCRUBBED] = "scrubbed",
	[GATE_EVENT_DROPPED] = "dropped",
};

/* Clocks of a gate that lies must not decide what is forgotten first. */
static int64_t event_time(const struct sandbox *sb, const struct gate_event *event)
{
	int64_t now = clock_real_ms();

	return event->time_ms >= sb->record.created_ms && event->time_ms <= now ? event->time_ms
										: now;
}

static bool is_secret(const struct sandbox *sb, const char *name)
{
	const struct rpc_strings *known = &sb->network.secrets;

	for (size_t i = 0; i < known->count; i++)
		if (strcmp(known->items[i], name) == 0)
			return true;
	return false;
}

/* Only names that the sandbox's secrets have. */
static void put_secrets(struct buf *b, const struct sandbox *sb, const struct rpc_strings *names)
{
	char *items[GATE_SECRETS_MAX];
	struct rpc_strings good = {items, 0};

	for (size_t i = 0; i < names->count && good.count < GATE_SECRETS_MAX; i++)
		if (is_secret(sb, names->items[i]))
			items[good.count++] = names->items[i];
	if (good.count > 0)
		event_list(b, "secrets", &good);
}

static void put_if(struct buf *b, const char *key, int64_t value)
{
	if (value != 0)
		event_number(b, key, value);
}

static char *details(const struct sandbox *sb, const struct gate_event *event)
{
	struct buf b;

	event_begin(&b);
	event_text(&b, "protocol", event->protocol);
	event_text(&b, "host", event->host);
	put_if(&b, "port", event->port);
	event_text(&b, "address", event->address);
	event_text(&b, "rule", event->rule);
	event_text(&b, "reason", event->reason);
	event_text(&b, "detail", event->detail);
	if (event->kind == GATE_EVENT_FLOW) {
		event_number(&b, "bytesUp", event->bytes_up);
		event_number(&b, "bytesDown", event->bytes_down);
		event_number(&b, "durationMs", event->duration_ms);
	}
	put_if(&b, "requests", event->requests);
	put_if(&b, "count", event->count);
	put_secrets(&b, sb, &event->secrets);
	return event_finish(&b);
}

/* --- for the sandbox --------------------------------------------------------------------- */

static void put_hint(struct buf *b, const struct gate_event *event)
{
	auto_free char *text = NULL;
	bool literal = event->host != NULL && strchr(event->host, ':') != NULL;

	if (event->reason == NULL || event->host == NULL)
		return;
	if (strcmp(event->reason, "not-allowed") == 0)
		text = mem_printf("the owner of the sandbox can allow it: \"%s%s%s\" in allowNet",
			literal ? "[" : "", event->host, literal ? "]" : "");
	else if (strcmp(event->reason, "refused-range") == 0)
		text = mem_strdup("private addresses can only be opened by the server's operator "
				  "(egress-private)");
	event_text(b, "hint", text);
}

static char *denial_line(const struct sandbox *sb, const struct gate_event *event)
{
	char time[CLOCK_ISO_SIZE];
	struct buf b;

	clock_format_iso(event_time(sb, event), time);
	event_begin(&b);
	event_text(&b, "time", time);
	event_text(&b, "host", event->host);
	put_if(&b, "port", event->port);
	event_text(&b, "protocol", event->protocol);
	event_text(&b, "reason", event->reason);
	event_text(&b, "rule", event->rule);
	/* The sentence first to go, for a line has a limit. */
	if (event->detail != NULL && strlen(event->detail) <= RPC_DENIAL_MAX / 4)
		event_text(&b, "detail", event->detail);
	put_hint(&b, event);
	return event_finish(&b);
}

static void on_told(struct sandbox_call *call, bool failed, const uint8_t *data, size_t len)
{
	struct rpc_failure f = {0};

	(void)call;
	if (!failed || !log_enabled(LOG_LEVEL_DEBUG))
		return;
	/* No more than that: the file is a courtesy, and the sandbox may have filled its disk. */
	if (rpc_unpack(data, len, &rpc_failure_schema, &f) == 0)
		log_debug("a denial cannot be written in its sandbox: %s: %s",
			f.context != NULL ? f.context : "", strerror((int)f.err));
	rpc_clear(&rpc_failure_schema, &f);
}

/* A call that is not in flight, if this second has one left. */
static struct sandbox_call *find_call(struct sandbox *sb)
{
	struct network *net = &sb->network;
	uint64_t now = loop_now(sb->all->params.loop);

	if (net->denials == NULL)
		net->denials = mem_zalloc_array(DENIALS_PER_SECOND, sizeof(*net->denials));
	if (now - net->denials_since >= CLOCK_SEC) {
		net->denials_since = now;
		net->denial_count = 0;
	}
	if (net->denial_count >= DENIALS_PER_SECOND)
		return NULL;
	for (size_t i = 0; i < DENIALS_PER_SECOND; i++) {
		if (net->denials[i].sb != NULL)
			continue;
		net->denial_count++;
		return &net->denials[i];
	}
	return NULL;
}

static void tell_sandbox(struct sandbox *sb, const struct gate_event *event)
{
	struct sandbox_call *call = sb->state == SANDBOX_RUNNING ? find_call(sb) : NULL;
	auto_free char *line = NULL;
	struct rpc_denial params;

	if (call == NULL)
		return;
	line = denial_line(sb, event);
	params.line = line;
	if (strlen(line) <= RPC_DENIAL_MAX)
		(void)sandbox_call(sb, call, rpc_method_by_id(RPC_DENIAL), &params, on_told);
}

/* --- events ------------------------------------------------------------------------------ */

void network_event(struct sandbox *sb, const struct gate_event *event)
{
	sandbox_event(sb, types[event->kind], event_time(sb, event), details(sb, event));
	if (event->kind == GATE_EVENT_DENIED)
		tell_sandbox(sb, event);
}

void network_dropped(struct sandbox *sb, uint64_t count)
{
	struct buf b;

	event_begin(&b);
	event_number(&b, "count", count < INT64_MAX ? (int64_t)count : INT64_MAX);
	sandbox_event(sb, types[GATE_EVENT_DROPPED], clock_real_ms(), event_finish(&b));
}
