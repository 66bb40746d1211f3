#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "config/config.h"

#define ARGS(...) ((char *const[]){"warrend", __VA_ARGS__, NULL})
#define ENV(...) ((char *const[]){__VA_ARGS__, NULL})

static int count(char *const *list)
{
	int n = 0;

	while (list[n] != NULL)
		n++;
	return n;
}

/* A file with the given text; the caller removes and frees the name. */
static char *make_file(const char *text, size_t len)
{
	char *path = mem_strdup("/tmp/test-config-XXXXXX");
	auto_close int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, len), 0);
	return path;
}

/* Loads with an empty file, so that the machine's own one has no say. */
static int load(struct config *c, char *const *argv, char *const *envp, struct error *err)
{
	char *const base[] = {"warrend", "--config", "/dev/null"};
	int argc = count(argv);
	auto_free char **all = mem_zalloc_array((size_t)argc + 3, sizeof(*all));

	memcpy(all, base, sizeof(base));
	for (int i = 1; i < argc; i++)
		all[i + 2] = argv[i];
	memset(err, 0, sizeof(*err));
	return config_load(c, argc + 2, all, envp, err);
}

static void expect_error(char *const *argv, char *const *envp, const char *field, const char *text)
{
	struct config c;
	struct error err;
	int r = load(&c, argv, envp, &err);

	config_done(&c);
	if (r != -EINVAL || strcmp(err.field, field) != 0 || strstr(err.message, text) == NULL)
		fail_msg("%s %s: %d, field '%s', message '%s'", argv[1] ? argv[1] : "",
			argv[1] && argv[2] ? argv[2] : "", r, err.field, err.message);
}

static void test_defaults(void **state)
{
	struct config c;
	struct error err;

	assert_int_equal(load(&c, (char *const[]){"warrend", NULL}, ENV("HOME=/root"), &err), 0);
	assert_string_equal(c.state_dir, "/var/lib/warren/state");
	assert_string_equal(c.image_dir, "/var/lib/warren/images");
	assert_string_equal(c.listen, "127.0.0.1:8080");
	assert_string_equal(c.isolation, "auto");
	assert_string_equal(c.user, CONFIG_USER_DEFAULT);
	assert_string_equal(c.public_url, "");
	assert_int_equal(c.max_lifetime_ms, 24 * 3600 * 1000);
	assert_int_equal(c.max_sandboxes, 100);
	assert_int_equal(c.max_message, 160 << 20);
	assert_int_equal(c.region_count, 2);
	assert_string_equal(c.region_list[0], "ord");
	assert_string_equal(c.region_list[1], "ams");
	assert_true(c.listen_loopback);
	assert_false(c.insecure_listen);
	assert_false(c.print_config || c.help || c.version);
	config_done(&c);
}

static void test_flags(void **state)
{
	struct config c;
	struct error err;

	assert_int_equal(load(&c,
				 ARGS("--listen", "[::1]:0", "--state-dir=/s//", "--pool=0",
					 "--max-lifetime", "90m", "--max-message=1GB",
					 "--allow-namespace-on-network", "--regions", "fra",
					 "--pool", "7", "--print-config"),
				 NULL, &err),
		0);
	assert_string_equal(c.listen, "[::1]:0");
	assert_int_equal(c.listen_addr.ss_family, AF_INET6);
	assert_true(c.listen_loopback);
	assert_string_equal(c.state_dir, "/s");
	assert_int_equal(c.pool, 7); /* the last one counts */
	assert_int_equal(c.max_lifetime_ms, 90 * 60 * 1000);
	assert_int_equal(c.max_message, 1000000000);
	assert_true(c.insecure_listen);
	assert_int_equal(c.region_count, 1);
	assert_true(c.print_config);
	config_done(&c);
}

