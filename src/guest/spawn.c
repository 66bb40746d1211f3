#include <errno.h>

#include "base/mem.h"
#include "guest/calls.h"
#include "guest/launch.h"
#include "guest/path.h"
#include "guest/process.h"
#include "guest/stdio.h"

/* The variables of a child: the sandbox's unless refused, its own on top. */
static int child_environment(
	const struct agent *agent, const struct rpc_spawn *params, struct environment *env)
{
	int r = 0;

	if (!params->clear_env)
		r = environment_add(env, &agent->env);
	return r < 0 ? r : environment_add_map(env, &params->env);
}

/* block[0] stays free for an interpreter. */
static char **argument_block(const struct rpc_spawn *params)
{
	char **block = mem_zalloc_array(params->args.count + 3, sizeof(*block));

	block[1] = params->command;
	for (size_t i = 0; i < params->args.count; i++)
		block[i + 2] = params->args.items[i];
	return block;
}

static int start(struct agent *agent, const struct rpc_spawn *params, const struct environment *env,
	struct stdio *stdio, pid_t *ret_pid, enum launch_step *ret_step)
{
	auto_free char *cwd = path_resolve(agent->config.home, params->cwd ? params->cwd : ".");
	auto_free char **block = argument_block(params);
	auto_free char **envp = environment_vector(env);
	const struct launch launch = {
		.command = params->command,
		.search = environment_get(env, "PATH"),
		.cwd = params->cwd ? cwd : agent->config.home,
		.block = block,
		.envp = envp,
		.fds = {stdio->child[0], stdio->child[1], stdio->child[2]},
	};

	return launch_program(agent, &launch, ret_pid, ret_step);
}

static void refuse(struct agent *agent, uint32_t id, const struct rpc_spawn *params, int err,
	enum launch_step step)
{
	if (step == LAUNCH_CWD)
		agent_fail(agent, id, err, "chdir '%s'",
			params->cwd ? params->cwd : agent->config.home);
	else
		agent_fail(agent, id, err, "spawn '%s'", params->command);
}

void call_spawn(struct agent *agent, uint32_t id, struct rpc_spawn *params)
{
	enum launch_step step = LAUNCH_SETUP;
	struct rpc_spawned result = {0};
	struct environment env;
	struct stdio stdio;
	pid_t pid = -1;
	int r;

	environment_init(&env);
	r = stdio_open(agent, params, &stdio);
	if (r == 0 && process_running_count(agent) >= agent->config.processes_max)
		r = -EAGAIN;
	if (r == 0)
		r = child_environment(agent, params, &env);
	if (r == 0)
		r = start(agent, params, &env, &stdio, &pid, &step);
	environment_done(&env);
	if (r < 0) {
		stdio_refuse(agent, params, &stdio, r);
		refuse(agent, id, params, r, step);
		return;
	}
	result.pid = pid;
	agent_reply(agent, id, &rpc_spawned_schema, &result);
	stdio_attach(agent, &stdio, process_new(agent, pid));
}
