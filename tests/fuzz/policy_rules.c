/*
 * One rule of allowNet. A rule that is understood is understood again in its own text, allows what
 * it names and nothing else; a name in its normal form stays as it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "check.h"
#include "policy/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const char *text, size_t len)
{
	char name[HOST_NAME_SIZE];
	char again[HOST_NAME_SIZE];
	struct address a;

	if (host_name_normalise(text, len, name) < 0)
		return;
	check(strlen(name) > 0 && strlen(name) <= len);
	check(host_name_normalise(name, strlen(name), again) == 0 && strcmp(name, again) == 0);
	check(address_parse(text, len, &a) == -EINVAL);
	check(address_parse(name, strlen(name), &a) == -EINVAL);
}

static void check_address(const char *text, size_t len)
{
	struct address a;
	struct address again;
	char formatted[ADDRESS_TEXT_SIZE];

	if (address_parse(text, len, &a) < 0)
		return;
	address_format(&a, formatted);
	check(address_parse(formatted, strlen(formatted), &again) == 0);
	check(address_equal(&a, &again));
}

static void check_matches(const struct rules *r)
{
	const struct rule *rule = &r->items[0];
	struct address outside = rule->range.base;

	check(rule->port_min <= rule->port_max);
	if (rule->port_max < UINT16_MAX) {
		check(!rules_match_name(r, "example.com", rule->port_max + 1));
		check(!rules_match_address(r, &rule->range.base, rule->port_max + 1));
	}
	if (rule->kind == RULE_NAME) {
		check(rules_match_name(r, rule->name, rule->port_min) == rule);
		check(!rules_match_address(r, &rule->range.base, rule->port_min));
	} else if (rule->kind == RULE_BELOW) {
		auto_free char *below = mem_printf("a.%s", rule->name);

		check(rules_match_name(r, below, rule->port_max) == rule);
		check(!rules_know_name(r, rule->name));
		below[1] = '-';
		check(!rules_know_name(r, below));
	} else if (rule->kind == RULE_RANGE) {
		check(rules_match_address(r, &rule->range.base, rule->port_min) == rule ||
			rule->range.bits < 96);
		check(!rules_know_name(r, "example.com"));
		outside.bytes[0] ^= 0x80;
		check(rule->range.bits == 0 || !rules_match_address(r, &outside, rule->port_min));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = mem_strndup((const char *)data, size);
	struct rules r = {0};
	struct rules again = {0};
	struct error err = {0};
	const char *texts[1] = {text};
	int result = rules_parse(texts, 1, "rules", &r, &err);

	check_name((const char *)data, size);
	check_address((const char *)data, size);
	check(result == 0 || (result == -EINVAL && err.message[0] != '\0' && !r.items));
	if (result < 0)
		return 0;
	check(strcmp(r.items[0].text, text) == 0);
	texts[0] = r.items[0].text;
	check(rules_parse(texts, 1, "rules", &again, NULL) == 0);
	check(again.items[0].kind == r.items[0].kind);
	check(again.items[0].port_min == r.items[0].port_min);
	check(again.items[0].port_max == r.items[0].port_max);
	check(!r.items[0].name == !again.items[0].name);
	check(!r.items[0].name || strcmp(r.items[0].name, again.items[0].name) == 0);
	check(memcmp(&r.items[0].range, &again.items[0].range, sizeof(r.items[0].range)) == 0);
	check_matches(&r);
	rules_done(&r);
	rules_done(&again);
	return 0;
}
