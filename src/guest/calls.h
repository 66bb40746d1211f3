/*
 * What the agent carries out, one call per method. params is the unpacked parameter struct of the
 * method; the call may move strings out of it (leaving NULL), the rest is freed by the caller. The
 * answer is given by agent_reply*() or agent_fail*(), at once or later.
 */
#pragma once

#include "guest/agent.h"

void call_configure(struct agent *agent, uint32_t id, struct rpc_configure *params);
void call_env_get(struct agent *agent, uint32_t id, struct rpc_env_key *params);
void call_env_set(struct agent *agent, uint32_t id, struct rpc_env_set *params);
void call_env_delete(struct agent *agent, uint32_t id, struct rpc_env_key *params);
void call_env_to_object(struct agent *agent, uint32_t id);
void call_spawn(struct agent *agent, uint32_t id, struct rpc_spawn *params);
void call_process_wait(struct agent *agent, uint32_t id, struct rpc_pid *params);
void call_process_kill(struct agent *agent, uint32_t id, struct rpc_process_kill *params);
void call_read_file(struct agent *agent, uint32_t id, struct rpc_read_file *params);
void call_write_file(struct agent *agent, uint32_t id, struct rpc_write_file *params);
void call_read_dir(struct agent *agent, uint32_t id, struct rpc_path *params);
void call_mkdir(struct agent *agent, uint32_t id, struct rpc_mkdir *params);
void call_remove(struct agent *agent, uint32_t id, struct rpc_remove *params);
void call_stat(struct agent *agent, uint32_t id, struct rpc_path *params);
void call_lstat(struct agent *agent, uint32_t id, struct rpc_path *params);
void call_symlink(struct agent *agent, uint32_t id, struct rpc_symlink *params);
void call_trust(struct agent *agent, uint32_t id, struct rpc_trust *params);
void call_denial(struct agent *agent, uint32_t id, struct rpc_denial *params);