static void test_bool_flags(void **state)
{
	char *const *const cases[] = {
		ARGS("--allow-namespace-on-network=no", "--pool", "1"),
		ARGS("--allow-namespace-on-network", "false", "--pool", "1"),
		ARGS("--allow-namespace-on-network", "--allow-namespace-on-network=0"),
	};
	struct config c;
	struct error err;

	for (size_t i = 0; i < array_len(cases); i++) {
		assert_int_equal(load(&c, cases[i], NULL, &err), 0);
		assert_false(c.insecure_listen);
		config_done(&c);
	}
}

static void test_bad_flags(void **state)
{
	expect_error(ARGS("--nonsense", "1"), NULL, "--nonsense", "no such option");
	expect_error(ARGS("--", "x"), NULL, "--", "unexpected argument");
	expect_error(ARGS("extra"), NULL, "extra", "unexpected argument");
	expect_error(ARGS("-x"), NULL, "-x", "unexpected argument");
	expect_error(ARGS("--listen"), NULL, "--listen", "needs a value");
	expect_error(ARGS("--listen", "--pool=1"), NULL, "--listen", "needs a value");
	expect_error(ARGS("--help=yes"), NULL, "--help=yes", "takes no value");
	expect_error(ARGS("--state_dir=/x"), NULL, "--state_dir=/x", "no such option");
}

static void test_bad_values(void **state)
{
	static const struct {
		char *arg;
		const char *field;
		const char *text;
	} cases[] = {
		{"--listen=8080", "--listen", "ADDR:PORT"},
		{"--listen=:8080", "--listen", "IPv4"},
		{"--listen=localhost:80", "--listen", "names are not looked up"},
		{"--listen=127.0.0.1:65536", "--listen", "0 to 65535"},
		{"--listen=127.0.0.1:", "--listen", "0 to 65535"},
		{"--listen=127.0.0.1:+1", "--listen", "0 to 65535"},
		{"--listen=127.0.0.1:8 ", "--listen", "blank"},
		{"--listen=::1:80", "--listen", "in brackets"},
		{"--listen=[::1]", "--listen", "0 to 65535"},
		{"--listen=[127.0.0.1]:1", "--listen", "not an IPv6"},
		{"--listen=[]:1", "--listen", "IPv4"},
		{"--regions=", "--regions", "three lower-case"},
		{"--regions=ams1", "--regions", "three lower-case"},
		{"--regions=ORD", "--regions", "three lower-case"},
		{"--regions=ord,", "--regions", "three lower-case"},
		{"--regions=ord,,ams", "--regions", "three lower-case"},
		{"--regions=ord,ams,ord", "--regions", "ord is there twice"},
		{"--isolation=docker", "--isolation", "auto|microvm|gvisor|namespace"},
		{"--isolation=", "--isolation", "must be one of"},
		{"--isolation=auto|microvm", "--isolation", "must be one of"},
		{"--log-level=loud", "--log-level", "error|warn|info|debug"},
		{"--user=root", "--user", "does not stay root"},
		{"--user=0", "--user", "name of an account"},
		{"--user=", "--user", "name of an account"},
		{"--max-lifetime=0s", "--max-lifetime", "1s to 3650d"},
		{"--max-lifetime=1w", "--max-lifetime", "a duration"},
		{"--max-lifetime=4000d", "--max-lifetime", "1s to 3650d"},
		{"--max-sandboxes=0", "--max-sandboxes", "1 to 4096"},
		{"--max-sandboxes=-1", "--max-sandboxes", "whole number"},
		{"--max-sandboxes=99999999999999999999", "--max-sandboxes", "1 to 4096"},
		{"--max-sandboxes=1e2", "--max-sandboxes", "whole number"},
		{"--pool=", "--pool", "whole number"},
		{"--max-message=1", "--max-message", "1MiB to 2147483647B"},
		{"--max-message=1 MiB", "--max-message", "a size"},
		{"--max-message=9999999TiB", "--max-message", "1MiB to"},
		{"--state-dir=", "--state-dir", "absolute"},
		{"--state-dir=/a\nb", "--state-dir", "control character"},
		{"--state-dir=/a //", "--state-dir", "blank"},
		{"--state-dir=/a ;b", "--state-dir", "comment"},
		{"--public-url=ftp://x", "--public-url", "http://"},
		{"--public-url=https://", "--public-url", "host name"},
		{"--public-url=https://x/", "--public-url", "no / at the end"},
		{"--public-url=https://x,y", "--public-url", "host name"},
		{"--allow-namespace-on-network=maybe", "--allow-namespace-on-network",
			"true or false"},
		{"--egress-default=maybe", "--egress-default", "deny|allow"},
		{"--egress-private=10.0.0.0/8,", "--egress-private", "no range"},
		{"--egress-private=,10.0.0.0/8", "--egress-private", "no range"},
		{"--egress-private=10.0.0.1/8", "--egress-private", "'10.0.0.1/8' is no range"},
		{"--egress-private=10.0.0.0/33", "--egress-private", "no range"},
		{"--egress-private=intranet", "--egress-private", "no range"},
		{"--egress-http-proxy=proxy:3128", "--egress-http-proxy", "must be http://"},
		{"--egress-http-proxy=https://proxy:3128", "--egress-http-proxy", "other kinds"},
		{"--egress-https-proxy=http://proxy", "--egress-https-proxy", "host:port"},
		{"--egress-https-proxy=http://proxy:0", "--egress-https-proxy", "host:port"},
		{"--egress-https-proxy=http://proxy:99999", "--egress-https-proxy", "host:port"},
		{"--egress-https-proxy=http://proxy:80/", "--egress-https-proxy", "host:port"},
		{"--egress-https-proxy=http://[1.2.3.4]:80", "--egress-https-proxy", "host:port"},
		{"--egress-https-proxy=http://::1:80", "--egress-https-proxy", "host:port"},
		{"--egress-https-proxy=http://@proxy:80", "--egress-https-proxy", "percent"},
		{"--egress-https-proxy=http://a:b@c@proxy:80", "--egress-https-proxy", "percent"},
		{"--egress-no-proxy=a.example;b", "--egress-no-proxy", "separated by commas"},
		{"--host-ca=", "--host-ca", "absolute"},
		{"--event-retention=x", "--event-retention", "a duration"},
		{"--max-events=0", "--max-events", "1 to 1000000"},
	};

	for (size_t i = 0; i < array_len(cases); i++)
		expect_error(ARGS(cases[i].arg), NULL, cases[i].field, cases[i].text);
}

