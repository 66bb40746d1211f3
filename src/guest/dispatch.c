#include "guest/dispatch.h"

#include <errno.h>

#include "base/mem.h"
#include "guest/calls.h"
#include "rpc/pack.h"

/* Room for the parameters of any method. */
union params {
	struct rpc_configure configure;
	struct rpc_env_key env_key;
	struct rpc_env_set env_set;
	struct rpc_spawn spawn;
	struct rpc_pid pid;
	struct rpc_process_kill process_kill;
	struct rpc_read_file read_file;
	struct rpc_write_file write_file;
	struct rpc_path path;
	struct rpc_mkdir mkdir;
	struct rpc_remove remove;
	struct rpc_symlink symlink;
	struct rpc_trust trust;
	struct rpc_denial denial;
};

typedef void (*call_fn)(struct agent *agent, uint32_t id, union params *params);

#define CALL(name, member) \
	static void run_##name(struct agent *agent, uint32_t id, union params *params) \
	{ \
		call_##name(agent, id, &params->member); \
	}

CALL(configure, configure)
CALL(env_get, env_key)
CALL(env_set, env_set)
CALL(env_delete, env_key)
CALL(spawn, spawn)
CALL(process_wait, pid)
CALL(process_kill, process_kill)
CALL(read_file, read_file)
CALL(write_file, write_file)
CALL(read_dir, path)
CALL(mkdir, mkdir)
CALL(remove, remove)
CALL(stat, path)
CALL(lstat, path)
CALL(symlink, symlink)
CALL(trust, trust)
CALL(denial, denial)

static void run_env_to_object(struct agent *agent, uint32_t id, union params *params)
{
	(void)params;
	call_env_to_object(agent, id);
}

static const call_fn calls[RPC_METHOD_COUNT] = {
	[RPC_CONFIGURE] = run_configure,
	[RPC_SPAWN] = run_spawn,
	[RPC_PROCESS_WAIT] = run_process_wait,
	[RPC_PROCESS_KILL] = run_process_kill,
	[RPC_ENV_GET] = run_env_get,
	[RPC_ENV_SET] = run_env_set,
	[RPC_ENV_DELETE] = run_env_delete,
	[RPC_ENV_TO_OBJECT] = run_env_to_object,
	[RPC_READ_FILE] = run_read_file,
	[RPC_READ_TEXT_FILE] = run_read_file,
	[RPC_WRITE_FILE] = run_write_file,
	[RPC_WRITE_TEXT_FILE] = run_write_file,
	[RPC_READ_DIR] = run_read_dir,
	[RPC_MKDIR] = run_mkdir,
	[RPC_REMOVE] = run_remove,
	[RPC_STAT] = run_stat,
	[RPC_LSTAT] = run_lstat,
	[RPC_SYMLINK] = run_symlink,
	[RPC_TRUST] = run_trust,
	[RPC_DENIAL] = run_denial,
};

void dispatch_request(
	struct agent *agent, uint32_t id, uint16_t number, const uint8_t *data, size_t len)
{
	const struct rpc_method *method = rpc_method_by_id(number);
	const struct rpc_schema *schema;
	union params params = {0};

	if (!method || number >= RPC_METHOD_COUNT || !calls[number]) {
		agent_fail(agent, id, -ENOSYS, "method %u", (unsigned)number);
		return;
	}
	schema = method->params;
	if (schema &&
		(schema->size > sizeof(params) || rpc_unpack(data, len, schema, &params) < 0)) {
		agent_fail(agent, id, -EINVAL, "parameters of %s", method->name);
		return;
	}
	calls[number](agent, id, &params);
	if (schema)
		rpc_clear(schema, &params);
}
