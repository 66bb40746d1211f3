/* warren serve: hands over to warrend. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"

/* Options that print something and need no rights for it. */
static bool only_prints(const struct cli_call *call)
{
	for (int i = 0; i < call->argc; i++)
		if (strcmp(call->argv[i], "--print-config") == 0 ||
			strcmp(call->argv[i], "--version") == 0)
			return true;
	return false;
}

int cli_run_serve(const struct cli_call *call)
{
	auto_free char **argv = mem_zalloc_array((size_t)call->argc + 2, sizeof(*argv));
	auto_free char *program = NULL;
	struct error err = {0};

	if (geteuid() != 0 && !only_prints(call)) {
		fputs("warren serve: must be started as root, because it makes namespaces, mounts "
		      "and\n"
		      "control groups; it gives root up before it serves anybody. Start it with "
		      "sudo,\n"
		      "or as the service: systemctl start warren\n",
			stderr);
		return CLI_FAILURE;
	}
	if (cli_find_program("warrend", &program, &err) < 0)
		return cli_fail(&err);
	argv[0] = program;
	for (int i = 0; i < call->argc; i++)
		argv[i + 1] = call->argv[i];
	execve(program, argv, call->envp);
	fprintf(stderr, "warren serve: cannot start %s: %s\n", program, strerror(errno));
	return CLI_FAILURE;
}