static void test_too_many_regions(void **state)
{
	char text[16 + 4 * (CONFIG_REGIONS_MAX + 1)] = "--regions=";
	char *at = text + strlen(text);
	struct config c;
	struct error err;

	for (int i = 0; i <= CONFIG_REGIONS_MAX; i++) {
		at[0] = 'a';
		at[1] = (char)('a' + i / 26);
		at[2] = (char)('a' + i % 26);
		at[3] = ',';
		at += 4;
	}
	at[-1] = '\0';
	expect_error(ARGS(text), NULL, "--regions", "more than 32");
	at[-5] = '\0';
	assert_int_equal(load(&c, ARGS(text), NULL, &err), 0);
	assert_int_equal(c.region_count, CONFIG_REGIONS_MAX);
	config_done(&c);
}

static void test_environment(void **state)
{
	struct config c;
	struct error err;

	assert_int_equal(load(&c, ARGS("--pool=3"),
				 ENV("WARREN_STATE_DIR=/env", "WARREN_POOL=9", "WARRENX=1",
					 "WARREN_ALLOW_NAMESPACE_ON_NETWORK=yes", "PATH=/bin"),
				 &err),
		0);
	assert_string_equal(c.state_dir, "/env");
	assert_int_equal(c.pool, 3);
	assert_true(c.insecure_listen);
	config_done(&c);

	char *const *none = (char *const[]){"warrend", NULL};

	expect_error(none, ENV("WARREN_STATEDIR=/x"), "WARREN_STATEDIR", "no setting");
	expect_error(none, ENV("WARREN_=1"), "WARREN_", "no setting");
	expect_error(none, ENV("WARREN_state_dir=/x"), "WARREN_state_dir", "no setting");
	expect_error(none, ENV("WARREN_STATE-DIR=/x"), "WARREN_STATE-DIR", "no setting");
	expect_error(none, ENV("WARREN_LISTEN=nowhere"), "WARREN_LISTEN", "ADDR:PORT");
	/* Checked although a flag overrides it. */
	expect_error(ARGS("--pool=1"), ENV("WARREN_POOL=x"), "WARREN_POOL", "whole number");
}

