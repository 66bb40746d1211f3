#include "gate/secrets/vault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "gate/secrets/locked.h"
#include "gate/secrets/vault_priv.h"

struct vault *vault_new(void)
{
	struct vault *v = mem_new(struct vault);

	watch_table_init(&v->watch);
	return v;
}

static void secret_done(struct secret *s)
{
	locked_free(s->value, s->len);
	free(s->name);
	free(s->placeholder);
	rules_done(&s->hosts);
}

void vault_free(struct vault *v)
{
	if (v == NULL)
		return;
	for (size_t i = 0; i < v->count; i++)
		secret_done(&v->secrets[i]);
	free(v);
}

bool vault_is_digit(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

int vault_find(const struct vault *v, const uint8_t *digits)
{
	for (size_t i = 0; i < v->count; i++) {
		const char *text = v->secrets[i].placeholder + PLACEHOLDER_PREFIX_LEN;

		if (memcmp(text, digits, PLACEHOLDER_HEX) == 0)
			return (int)i;
	}
	return -1;
}

static bool is_placeholder(const char *text)
{
	if (strlen(text) != PLACEHOLDER_LEN ||
		memcmp(text, PLACEHOLDER_PREFIX, PLACEHOLDER_PREFIX_LEN) != 0)
		return false;
	for (const char *p = text + PLACEHOLDER_PREFIX_LEN; *p != '\0'; p++) {
		if (!vault_is_digit((uint8_t)*p))
			return false;
	}
	return true;
}

/* What is wrong with a secret, without a word about its value. */
static int check_secret(const struct vault *v, const char *name, const char *placeholder,
	size_t value_len, size_t host_count, struct error *ret_err)
{
	if (v->count == VAULT_SECRETS_MAX)
		return error_set_field(ret_err, -E2BIG, "MALFORMED_REQUEST", "secrets",
			"secrets: more than %d", VAULT_SECRETS_MAX);
	if (!is_placeholder(placeholder))
		return error_set_field(ret_err, -EINVAL, "MALFORMED_REQUEST", "secrets",
			"secrets: the placeholder of \"%s\" is not %s and %d hexadecimal digits",
			name, PLACEHOLDER_PREFIX, PLACEHOLDER_HEX);
	if (vault_find(v, (const uint8_t *)placeholder + PLACEHOLDER_PREFIX_LEN) >= 0)
		return error_set_field(ret_err, -EINVAL, "MALFORMED_REQUEST", "secrets",
			"secrets: the placeholder of \"%s\" is another one's as well", name);
	if (value_len == 0)
		return error_set_field(ret_err, -EINVAL, "MALFORMED_REQUEST", "secrets",
			"secrets: \"%s\" has an empty value", name);
	if (value_len > VAULT_VALUE_MAX)
		return error_set_field(ret_err, -E2BIG, "MALFORMED_REQUEST", "secrets",
			"secrets: the value of \"%s\" has more than %d bytes", name,
			VAULT_VALUE_MAX);
	if (host_count == 0)
		return error_set_field(ret_err, -EINVAL, "MALFORMED_REQUEST", "secrets",
			"secrets: \"%s\" has no hosts", name);
	return 0;
}

int vault_add(struct vault *v, const char *name, const char *placeholder, const void *value,
	size_t value_len, const char *const *hosts, size_t host_count, struct error *ret_err)
{
	int err = check_secret(v, name, placeholder, value_len, host_count, ret_err);
	struct secret s = {0};

	if (err < 0)
		return err;
	err = rules_parse(hosts, host_count, "secrets.hosts", &s.hosts, ret_err);
	if (err < 0)
		return err;
	s.name = mem_strdup(name);
	s.placeholder = mem_strdup(placeholder);
	s.value = locked_new(value_len);
	s.len = value_len;
	memcpy(s.value, value, value_len);
	v->secrets[v->count++] = s;
	return 0;
}

size_t vault_count(const struct vault *v)
{
	return v->count;
}

const char *vault_name(const struct vault *v, unsigned index)
{
	return v->secrets[index].name;
}

const uint8_t *vault_value(const struct vault *v, unsigned index, size_t *ret_len)
{
	*ret_len = v->secrets[index].len;
	return v->secrets[index].value;
}

uint64_t vault_for_host(const struct vault *v, const char *name, uint16_t port)
{
	char host[HOST_NAME_SIZE];
	uint64_t secrets = 0;

	/* This refuses literal addresses, which "*" would allow. */
	if (host_name_normalise(name, strlen(name), host) < 0)
		return 0;
	for (size_t i = 0; i < v->count; i++) {
		if (rules_match_name(&v->secrets[i].hosts, host, port) != NULL)
			secrets |= UINT64_C(1) << i;
	}
	return secrets;
}

uint64_t vault_for_name(const struct vault *v, const char *name)
{
	uint64_t secrets = 0;

	for (size_t i = 0; i < v->count; i++) {
		if (rules_know_name(&v->secrets[i].hosts, name))
			secrets |= UINT64_C(1) << i;
	}
	return secrets;
}

/* --- headers ---------------------------------------------------------------------------------- */

/* A final '*' stands for anything. */
static const char *const never[] = {
	/* They frame the message, or name who and what is asked for. */
	"connection",
	"content-*",
	"expect",
	"host",
	"http2-settings",
	"if-*",
	"keep-alive",
	"proxy-*",
	"range",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade*",
	"x-host",
	"x-http-method*",
	"x-original-*",
	"x-rewrite-url",
	/* Servers repeat them in answers, error pages or logs, or negotiate by them. */
	"accept*",
	"access-control-*",
	"b3",
	"baggage",
	"cache-control",
	"cookie2",
	"date",
	"dnt",
	"forwarded",
	"from",
	"idempotency-key",
	"last-event-id",
	"max-forwards",
	"origin",
	"pragma",
	"prefer",
	"priority",
	"referer",
	"sec-*",
	"traceparent",
	"tracestate",
	"user-agent",
	"via",
	"x-b3-*",
	"x-correlation-id",
	"x-forwarded-*",
	"x-real-ip",
	"x-request-id",
};

static bool is_like(const char *pattern, const char *name, size_t len)
{
	size_t n = strlen(pattern);

	if (pattern[n - 1] == '*')
		return len >= n - 1 && strncasecmp(pattern, name, n - 1) == 0;
	return len == n && strncasecmp(pattern, name, n) == 0;
}

bool vault_header_ok(const char *name, size_t len)
{
	/* Pseudo-headers of HTTP/2 name the target. */
	if (len == 0 || name[0] == ':')
		return false;
	for (size_t i = 0; i < array_len(never); i++) {
		if (is_like(never[i], name, len))
			return false;
	}
	return true;
}
