/*
 * Rules are read strictly: what could be meant in two ways is refused with the form to write
 * instead, for a rule that quietly matches nothing, or more than was meant, is found too late.
 */
#include "policy/rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define LABEL_MAX 63
#define PORT_MAX 65535
#define QUOTED_MAX 80 /* of a wrong rule, in the sentence about it */

/* --- names ------------------------------------------------------------------------------------ */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool is_name_char(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '_';
}

/* What inet_aton() and browsers take for a number: decimal, octal, or hexadecimal after 0x. */
static bool is_number(const char *label, size_t len)
{
	bool hex = len >= 2 && label[0] == '0' && (label[1] | 0x20) == 'x';

	for (size_t i = hex ? 2 : 0; i < len; i++) {
		if (hex ? !is_hex(label[i]) : !is_digit(label[i]))
			return false;
	}
	return true;
}

/* Why text is no host name (static text), or NULL. */
static const char *name_problem(const char *text, size_t len)
{
	size_t start = 0; /* of the label */

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len >= HOST_NAME_SIZE)
		return "is longer than a host name can be (253 characters)";
	for (size_t i = 0; i <= len; i++) {
		if (i < len && text[i] != '.') {
			if (!is_name_char(text[i]))
				return "has a character that no host name has; letters, digits, "
				       "'-', '_' and '.' can be used";
			continue;
		}
		if (i == start)
			return "has an empty label: something must stand before, between and "
			       "after its dots, as in www.example.com";
		if (i - start > LABEL_MAX)
			return "has a label longer than 63 characters";
		if (i < len)
			start = i + 1;
	}
	if (is_number(text + start, len - start))
		return "ends in a number, so it is no host name, and it is no IPv4 address in the "
		       "usual form of four decimal numbers, as in 192.0.2.1";
	return NULL;
}

