/* Values: from text to struct config, and back. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "config/config_priv.h"

#define TEXT_MAX 4095

/* --- numbers ----------------------------------------------------------------------------- */

/* Decimal digits at *text, which moves behind them. 0, -EINVAL, or -ERANGE. */
static int parse_digits(const char **text, int64_t *ret)
{
	const char *p = *text;
	int64_t n = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n))
			return -ERANGE;
	*text = p;
	*ret = n;
	return 0;
}

struct size_unit {
	const char *name;
	int64_t bytes;
};

static const struct size_unit size_units[] = {
	{"TiB", INT64_C(1) << 40},
	{"GiB", INT64_C(1) << 30},
	{"MiB", INT64_C(1) << 20},
	{"KiB", INT64_C(1) << 10},
	{"B", 1},
	{"TB", INT64_C(1000000000000)},
	{"GB", INT64_C(1000000000)},
	{"MB", INT64_C(1000000)},
	{"KB", INT64_C(1000)},
	{"", 1},
};

int config_parse_size(const char *text, int64_t *ret_bytes)
{
	int64_t n;
	int r = parse_digits(&text, &n);

	if (r < 0)
		return r;
	for (size_t i = 0; i < array_len(size_units); i++) {
		if (strcmp(text, size_units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(n, size_units[i].bytes, &n))
			return -ERANGE;
		*ret_bytes = n;
		return 0;
	}
	return -EINVAL;
}

static const struct size_unit duration_units[] = {
	{"d", INT64_C(86400000)},
	{"h", INT64_C(3600000)},
	{"m", INT64_C(60000)},
	{"s", INT64_C(1000)},
	{"ms", 1},
};

/* The value in the largest unit that has no remainder. Tables end with unit 1. */
static void write_unit(int64_t n, const struct size_unit *units, FILE *out)
{
	while (units->bytes > 1 && (n == 0 || n % units->bytes != 0))
		units++;
	fprintf(out, "%" PRId64 "%s", n / units->bytes, units->name);
}

static void write_duration(int64_t ms, FILE *out)
{
	if (ms == 0)
		fputs("0s", out);
	else
		write_unit(ms, duration_units, out);
}

/* --- checks of strings ------------------------------------------------------------------- */

int config_parse_listen(const char *text, struct sockaddr_storage *ret_addr, socklen_t *ret_len,
	struct error *ret_err)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	const char *colon = strrchr(text, ':');
	const char *digits = colon ? colon + 1 : NULL;
	char host[INET6_ADDRSTRLEN + 2] = "";
	int64_t port;

	if (colon == NULL || (size_t)(colon - text) >= sizeof(host))
		return error_set(ret_err, -EINVAL, "",
			"want ADDR:PORT, such as 127.0.0.1:8080 or [::1]:8080");
	memcpy(host, text, (size_t)(colon - text));
	if (parse_digits(&digits, &port) < 0 || *digits != '\0' || port > 65535)
		return error_set(ret_err, -EINVAL, "", "the port must be a number from 0 to 65535");
	in4.sin_port = in6.sin6_port = htons((uint16_t)port);

	size_t len = strlen(host);

	memset(ret_addr, 0, sizeof(*ret_addr));
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &in6.sin6_addr) != 1)
			return error_set(
				ret_err, -EINVAL, "", "not an IPv6 address in the brackets");
		memcpy(ret_addr, &in6, sizeof(in6));
		*ret_len = sizeof(in6);
		return 0;
	}
	if (inet_pton(AF_INET, host, &in4.sin_addr) != 1)
		return error_set(ret_err, -EINVAL, "",
			"the address must be IPv4, or IPv6 in brackets; names are not looked up");
	memcpy(ret_addr, &in4, sizeof(in4));
	*ret_len = sizeof(in4);
	return 0;
}

static bool is_loopback(const struct sockaddr_storage *addr)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in4;

	if (addr->ss_family == AF_INET) {
		memcpy(&in4, addr, sizeof(in4));
		return (ntohl(in4.sin_addr.s_addr) >> 24) == 127;
	}
	memcpy(&in6, addr, sizeof(in6));
	if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
		return in6.sin6_addr.s6_addr[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

int config_check_listen(struct config *c, const char *text, struct error *ret_err)
{
	int r = config_parse_listen(text, &c->listen_addr, &c->listen_len, ret_err);

	if (r == 0)
		c->listen_loopback = is_loopback(&c->listen_addr);
	return r;
}

static bool is_region(const char *p)
{
	for (int i = 0; i < 3; i++)
		if (p[i] < 'a' || p[i] > 'z')
			return false;
	return true;
}

int config_check_regions(struct config *c, const char *text, struct error *ret_err)
{
	unsigned count = 0;

	for (const char *p = text;; p++) {
		if (!is_region(p) || (p[3] != ',' && p[3] != '\0'))
			return error_set(ret_err, -EINVAL, "",
				"want three lower-case letters for each region, separated by "
				"commas");
		if (count == CONFIG_REGIONS_MAX)
			return error_set(
				ret_err, -EINVAL, "", "more than %d regions", CONFIG_REGIONS_MAX);
		for (unsigned i = 0; i < count; i++)
			if (memcmp(c->region_list[i], p, 3) == 0)
				return error_set(
					ret_err, -EINVAL, "", "region %.3s is there twice", p);
		memcpy(c->region_list[count], p, 3);
		c->region_list[count][3] = '\0';
		count++;
		p += 3;
		if (*p == '\0')
			break;
	}
	c->region_count = count;
	return 0;
}

int config_check_user(struct config *c, const char *text, struct error *ret_err)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	(void)c;
	if (len == 0 || len > 32 || text[len] != '\0' || text[0] == '-' ||
		(text[0] >= '0' && text[0] <= '9'))
		return error_set(ret_err, -EINVAL, "", "not the name of an account");
	if (strcmp(text, "root") == 0)
		return error_set(ret_err, -EINVAL, "", "warrend does not stay root");
	return 0;
}