static int load_file(
	struct config *c, const char *text, size_t len, char *const *envp, struct error *err)
{
	auto_free char *path = make_file(text, len);
	char *const argv[] = {"warrend", "--config", path, NULL};
	int r;

	memset(err, 0, sizeof(*err));
	r = config_load(c, 3, argv, envp, err);
	unlink(path);
	return r;
}

static void test_file(void **state)
{
	static const char text[] = "# comment\n"
				   "; another\n"
				   "pool = 5\n"
				   "[warren]\n"
				   "  regions = fra,ams ; inline\r\n"
				   "\tmax-lifetime=2h\n"
				   "\n"
				   "public-url =\n"
				   "user: someone";
	struct config c;
	struct error err;

	assert_int_equal(load_file(&c, text, sizeof(text) - 1, ENV("WARREN_POOL=6"), &err), 0);
	assert_int_equal(c.pool, 6);
	assert_string_equal(c.regions, "fra,ams");
	assert_int_equal(c.max_lifetime_ms, 2 * 3600 * 1000);
	assert_string_equal(c.user, "someone");
	config_done(&c);
}

static void test_bad_file(void **state)
{
	static const struct {
		const char *text;
		const char *field;
		const char *message;
	} cases[] = {
		{"pool = 1\nnonsense = 2\n", "nonsense", "line 2: nonsense: no such key"},
		{"pool = 1\n\n[warren]\npool = 2\n", "pool", "line 4: pool: is there twice"},
		{"[other]\npool = 1\n", "other", "line 2: other: no such section"},
		{"pool = 1\nregions\n", "", "line 2: want key = value"},
		{"[warren\n", "", "line 1: want key = value"},
		{"= 3\n", "", "line 1: no such key"},
		{"pool = -3\n", "pool", "line 1: pool: must be a whole number"},
		{"state-dir = relative\n", "state-dir", "absolute"},
		{"Pool = 1\n", "Pool", "no such key"},
	};
	char long_line[400];
	struct config c;
	struct error err;

	for (size_t i = 0; i < array_len(cases); i++) {
		int r = load_file(&c, cases[i].text, strlen(cases[i].text), NULL, &err);

		config_done(&c);
		if (r != -EINVAL || strcmp(err.field, cases[i].field) != 0 ||
			strstr(err.message, cases[i].message) == NULL)
			fail_msg("case %zu: %d, '%s', '%s'", i, r, err.field, err.message);
	}
	memset(long_line, 'x', sizeof(long_line));
	memcpy(long_line, "state-dir = /", 13);
	assert_int_equal(load_file(&c, long_line, sizeof(long_line), NULL, &err), -EINVAL);
	assert_non_null(strstr(err.message, "line 1: the line is too long"));
	config_done(&c);
	assert_int_equal(load_file(&c, "pool = 1\0\n", 10, NULL, &err), -EINVAL);
	assert_non_null(strstr(err.message, "NUL"));
	config_done(&c);
}

static void test_absent_file(void **state)
{
	struct config c;
	struct error err = {0};
	char *const argv[] = {"warrend", "--config=/nonexistent/warren.conf", NULL};

	assert_int_equal(config_load(&c, 2, argv, NULL, &err), -ENOENT);
	assert_string_equal(err.field, "config");
	assert_non_null(strstr(err.message, "/nonexistent/warren.conf"));
	config_done(&c);
	/* The variable names a file as well; the flag is stronger. */
	assert_int_equal(
		config_load(&c, 1, argv, ENV("WARREN_CONFIG=/nonexistent/b"), &err), -ENOENT);
	assert_non_null(strstr(err.message, "/nonexistent/b"));
	config_done(&c);
}

