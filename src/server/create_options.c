#include "server/create_options.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rpc/json.h"
#include "server/net_options.h"
#include "wire/base64.h"

#define MEMORY_MIN_MB 768
#define MEMORY_MAX_MB 4096
#define MEMORY_DEFAULT_MB 1280
#define LABEL_KEY_MAX 64
#define LABEL_VALUE_MAX 128
#define ENV_MAX 1000
#define ENV_TEXT_MAX 131072
/* A client computes an absolute end by its own clock. */
#define CLOCK_SLACK_MS 10000

struct parse {
	const struct config *config;
	int64_t now_ms;
	struct sandbox_options *o;
	struct error *err;
	bool has_timeout;
};

static int bad(struct parse *p, const char *field, const char *text)
{
	return error_set_field(p->err, -EINVAL, "MALFORMED_REQUEST", field, "%s: %s", field, text);
}

static int unavailable(struct parse *p, const char *field, const char *text)
{
	return error_set_field(p->err, -EOPNOTSUPP, "FEATURE_NOT_AVAILABLE", field,
		"%s: this server cannot do that: %s", field, text);
}

static bool is_string(struct json_object *v)
{
	return json_object_is_type(v, json_type_string);
}

/* A key without NUL inside: the parser leaves a mark where there was one. */
static bool is_key(const char *key)
{
	return strstr(key, RPC_JSON_KEY_NUL) == NULL;
}

/* A string without NUL inside. */
static bool is_text(struct json_object *v)
{
	return is_string(v) &&
	       strlen(json_object_get_string(v)) == (size_t)json_object_get_string_len(v);
}

/* --- one function per key ---------------------------------------------------------------- */

static int parse_memory(struct parse *p, struct json_object *v)
{
	int64_t mb = json_object_get_int64(v);

	if (!json_object_is_type(v, json_type_int))
		return bad(p, "memory_mb", "expected an integer");
	if (mb < MEMORY_MIN_MB || mb > MEMORY_MAX_MB)
		return bad(p, "memory_mb", "must be between 768 and 4096");
	p->o->memory_mb = (unsigned)mb;
	return 0;
}

static int set_stop_at(struct parse *p, const char *field, int64_t stop_at)
{
	if (p->has_timeout)
		return bad(p, field, "the end of life is given twice");
	if (stop_at <= p->now_ms)
		return bad(p, field, "lies in the past");
	if (stop_at > p->now_ms + p->config->max_lifetime_ms + CLOCK_SLACK_MS)
		return bad(p, field, "lies beyond the longest life time of this server");
	p->has_timeout = true;
	p->o->session = false;
	p->o->stop_at_ms = stop_at;
	return 0;
}

static int parse_stop_at(struct parse *p, struct json_object *v)
{
	if (!json_object_is_type(v, json_type_int))
		return bad(p, "stop_at_ms", "expected an integer (milliseconds since 1970)");
	return set_stop_at(p, "stop_at_ms", json_object_get_int64(v));
}

static int parse_timeout(struct parse *p, struct json_object *v)
{
	const char *text = is_text(v) ? json_object_get_string(v) : "";
	size_t digits = strspn(text, "0123456789");
	int64_t ms = 0;

	if (strcmp(text, "session") == 0) {
		if (p->has_timeout)
			return bad(p, "timeout", "the end of life is given twice");
		return 0;
	}
	if (digits == 0 || text[digits] == '\0' || strchr("smh", text[digits]) == NULL ||
		text[digits + 1] != '\0' || clock_parse_duration(text, &ms) < 0)
		return bad(
			p, "timeout", "expected \"session\" or a duration like \"30s\" or \"5m\"");
	return set_stop_at(p, "timeout", p->now_ms + ms);
}

static int parse_labels(struct parse *p, struct json_object *v)
{
	if (!json_object_is_type(v, json_type_object))
		return bad(p, "labels", "expected an object of strings");
	if (json_object_object_length(v) > (int)array_len(p->o->labels))
		return bad(p, "labels", "at most 5 labels are allowed");
	json_object_object_foreach(v, key, value)
	{
		if (!is_key(key))
			return bad(p, "labels", "a key must not contain NUL");
		if (key[0] == '\0' || strlen(key) > LABEL_KEY_MAX)
			return bad(p, "labels", "a key must have 1 to 64 bytes");
		if (!is_text(value))
			return bad(p, "labels", "a value must be a string");
		if (json_object_get_string_len(value) > LABEL_VALUE_MAX)
			return bad(p, "labels", "a value may have 128 bytes at most");
		p->o->labels[p->o->label_count].key = mem_strdup(key);
		p->o->labels[p->o->label_count].value = mem_strdup(json_object_get_string(value));
		p->o->label_count++;
	}
	return 0;
}

