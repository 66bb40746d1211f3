/* warren env: what a shell needs to point the official clients at the server. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/endpoint.h"

int cli_read_token(const char *state_dir, char ret_token[CLI_TOKEN_SIZE], struct error *ret_err)
{
	auto_free char *path = mem_printf("%s/token", state_dir);
	auto_free char *text = NULL;
	size_t len;
	int r = fd_read_file(AT_FDCWD, path, CLI_TOKEN_SIZE - 1, &text, &len);

	if (r < 0)
		return error_set(ret_err, r, "", "cannot read %s: %s%s", path, strerror(-r),
			r == -EACCES ? "; run this as root" : "");
	text[strcspn(text, "\r\n")] = '\0';
	if (strncmp(text, "ddo_", 4) != 0)
		return error_set(ret_err, -EINVAL, "", "%s holds no token", path);
	memcpy(ret_token, text, strlen(text) + 1);
	mem_wipe(text, len);
	return 0;
}

static void print_export(const char *name, const char *value)
{
	printf("export %s=", name);
	cli_print_quoted(value, stdout);
	putchar('\n');
}

int cli_run_env(const struct cli_call *call)
{
	struct config config;
	struct endpoint endpoint = {0};
	struct error err = {0};
	char token[CLI_TOKEN_SIZE] = "";
	int r = cli_load_config(call, &config, &err);

	if (r == 0)
		r = endpoint_read(config.state_dir, &endpoint, &err);
	if (r == 0)
		r = cli_read_token(config.state_dir, token, &err);
	config_done(&config);
	if (r < 0)
		return cli_fail(&err);
	print_export("DENO_DEPLOY_TOKEN", token);
	print_export("DENO_SANDBOX_ENDPOINT", endpoint.url);
	print_export("DENO_DEPLOY_ENDPOINT", endpoint.url);
	print_export("DENO_SANDBOX_BASE_DOMAIN", endpoint.domain);
	mem_wipe(token, sizeof(token));
	return CLI_OK;
}