int host_name_normalise(const char *text, size_t len, char ret_name[HOST_NAME_SIZE])
{
	if (name_problem(text, len))
		return -EINVAL;
	if (text[len - 1] == '.')
		len--;
	for (size_t i = 0; i < len; i++)
		ret_name[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
	ret_name[len] = '\0';
	return 0;
}

/* --- one rule --------------------------------------------------------------------------------- */

/* Readers of parts return NULL, or why the rule is wrong (static text). */

/* What no rule has anywhere, and what its writer probably had in mind. */
static const char *find_foreign(const char *text)
{
	static const struct {
		const char *part;
		const char *why;
	} parts[] = {
		{"://", "has a scheme; write only the host, as in example.com or example.com:443"},
		{"@", "has a user name; write only the host, as in example.com or example.com:443"},
		{"?", "has a query; write only the host, as in example.com or example.com:443"},
		{"#", "has a fragment; write only the host, as in example.com or example.com:443"},
		{"\\", "has a backslash; write only the host, as in example.com"},
		{",", "has a comma; write each host as a rule of its own"},
		{"%", "has a percent sign; neither escapes nor zones of IPv6 can be used"},
	};

	for (const char *p = text; *p != '\0'; p++) {
		unsigned char c = (unsigned char)*p;

		if (c >= 0x80)
			return "has characters beyond ASCII; write the name in punycode, as in "
			       "xn--bcher-kva.example";
		if (c <= 0x20 || c == 0x7f)
			return "has a blank or a control character; write nothing but the host, as "
			       "in example.com";
	}
	for (size_t i = 0; i < array_len(parts); i++) {
		if (strstr(text, parts[i].part))
			return parts[i].why;
	}
	return NULL;
}

/* A port at *text, which moves behind its digits. */
static bool read_port(const char **text, uint16_t *ret)
{
	const char *p = *text;
	unsigned n = 0;

	if (*p < '1' || *p > '9')
		return false;
	for (; is_digit(*p); p++) {
		n = n * 10 + (unsigned)(*p - '0');
		if (n > PORT_MAX)
			return false;
	}
	*text = p;
	*ret = (uint16_t)n;
	return true;
}

/* text: what follows the colon, or NULL when there is none. */
static const char *read_ports(const char *text, struct rule *r)
{
	static const char bad[] = "has a wrong port: a number from 1 to 65535 must follow the "
				  "colon, or a span of them, as in example.com:8000-8999";

	r->port_min = 0;
	r->port_max = PORT_MAX;
	if (!text)
		return NULL;
	if (!read_port(&text, &r->port_min))
		return bad;
	r->port_max = r->port_min;
	if (*text == '-') {
		text++;
		if (!read_port(&text, &r->port_max))
			return bad;
	}
	if (*text != '\0')
		return bad;
	if (r->port_min > r->port_max)
		return "has a span of ports that runs backwards; write the lower one first, as in "
		       "example.com:8000-8999";
	return NULL;
}

static const char *read_range(const char *text, size_t len, struct rule *r)
{
	const char *slash = memchr(text, '/', len);
	struct address a;

	r->kind = RULE_RANGE;
	if (address_range_parse(text, len, &r->range) == 0)
		return NULL;
	if (slash && address_parse(text, (size_t)(slash - text), &a) == 0)
		return "is no range: a prefix length must follow the slash (up to 32 for IPv4, 128 "
		       "for IPv6), and the address must be 0 behind the prefix, as in "
		       "192.0.2.0/24";
	return "is no IPv6 address; write it as in [2001:db8::1] or [2001:db8::1]:443";
}

static const char *read_bracketed(const char *text, struct rule *r)
{
	const char *end = strchr(text, ']');
	struct address_range range;
	const char *why;

	if (!end)
		return "has no closing bracket; write it as in [2001:db8::1] or [2001:db8::1]:443";
	text++;
	if (!memchr(text, ':', (size_t)(end - text))) {
		if (address_range_parse(text, (size_t)(end - text), &range) == 0)
			return "has brackets around an IPv4 address; write it without, as in "
			       "192.0.2.1 or 192.0.2.1:443";
		return "has brackets around something else than an IPv6 address; only that needs "
		       "them, as in [2001:db8::1]:443";
	}
	why = read_range(text, (size_t)(end - text), r);
	if (why)
		return why;
	end++;
	if (*end == '/')
		return "has its prefix length behind the brackets; write it inside, as in "
		       "[2001:db8::/32]";
	if (*end != '\0' && *end != ':')
		return "has something else than a port behind the bracket; write it as in "
		       "[2001:db8::1]:443";
	return read_ports(*end == ':' ? end + 1 : NULL, r);
}

/* Whether the last group of an IPv6 address without brackets may have been meant as a port. */
static bool may_be_port(const char *text)
{
	const char *last = strrchr(text, ':');
	struct address_range range;

	return address_range_parse(text, (size_t)(last - text), &range) == 0 &&
	       last[1 + strspn(last + 1, "0123456789-")] == '\0';
}

static const char *read_bare_v6(const char *text, struct rule *r)
{
	if (may_be_port(text))
		return "may be an IPv6 address with or without a port; write it in brackets, as in "
		       "[2001:db8::1]:443 or [2001:db8::1:443]";
	if (text[strspn(text, "0123456789abcdefABCDEF:./")] != '\0')
		return "has more than one colon; write it as in example.com:443, and an IPv6 "
		       "address as in [2001:db8::1]:443";
	read_ports(NULL, r);
	return read_range(text, strlen(text), r);
}

static const char *read_name(const char *text, size_t len, struct rule *r)
{
	char name[HOST_NAME_SIZE];
	const char *why;

	r->kind = RULE_NAME;
	if (len > 2 && text[0] == '*' && text[1] == '.') {
		r->kind = RULE_BELOW;
		text += 2;
		len -= 2;
	}
	if (memchr(text, '*', len))
		return "has a * that is not the whole first label; write *.example.com for all "
		       "names below example.com, or * for every host";
	why = name_problem(text, len);
	if (!why && host_name_normalise(text, len, name) == 0)
		r->name = mem_strdup(name);
	return why;
}

static const char *read_host(const char *text, size_t len, struct rule *r)
{
	const char *slash = memchr(text, '/', len);
	struct address a;

	if (len == 0)
		return "has no host; write it as in example.com:443";
	if (len == 1 && *text == '*') {
		r->kind = RULE_ALL;
		return NULL;
	}
	if (slash && address_parse(text, (size_t)(slash - text), &a) < 0)
		return "has a path; write only the host, as in example.com or example.com:443";
	if (slash || address_parse(text, len, &a) == 0)
		return read_range(text, len, r);
	return read_name(text, len, r);
}

static const char *read_rule(const char *text, struct rule *r)
{
	const char *colon = strchr(text, ':');
	const char *why;

	if (*text == '\0')
		return "is empty";
	if (strlen(text) > RULE_TEXT_MAX)
		return "is longer than 300 characters";
	why = find_foreign(text);
	if (why)
		return why;
	if (*text == '[')
		return read_bracketed(text, r);
	if (colon && strchr(colon + 1, ':'))
		return read_bare_v6(text, r);
	why = read_ports(colon ? colon + 1 : NULL, r);
	if (colon && strchr(colon, '/'))
		return "has a path; write only the host, as in example.com or example.com:443";
	return why ? why : read_host(text, colon ? (size_t)(colon - text) : strlen(text), r);
}

/* --- lists ------------------------------------------------------------------------------------ */

/* The start of a wrong rule in a form that fits into any sentence. */
static void quote(const char *text, char ret[QUOTED_MAX + 4])
{
	size_t n = 0;

	for (; n < QUOTED_MAX && text[n] != '\0'; n++)
		ret[n] = (char)(text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?');
	snprintf(ret + n, 4, "%s", text[n] == '\0' ? "" : "...");
}

int rules_parse(const char *const *texts, size_t count, const char *field, struct rules *ret,
	struct error *ret_err)
{
	struct rules list = {0};

	if (count > RULES_MAX)
		return error_set_field(ret_err, -E2BIG, "MALFORMED_REQUEST", field,
			"%s: more than %d rules", field, RULES_MAX);
	list.items = mem_zalloc_array(count, sizeof(list.items[0]));
	for (size_t i = 0; i < count; i++) {
		struct rule *r = &list.items[list.count++];
		const char *why = read_rule(texts[i], r);

		if (why) {
			char text[QUOTED_MAX + 4];

			quote(texts[i], text);
			rules_done(&list);
			return error_set_field(ret_err, -EINVAL, "MALFORMED_REQUEST", field,
				"%s: rule %zu, \"%s\", %s", field, i + 1, text, why);
		}
		r->text = mem_strdup(texts[i]);
	}
	*ret = list;
	return 0;
}

void rules_done(struct rules *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->items[i].text);
		free(r->items[i].name);
	}
	free(r->items);
	*r = (struct rules){0};
}