static int parse_env(struct parse *p, struct json_object *v)
{
	size_t total = 0;

	if (!json_object_is_type(v, json_type_object))
		return bad(p, "env", "expected an object of strings");
	if (json_object_object_length(v) > ENV_MAX)
		return bad(p, "env", "too many variables");
	p->o->env.items =
		mem_zalloc_array((size_t)json_object_object_length(v) + 1, sizeof(struct rpc_pair));
	json_object_object_foreach(v, key, value)
	{
		if (key[0] == '\0' || strchr(key, '=') != NULL || !is_key(key))
			return bad(p, "env", "a name must not be empty or contain '=' or NUL");
		if (!is_text(value))
			return bad(p, "env", "a value must be a string without NUL");
		total += strlen(key) + (size_t)json_object_get_string_len(value) + 2;
		if (total > ENV_TEXT_MAX)
			return bad(p, "env", "the variables are larger than 128 KiB in all");
		p->o->env.items[p->o->env.count].key = mem_strdup(key);
		p->o->env.items[p->o->env.count].value = mem_strdup(json_object_get_string(value));
		p->o->env.count++;
	}
	return 0;
}

static int parse_region(struct parse *p, struct json_object *v)
{
	if (!is_text(v))
		return bad(p, "region", "expected a string");
	for (unsigned i = 0; i < p->config->region_count; i++) {
		if (strcmp(json_object_get_string(v), p->config->region_list[i]) != 0)
			continue;
		memcpy(p->o->region, p->config->region_list[i], sizeof(p->o->region));
		return 0;
	}
	return error_set_field(p->err, -EINVAL, "MALFORMED_REQUEST", "region",
		"region: unknown region; this server has %s", p->config->regions);
}

static int parse_root(struct parse *p, struct json_object *v)
{
	struct json_object *volume = NULL;

	if (is_text(v))
		volume = v;
	else if (!json_object_is_type(v, json_type_object) ||
		 !json_object_object_get_ex(v, "volume", &volume) || !is_text(volume))
		return bad(p, "root", "expected {\"volume\": string}");
	return unavailable(p, "root", "volumes and snapshots are not built in yet");
}

static int parse_volumes(struct parse *p, struct json_object *v)
{
	size_t n = 0;

	if (json_object_is_type(v, json_type_array)) {
		n = json_object_array_length(v);
		for (size_t i = 0; i < n; i++) {
			struct json_object *item = json_object_array_get_idx(v, i), *x;

			if (!json_object_is_type(item, json_type_object) ||
				!json_object_object_get_ex(item, "volume", &x) || !is_text(x) ||
				!json_object_object_get_ex(item, "path", &x) || !is_text(x))
				return bad(p, "volumes", "expected a list of {volume, path}");
		}
	} else if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, path, volume)
		{
			if (path[0] != '/' || !is_text(volume))
				return bad(p, "volumes", "expected an object of path to volume");
			n++;
		}
	} else {
		return bad(p, "volumes", "expected a list or an object");
	}
	return n == 0 ? 0 : unavailable(p, "volumes", "volumes are not built in yet");
}

static int parse_allow_net(struct parse *p, struct json_object *v)
{
	p->o->net_given = true;
	return net_rules_parse(v, "allow_net", &p->o->net, p->err);
}

static int parse_secrets(struct parse *p, struct json_object *v)
{
	return net_secrets_parse(v, p->o, p->err);
}

static int parse_port(struct parse *p, struct json_object *v)
{
	int64_t port = json_object_get_int64(v);

	if (!json_object_is_type(v, json_type_int) || port < 1 || port > 65535)
		return bad(p, "port", "expected an integer between 1 and 65535");
	return unavailable(p, "port", "exposing HTTP is not built in yet");
}

static int parse_ssh(struct parse *p, struct json_object *v)
{
	if (!json_object_is_type(v, json_type_boolean))
		return bad(p, "ssh", "expected true or false");
	return json_object_get_boolean(v) ? unavailable(p, "ssh", "SSH is not built in yet") : 0;
}

