/* Bringing the sources together: defaults, then the file, the environment, the flags. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/config_priv.h"

#define ENV_PREFIX "WARREN_"

/* What the command line said, in its order; all strings borrowed from argv. */
struct flag {
	const struct config_key *key;
	const char *value;
};

struct flags {
	struct flag *list;
	size_t count;
	const char *config_file;
};

static int usage(struct error *ret_err, const char *arg, const char *what)
{
	return error_set_field(ret_err, -EINVAL, "", arg, "%.80s: %s", arg, what);
}

static bool is_bool_word(const char *text)
{
	static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "1", "0"};

	for (size_t i = 0; i < array_len(words); i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

/* The flags that are no key and take no value. NULL when name is none of them. */
static bool *find_switch(struct config *c, const char *name, size_t len)
{
	const struct {
		const char *name;
		bool *member;
	} switches[] = {
		{"help", &c->help},
		{"version", &c->version},
		{"print-config", &c->print_config},
	};

	for (size_t i = 0; i < array_len(switches); i++)
		if (strlen(switches[i].name) == len && memcmp(switches[i].name, name, len) == 0)
			return switches[i].member;
	return NULL;
}

/*
 * The value of the flag at argv[*at]: after '=', or the next argument. A yes-or-no flag stands
 * alone, but a word for yes or no behind it is its value (there are no positional arguments that
 * it could be taken for).
 */
static int flag_value(int argc, char *const *argv, int *at, bool boolean, const char **ret_value)
{
	const char *equals = strchr(argv[*at], '=');
	const char *next = *at + 1 < argc ? argv[*at + 1] : NULL;

	if (equals != NULL) {
		*ret_value = equals + 1;
		return 0;
	}
	if (boolean && (next == NULL || !is_bool_word(next))) {
		*ret_value = "true";
		return 0;
	}
	if (next == NULL || strncmp(next, "--", 2) == 0)
		return -EINVAL;
	(*at)++;
	*ret_value = next;
	return 0;
}

static int scan_flags(
	struct config *c, int argc, char *const *argv, struct flags *flags, struct error *ret_err)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		const char *name = arg + 2;
		const struct config_key *key;
		size_t len;
		const char *value;
		bool *switched;

		if (strcmp(arg, "-h") == 0) {
			c->help = true;
			continue;
		}
		if (strncmp(arg, "--", 2) != 0 || arg[2] == '\0')
			return usage(ret_err, arg, "unexpected argument");
		len = strcspn(name, "=");
		switched = find_switch(c, name, len);
		if (switched != NULL) {
			if (name[len] != '\0')
				return usage(ret_err, arg, "takes no value");
			*switched = true;
			continue;
		}
		key = config_find_key(name, len);
		if (key == NULL && !(len == 6 && memcmp(name, "config", 6) == 0))
			return usage(ret_err, arg, "no such option");
		if (flag_value(argc, argv, &i, key != NULL && key->type == KEY_BOOL, &value) < 0)
			return usage(ret_err, arg, "needs a value");
		if (key == NULL)
			flags->config_file = value;
		else
			flags->list[flags->count++] = (struct flag){key, value};
	}
	return 0;
}

/* "STATE_DIR" (len bytes) to its key; NULL when there is none. */
static const struct config_key *find_env_key(const char *name, size_t len)
{
	char key[64];

	if (len >= sizeof(key))
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '_')
			key[i] = '-';
		else if (name[i] >= 'A' && name[i] <= 'Z')
			key[i] = (char)(name[i] - 'A' + 'a');
		else
			return NULL;
	}
	return config_find_key(key, len);
}

struct env_var {
	const char *name; /* after the prefix */
	size_t len;
	const char *value;
};

/* The next WARREN_ variable at or after *at; false at the end. */
static bool next_env(char *const *envp, size_t *at, struct env_var *ret)
{
	for (; envp != NULL && envp[*at] != NULL; (*at)++) {
		const char *name = envp[*at] + strlen(ENV_PREFIX);
		const char *equals = strchr(envp[*at], '=');

		if (equals == NULL || strncmp(envp[*at], ENV_PREFIX, strlen(ENV_PREFIX)) != 0)
			continue;
		*ret = (struct env_var){name, (size_t)(equals - name), equals + 1};
		(*at)++;
		return true;
	}
	return false;
}

static bool is_config_var(const struct env_var *var)
{
	return var->len == 6 && memcmp(var->name, "CONFIG", 6) == 0;
}

