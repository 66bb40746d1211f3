/* The table of commands and the way from the command line to one of them. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

#define STATE_DIR \
	{ \
		"state-dir", "DIR", \
			"State folder of the server (default " CONFIG_STATE_DIR_DEFAULT ")." \
	}
#define CONFIG \
	{ \
		"config", "FILE", \
			"Configuration file of the server (default " CONFIG_FILE_DEFAULT ")." \
	}
#define IMAGE_DIR \
	{ \
		"image-dir", "DIR", \
			"Folder of guest images (default " CONFIG_IMAGE_DIR_DEFAULT ")." \
	}

static const struct cli_option env_options[] = {STATE_DIR, CONFIG, {0}};
static const struct cli_option create_options[] = {
	STATE_DIR,
	CONFIG,
	{"org", "SLUG",
		"Organisation the token is for (default: \"default\"). It is made if there is "
		"none of that name."},
	{"name", "NAME", "What to call the token in lists (default: \"token\")."},
	{"expires", "DURATION", "How long it is valid, such as 12h or 30d (default: for ever)."},
	{0},
};
static const struct cli_option list_options[] = {
	STATE_DIR,
	CONFIG,
	{"org", "SLUG", "Only tokens of that organisation."},
	{"json", NULL, "Print a JSON array instead of a table."},
	{0},
};
static const struct cli_option image_options[] = {IMAGE_DIR, CONFIG, {0}};
static const struct cli_option doctor_options[] = {
	STATE_DIR,
	IMAGE_DIR,
	{"listen", "ADDR:PORT", "Address the server is to listen on (default 127.0.0.1:8080)."},
	CONFIG,
	{0},
};

static const struct cli_option events_options[] = {
	{"type", "TYPE",
		"Only events of that type: created, started, flow, denied, placeholder, scrubbed, "
		"dropped, policy, gate-ended or ended."},
	{"follow", NULL, "Go on with what happens, until the sandbox ends."},
	{"json", NULL, "Print a JSON object a line."},
	STATE_DIR,
	CONFIG,
	{0},
};
static const struct cli_option network_options[] = {
	{"allow", "RULE",
		"A rule, such as example.com:443 or *.example.com. Those given replace the ones "
		"there are."},
	{"deny-all", NULL, "Allow nothing."},
	{"default", NULL, "Let the server's default count."},
	{"json", NULL, "Print a JSON object."},
	STATE_DIR,
	CONFIG,
	{0},
};

static void print_serve_help(FILE *out)
{
	fputs("\nOptions:\n", out);
	config_help(out);
}

const struct cli_command cli_commands[] = {
	{
		.name = "serve",
		.args = "[--KEY VALUE]...",
		.summary = "run the server in the foreground",
		.help = "Runs the server in the foreground, in this process: starts as root, gives "
			"root "
			"up before it serves anybody, prints \"ready http://ADDR:PORT\" when it "
			"accepts "
			"connections, and ends with all its sandboxes on SIGTERM or SIGINT.",
		.raw = true,
		.more_help = print_serve_help,
		.run = cli_run_serve,
	},
	{
		.name = "env",
		.summary = "print shell variables that point clients at the server",
		.help = "Prints lines for a shell that point the official clients at the server "
			"running "
			"on the state folder, with the token made at its first start:\n"
			"    eval \"$(warren env)\"",
		.options = env_options,
		.run = cli_run_env,
	},
	{
		.name = "token create",
		.summary = "make a token",
		.help = "Makes a token and prints it. It is shown this once; only a hash of it is "
			"kept. "
			"A running server knows it at once.",
		.options = create_options,
		.run = cli_run_token_create,
	},
	{
		.name = "token list",
		.summary = "list tokens",
		.options = list_options,
		.run = cli_run_token_list,
	},
	{
		.name = "token revoke",
		.args = "ID",
		.summary = "make a token invalid",
		.help = "Makes the token with the number ID (as `warren token list` shows it) "
			"invalid at "
			"once and for good. Sandboxes and open connections stay.",
		.options = env_options,
		.min_args = 1,
		.max_args = 1,
		.run = cli_run_token_revoke,
	},
	{
		.name = "image build",
		.summary = "build the guest image if it is not there",
		.help = "Builds the guest image that sandboxes start from, unless it is there "
			"already. "
			"Must be run as root; takes a minute or two.",
		.options = image_options,
		.run = cli_run_image_build,
	},
	{
		.name = "image list",
		.summary = "list guest images",
		.options = image_options,
		.run = cli_run_image_list,
	},
	{
		.name = "events",
		.args = "ID",
		.summary = "show what happened to a sandbox",
		.help = "Shows the events of a sandbox, oldest first: its life, the connections "
			"out "
			"of it, "
			"and those that were refused. Asks the server that DENO_SANDBOX_ENDPOINT "
			"and "
			"DENO_DEPLOY_TOKEN name, else the one running on the state folder.",
		.options = events_options,
		.min_args = 1,
		.max_args = 1,
		.run = cli_run_events,
	},
	{
		.name = "network",
		.args = "ID",
		.summary = "show or change where a sandbox may connect to",
		.help = "Shows the rules for connections out of a running sandbox, or changes "
			"them, "
			"for "
			"open connections too. Asks the server that DENO_SANDBOX_ENDPOINT and "
			"DENO_DEPLOY_TOKEN name, else the one running on the state folder.",
		.options = network_options,
		.repeated = "allow",
		.min_args = 1,
		.max_args = 1,
		.run = cli_run_network,
	},
	{
		.name = "doctor",
		.summary = "check whether this machine can run the server",
		.help = "Checks what the server needs of this machine, one line each: ok, warn or "
			"fail, "
			"and how to mend it. Ends with status 1 when something fails.",
		.options = doctor_options,
		.run = cli_run_doctor,
	},
	{
		.name = "version",
		.summary = "print the version",
		.run = cli_run_version,
	},
	{
		.name = "help",
		.args = "[COMMAND]",
		.summary = "explain a command, or list them all",
		.max_args = 2,
		.run = cli_run_help,
	},
	{0},
};

/* --- help and version -------------------------------------------------------------------- */

