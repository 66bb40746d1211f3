/* REST: the network of a running sandbox, to be seen and changed. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/json.h"
#include "server/net_options.h"
#include "server/rest.h"

#define ANSWER_MAX ((size_t)4 * 1024 * 1024)

static void put_list(struct buf *b, const char *key, const struct rpc_strings *list)
{
	(void)buf_printf(b, "\"%s\":[", key);
	for (size_t i = 0; i < list->count; i++) {
		if (i > 0)
			(void)buf_append_byte(b, ',');
		(void)rpc_json_put_string(b, list->items[i], strlen(list->items[i]));
	}
	(void)buf_append_byte(b, ']');
}

/* closed < 0: nothing was changed. */
static void answer_network(struct conn *conn, const struct sandbox *sb, int64_t closed)
{
	struct sandbox_network_info info;
	auto_buf struct buf b;

	buf_init(&b, ANSWER_MAX);
	sandbox_get_network(sb, &info);
	(void)buf_append_byte(&b, '{');
	put_list(&b, "allowNet", info.rules);
	(void)buf_printf(
		&b, ",\"default\":%s,\"gate\":\"%s\",", info.given ? "false" : "true", info.gate);
	put_list(&b, "secrets", info.secrets);
	if (closed >= 0)
		(void)buf_printf(&b, ",\"closed\":%lld", (long long)closed);
	(void)buf_append_byte(&b, '}');
	http_answer(conn, 200, (const char *)buf_data(&b), b.len);
}

void rest_network_get(struct conn *conn)
{
	struct sandbox *sb =
		sandbox_find(conn->server->params.sandboxes, conn->params[0], conn->token.org_id);

	if (sb != NULL)
		answer_network(conn, sb, -1);
	else
		rest_answer_no_sandbox(conn);
}

/* --- change ------------------------------------------------------------------------------ */

struct network_change {
	struct sandbox_policy policy;
	struct conn *conn;
	struct sandbox *sb;
};

static void on_changed(struct sandbox_policy *policy, const struct error *err, int64_t closed)
{
	struct network_change *change = container_of(policy, struct network_change, policy);
	struct conn *conn = change->conn;
	struct sandbox *sb = change->sb;

	free(change);
	conn->on_abandoned = NULL;
	if (err != NULL)
		http_answer_failure(conn, err);
	else
		answer_network(conn, sb, closed);
}

static void on_abandoned(struct conn *conn, void *data)
{
	struct network_change *change = data;

	(void)conn;
	sandbox_policy_drop(&change->policy);
	free(change);
}

/* {"allowNet": [rule, ...]} or {"allowNet": null}. *ret_given: a list was given. */
static int parse_body(
	struct conn *conn, struct rpc_strings *ret, bool *ret_given, struct error *err)
{
	struct json_object *root, *v = NULL;
	struct error why = {0};
	int r = 0;

	root = rpc_json_parse((const char *)buf_data(&conn->body), conn->body.len, &why);
	if (root == NULL)
		return error_set(err, -EINVAL, "MALFORMED_REQUEST", "the body is not JSON");
	if (!json_object_is_type(root, json_type_object) ||
		!json_object_object_get_ex(root, "allowNet", &v))
		r = error_set_field(err, -EINVAL, "MALFORMED_REQUEST", "allowNet",
			"allowNet: expected a list of strings, or null for the server's default");
	else if (v != NULL)
		r = net_rules_parse(v, "allowNet", ret, err);
	*ret_given = v != NULL;
	json_object_put(root);
	return r;
}

static void start_change(struct conn *conn, struct sandbox *sb, const struct rpc_strings *rules)
{
	struct network_change *change = mem_new(struct network_change);
	struct error err = {0};
	int r;

	change->conn = conn;
	change->sb = sb;
	r = sandbox_set_rules(sb, &change->policy, rules, on_changed, &err);
	if (r == 0) {
		conn->on_abandoned = on_abandoned;
		conn->handler_data = change;
		return;
	}
	free(change);
	if (r > 0)
		answer_network(conn, sb, 0);
	else
		http_answer_failure(conn, &err);
}

void rest_network_put(struct conn *conn)
{
	struct sandbox *sb =
		sandbox_find(conn->server->params.sandboxes, conn->params[0], conn->token.org_id);
	struct rpc_strings rules = {0};
	struct error err = {0};
	bool given = false;

	if (sb == NULL)
		rest_answer_no_sandbox(conn);
	else if (parse_body(conn, &rules, &given, &err) < 0)
		http_answer_failure(conn, &err);
	else
		start_change(conn, sb, given ? &rules : NULL);
	for (size_t i = 0; i < rules.count; i++)
		free(rules.items[i]);
	free(rules.items);
}
