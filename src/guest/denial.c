/* denial: what the gate refused, in a file that everybody in the sandbox may read. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "guest/calls.h"
#include "guest/identity.h"
#include "guest/system_file.h"

#define DENIALS_MAX (1024 * 1024)

void call_denial(struct agent *agent, uint32_t id, struct rpc_denial *params)
{
	auto_free char *path = mem_printf("%s/run/warren/denials.jsonl", agent->config.root);
	const struct iovec parts[] = {
		{params->line, strlen(params->line)},
		{(void *)(uintptr_t) "\n", 1},
	};
	int r = -EINVAL;

	/* One line is one denial, whatever it says. */
	if (strchr(params->line, '\n') == NULL) {
		r = agent_system_files(agent);
		if (r == 0)
			r = system_file_append(path, parts, array_len(parts), DENIALS_MAX);
		agent_user_files(agent);
	}
	if (r < 0)
		agent_fail(agent, id, r, "denial");
	else
		agent_reply_void(agent, id);
}
