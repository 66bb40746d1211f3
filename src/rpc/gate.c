/* The messages of the gate, one field to a line. */
#include "rpc/gate.h"

#define FIELD(structure, member, ...) \
	{ \
		.name = #member, .offset = offsetof(struct structure, member), __VA_ARGS__ \
	}
#define STRING(structure, member, longest, ...) \
	FIELD(structure, member, .type = RPC_STRING, .max = (longest), __VA_ARGS__)
#define INT(structure, member, low, high) \
	FIELD(structure, member, .type = RPC_INT, .min = (low), .max = (high))
#define STRINGS(structure, member, longest, most) \
	FIELD(structure, member, .type = RPC_STRING_LIST, .max = (longest), .count_max = (most))

#define VALUE_MAX 16384
#define HOSTS_MAX 100
#define RANGES_MAX 256
#define TIME_MAX INT64_C(9007199254740991)

/* clang-format off */

RPC_SCHEMA(gate_secret_schema, struct gate_secret,
	STRING(gate_secret, name, GATE_TEXT_MAX, .flags = RPC_REQUIRED),
	STRING(gate_secret, placeholder, GATE_TEXT_MAX, .flags = RPC_REQUIRED),
	FIELD(gate_secret, value, .type = RPC_BYTES, .max = VALUE_MAX),
	STRINGS(gate_secret, hosts, GATE_RULE_MAX, HOSTS_MAX));

RPC_SCHEMA(gate_config_schema, struct gate_config,
	STRING(gate_config, sandbox_id, GATE_TEXT_MAX, .flags = RPC_REQUIRED),
	STRINGS(gate_config, rules, GATE_RULE_MAX, GATE_RULES_MAX),
	STRINGS(gate_config, opened, GATE_RULE_MAX, RANGES_MAX),
	FIELD(gate_config, secrets, .type = RPC_OBJECTS, .count_max = GATE_SECRETS_MAX,
		.sub = &gate_secret_schema),
	STRING(gate_config, http_proxy, GATE_TEXT_MAX),
	STRING(gate_config, https_proxy, GATE_TEXT_MAX),
	STRING(gate_config, no_proxy, GATE_PEM_MAX));

RPC_SCHEMA(gate_policy_schema, struct gate_policy,
	STRINGS(gate_policy, rules, GATE_RULE_MAX, GATE_RULES_MAX));

RPC_SCHEMA(gate_ready_schema, struct gate_ready,
	STRING(gate_ready, ca_pem, GATE_PEM_MAX),
	STRING(gate_ready, ca_hash, 8));

RPC_SCHEMA(gate_applied_schema, struct gate_applied,
	INT(gate_applied, closed, 0, TIME_MAX));

RPC_SCHEMA(gate_event_schema, struct gate_event,
	INT(gate_event, kind, 0, GATE_EVENT_KIND_COUNT - 1),
	INT(gate_event, time_ms, 0, TIME_MAX),
	INT(gate_event, duration_ms, 0, TIME_MAX),
	STRING(gate_event, protocol, 16),
	STRING(gate_event, host, 256),
	INT(gate_event, port, 0, 65535),
	STRING(gate_event, address, 64),
	INT(gate_event, bytes_up, 0, TIME_MAX),
	INT(gate_event, bytes_down, 0, TIME_MAX),
	STRING(gate_event, rule, GATE_RULE_MAX),
	STRING(gate_event, reason, 64),
	STRING(gate_event, detail, GATE_TEXT_MAX),
	STRINGS(gate_event, secrets, GATE_TEXT_MAX, GATE_SECRETS_MAX),
	INT(gate_event, requests, 0, TIME_MAX),
	INT(gate_event, count, 0, TIME_MAX));
