#include "gate/http/exchange.h"

#include <stdio.h>
#include <string.h>

#include "policy/address.h"
#include "policy/rules.h"
#include "rpc/json.h"

static const struct {
	const char *error;
	const char *code;
	int status;
} refusals[EXCHANGE_REFUSAL_COUNT] = {
	[EXCHANGE_HOST_MISMATCH] = {"EGRESS_DENIED", "host-mismatch", 403},
	[EXCHANGE_MALFORMED] = {"EGRESS_DENIED", "malformed-request", 400},
	[EXCHANGE_METHOD] = {"EGRESS_DENIED", "method-not-allowed", 403},
	[EXCHANGE_ENCODING] = {"EGRESS_FAILED", "answer-encoding", 502},
	[EXCHANGE_BAD_ANSWER] = {"EGRESS_FAILED", "bad-answer", 502},
	[EXCHANGE_PROXY] = {"EGRESS_FAILED", "proxy", 502},
	[EXCHANGE_SECRET] = {"EGRESS_DENIED", "secret-not-a-header", 403},
};

/* --- authority -------------------------------------------------------------------------------- */

static uint16_t default_port(const struct exchange_params *p)
{
	return p->tls ? 443 : 80;
}

/* One to five digits without a leading zero, 1 to 65535. */
static bool read_port(const char *text, size_t len, uint16_t *ret_port)
{
	unsigned port = 0;

	if (len == 0 || len > 5 || text[0] == '0')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		port = port * 10 + (unsigned)(text[i] - '0');
	}
	if (port > UINT16_MAX)
		return false;
	*ret_port = (uint16_t)port;
	return true;
}

static bool same_address(const char *host, const char *text, size_t len)
{
	struct address ours;
	struct address theirs;

	return address_parse(host, strlen(host), &ours) == 0 &&
	       address_parse(text, len, &theirs) == 0 && address_equal(&ours, &theirs);
}

static bool same_host(const char *host, const char *text, size_t len)
{
	char name[HOST_NAME_SIZE];

	if (len > 0 && text[0] == '[')
		return text[len - 1] == ']' && memchr(text, ':', len) &&
		       same_address(host, text + 1, len - 2);
	if (host_name_normalise(text, len, name) == 0)
		return strcmp(name, host) == 0;
	/* Without brackets a colon would not belong to the host. */
	return !memchr(text, ':', len) && same_address(host, text, len);
}

bool exchange_host_ok(const struct exchange_params *p, const char *text, size_t len)
{
	const char *bracket = len > 0 ? memchr(text, ']', len) : NULL;
	const char *rest = bracket ? bracket : text;
	const char *colon = len > 0 ? memchr(rest, ':', len - (size_t)(rest - text)) : NULL;
	size_t host_len = colon ? (size_t)(colon - text) : len;
	uint16_t port = default_port(p);

	if (colon && !read_port(colon + 1, len - host_len - 1, &port))
		return false;
	return port == p->port && same_host(p->host, text, host_len);
}

int exchange_put_authority(const struct exchange_params *p, struct buf *out)
{
	bool brackets = strchr(p->host, ':');
	char port[8] = "";

	if (p->port != default_port(p))
		snprintf(port, sizeof(port), ":%u", p->port);
	return buf_printf(out, "%s%s%s%s", brackets ? "[" : "", p->host, brackets ? "]" : "", port);
}

/* --- refusals --------------------------------------------------------------------------------- */

void exchange_refusal_body(const struct exchange_params *p, enum exchange_refusal what,
	const char *detail, struct buf *out)
{
	/* Host and detail are bounded; a buffer too small for them yields a body cut short. */
	buf_printf(out, "{\"error\":\"%s\",\"code\":\"%s\",\"host\":", refusals[what].error,
		refusals[what].code);
	rpc_json_put_string(out, p->host, strlen(p->host));
	buf_printf(out, ",\"port\":%u,\"message\":", p->port);
	rpc_json_put_string(out, detail, strlen(detail));
	buf_append_str(out, "}\n");
}

const char *exchange_refusal_code(enum exchange_refusal what)
{
	return refusals[what].code;
}

int exchange_refusal_status(enum exchange_refusal what)
{
	return refusals[what].status;
}
