/* What several commands need. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/cli.h"

int cli_fail(const struct error *err)
{
	fprintf(stderr, "warren: %s\n", err->message);
	return CLI_FAILURE;
}

int cli_load_config(const struct cli_call *call, struct config *ret, struct error *ret_err)
{
	static const char *const passed[] = {"config", "state-dir", "image-dir", "listen"};
	char *flags[array_len(passed)] = {NULL};
	char *argv[1 + array_len(passed)] = {(char *)"warren"};
	int argc = 1;
	int r;

	for (size_t i = 0; i < array_len(passed); i++) {
		const char *value = cli_value(call, passed[i]);

		if (value == NULL)
			continue;
		flags[i] = mem_printf("--%s=%s", passed[i], value);
		argv[argc++] = flags[i];
	}
	r = config_load(ret, argc, argv, call->envp, ret_err);
	for (size_t i = 0; i < array_len(passed); i++)
		free(flags[i]);
	return r;
}

/* The folder this program is in, NULL when /proc is not there. */
static char *own_folder(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return NULL;
	self[n] = '\0';
	return mem_strdup(dirname(self));
}

/* Where programs may be: as built, as installed below any prefix, as installed. */
static int find_file(const char *const *places, size_t count, const char *what, char **ret,
	struct error *ret_err)
{
	auto_free char *folder = own_folder();
	auto_free char *tried = mem_strdup("");

	for (size_t i = 0; i < count; i++) {
		auto_free char *path = NULL;
		char *more;

		if (places[i][0] != '/' && folder == NULL)
			continue;
		path = places[i][0] == '/' ? mem_strdup(places[i])
					   : mem_printf("%s/%s", folder, places[i]);
		if (access(path, X_OK) == 0) {
			*ret = take_ptr(path);
			return 0;
		}
		more = mem_printf("%s%s%s", tried, tried[0] ? ", " : "", path);
		free(tried);
		tried = more;
	}
	return error_set(ret_err, -ENOENT, "", "%s is not installed (looked for %s)", what, tried);
}

int cli_find_program(const char *name, char **ret_path, struct error *ret_err)
{
	auto_free char *relocated = mem_printf("../libexec/warren/%s", name);
	auto_free char *installed = mem_printf("%s/%s", WARREN_LIBEXEC_DIR, name);
	const char *const places[] = {name, relocated, installed};

	return find_file(places, array_len(places), name, ret_path, ret_err);
}

int cli_find_image_builder(char **ret_path, struct error *ret_err)
{
	/* build/bin/warren and image/build are of one source tree. */
	static const char *const places[] = {
		"../../image/build",
		"../libexec/warren/image/build",
		WARREN_LIBEXEC_DIR "/image/build",
	};

	return find_file(places, array_len(places), "the image builder", ret_path, ret_err);
}

void cli_print_quoted(const char *text, FILE *out)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-./:@%+=,";

	if (text[0] != '\0' && strspn(text, plain) == strlen(text)) {
		fputs(text, out);
		return;
	}
	fputc('\'', out);
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			fputs("'\\''", out);
		else
			fputc(*text, out);
	}
	fputc('\'', out);
}
