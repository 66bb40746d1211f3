#include "server/net_options.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "policy/rules.h"
#include "rpc/json.h"

#define SECRET_NAME_MAX 256
#define SECRET_HOSTS_MAX 100
#define SECRETS "secrets"

static int bad(struct error *err, const char *field, const char *text)
{
	return error_set_field(err, -EINVAL, "MALFORMED_REQUEST", field, "%s: %s", field, text);
}

/* The failure of one secret. */
static int bad_secret(struct error *err, const char *name, const char *text)
{
	return error_set_field(
		err, -EINVAL, "MALFORMED_REQUEST", SECRETS, SECRETS ": %.80s: %s", name, text);
}

/* A string without NUL inside. */
static bool is_text(struct json_object *v)
{
	return json_object_is_type(v, json_type_string) &&
	       strlen(json_object_get_string(v)) == (size_t)json_object_get_string_len(v);
}

/* --- rules ------------------------------------------------------------------------------- */

int net_rules_parse(
	struct json_object *json, const char *field, struct rpc_strings *ret, struct error *ret_err)
{
	auto_free const char **texts = NULL;
	struct rules rules = {0};
	size_t n;
	int r;

	if (!json_object_is_type(json, json_type_array))
		return bad(ret_err, field, "expected a list of strings");
	n = json_object_array_length(json);
	if (n > RULES_MAX)
		return bad(ret_err, field, "at most 1000 rules are allowed");
	texts = mem_zalloc_array(n, sizeof(*texts));
	for (size_t i = 0; i < n; i++) {
		struct json_object *item = json_object_array_get_idx(json, i);

		if (!is_text(item) || json_object_get_string_len(item) == 0)
			return bad(ret_err, field, "a rule must be a non-empty string without NUL");
		texts[i] = json_object_get_string(item);
	}
	r = rules_parse(texts, n, field, &rules, ret_err);
	if (r < 0)
		return r;
	rules_done(&rules);
	ret->items = mem_zalloc_array(n, sizeof(*ret->items));
	ret->count = n;
	for (size_t i = 0; i < n; i++)
		ret->items[i] = mem_strdup(texts[i]);
	return 0;
}

/* --- secrets ----------------------------------------------------------------------------- */

static int check_name(const char *name, struct error *err)
{
	if (strstr(name, RPC_JSON_KEY_NUL) != NULL || name[0] == '\0' || strchr(name, '=') != NULL)
		return bad(err, SECRETS, "a name must not be empty or contain '=' or NUL");
	if (strlen(name) > SECRET_NAME_MAX)
		return bad(err, SECRETS, "a name may have 256 bytes at most");
	return 0;
}

/* Of values, only what is wrong is said. */
static int check_value(struct json_object *value, const char *name, struct error *err)
{
	if (value == NULL)
		return bad_secret(err, name, "has no value");
	if (!json_object_is_type(value, json_type_string))
		return bad_secret(err, name, "the value must be a string");
	if (json_object_get_string_len(value) == 0)
		return bad_secret(err, name, "the value is empty");
	if (json_object_get_string_len(value) > NET_SECRET_VALUE_MAX)
		return bad_secret(err, name, "the value is longer than 16384 bytes");
	if (!is_text(value) || strpbrk(json_object_get_string(value), "\r\n") != NULL)
		return bad_secret(err, name,
			"the value holds a line break or NUL, which no request header can carry");
	return 0;
}

static int check_hosts(
	struct json_object *hosts, const char *name, struct rpc_strings *ret, struct error *err)
{
	struct error why = {0};
	int r;

	if (!json_object_is_type(hosts, json_type_array) || json_object_array_length(hosts) == 0)
		return bad_secret(err, name, "needs at least one host, in a list");
	if (json_object_array_length(hosts) > SECRET_HOSTS_MAX)
		return bad_secret(err, name, "may have 100 hosts at most");
	r = net_rules_parse(hosts, "hosts", ret, &why);
	return r < 0 ? bad_secret(err, name, why.message) : 0;
}

static int parse_secret(
	const char *name, struct json_object *json, struct sandbox_secret *ret, struct error *err)
{
	struct json_object *value = NULL, *hosts = NULL;
	int r = check_name(name, err);

	if (r < 0)
		return r;
	if (!json_object_is_type(json, json_type_object))
		return bad_secret(err, name, "expected {hosts, value}");
	(void)json_object_object_get_ex(json, "value", &value);
	(void)json_object_object_get_ex(json, "hosts", &hosts);
	r = check_value(value, name, err);
	if (r == 0)
		r = check_hosts(hosts, name, &ret->hosts, err);
	if (r < 0)
		return r;
	ret->name = mem_strdup(name);
	ret->value = mem_strdup(json_object_get_string(value));
	return 0;
}

int net_secrets_parse(struct json_object *json, struct sandbox_options *o, struct error *ret_err)
{
	int n = json_object_is_type(json, json_type_object) ? json_object_object_length(json) : 0;

	if (!json_object_is_type(json, json_type_object))
		return bad(ret_err, SECRETS, "expected an object of {hosts, value}");
	if (n > NET_SECRETS_MAX)
		return bad(ret_err, SECRETS, "at most 64 secrets are allowed");
	o->secrets = mem_zalloc_array((size_t)n, sizeof(*o->secrets));
	json_object_object_foreach(json, name, secret)
	{
		int r = parse_secret(name, secret, &o->secrets[o->secret_count++], ret_err);

		if (r < 0)
			return r;
	}
	return 0;
}
