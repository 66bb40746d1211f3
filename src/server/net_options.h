/*
 * The network part of what clients ask for, at create and later: rules and secrets in JSON.
 */
#pragma once

#include <json-c/json.h>

#include "base/error.h"
#include "sandbox/sandbox.h"

#define NET_SECRETS_MAX 64
#define NET_SECRET_VALUE_MAX 16384

/* A list of rules of policy/rules.h. 0: *ret is the caller's (sandbox_strings_done() of it, or part
 * of options). -EINVAL or -E2BIG with the field and the rule in *ret_err. */
int net_rules_parse(struct json_object *json, const char *field, struct rpc_strings *ret,
	struct error *ret_err);
/* {NAME: {hosts: [rule, ...], value: string}, ...} into o->secrets; also on failure o is to be
 * given back with sandbox_options_done(). No message holds a value. */
int net_secrets_parse(struct json_object *json, struct sandbox_options *o, struct error *ret_err);
