#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"

static const struct cli_option options[] = {
	{"dir", "DIR", "Where."},
	{"json", NULL, "A switch."},
	{0},
};

static const struct cli_command commands[] = {
	{.name = "plain", .args = "ARG", .options = options, .min_args = 1, .max_args = 2},
	{.name = "box open"},
	{.name = "box close"},
	{.name = "raw", .raw = true},
	{.name = "many", .args = "ARG", .options = options, .repeated = "dir", .max_args = 3},
	{0},
};

#define WORDS(...) ((char *const[]){__VA_ARGS__, NULL})

static int count(char *const *words)
{
	int n = 0;

	while (words[n] != NULL)
		n++;
	return n;
}

static void test_find(void **state)
{
	static const struct {
		const char *words[3];
		int want; /* index, -1: none */
		int length;
	} cases[] = {
		{{"plain", "x"}, 0, 1},
		{{"box", "open", "x"}, 1, 2},
		{{"box", "close"}, 2, 2},
		{{"box"}, -1, 0},
		{{"box", "ope"}, -1, 0},
		{{"box open"}, -1, 0},
		{{"plai"}, -1, 0},
		{{""}, -1, 0},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		int argc = 0;
		int words = 0;
		const struct cli_command *found;

		while (argc < 3 && cases[i].words[argc] != NULL)
			argc++;
		found = cli_find(commands, argc, (char *const *)cases[i].words, &words);
		assert_ptr_equal(found, cases[i].want < 0 ? NULL : &commands[cases[i].want]);
		assert_int_equal(words, cases[i].length);
	}
}

static int parse(int which, char *const *words, char **positional, struct cli_call *call,
	bool *help, struct error *err)
{
	*call = (struct cli_call){0};
	*help = false;
	*err = (struct error){0};
	return cli_parse(&commands[which], count(words), words, positional, call, help, err);
}

static void test_parse(void **state)
{
	char *positional[8];
	struct cli_call call;
	struct error err;
	bool help;

	assert_int_equal(
		parse(0, WORDS("a", "--dir", "/x", "--json"), positional, &call, &help, &err), 0);
	assert_int_equal(call.argc, 1);
	assert_string_equal(call.argv[0], "a");
	assert_string_equal(cli_value(&call, "dir"), "/x");
	assert_string_equal(cli_value(&call, "json"), "");
	assert_null(cli_value(&call, "nope"));
	assert_false(help);

	assert_int_equal(
		parse(0, WORDS("--dir=", "--dir=/a=b", "a", "-"), positional, &call, &help, &err),
		0);
	assert_string_equal(cli_value(&call, "dir"), "/a=b");
	assert_null(cli_value(&call, "json"));
	assert_int_equal(call.argc, 2);

	assert_int_equal(parse(0, WORDS("--", "--dir", "-h"), positional, &call, &help, &err), 0);
	assert_int_equal(call.argc, 2);
	assert_string_equal(call.argv[1], "-h");

	/* Help is given whatever else is wrong behind it or missing. */
	assert_int_equal(
		parse(0, WORDS("--help", "--nonsense"), positional, &call, &help, &err), 0);
	assert_true(help);
	assert_int_equal(parse(0, WORDS("-h"), positional, &call, &help, &err), 0);
	assert_true(help);
}

static void test_parse_errors(void **state)
{
	static char *const none[] = {NULL};
	char *const *const cases[] = {
		WORDS("a", "--nope"),
		WORDS("a", "--di", "x"),
		WORDS("a", "-j"),
		WORDS("a", "--dir"),
		WORDS("a", "--dir", "--json"),
		WORDS("a", "--json=1"),
		WORDS("a", "b", "c"),
		none,
	};
	static const char *const texts[] = {"--nope: no such option", "--di: no such option",
		"-j: no such option", "--dir: needs a value", "--dir: needs a value",
		"--json=1: takes no value", "c: one argument too many", "missing argument: ARG"};
	char *positional[8];
	struct cli_call call;
	struct error err;
	bool help;

	for (size_t i = 0; i < array_len(cases); i++) {
		assert_int_equal(parse(0, cases[i], positional, &call, &help, &err), -EINVAL);
		assert_string_equal(err.message, texts[i]);
	}
}

static void test_raw(void **state)
{
	char *positional[8];
	struct cli_call call;
	struct error err;
	bool help;

	assert_int_equal(
		parse(3, WORDS("--listen", "x", "-z", "--"), positional, &call, &help, &err), 0);
	assert_int_equal(call.argc, 4);
	assert_string_equal(call.argv[3], "--");
	assert_int_equal(
		parse(3, WORDS("--listen", "x", "--help"), positional, &call, &help, &err), 0);
	assert_true(help);
}

static void test_quoting(void **state)
{
	static const struct {
		const char *text;
		const char *want;
	} cases[] = {
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"", "''"},
		{"a b", "'a b'"},
		{"it's", "'it'\\''s'"},
		{"$(id)", "'$(id)'"},
		{"http://[::1]:80", "'http://[::1]:80'"},
		{"~root", "'~root'"},
		{"a\nb", "'a\nb'"},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		char *text = NULL;
		size_t len;
		FILE *out = open_memstream(&text, &len);

		cli_print_quoted(cases[i].text, out);
		fclose(out);
		assert_string_equal(text, cases[i].want);
		free(text);
	}
}

/* Every command of the program says what it does, and its help fits a terminal. */
static void test_table(void **state)
{
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
		char *text = NULL;
		size_t len;
		size_t options_count = 0;
		FILE *out = open_memstream(&text, &len);
		const char *line;

		assert_non_null(c->summary);
		assert_non_null(c->run);
		assert_true(c->min_args <= c->max_args || c->raw);
		while (c->options != NULL && c->options[options_count].name != NULL)
			assert_non_null(c->options[options_count++].help);
		assert_true(options_count <= CLI_OPTIONS_MAX);
		cli_print_help(c, out);
		fclose(out);
		line = strchr(text, '\n'); /* the usage line may be longer */
		while (line != NULL && line[1] != '\0') {
			assert_true(strcspn(line + 1, "\n") <= 80);
			line = strchr(line + 1, '\n');
		}
		free(text);
	}
}

static void test_repeated(void **state)
{
	char *positional[8];
	struct cli_call call;
	struct error err;
	bool help;

	/* As many of both kinds as there are words. */
	assert_int_equal(parse(4, WORDS("--dir=1", "a", "--dir=2", "b", "--dir=3", "c"), positional,
				 &call, &help, &err),
		0);
	assert_int_equal(call.argc, 3);
	assert_string_equal(call.argv[0], "a");
	assert_string_equal(call.argv[2], "c");
	assert_int_equal(call.repeated_count, 3);
	assert_string_equal(cli_repeated(&call, 0), "1");
	assert_string_equal(cli_repeated(&call, 1), "2");
	assert_string_equal(cli_repeated(&call, 2), "3");
	assert_null(cli_repeated(&call, 3));
	/* Others keep their last value only. */
	assert_int_equal(
		parse(0, WORDS("a", "--dir", "1", "--dir", "2"), positional, &call, &help, &err),
		0);
	assert_int_equal(call.repeated_count, 0);
	assert_string_equal(cli_value(&call, "dir"), "2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_errors),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_quoting),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