/* Neither a bad file nor a bad environment may stand between a person and the help. */
static void test_help_first(void **state)
{
	struct config c;
	struct error err;
	char *const argv[] = {"warrend", "--config=/nonexistent", "--help", NULL};

	assert_int_equal(config_load(&c, 3, argv, ENV("WARREN_X=1"), &err), 0);
	assert_true(c.help);
	config_done(&c);
	assert_int_equal(config_load(&c, 2, ARGS("-h"), ENV("WARREN_X=1"), &err), 0);
	assert_true(c.help);
	config_done(&c);
	assert_int_equal(config_load(&c, 2, ARGS("--version"), NULL, &err), 0);
	assert_true(c.version);
	config_done(&c);
}

static void test_relative_path(void **state)
{
	struct config c;
	struct error err;
	char cwd[4096];
	auto_free char *want = NULL;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	want = mem_printf("%s/some/where", cwd);
	assert_int_equal(load(&c, ARGS("--state-dir", "some/where/"), NULL, &err), 0);
	assert_string_equal(c.state_dir, want);
	config_done(&c);
}

static char *printed(const struct config *c)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_print(c, out);
	fclose(out);
	return text;
}

static void test_print_round_trip(void **state)
{
	auto_free char *first = NULL;
	auto_free char *second = NULL;
	struct config c;
	struct error err;

	assert_int_equal(load(&c,
				 ARGS("--listen=0.0.0.0:99", "--max-lifetime=90s",
					 "--stopped-retention=0", "--spool-max=1536KiB",
					 "--max-message=5000001", "--allow-namespace-on-network"),
				 NULL, &err),
		0);
	assert_false(c.listen_loopback);
	first = printed(&c);
	config_done(&c);
	assert_non_null(strstr(first, "max-lifetime = 90s\n"));
	assert_non_null(strstr(first, "stopped-retention = 0s\n"));
	assert_non_null(strstr(first, "spool-max = 1536KiB\n"));
	assert_non_null(strstr(first, "max-message = 5000001B\n"));
	assert_non_null(strstr(first, "allow-namespace-on-network = true\n"));
	assert_int_equal(load_file(&c, first, strlen(first), NULL, &err), 0);
	second = printed(&c);
	config_done(&c);
	assert_string_equal(first, second);
}

static void test_help_names_all(void **state)
{
	auto_free char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	struct config_key_info info;
	size_t n = 0;

	config_help(out);
	fclose(out);
	for (; config_key_at(n, &info); n++) {
		auto_free char *flag = mem_printf("\n  --%s", info.name);

		if (n > 0)
			assert_non_null(strstr(text, flag));
	}
	assert_int_equal(n, 27);
	for (char *line = text; line != NULL && *line != '\0';) {
		size_t width = strcspn(line, "\n");

		assert_true(width <= 80);
		line += width + (line[width] == '\n');
	}
}

static void test_egress(void **state)
{
	struct config c;
	struct error err;

	assert_int_equal(load(&c, (char *const[]){"warrend", NULL}, NULL, &err), 0);
	assert_false(c.egress_allow);
	assert_string_equal(c.egress_private, "");
	assert_string_equal(c.egress_http_proxy, "");
	assert_string_equal(c.host_ca, CONFIG_HOST_CA_DEFAULT);
	assert_string_equal(c.extra_ca, "");
	assert_int_equal(c.event_retention_ms, INT64_C(7) * 24 * 3600 * 1000);
	assert_int_equal(c.max_events, 10000);
	config_done(&c);
	assert_int_equal(load(&c,
				 ARGS("--egress-default=allow", "--extra-ca=/x.pem",
					 "--egress-private=10.1.0.0/16,192.168.1.1,fd00::/8",
					 "--egress-http-proxy=http://[fd00::1]:3128",
					 "--egress-https-proxy=http://me:p%40ss:w@proxy.example:80",
					 "--egress-no-proxy=.example, 10.0.0.0/8,*"),
				 NULL, &err),
		0);
	assert_true(c.egress_allow);
	assert_string_equal(c.extra_ca, "/x.pem");
	assert_string_equal(c.egress_private, "10.1.0.0/16,192.168.1.1,fd00::/8");
	config_done(&c);
}

