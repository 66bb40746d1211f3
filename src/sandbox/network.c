/*
 * The network of a sandbox: opening its gate, telling it the rules and secrets, changing the rules,
 * and its end.
 *
 *   NONE -> OPENING -> CONFIGURING -> TRUSTING -> OPEN -> ENDED
 *      `-> AHEAD -> WAITING -^
 *
 * While sandboxes with network are being asked for, a spare gets a gate AHEAD, which is WAITING to
 * be told rules; a create then only has to tell them.
 *
 * ENDED is reached from each of them and left only by a change of the rules, which opens another
 * gate. In OPENING to TRUSTING either the create waits (the sandbox is CONFIGURING) or a change.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "rpc/pack.h"
#include "sandbox/sandbox_priv.h"

#define EGRESS_CODE "SANDBOX_NETWORK_ERROR"
#define RETRY_NS (20 * CLOCK_MS)
/* So long after a create with network the next one is expected. */
#define EXPECT_NS (60 * CLOCK_SEC)

static const struct egress_ops egress_ops;

static struct sandbox *of_egress(struct egress *e)
{
	return container_of(e, struct sandbox, network.egress);
}

void network_choose_rules(
	const struct sandboxes *all, const struct sandbox_options *o, struct rpc_strings *ret)
{
	char *everything[] = {(char *)"*"};
	struct rpc_strings standard = {everything, all->params.egress_allow ? 1 : 0};

	sandbox_strings_copy(ret, o->net_given ? &o->net : &standard);
}

/* --- the end ----------------------------------------------------------------------------- */

static void note_policy(struct sandbox *sb, int64_t closed)
{
	struct network *net = &sb->network;
	struct buf b;

	event_begin(&b);
	event_list(&b, "allowNet", &net->rules);
	if (!net->given)
		(void)buf_append_str(&b, ",\"default\":true");
	event_number(&b, "closed", closed);
	sandbox_event(sb, "policy", clock_real_ms(), event_finish(&b));
}

static void note_gate_ended(struct sandbox *sb, const char *why)
{
	struct buf b;

	event_begin(&b);
	event_text(&b, "detail", why);
	sandbox_event(sb, "gate-ended", clock_real_ms(), event_finish(&b));
	log_warn("sandbox %s: %s: it has no network any more", sb->record.id, why);
}

/* Answers who waits for a change. */
static void finish_change(struct sandbox *sb, const struct error *err, int64_t closed)
{
	struct network *net = &sb->network;
	struct sandbox_policy *policy = take_ptr(net->policy);

	if (!net->changing)
		return;
	net->changing = false;
	if (err == NULL) {
		sandbox_strings_done(&net->rules);
		net->rules = net->next;
		net->given = net->next_given;
		net->next = (struct rpc_strings){0};
		note_policy(sb, closed);
	}
	sandbox_strings_done(&net->next);
	if (policy == NULL)
		return;
	policy->sb = NULL;
	policy->fn(policy, err, closed);
}

/* There is no network (any more); whoever waits for it is told. */
static void fail(struct sandbox *sb, const char *why)
{
	struct network *net = &sb->network;
	struct error err = {0};

	loop_timer_cancel(&net->limit);
	loop_timer_cancel(&net->retry);
	egress_done(&net->egress);
	if (net->state == NETWORK_WAITING) { /* nobody's: the create will ask for another */
		net->state = NETWORK_NONE;
		return;
	}
	sandbox_call_drop(&net->trust);
	net->state = NETWORK_ENDED;
	sandbox_strings_done(&net->secrets);
	error_set(&err, -EIO, EGRESS_CODE, "the sandbox has no network: %s", why);
	if (sb->state == SANDBOX_CONFIGURING) {
		sandbox_start_failed(sb, &err);
		return;
	}
	note_gate_ended(sb, why);
	finish_change(sb, &err, 0);
}

static void on_end(struct egress *e, const char *why)
{
	fail(of_egress(e), why);
}