int config_check_public_url(struct config *c, const char *text, struct error *ret_err)
{
	const char *host = text;

	(void)c;
	if (*text == '\0')
		return 0;
	if (strncmp(text, "http://", 7) == 0)
		host = text + 7;
	else if (strncmp(text, "https://", 8) == 0)
		host = text + 8;
	else
		return error_set(ret_err, -EINVAL, "", "must start with http:// or https://");
	/* Clients replace the path of a base and split links at commas and semicolons. */
	if (*host == '\0' || strlen(host) > 300 ||
		strspn(host,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") !=
			strlen(host))
		return error_set(ret_err, -EINVAL, "",
			"want only a host name and perhaps a port after the scheme, and no / at "
			"the end");
	return 0;
}

static int check_choice(const char *text, const char *choices, struct error *ret_err)
{
	size_t len = strlen(text);

	for (const char *p = choices; *p != '\0';) {
		size_t n = strcspn(p, "|");

		if (n == len && memcmp(p, text, n) == 0)
			return 0;
		p += n;
		p += *p == '|';
	}
	return error_set(ret_err, -EINVAL, "", "must be one of %s", choices);
}

/* --- setting ----------------------------------------------------------------------------- */

/* Values must survive --print-config and a read of what it printed. */
static int check_text(const char *text, struct error *ret_err)
{
	size_t len = strlen(text);

	if (len > TEXT_MAX)
		return error_set(ret_err, -EINVAL, "", "longer than %d bytes", TEXT_MAX);
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return error_set(ret_err, -EINVAL, "", "has a control character");
		if (text[i] == ';' && i > 0 && text[i - 1] == ' ')
			return error_set(ret_err, -EINVAL, "",
				"has a ; after a blank, which begins a comment");
	}
	if (len > 0 && (text[0] == ' ' || text[len - 1] == ' '))
		return error_set(ret_err, -EINVAL, "", "begins or ends with a blank");
	return 0;
}

static int set_string(
	struct config *c, const struct config_key *key, const char *text, struct error *ret_err)
{
	char **member = (char **)((char *)c + key->offset);
	int r = 0;

	if (key->choices != NULL)
		r = check_choice(text, key->choices, ret_err);
	else if (key->check != NULL)
		r = key->check(c, text, ret_err);
	if (r < 0)
		return r;
	free(*member);
	*member = mem_strdup(text);
	return 0;
}

static int set_path(struct config *c, const struct config_key *key, const char *text,
	enum config_source source, struct error *ret_err)
{
	char **member = (char **)((char *)c + key->offset);
	auto_free char *path = NULL;
	char cwd[PATH_MAX];

	if (text[0] == '/' || (text[0] == '\0' && key->optional)) {
		path = mem_strdup(text);
	} else if (text[0] == '\0' || source == SOURCE_FILE) {
		return error_set(ret_err, -EINVAL, "", "must be an absolute path");
	} else {
		if (getcwd(cwd, sizeof(cwd)) == NULL)
			return error_set(ret_err, -errno, "", "the working folder has no path");
		path = mem_printf("%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, text);
	}
	for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
	if (strlen(path) > PATH_MAX - 256)
		return error_set(ret_err, -ENAMETOOLONG, "", "the path is too long");
	/* Again: the working folder is part of it now, and slashes at the end are not. */
	if (check_text(path, ret_err) < 0)
		return -EINVAL;
	free(*member);
	*member = take_ptr(path);
	return 0;
}

static int parse_int(const char *text, int64_t *ret)
{
	int64_t n;
	int r = parse_digits(&text, &n);

	if (r == 0 && *text != '\0')
		return -EINVAL;
	if (r == 0)
		*ret = n;
	return r;
}

static int set_number(
	struct config *c, const struct config_key *key, const char *text, struct error *ret_err)
{
	static const struct {
		int (*parse)(const char *text, int64_t *ret);
		const char *want;
	} kinds[] = {
		[KEY_DURATION] = {clock_parse_duration, "a duration such as 30s, 5m, 2h or 1d"},
		[KEY_INT] = {parse_int, "a whole number"},
		[KEY_SIZE] = {config_parse_size,
			"a size such as 160MiB, 1GiB or a number of bytes"},
	};
	int64_t n = 0;
	int r = kinds[key->type].parse(text, &n);