/* What all programs on a machine share counts only where nothing else was said. */
static void test_ambient(void **state)
{
	char *const *none = (char *const[]){"warrend", NULL};
	char *const *envp = ENV("HTTP_PROXY=http://upper:1", "http_proxy=lower:2/",
		"HTTPS_PROXY=", "https_proxy=http://u:p@s:3", "NO_PROXY=a.example,b.example",
		"no_proxyx=c");
	struct config c;
	struct error err;

	assert_int_equal(load(&c, none, envp, &err), 0);
	assert_string_equal(c.egress_http_proxy, "http://lower:2");
	assert_string_equal(c.egress_https_proxy, "http://u:p@s:3");
	assert_string_equal(c.egress_no_proxy, "a.example,b.example");
	config_done(&c);
	assert_int_equal(
		load(&c, ARGS("--egress-http-proxy=", "--egress-no-proxy=d"), envp, &err), 0);
	assert_string_equal(c.egress_http_proxy, "");
	assert_string_equal(c.egress_no_proxy, "d");
	config_done(&c);

	expect_error(none, ENV("HTTP_PROXY=socks5://me:hunter2@x:1"), "HTTP_PROXY",
		"the default of egress-http-proxy: must be http://");
	assert_int_equal(load(&c, none, ENV("HTTP_PROXY=socks5://me:hunter2@x:1"), &err), -EINVAL);
	assert_null(strstr(err.message, "hunter2"));
	config_done(&c);
	/* Not looked at, for the key is set. */
	assert_int_equal(load(&c, ARGS("--egress-http-proxy=http://x:1"),
				 ENV("HTTP_PROXY=socks5://x:1"), &err),
		0);
	config_done(&c);
}

static void test_proxy_password_hidden(void **state)
{
	auto_free char *text = NULL;
	struct config c;
	struct error err;

	assert_int_equal(load(&c,
				 ARGS("--egress-http-proxy=http://me:hunter2@proxy:80",
					 "--egress-https-proxy=http://me@proxy:80"),
				 NULL, &err),
		0);
	text = printed(&c);
	config_done(&c);
	assert_null(strstr(text, "hunter2"));
	assert_non_null(strstr(text, "egress-http-proxy = http://me:***@proxy:80\n"));
	assert_non_null(strstr(text, "egress-https-proxy = http://me@proxy:80\n"));
	/* Nor in an error. */
	assert_int_equal(
		load(&c, ARGS("--egress-http-proxy=http://me:hunter2@proxy"), NULL, &err), -EINVAL);
	assert_null(strstr(err.message, "hunter2"));
	config_done(&c);
}

static void test_loopback(void **state)
{
	static const struct {
		char *arg;
		bool loopback;
	} cases[] = {
		{"--listen=127.9.9.9:1", true},
		{"--listen=128.0.0.1:1", false},
		{"--listen=[::]:1", false},
		{"--listen=[::ffff:127.0.0.1]:1", true},
		{"--listen=[::ffff:10.0.0.1]:1", false},
	};
	struct config c;
	struct error err;

	for (size_t i = 0; i < array_len(cases); i++) {
		assert_int_equal(load(&c, ARGS(cases[i].arg), NULL, &err), 0);
		assert_int_equal(c.listen_loopback, cases[i].loopback);
		config_done(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_bool_flags),
		cmocka_unit_test(test_bad_flags),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_too_many_regions),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_bad_file),
		cmocka_unit_test(test_absent_file),
		cmocka_unit_test(test_help_first),
		cmocka_unit_test(test_relative_path),
		cmocka_unit_test(test_print_round_trip),
		cmocka_unit_test(test_help_names_all),
		cmocka_unit_test(test_egress),
		cmocka_unit_test(test_ambient),
		cmocka_unit_test(test_proxy_password_hidden),
		cmocka_unit_test(test_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