static void on_limit(struct loop_timer *timer)
{
	struct sandbox *sb = container_of(timer, struct sandbox, network.limit);

	fail(sb, "its gate was not ready in time");
}

/* --- opening ----------------------------------------------------------------------------- */

static void on_trusted(struct sandbox_call *call, bool failed, const uint8_t *data, size_t len)
{
	struct sandbox *sb = container_of(call, struct sandbox, network.trust);
	struct network *net = &sb->network;

	(void)data;
	(void)len;
	if (failed) {
		fail(sb, "the agent could not install the certificates");
		return;
	}
	loop_timer_cancel(&net->limit);
	net->state = NETWORK_OPEN;
	if (sb->state == SANDBOX_CONFIGURING)
		sandbox_part_ready(sb);
	else
		finish_change(sb, NULL, 0);
}

static void on_ready(struct egress *e, const struct gate_ready *ready)
{
	struct sandbox *sb = of_egress(e);
	struct rpc_trust params = {.ca_pem = ready->ca_pem, .ca_hash = ready->ca_hash};

	sb->network.state = NETWORK_TRUSTING;
	if (sandbox_call(sb, &sb->network.trust, rpc_method_by_id(RPC_TRUST), &params, on_trusted) <
		0)
		fail(sb, "the agent cannot be told about the certificates");
}

/* The ranges of a comma-separated list. */
static void split(const char *text, struct rpc_strings *ret)
{
	size_t count = 1;

	*ret = (struct rpc_strings){0};
	if (text == NULL || *text == '\0')
		return;
	for (const char *p = text; *p != '\0'; p++)
		count += *p == ',';
	ret->items = mem_zalloc_array(count, sizeof(*ret->items));
	while (ret->count < count) {
		size_t len = strcspn(text, ",");

		ret->items[ret->count++] = mem_strndup(text, len);
		text += len + (text[len] == ',');
	}
}

static char *none_if_empty(const char *text)
{
	return text != NULL && *text != '\0' ? (char *)(uintptr_t)text : NULL;
}

/* Hands the rules over, and the secrets of the create that waits for it (NULL: none). */
static int send_config(struct sandbox *sb, struct sandbox_options *o)
{
	const struct sandboxes_params *params = &sb->all->params;
	struct network *net = &sb->network;
	size_t n = o != NULL ? o->secret_count : 0;
	auto_free struct gate_secret *secrets = mem_zalloc_array(n, sizeof(*secrets));
	struct gate_config config = {
		.sandbox_id = sb->record.id,
		.rules = net->changing ? net->next : net->rules,
		.secrets = {secrets, n},
		.http_proxy = none_if_empty(params->http_proxy),
		.https_proxy = none_if_empty(params->https_proxy),
		.no_proxy = none_if_empty(params->no_proxy),
	};
	int r;

	for (size_t i = 0; i < n; i++) {
		const struct sandbox_secret *from = &o->secrets[i];

		secrets[i] = (struct gate_secret){
			.name = from->name,
			.placeholder = from->placeholder,
			.value = {(uint8_t *)from->value, strlen(from->value)},
			.hosts = from->hosts,
		};
	}
	split(params->egress_private, &config.opened);
	r = egress_configure(&net->egress, &config);
	sandbox_strings_done(&config.opened);
	return r;
}

static void on_gate(int fd, const struct error *err, void *data);

static void ask_again(struct loop_timer *timer)
{
	struct sandbox *sb = container_of(timer, struct sandbox, network.retry);

	sb->network.asked = true;
	machine_open_gate(sb->machine, on_gate, sb);
}

/* The gate is there: tells it what it has to know. */
static void configure_gate(struct sandbox *sb)
{
	struct network *net = &sb->network;
	struct sandbox_options *o = sb->create != NULL ? &sb->create->options : NULL;
	int r = send_config(sb, o);

	if (o != NULL)
		sandbox_options_forget_values(o);
	if (r < 0)
		fail(sb, r == -E2BIG ? "its rules and secrets are too large" : strerror(-r));
	else
		net->state = NETWORK_CONFIGURING;
}

