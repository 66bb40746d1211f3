/*
 * The commands of `warren`: one table (commands.c) of names, options and functions. Parsing, --help
 * and usage errors come from the tables. Answers go to standard output, everything else to standard
 * error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "config/config.h"

/* Exit codes of every command; the last three of those that ask a server. */
enum {
	CLI_OK = 0,
	CLI_FAILURE = 1,
	CLI_USAGE = 2,
	CLI_AUTH = 3,      /* the token is not accepted */
	CLI_NOT_FOUND = 4, /* no such sandbox */
	CLI_NETWORK = 6    /* the server cannot be reached, or the connection broke */
};

#define CLI_OPTIONS_MAX 8

struct cli_option {
	const char *name;
	const char *arg; /* stands for the value in help; NULL: a switch */
	const char *help;
};

struct cli_call;

struct cli_command {
	const char *name; /* one word, or two: "token create" */
	const char *args; /* positional arguments as shown in usage; NULL: none */
	const char *summary;
	const char *help;                 /* paragraphs behind the usage line; NULL: the summary */
	const struct cli_option *options; /* CLI_OPTIONS_MAX at most, ended by a NULL name */
	const char *repeated; /* the option that may be given several times: cli_repeated() */
	int min_args;
	int max_args;
	bool raw;                     /* run() gets all arguments unread, --help excepted */
	void (*more_help)(FILE *out); /* printed at the end of the help; may be NULL */
	int (*run)(const struct cli_call *call); /* returns an exit code */
};

/* One use of a command; everything is borrowed from the command line. */
struct cli_call {
	const struct cli_command *command;
	const char *values[CLI_OPTIONS_MAX]; /* of its options, in their order; NULL: not given */
	int argc;                            /* positional arguments */
	char *const *argv;
	char *const *envp;
	char *const *repeated_end; /* behind the values of a repeated option, the first one last */
	int repeated_count;
};

/* The value of a repeated option at index, in the order of the command line; NULL past the end. */
const char *cli_repeated(const struct cli_call *call, int index);
/* The value of an option of the command ("" for a switch), NULL when it was not given. */
const char *cli_value(const struct cli_call *call, const char *option);

/* The command that args begin with and how many words its name has; NULL when there is none. */
const struct cli_command *cli_find(
	const struct cli_command *commands, int argc, char *const *argv, int *ret_words);
/* Reads the arguments behind the name into *ret. positional has room for argc pointers and is what
 * ret->argv becomes. 0, or -EINVAL with the reason. *ret_help: --help was asked for. */
int cli_parse(const struct cli_command *command, int argc, char *const *argv, char **positional,
	struct cli_call *ret, bool *ret_help, struct error *ret_err);
/* The usage line and the whole help of a command; the list of commands (group "": all, "token":
 * those of that first word). */
void cli_print_usage(const struct cli_command *command, FILE *out);
void cli_print_help(const struct cli_command *command, FILE *out);
void cli_print_list(const struct cli_command *commands, const char *group, FILE *out);

/* The program: argv as main() gets it. Returns the exit code. */
int cli_main(int argc, char **argv, char *const *envp);

/* --- for the commands
 * ----------------------------------------------------------------------------- */

/* All commands, ended by a NULL name. */
extern const struct cli_command cli_commands[];

/* "warren: <message>" on standard error; returns CLI_FAILURE. */
int cli_fail(const struct error *err);

/* The server's configuration as `warren serve` would see it with those of --config, --state-dir,
 * --image-dir and --listen that the call has. config_done() in every case. */
int cli_load_config(const struct cli_call *call, struct config *ret, struct error *ret_err);

/* Path of a program of Warren (heap): beside this one, or in the folder of installed programs.
 * -ENOENT with the places that were tried. */
int cli_find_program(const char *name, char **ret_path, struct error *ret_err);
/* The image builder (heap): in the source tree this program was built in, or installed. */
int cli_find_image_builder(char **ret_path, struct error *ret_err);

/* The token made at a server's first start, from its state folder. Wipe ret_token after use. 0 or a
 * negative errno. */
#define CLI_TOKEN_SIZE 128
int cli_read_token(const char *state_dir, char ret_token[CLI_TOKEN_SIZE], struct error *ret_err);

/* Prints text so that a shell takes it as one word. */
void cli_print_quoted(const char *text, FILE *out);

int cli_run_serve(const struct cli_call *call);
int cli_run_env(const struct cli_call *call);
int cli_run_token_create(const struct cli_call *call);
int cli_run_token_list(const struct cli_call *call);
int cli_run_token_revoke(const struct cli_call *call);
int cli_run_image_build(const struct cli_call *call);
int cli_run_image_list(const struct cli_call *call);
int cli_run_events(const struct cli_call *call);
int cli_run_network(const struct cli_call *call);
int cli_run_doctor(const struct cli_call *call);
int cli_run_version(const struct cli_call *call);
int cli_run_help(const struct cli_call *call);