	if (r == -EINVAL)
		return error_set(ret_err, r, "", "must be %s", kinds[key->type].want);
	if (r < 0 || n < key->min || n > key->max) {
		auto_free char *range = NULL;
		size_t len;
		FILE *out = open_memstream(&range, &len);

		if (out == NULL)
			abort();
		for (int i = 0; i < 2; i++) {
			int64_t bound = i == 0 ? key->min : key->max;

			if (key->type == KEY_DURATION)
				write_duration(bound, out);
			else if (key->type == KEY_SIZE)
				write_unit(bound, size_units, out);
			else
				fprintf(out, "%" PRId64, bound);
			if (i == 0)
				fputs(" to ", out);
		}
		fclose(out);
		return error_set(ret_err, -EINVAL, "", "must be from %s", range);
	}
	memcpy((char *)c + key->offset, &n, sizeof(n));
	return 0;
}

static int set_bool(
	struct config *c, const struct config_key *key, const char *text, struct error *ret_err)
{
	static const char *const words[2][4] = {
		{"false", "no", "off", "0"},
		{"true", "yes", "on", "1"},
	};

	for (unsigned value = 0; value < 2; value++) {
		for (size_t i = 0; i < array_len(words[value]); i++) {
			if (strcmp(text, words[value][i]) != 0)
				continue;
			*(bool *)((char *)c + key->offset) = value;
			return 0;
		}
	}
	return error_set(ret_err, -EINVAL, "", "must be true or false");
}

static int set_value(struct config *c, const struct config_key *key, const char *text,
	enum config_source source, struct error *ret_err)
{
	int r = check_text(text, ret_err);

	if (r < 0)
		return r;
	switch (key->type) {
	case KEY_STRING:
		return set_string(c, key, text, ret_err);
	case KEY_PATH:
		return set_path(c, key, text, source, ret_err);
	case KEY_DURATION:
	case KEY_INT:
	case KEY_SIZE:
		return set_number(c, key, text, ret_err);
	case KEY_BOOL:
		return set_bool(c, key, text, ret_err);
	}
	abort();
}

/* "--listen", "WARREN_LISTEN" or "listen", as the person wrote it. */
static char *spelling(const struct config_key *key, const struct config_origin *origin)
{
	enum config_source source = origin->source;
	char *text;

	if (source == SOURCE_FLAG)
		return mem_printf("--%s", key->info.name);
	if (origin->source == SOURCE_AMBIENT)
		return mem_strdup(origin->file);
	if (source != SOURCE_ENV)
		return mem_strdup(key->info.name);
	text = mem_printf("WARREN_%s", key->info.name);
	for (char *p = text; *p != '\0'; p++) {
		if (*p == '-')
			*p = '_';
		else if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	}
	return text;
}

int config_set(struct config *c, const struct config_key *key, const char *text,
	const struct config_origin *origin, struct error *ret_err)
{
	struct error why = {0};
	int r = set_value(c, key, text, origin->source, &why);
	size_t count;

	if (r == 0) {
		if (origin->source > SOURCE_AMBIENT)
			c->given |= UINT64_C(1) << (key - config_keys(&count));
		return 0;
	}

	auto_free char *name = spelling(key, origin);
	auto_free char *got =
		key->url_password ? mem_strdup("") : mem_printf(" (got '%.100s')", text);

	if (origin->source == SOURCE_FILE)
		return error_set_field(ret_err, r, "", name, "%s, line %u: %s: %s%s", origin->file,
			origin->line, name, why.message, got);
	if (origin->source == SOURCE_AMBIENT)
		return error_set_field(ret_err, r, "", name,
			"environment variable %s, the default of %s: %s%s; set %s, empty for none",
			name, key->info.name, why.message, got, key->info.name);
	return error_set_field(ret_err, r, "", name, "%s: %s%s", name, why.message, got);
}

void config_write_value(const struct config *c, const struct config_key *key, FILE *out)
{
	const void *member = (const char *)c + key->offset;

	switch (key->type) {
	case KEY_STRING:
	case KEY_PATH:
		if (key->url_password) {
			config_write_proxy(*(char *const *)member, out);
			return;
		}
		fputs(*(char *const *)member, out);
		return;
	case KEY_DURATION:
		write_duration(*(const int64_t *)member, out);
		return;
	case KEY_INT:
		fprintf(out, "%" PRId64, *(const int64_t *)member);
		return;
	case KEY_SIZE:
		write_unit(*(const int64_t *)member, size_units, out);
		return;
	case KEY_BOOL:
		fputs(*(const bool *)member ? "true" : "false", out);
		return;
	}
}