static void on_trusted_ahead(
	struct sandbox_call *call, bool failed, const uint8_t *data, size_t len)
{
	(void)call;
	(void)failed; /* then it is done at the create */
	(void)data;
	(void)len;
}

/* A gate for nobody yet. Without it the create takes longer. */
static void keep_gate(struct sandbox *sb, int fd)
{
	struct network *net = &sb->network;
	const struct rpc_trust params = {.ahead = true};

	net->state = NETWORK_NONE;
	if (fd < 0 || egress_init(&net->egress, sb->all->params.loop, fd, &egress_ops) < 0)
		return;
	net->state = NETWORK_WAITING;
	(void)sandbox_call(sb, &net->trust, rpc_method_by_id(RPC_TRUST), &params, on_trusted_ahead);
}

static void on_gate(int fd, const struct error *err, void *data)
{
	struct sandbox *sb = data;
	struct network *net = &sb->network;
	int r;

	net->asked = false;
	if (net->state == NETWORK_AHEAD) {
		keep_gate(sb, fd);
		return;
	}
	if (net->state != NETWORK_OPENING) { /* it took too long, or is not wanted any more */
		fd_close(fd);
		return;
	}
	if (fd < 0) {
		/* Within the limit: there is no mother just now, or a gate that was let go is not
		 * gone yet. */
		if (err->err == -EAGAIN || err->err == -EBUSY)
			loop_timer_set(sb->all->params.loop, &net->retry, RETRY_NS, ask_again);
		else
			fail(sb, err->message);
		return;
	}
	r = egress_init(&net->egress, sb->all->params.loop, fd, &egress_ops);
	if (r < 0)
		fail(sb, strerror(-r));
	else
		configure_gate(sb);
}

void network_prepare(struct sandbox *sb)
{
	const struct sandboxes *all = sb->all;
	struct network *net = &sb->network;

	if (all->networked_at == 0 || loop_now(all->params.loop) - all->networked_at > EXPECT_NS)
		return;
	net->state = NETWORK_AHEAD;
	net->asked = true;
	machine_open_gate(sb->machine, on_gate, sb);
}

/* Goes on from whatever was done ahead. */
static void open_gate(struct sandbox *sb)
{
	struct network *net = &sb->network;
	enum network_state ahead = net->state;

	net->state = NETWORK_OPENING;
	loop_timer_set(sb->all->params.loop, &net->limit, EGRESS_ANSWER_NS, on_limit);
	/* The answer about the files may still be on its way; the next one comes behind it. */
	sandbox_call_drop(&net->trust);
	if (ahead == NETWORK_WAITING) {
		configure_gate(sb);
	} else if (ahead != NETWORK_AHEAD) {
		net->asked = true;
		machine_open_gate(sb->machine, on_gate, sb);
	}
}

/* What was done ahead is not needed. */
static void forgo_gate(struct sandbox *sb)
{
	struct network *net = &sb->network;

	egress_done(&net->egress);
	sandbox_call_drop(&net->trust);
	net->state = NETWORK_NONE;
}

bool network_begin(struct sandbox *sb)
{
	struct network *net = &sb->network;
	struct sandbox_options *o = &sb->create->options;

	net->given = o->net_given;
	network_choose_rules(sb->all, o, &net->rules);
	if (net->rules.count == 0) {
		sandbox_options_forget_values(o);
		forgo_gate(sb);
		return false;
	}
	sb->all->networked_at = loop_now(sb->all->params.loop);
	net->secrets.items = mem_zalloc_array(o->secret_count, sizeof(char *));
	for (; net->secrets.count < o->secret_count; net->secrets.count++)
		net->secrets.items[net->secrets.count] =
			mem_strdup(o->secrets[net->secrets.count].name);
	open_gate(sb);
	return true;
}

