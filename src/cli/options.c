/* Arguments by table, and the help that comes from the same tables. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

#define WIDTH 80

/* --- finding ----------------------------------------------------------------------------- */

/* Words of name that argv begins with, 0 when it does not begin with all of them. */
static int match_words(const char *name, int argc, char *const *argv)
{
	int words = 0;

	for (;;) {
		size_t len = strcspn(name, " ");

		if (words == argc || strlen(argv[words]) != len ||
			memcmp(argv[words], name, len) != 0)
			return 0;
		words++;
		if (name[len] == '\0')
			return words;
		name += len + 1;
	}
}

const struct cli_command *cli_find(
	const struct cli_command *commands, int argc, char *const *argv, int *ret_words)
{
	for (const struct cli_command *c = commands; c->name != NULL; c++) {
		int words = match_words(c->name, argc, argv);

		if (words > 0) {
			*ret_words = words;
			return c;
		}
	}
	return NULL;
}

const char *cli_value(const struct cli_call *call, const char *option)
{
	const struct cli_option *o = call->command->options;

	for (size_t i = 0; o != NULL && o[i].name != NULL; i++)
		if (strcmp(o[i].name, option) == 0)
			return call->values[i];
	return NULL;
}

const char *cli_repeated(const struct cli_call *call, int index)
{
	return index < call->repeated_count ? call->repeated_end[-1 - index] : NULL;
}

/* --- parsing ----------------------------------------------------------------------------- */

static int usage_error(struct error *ret_err, const char *arg, const char *what)
{
	return error_set(ret_err, -EINVAL, "", "%.100s: %s", arg, what);
}

static bool is_repeated(const struct cli_command *command, int option)
{
	return command->repeated != NULL &&
	       strcmp(command->repeated, command->options[option].name) == 0;
}

static int find_option(const struct cli_command *command, const char *name, size_t len)
{
	const struct cli_option *o = command->options;

	for (int i = 0; o != NULL && o[i].name != NULL; i++)
		if (strlen(o[i].name) == len && memcmp(o[i].name, name, len) == 0)
			return i;
	return -1;
}

/* The option at argv[*at]; *at moves onto its value if that is a word of its own. Values of a
 * repeated option are stored downwards from repeated. */
static int take_option(int argc, char *const *argv, int *at, char **repeated, struct cli_call *call,
	struct error *ret_err)
{
	const char *arg = argv[*at];
	size_t len = strcspn(arg + 2, "=");
	int i = find_option(call->command, arg + 2, len);

	if (i < 0)
		return usage_error(ret_err, arg, "no such option");
	if (call->command->options[i].arg == NULL) {
		if (arg[2 + len] == '=')
			return usage_error(ret_err, arg, "takes no value");
		call->values[i] = "";
	} else if (arg[2 + len] == '=') {
		call->values[i] = arg + 2 + len + 1;
	} else if (*at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0) {
		call->values[i] = argv[++*at];
	} else {
		return usage_error(ret_err, arg, "needs a value");
	}
	if (is_repeated(call->command, i))
		repeated[-1 - call->repeated_count++] = (char *)(uintptr_t)call->values[i];
	return 0;
}

static bool asks_for_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

int cli_parse(const struct cli_command *command, int argc, char *const *argv, char **positional,
	struct cli_call *ret, bool *ret_help, struct error *ret_err)
{
	/* Both kinds of values come from argv, so that they never meet. */
	struct cli_call call = {.command = command,
		.argv = positional,
		.envp = ret->envp,
		.repeated_end = positional + argc};
	bool help = false;
	bool only_args = false;

	for (int i = 0; i < argc && !help; i++) {
		int r = 0;

		if (!only_args && asks_for_help(argv[i])) {
			help = true;
		} else if (command->raw || only_args || argv[i][0] != '-' || argv[i][1] == '\0') {
			positional[call.argc++] = argv[i];
		} else if (strcmp(argv[i], "--") == 0) {
			only_args = true;
		} else if (argv[i][1] != '-') {
			r = usage_error(ret_err, argv[i], "no such option");
		} else {
			r = take_option(argc, argv, &i, positional + argc, &call, ret_err);
		}
		if (r < 0)
			return r;
	}
	if (!help && !command->raw && call.argc < command->min_args)
		return error_set(ret_err, -EINVAL, "", "missing argument: %s", command->args);
	if (!help && !command->raw && call.argc > command->max_args)
		return usage_error(ret_err, positional[command->max_args], "one argument too many");
	*ret = call;
	*ret_help = help;
	return 0;
}

/* --- help
 * ------------------------------------------------------------------------------------------ */

void cli_print_usage(const struct cli_command *command, FILE *out)
{
	const struct cli_option *o = command->options;

	fprintf(out, "usage: warren %s", command->name);
	for (; o != NULL && o->name != NULL; o++)
		fprintf(out, " [--%s%s%s]%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "",
			is_repeated(command, (int)(o - command->options)) ? "..." : "");
	if (command->args != NULL)
		fprintf(out, " %s", command->args);
	fputc('\n', out);
}

/* Text filled to WIDTH columns, indented; a newline in it begins a new paragraph. */
static void print_filled(const char *text, int indent, FILE *out)
{
	int column = 0;

	while (*text != '\0') {
		int len = (int)strcspn(text, " \n");

		if (column > 0 && column + 1 + len > WIDTH) {
			fputc('\n', out);
			column = 0;
		}
		if (column == 0)
			column = fprintf(out, "%*s%.*s", indent, "", len, text);
		else
			column += fprintf(out, " %.*s", len, text);
		text += len;
		if (*text == '\n') {
			fputs("\n", out);
			column = 0;
		}
		text += *text != '\0';
	}
	fputc('\n', out);
}

void cli_print_help(const struct cli_command *command, FILE *out)
{
	const struct cli_option *o = command->options;

	cli_print_usage(command, out);
	fputc('\n', out);
	print_filled(command->help ? command->help : command->summary, 0, out);
	if (o != NULL)
		fputs("\nOptions:\n", out);
	for (; o != NULL && o->name != NULL; o++) {
		fprintf(out, "  --%s%s%s\n", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		print_filled(o->help, 8, out);
	}
	if (command->more_help != NULL)
		command->more_help(out);
}

void cli_print_list(const struct cli_command *commands, const char *group, FILE *out)
{
	size_t len = strlen(group);

	for (const struct cli_command *c = commands; c->name != NULL; c++)
		if (len == 0 || (strncmp(c->name, group, len) == 0 && c->name[len] == ' '))
			fprintf(out, "  %-14s %s\n", c->name, c->summary);
}
