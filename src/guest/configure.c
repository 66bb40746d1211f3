/* configure, and the calls on the sandbox's environment. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "guest/calls.h"
#include "guest/identity.h"

static void fail_variable(
	struct agent *agent, uint32_t id, int err, const char *op, const char *name)
{
	agent_fail_as(agent, id, err == -EINVAL ? "TypeError" : NULL, err, "%s '%s'", op, name);
}

/* --- configure -------------------------------------------------------------------------------- */

/* In namespaces the launcher has set the name and the clock is the host's, and both calls may be
 * forbidden: a failure means that there is nothing to do. */
static void set_machine(const struct rpc_configure *params)
{
	struct timespec now = {
		.tv_sec = params->real_ms / 1000,
		.tv_nsec = params->real_ms % 1000 * 1000000,
	};

	if (!params->hostname && params->real_ms <= 0)
		return;
	if (identity_raise() < 0)
		return;
	if (params->hostname)
		(void)!sethostname(params->hostname, strlen(params->hostname));
	if (params->real_ms > 0)
		(void)!clock_settime(CLOCK_REALTIME, &now);
	identity_lower();
}

void call_configure(struct agent *agent, uint32_t id, struct rpc_configure *params)
{
	struct environment env;
	int r;

	environment_init(&env);
	r = environment_add_defaults(&env, agent->config.home);
	if (r == 0)
		r = environment_add_map(&env, &params->env);
	if (r < 0) {
		environment_done(&env);
		fail_variable(agent, id, r, "configure", "env");
		return;
	}
	trust_add_environment(&agent->trust, &env);
	environment_clear(&agent->env);
	(void)environment_add(&agent->env, &env); /* what fitted there fits here */
	environment_done(&env);
	if (agent->config.become)
		set_machine(params);
	agent_reply_void(agent, id);
}

/* --- environment ------------------------------------------------------------------------------ */

void call_env_get(struct agent *agent, uint32_t id, struct rpc_env_key *params)
{
	const char *value = environment_get(&agent->env, params->key);
	struct rpc_text result = {.text = (char *)(uintptr_t)value};

	if (!*params->key || strchr(params->key, '='))
		fail_variable(agent, id, -EINVAL, "envget", params->key);
	else
		agent_reply(agent, id, &rpc_text_schema, &result);
}

void call_env_set(struct agent *agent, uint32_t id, struct rpc_env_set *params)
{
	int r = environment_set(&agent->env, params->key, params->value);

	if (r < 0)
		fail_variable(agent, id, r, "envset", params->key);
	else
		agent_reply_void(agent, id);
}

void call_env_delete(struct agent *agent, uint32_t id, struct rpc_env_key *params)
{
	int r = environment_delete(&agent->env, params->key);

	if (r < 0)
		fail_variable(agent, id, r, "envdelete", params->key);
	else
		agent_reply_void(agent, id);
}

void call_env_to_object(struct agent *agent, uint32_t id)
{
	struct rpc_env result = {.env = environment_map(&agent->env)};

	agent_reply(agent, id, &rpc_env_schema, &result);
	free(result.env.items);
}