void network_end(struct sandbox *sb)
{
	struct network *net = &sb->network;
	struct error err = {0};

	if (net->state == NETWORK_OPEN)
		egress_drain(&net->egress);
	loop_timer_cancel(&net->limit);
	loop_timer_cancel(&net->retry);
	egress_done(&net->egress);
	net->state = NETWORK_ENDED;
	if (!net->changing)
		return;
	error_set(&err, -EINVAL, "SANDBOX_ALREADY_TERMINATED",
		"the sandbox was terminated before the change took effect");
	finish_change(sb, &err, 0);
}

void network_done(struct sandbox *sb)
{
	sandbox_strings_done(&sb->network.rules);
	sandbox_strings_done(&sb->network.secrets);
	free(take_ptr(sb->network.denials));
}

/* --- what the gate says ------------------------------------------------------------------- */

static void on_applied(struct egress *e, int64_t closed)
{
	finish_change(of_egress(e), NULL, closed);
}

static void on_event(struct egress *e, const struct gate_event *event)
{
	struct sandbox *sb = of_egress(e);

	if (sb->network.state == NETWORK_WAITING) /* it has nothing to report on */
		forgo_gate(sb);
	else
		network_event(sb, event);
}

static void on_dropped(struct egress *e, uint64_t count)
{
	if (of_egress(e)->network.state != NETWORK_WAITING)
		network_dropped(of_egress(e), count);
}

static const struct egress_ops egress_ops = {
	.on_ready = on_ready,
	.on_applied = on_applied,
	.on_event = on_event,
	.on_dropped = on_dropped,
	.on_end = on_end,
};

/* --- changing ---------------------------------------------------------------------------- */

void sandbox_get_network(const struct sandbox *sb, struct sandbox_network_info *ret)
{
	static const char *const names[] = {
		[NETWORK_NONE] = "none",
		[NETWORK_AHEAD] = "none",
		[NETWORK_WAITING] = "none",
		[NETWORK_OPENING] = "opening",
		[NETWORK_CONFIGURING] = "opening",
		[NETWORK_TRUSTING] = "opening",
		[NETWORK_OPEN] = "open",
		[NETWORK_ENDED] = "ended",
	};

	*ret = (struct sandbox_network_info){
		.given = sb->network.given,
		.rules = &sb->network.rules,
		.secrets = &sb->network.secrets,
		.gate = names[sb->network.state],
	};
}

int sandbox_set_rules(struct sandbox *sb, struct sandbox_policy *policy,
	const struct rpc_strings *rules,
	void (*fn)(struct sandbox_policy *policy, const struct error *err, int64_t closed),
	struct error *ret_err)
{
	struct network *net = &sb->network;
	struct sandbox_options wish = {.net_given = rules != NULL};
	struct gate_policy params;
	int r;

	if (net->changing || net->asked)
		return error_set(ret_err, -EBUSY, "NETWORK_BUSY",
			"another change of the sandbox's network is under way");
	if (rules != NULL)
		wish.net = *rules;
	network_choose_rules(sb->all, &wish, &net->next);
	net->next_given = wish.net_given;
	net->changing = true;
	if (net->state == NETWORK_OPEN) {
		params.rules = net->next;
		r = egress_set_rules(&net->egress, &params);
		if (r < 0) { /* it would go on with the old ones */
			fail(sb, "its gate did not take the new rules");
			return error_set(ret_err, -EIO, EGRESS_CODE,
				"the sandbox has no network: its gate did not take the new rules");
		}
	} else if (net->next.count == 0) {
		finish_change(sb, NULL, 0);
		return 1;
	} else {
		open_gate(sb);
	}
	net->policy = policy;
	policy->sb = sb;
	policy->fn = fn;
	return 0;
}

void sandbox_policy_drop(struct sandbox_policy *policy)
{
	if (policy->sb == NULL)
		return;
	policy->sb->network.policy = NULL;
	policy->sb = NULL;
}