static void print_overview(FILE *out)
{
	fputs("usage: warren COMMAND [ARGUMENTS]\n\n", out);
	cli_print_list(cli_commands, "", out);
	fputs("\n`warren help COMMAND` explains one of them.\n", out);
}

/* "token" alone: the commands that begin with it. false when there are none. */
static bool print_group(const char *word, FILE *out)
{
	size_t len = strlen(word);

	for (const struct cli_command *c = cli_commands; len > 0 && c->name != NULL; c++) {
		if (strncmp(c->name, word, len) == 0 && c->name[len] == ' ') {
			fprintf(out, "usage: warren %s COMMAND [ARGUMENTS]\n\n", word);
			cli_print_list(cli_commands, word, out);
			return true;
		}
	}
	return false;
}

static int unknown_command(const char *word)
{
	fprintf(stderr, "warren: there is no command \"%s\"; `warren help` lists them\n", word);
	return CLI_USAGE;
}

int cli_run_help(const struct cli_call *call)
{
	const struct cli_command *command;
	int words;

	if (call->argc == 0) {
		print_overview(stdout);
		return CLI_OK;
	}
	command = cli_find(cli_commands, call->argc, call->argv, &words);
	if (command != NULL && words == call->argc) {
		cli_print_help(command, stdout);
		return CLI_OK;
	}
	if (call->argc == 1 && print_group(call->argv[0], stdout))
		return CLI_OK;
	return unknown_command(call->argv[call->argc - 1]);
}

int cli_run_version(const struct cli_call *call)
{
	(void)call;
	puts("warren " WARREN_VERSION);
	return CLI_OK;
}

/* --- dispatch ---------------------------------------------------------------------------- */

static int run(const struct cli_command *command, int argc, char *const *argv, char *const *envp)
{
	auto_free char **positional = mem_zalloc_array((size_t)argc + 1, sizeof(*positional));
	struct cli_call call = {.envp = envp};
	struct error err = {0};
	bool help;
	int code;

	if (cli_parse(command, argc, argv, positional, &call, &help, &err) < 0) {
		fprintf(stderr, "warren %s: %s\n", command->name, err.message);
		cli_print_usage(command, stderr);
		return CLI_USAGE;
	}
	if (help) {
		cli_print_help(command, stdout);
		return CLI_OK;
	}
	code = command->run(&call);
	/* An answer that did not arrive is a failure: a full disk, a closed pipe. */
	if (code == CLI_OK && (fflush(stdout) != 0 || ferror(stdout))) {
		fprintf(stderr, "warren: cannot write the answer: %s\n", strerror(errno));
		return CLI_FAILURE;
	}
	return code;
}

int cli_main(int argc, char **argv, char *const *envp)
{
	const struct cli_command *command;
	const char *word = argc > 1 ? argv[1] : "";
	int words;

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		word = argv[1] = (char *)"help";
	if (strcmp(word, "--version") == 0)
		word = argv[1] = (char *)"version";
	if (argc < 2) {
		print_overview(stderr);
		return CLI_USAGE;
	}
	command = cli_find(cli_commands, argc - 1, argv + 1, &words);
	if (command != NULL)
		return run(command, argc - 1 - words, argv + 1 + words, envp);
	if (argc == 2 || argv[2][0] == '-') {
		bool help =
			argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);

		if (print_group(word, help ? stdout : stderr))
			return help ? CLI_OK : CLI_USAGE;
	}
	return unknown_command(word);
}