static int apply_env(struct config *c, char *const *envp, struct error *ret_err)
{
	const struct config_origin origin = {.source = SOURCE_ENV};
	struct env_var var;

	for (size_t at = 0; next_env(envp, &at, &var);) {
		const struct config_key *key = find_env_key(var.name, var.len);
		int r;

		if (is_config_var(&var))
			continue;
		if (key == NULL) {
			auto_free char *name = mem_printf(
				ENV_PREFIX "%.*s", (int)(var.len > 80 ? 80 : var.len), var.name);

			return error_set_field(ret_err, -EINVAL, "", name,
				"environment variable %s is no setting of Warren", name);
		}
		r = config_set(c, key, var.value, &origin, ret_err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int apply_file(
	struct config *c, const struct flags *flags, char *const *envp, struct error *ret_err)
{
	const char *path = flags->config_file;
	struct env_var var;

	for (size_t at = 0; path == NULL && next_env(envp, &at, &var);)
		if (is_config_var(&var))
			path = var.value;
	if (path == NULL)
		return config_read_file(c, CONFIG_FILE_DEFAULT, false, ret_err);
	return config_read_file(c, path, true, ret_err);
}

static void apply_defaults(struct config *c)
{
	const struct config_origin origin = {.source = SOURCE_DEFAULT};
	size_t count;
	const struct config_key *keys = config_keys(&count);

	for (size_t i = 0; i < count; i++)
		if (config_set(c, &keys[i], keys[i].info.default_value, &origin, NULL) < 0)
			abort();
}

/* The value of a variable; NULL when it is absent or empty. */
static const char *find_variable(char *const *envp, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; envp != NULL && envp[i] != NULL; i++)
		if (strncmp(envp[i], name, len) == 0 && envp[i][len] == '=' &&
			envp[i][len + 1] != '\0')
			return envp[i] + len + 1;
	return NULL;
}

/* Other programs' spellings of the same: a proxy without scheme or with a path of "/". */
static char *tidy_proxy(const char *text)
{
	size_t len = strlen(text);

	if (text[len - 1] == '/' && len > 1 && text[len - 2] != '/')
		len--;
	return strstr(text, "://") != NULL ? mem_strndup(text, len)
					   : mem_printf("http://%.*s", (int)len, text);
}

/* What nobody has set, from the variables that all programs on the machine share. They were not
 * written for this one, so they are only looked at when they count. */
static int apply_ambient(struct config *c, char *const *envp, struct error *ret_err)
{
	size_t count;
	const struct config_key *keys = config_keys(&count);

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < array_len(keys[i].ambient); k++) {
			const char *name = keys[i].ambient[k];
			const char *value = name != NULL ? find_variable(envp, name) : NULL;
			const struct config_origin origin = {SOURCE_AMBIENT, name, 0};
			int r;

			if (value == NULL || (c->given & UINT64_C(1) << i) != 0)
				continue;

			auto_free char *text =
				keys[i].url_password ? tidy_proxy(value) : mem_strdup(value);

			r = config_set(c, &keys[i], text, &origin, ret_err);
			if (r < 0)
				return r;
			break;
		}
	}
	return 0;
}

static int apply_flags(struct config *c, const struct flags *flags, struct error *ret_err)
{
	const struct config_origin origin = {.source = SOURCE_FLAG};

	for (size_t i = 0; i < flags->count; i++) {
		int r = config_set(c, flags->list[i].key, flags->list[i].value, &origin, ret_err);

		if (r < 0)
			return r;
	}
	return 0;
}

int config_load(
	struct config *c, int argc, char *const *argv, char *const *envp, struct error *ret_err)
{
	auto_free struct flag *list = mem_zalloc_array((size_t)argc + 1, sizeof(*list));
	struct flags flags = {.list = list};
	int r;

	memset(c, 0, sizeof(*c));
	apply_defaults(c);
	r = scan_flags(c, argc, argv, &flags, ret_err);
	if (r < 0 || c->help || c->version)
		return r;
	r = apply_file(c, &flags, envp, ret_err);
	if (r == 0)
		r = apply_env(c, envp, ret_err);
	if (r == 0)
		r = apply_flags(c, &flags, ret_err);
	if (r == 0)
		r = apply_ambient(c, envp, ret_err);
	return r;
}

void config_done(struct config *c)
{
	char **const strings[] = {&c->state_dir, &c->listen, &c->isolation, &c->image_dir,
		&c->regions, &c->user, &c->log_level, &c->public_url, &c->egress_default,
		&c->egress_private, &c->egress_http_proxy, &c->egress_https_proxy,
		&c->egress_no_proxy, &c->host_ca, &c->extra_ca};

	for (size_t i = 0; i < array_len(strings); i++) {
		if (*strings[i] != NULL) /* proxies have passwords */
			mem_wipe(*strings[i], strlen(*strings[i]));
		free(*strings[i]);
		*strings[i] = NULL;
	}
}
