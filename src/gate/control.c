/* What the daemon says: the configuration, once, and other rules while the gate runs. */
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/flow/flow.h"
#include "gate/gate.h"
#include "rpc/pack.h"

static int set_rules(struct gate *g, const struct rpc_strings *texts, struct error *err)
{
	struct rules rules = {0};
	int r = rules_parse((const char *const *)texts->items, texts->count, "rules", &rules, err);

	if (r < 0)
		return r;
	rules_done(&g->rules);
	g->rules = rules;
	return 0;
}

static int set_opened(struct gate *g, const struct rpc_strings *texts)
{
	g->opened = mem_zalloc_array(texts->count, sizeof(*g->opened));
	for (size_t i = 0; i < texts->count; i++) {
		int r = address_range_parse(
			texts->items[i], strlen(texts->items[i]), &g->opened[i]);

		if (r < 0)
			return r;
		g->opened_count++;
	}
	return 0;
}

static int set_secrets(struct gate *g, const struct gate_config *c, struct error *err)
{
	const struct gate_secret *secrets = c->secrets.items;
	size_t hosts = 0;
	int r = 0;

	for (size_t i = 0; i < c->secrets.count && r == 0; i++) {
		const struct gate_secret *s = &secrets[i];

		hosts += s->hosts.count;
		r = vault_add(g->vault, s->name, s->placeholder, s->value.data, s->value.len,
			(const char *const *)s->hosts.items, s->hosts.count, err);
	}
	if (r < 0 || c->secrets.count == 0)
		return r;
	auto_free const char **all = mem_zalloc_array(hosts, sizeof(*all));
	size_t n = 0;
	for (size_t i = 0; i < c->secrets.count; i++) {
		for (size_t k = 0; k < secrets[i].hosts.count; k++)
			all[n++] = secrets[i].hosts.items[k];
	}
	g->authority = authority_new(c->sandbox_id, all, n, err);
	return g->authority != NULL ? 0 : -EIO;
}

static int apply_config(struct gate *g, const struct gate_config *c, struct error *err)
{
	int r = set_rules(g, &c->rules, err);

	if (r == 0)
		r = set_opened(g, &c->opened);
	if (r == 0)
		r = proxies_parse(&g->proxies, c->http_proxy, c->https_proxy, c->no_proxy, err);
	return r < 0 ? r : set_secrets(g, c, err);
}

static void wipe_config(struct gate_config *c)
{
	struct gate_secret *secrets = c->secrets.items;

	for (size_t i = 0; i < c->secrets.count; i++)
		mem_wipe(secrets[i].value.data, secrets[i].value.len);
	rpc_clear(&gate_config_schema, c);
}

static int take_config(struct gate *g, const uint8_t *data, size_t len)
{
	struct gate_config c = {0};
	struct gate_ready ready = {0};
	struct error err = {0};
	int r = g->configured ? -EPROTO : rpc_unpack(data, len, &gate_config_schema, &c);

	if (r == 0)
		r = apply_config(g, &c, &err);
	wipe_config(&c);
	if (r < 0) {
		log_error("bad configuration: %s", err.message);
		return r;
	}
	g->configured = true;
	if (g->authority != NULL) {
		ready.ca_pem = (char *)(uintptr_t)authority_pem(g->authority);
		ready.ca_hash = (char *)(uintptr_t)authority_hash(g->authority);
	}
	return audit_send(g->setup.control, GATE_READY, &gate_ready_schema, &ready);
}

static int take_policy(struct gate *g, const uint8_t *data, size_t len)
{
	struct gate_policy p = {0};
	struct gate_applied applied = {0};
	struct error err = {0};
	int r = g->configured ? rpc_unpack(data, len, &gate_policy_schema, &p) : -EPROTO;

	if (r == 0)
		r = set_rules(g, &p.rules, &err);
	rpc_clear(&gate_policy_schema, &p);
	if (r < 0) {
		log_error("bad rules: %s", err.message);
		return r;
	}
	for (struct flow *f = flow_next(g, NULL), *next; f != NULL; f = next) {
		next = flow_next(g, f);
		if (flow_recheck(f))
			applied.closed++;
	}
	return audit_send(g->setup.control, GATE_APPLIED, &gate_applied_schema, &applied);
}

int control_read(struct gate *g)
{
	auto_free uint8_t *data = mem_zalloc(GATE_MESSAGE_MAX);
	ssize_t n = fd_recv_msg(g->setup.control, data, GATE_MESSAGE_MAX, NULL, NULL);
	int r;

	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return -ENOTCONN;
	switch (data[0]) {
	case GATE_CONFIG:
		r = take_config(g, data + 1, (size_t)n - 1);
		break;
	case GATE_POLICY:
		r = take_policy(g, data + 1, (size_t)n - 1);
		break;
	default:
		r = -EPROTO;
	}
	mem_wipe(data, (size_t)n);
	return r;
}