/* --- matching --------------------------------------------------------------------------------- */

static bool is_below(const char *name, const char *top)
{
	size_t len = strlen(name);
	size_t top_len = strlen(top);

	return len > top_len + 1 && name[len - top_len - 1] == '.' &&
	       memcmp(name + len - top_len, top, top_len) == 0;
}

static bool has_name(const struct rule *r, const char *name)
{
	switch (r->kind) {
	case RULE_ALL:
		return true;
	case RULE_NAME:
		return strcmp(r->name, name) == 0;
	case RULE_BELOW:
		return is_below(name, r->name);
	case RULE_RANGE:
	case RULE_KIND_COUNT:
		break;
	}
	return false;
}

static bool has_port(const struct rule *r, uint16_t port)
{
	return port >= r->port_min && port <= r->port_max;
}

const struct rule *rules_match_name(const struct rules *r, const char *name, uint16_t port)
{
	for (size_t i = 0; i < r->count; i++) {
		if (has_port(&r->items[i], port) && has_name(&r->items[i], name))
			return &r->items[i];
	}
	return NULL;
}

const struct rule *rules_match_address(
	const struct rules *r, const struct address *a, uint16_t port)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct rule *rule = &r->items[i];

		if (has_port(rule, port) &&
			(rule->kind == RULE_ALL ||
				(rule->kind == RULE_RANGE && address_range_has(&rule->range, a))))
			return rule;
	}
	return NULL;
}

bool rules_know_name(const struct rules *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++) {
		if (has_name(&r->items[i], name))
			return true;
	}
	return false;
}