static const struct {
	const char *key;
	int (*parse)(struct parse *p, struct json_object *value);
} keys[] = {
	{"memory_mb", parse_memory},
	{"stop_at_ms", parse_stop_at},
	{"timeout", parse_timeout},
	{"labels", parse_labels},
	{"env", parse_env},
	{"region", parse_region},
	{"root", parse_root},
	{"volumes", parse_volumes},
	{"allow_net", parse_allow_net},
	{"secrets", parse_secrets},
	{"port", parse_port},
	{"ssh", parse_ssh},
};

/* --- the header -------------------------------------------------------------------------- */

/* One variable cannot hold both. */
static int check_secret_names(struct parse *p)
{
	for (size_t i = 0; i < p->o->secret_count; i++)
		for (size_t k = 0; k < p->o->env.count; k++)
			if (strcmp(p->o->secrets[i].name, p->o->env.items[k].key) == 0)
				return error_set_field(p->err, -EINVAL, "MALFORMED_REQUEST",
					"secrets",
					"secrets: %.80s: is in env as well; one variable cannot "
					"hold both",
					p->o->secrets[i].name);
	return 0;
}

static int parse_object(struct parse *p, struct json_object *root)
{
	if (!json_object_is_type(root, json_type_object))
		return bad(p, "x-deno-sandbox-config", "expected a JSON object");
	for (size_t i = 0; i < array_len(keys); i++) {
		struct json_object *v;
		int r;

		if (!json_object_object_get_ex(root, keys[i].key, &v) || v == NULL)
			continue;
		r = keys[i].parse(p, v);
		if (r < 0)
			return r;
	}
	return check_secret_names(p);
}

static int append_latin1(struct buf *b, const uint8_t *data, size_t len)
{
	int r = 0;

	for (size_t i = 0; i < len && r == 0; i++) {
		if (data[i] < 0x80) {
			r = buf_append_byte(b, data[i]);
			continue;
		}
		r = buf_append_byte(b, (uint8_t)(0xc0 | data[i] >> 6));
		if (r == 0)
			r = buf_append_byte(b, (uint8_t)(0x80 | (data[i] & 0x3f)));
	}
	return r;
}

/* There may be secrets in the header: no copy outlives this call. */
static int parse_text(struct parse *p, const uint8_t *raw, size_t len)
{
	auto_buf struct buf text;
	struct error json_err = {0};
	struct json_object *root;
	int r;

	/* The JavaScript client's btoa() can only send Latin-1, one byte a character. */
	buf_init(&text, len * 2 + 1);
	text.wipe = true;
	r = utf8_valid(raw, len) ? buf_append(&text, raw, len) : append_latin1(&text, raw, len);
	if (r < 0)
		return bad(p, "x-deno-sandbox-config", "is too large");
	root = rpc_json_parse_secret((const char *)buf_data(&text), text.len, &json_err);
	if (root == NULL)
		return bad(p, "x-deno-sandbox-config", "is not JSON");
	r = parse_object(p, root);
	rpc_json_put_wiped(root);
	return r;
}

static int parse_header(struct parse *p, const char *header, size_t len)
{
	auto_free uint8_t *raw = mem_zalloc(base64_decoded_max(len));
	ssize_t n = base64_decode(raw, header, len);
	int r = n < 0 ? bad(p, "x-deno-sandbox-config", "is not base64")
		      : parse_text(p, raw, (size_t)n);

	mem_wipe(raw, base64_decoded_max(len));
	return r;
}

int create_options_parse(const char *header, size_t len, const struct config *config,
	const char *host_region, int64_t now_ms, struct sandbox_options *ret, struct error *ret_err)
{
	struct sandbox_options o = {.memory_mb = MEMORY_DEFAULT_MB, .session = true};
	struct parse p = {.config = config, .now_ms = now_ms, .o = &o, .err = ret_err};
	int r = 0;

	memcpy(o.region, config->region_list[0], sizeof(o.region));
	if (host_region[0] != '\0')
		memcpy(o.region, host_region, sizeof(o.region));
	if (header != NULL && len > 0)
		r = parse_header(&p, header, len);
	if (r < 0) {
		sandbox_options_done(&o);
		return r;
	}
	*ret = o;
	return 0;
}
