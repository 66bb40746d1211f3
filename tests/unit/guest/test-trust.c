/* Whom programs believe, and the file of refusals: the system's files in a folder of the test. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "harness.h"

#define USER 12345
#define GROUP 12346
#define BUNDLE "root/etc/ssl/certs/ca-certificates.crt"
#define HOST "root/run/warren/trust.pem"
#define DENIALS "root/run/warren/denials.jsonl"
#define LOCAL "root/usr/local/share/ca-certificates/"
#define HASHED "root/etc/ssl/certs/"
#define IN_SANDBOX "/etc/ssl/certs/ca-certificates.crt"

#define CERT(body) "-----BEGIN CERTIFICATE-----\n" body "\n-----END CERTIFICATE-----\n"
#define IMAGE CERT("aW1hZ2U=") CERT("Ym90aA==")

static void make_tree(struct agent_config *config)
{
	static char root[128];
	static const char *const folders[] = {"", "/etc", "/etc/ssl", "/etc/ssl/certs", "/run",
		"/run/warren", "/usr", "/usr/local", "/usr/local/share",
		"/usr/local/share/ca-certificates"};

	snprintf(root, sizeof(root), "%s/root", config->home);
	config->root = root;
	for (size_t i = 0; i < array_len(folders); i++) {
		auto_free char *path = mem_printf("%s%s", root, folders[i]);

		assert_int_equal(mkdir(path, 0755), 0);
	}
}

static void as_user(struct agent_config *config)
{
	make_tree(config);
	config->become = true;
	config->uid = USER;
	config->gid = GROUP;
}

static int setup(void **state)
{
	struct guest *g = guest_new(make_tree);

	home_write(g, BUNDLE, IMAGE);
	*state = g;
	return 0;
}

static int setup_user(void **state)
{
	struct guest *g = guest_new(as_user);

	/* Root without rights over files must get through to its own. */
	assert_int_equal(chmod(g->home, 0711), 0);
	home_write(g, BUNDLE, IMAGE);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	guest_free(*state);
	return 0;
}

static void trust(struct guest *g, const char *pem, const char *hash)
{
	struct rpc_trust params = {(char *)(uintptr_t)pem, (char *)(uintptr_t)hash, false};

	guest_ok(g, RPC_TRUST, &params, NULL);
}

static void trust_fails(struct guest *g, const char *pem, const char *hash, int err)
{
	struct rpc_trust params = {(char *)(uintptr_t)pem, (char *)(uintptr_t)hash, false};

	guest_fails(g, RPC_TRUST, &params, err, NULL, "trust");
}

static void check_file(struct guest *g, const char *name, const char *text)
{
	auto_free char *found = home_read(g, name);

	assert_string_equal(found, text);
}

static void check_link(struct guest *g, const char *name, const char *target)
{
	auto_free char *path = home_path(g, name);
	char found[128] = "";

	assert_true(readlink(path, found, sizeof(found) - 1) > 0);
	assert_string_equal(found, target);
}

static bool exists(struct guest *g, const char *name)
{
	auto_free char *path = home_path(g, name);
	struct stat st;

	return lstat(path, &st) == 0;
}

static void check_variable(struct guest *g, const char *name, const char *value)
{
	struct rpc_env_key key = {(char *)(uintptr_t)name};
	struct rpc_text result;

	guest_ok(g, RPC_ENV_GET, &key, &result);
	if (value)
		assert_string_equal(result.text, value);
	else
		assert_null(result.text);
	rpc_clear(&rpc_text_schema, &result);
}

/* --- trust ------------------------------------------------------------------------------------ */

static void test_variables(void **state)
{
	static const char *const names[] = {"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS",
		"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "DENO_CERT",
		"AWS_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"};

	check_variable(*state, "SSL_CERT_FILE", NULL);
	trust(*state, NULL, NULL);
	for (size_t i = 0; i < array_len(names); i++)
		check_variable(*state, names[i], IN_SANDBOX);
	check_variable(*state, "DENO_TLS_CA_STORE", "system,mozilla");
	check_file(*state, BUNDLE, IMAGE);
}

static void test_variables_and_configure(void **state)
{
	struct rpc_pair pairs[] = {{"PIP_CERT", "/mine"}, {"EXTRA", "1"}};
	struct rpc_configure params = {.env = {pairs, 2}};
	struct rpc_configure empty = {0};

	/* What the sandbox was given counts, whichever comes first. */
	guest_ok(*state, RPC_CONFIGURE, &params, NULL);
	trust(*state, NULL, NULL);
	check_variable(*state, "PIP_CERT", "/mine");
	check_variable(*state, "SSL_CERT_FILE", IN_SANDBOX);
	guest_ok(*state, RPC_CONFIGURE, &empty, NULL);
	check_variable(*state, "PIP_CERT", IN_SANDBOX);
	check_variable(*state, "SSL_CERT_FILE", IN_SANDBOX);
	guest_ok(*state, RPC_CONFIGURE, &params, NULL);
	check_variable(*state, "PIP_CERT", "/mine");
	check_variable(*state, "EXTRA", "1");
	check_variable(*state, "SSL_CERT_FILE", IN_SANDBOX);
}

static void test_own_authority(void **state)
{
	trust(*state, CERT("bWluZQ=="), "0123abcd");
	check_file(*state, BUNDLE, IMAGE CERT("bWluZQ=="));
	check_file(*state, LOCAL "warren-sandbox.crt", CERT("bWluZQ=="));
	check_link(*state, HASHED "warren-sandbox.pem",
		"/usr/local/share/ca-certificates/warren-sandbox.crt");
	check_link(*state, HASHED "0123abcd.0", "warren-sandbox.pem");
	assert_false(exists(*state, BUNDLE ".warren-new"));
}

static void test_again(void **state)
{
	trust(*state, CERT("bWluZQ=="), "0123abcd");
	trust(*state, CERT("b3RoZXI="), "ffff0000");
	check_file(*state, BUNDLE, IMAGE CERT("b3RoZXI="));
	check_file(*state, LOCAL "warren-sandbox.crt", CERT("b3RoZXI="));
	check_link(*state, HASHED "ffff0000.0", "warren-sandbox.pem");
	assert_false(exists(*state, HASHED "0123abcd.0"));
	trust(*state, CERT("b3RoZXI="), "ffff0000");
	check_file(*state, BUNDLE, IMAGE CERT("b3RoZXI="));
	trust(*state, NULL, NULL);
	check_file(*state, BUNDLE, IMAGE);
	assert_false(exists(*state, LOCAL "warren-sandbox.crt"));
	assert_false(exists(*state, HASHED "warren-sandbox.pem"));
	assert_false(exists(*state, HASHED "ffff0000.0"));
}

/* Ahead of a sandbox's create: files only. Then its authority joins what is there. */
static void test_ahead(void **state)
{
	static const char host[] = CERT("aG9zdA==") CERT("Ym90aA==");
	struct rpc_trust params = {.ahead = true};

	home_write(*state, HOST, host);
	guest_ok(*state, RPC_TRUST, &params, NULL);
	check_file(*state, BUNDLE, host);
	check_variable(*state, "SSL_CERT_FILE", NULL);
	trust(*state, CERT("b3du"), "01234567");
	check_file(*state, BUNDLE, CERT("aG9zdA==") CERT("Ym90aA==") CERT("b3du"));
	check_link(*state, HASHED "01234567.0", "warren-sandbox.pem");
	check_variable(*state, "SSL_CERT_FILE", IN_SANDBOX);
	trust(*state, CERT("bmV3"), "89abcdef");
	check_file(*state, BUNDLE, CERT("aG9zdA==") CERT("Ym90aA==") CERT("bmV3"));
	trust(*state, NULL, NULL);
	check_file(*state, BUNDLE, host);
}

static void test_host_bundle(void **state)
{
	/* Text between certificates, and no end of the last line. */
	const char host[] = "# host\n" CERT("aG9zdDE=")
		CERT("Ym90aA==") "# extra\n"
				 "-----BEGIN CERTIFICATE-----\nZXh0cmE=\n-----END CERTIFICATE-----";

	home_write(*state, HOST, host);
	for (int i = 0; i < 2; i++) {
		auto_free char *expected = mem_printf("%s\n%s", host, CERT("bWluZQ=="));

		trust(*state, CERT("bWluZQ=="), "0123abcd");
		check_file(*state, BUNDLE, expected);
		for (int n = 0; n < 1000 && !exists(*state, LOCAL "warren-host-002.crt"); n++)
			guest_turn(*state, 10);
		check_file(*state, LOCAL "warren-host-001.crt", CERT("aG9zdDE="));
		check_file(*state, LOCAL "warren-host-002.crt", CERT("ZXh0cmE="));
		assert_false(exists(*state, LOCAL "warren-host-003.crt"));
	}
}

/* A bundle of which nothing can be made is taken over as it is. */
static void test_odd_host_bundle(void **state)
{
	const char host[] = "-----BEGIN CERTIFICATE-----\nno end\n";

	home_write(*state, HOST, host);
	trust(*state, NULL, NULL);
	check_file(*state, BUNDLE, host);
	assert_false(exists(*state, LOCAL "warren-host-001.crt"));
}

static void test_bad_parameters(void **state)
{
	trust_fails(*state, CERT("bWluZQ=="), NULL, EINVAL);
	trust_fails(*state, NULL, "0123abcd", EINVAL);
	trust_fails(*state, CERT("bWluZQ=="), "0123abc", EINVAL);
	trust_fails(*state, CERT("bWluZQ=="), "../../xx", EINVAL);
	check_file(*state, BUNDLE, IMAGE);
	check_variable(*state, "SSL_CERT_FILE", NULL);
}

static void test_no_bundle(void **state)
{
	auto_free char *path = home_path(*state, BUNDLE);

	assert_int_equal(unlink(path), 0);
	trust_fails(*state, CERT("bWluZQ=="), "0123abcd", ENOENT);
	check_variable(*state, "SSL_CERT_FILE", NULL);
	home_write(*state, HOST, IMAGE);
	trust(*state, CERT("bWluZQ=="), "0123abcd");
	check_file(*state, BUNDLE, IMAGE CERT("bWluZQ=="));
}

static void test_folders_are_missing(void **state)
{
	auto_free char *path = home_path(*state, LOCAL);

	assert_int_equal(rmdir(path), 0);
	home_write(*state, HOST, CERT("aG9zdDE="));
	trust(*state, CERT("bWluZQ=="), "0123abcd");
	check_file(*state, BUNDLE, CERT("aG9zdDE=") CERT("bWluZQ=="));
}

/* What root of the sandbox may have put there. */
static void test_things_in_the_way(void **state)
{
	auto_free char *bundle = home_path(*state, BUNDLE);
	auto_free char *fresh = home_path(*state, BUNDLE ".warren-new");
	auto_free char *hashed = home_path(*state, HASHED "0123abcd.0");
	auto_free char *victim = home_path(*state, "victim");

	home_write(*state, "victim", "untouched");
	assert_int_equal(symlink(victim, fresh), 0);
	assert_int_equal(symlink(victim, hashed), 0);
	trust(*state, CERT("bWluZQ=="), "0123abcd");
	check_file(*state, "victim", "untouched");
	check_link(*state, HASHED "0123abcd.0", "warren-sandbox.pem");
	check_file(*state, BUNDLE, IMAGE CERT("bWluZQ=="));
	/* Nobody will ever write into this one. */
	assert_int_equal(unlink(bundle), 0);
	assert_int_equal(mkfifo(bundle, 0644), 0);
	trust_fails(*state, CERT("bWluZQ=="), "0123abcd", EINVAL);
	/* A link is not followed. */
	assert_int_equal(unlink(bundle), 0);
	assert_int_equal(symlink(victim, bundle), 0);
	trust_fails(*state, CERT("bWluZQ=="), "0123abcd", ELOOP);
}

/* --- denials ---------------------------------------------------------------------------------- */

static void deny(struct guest *g, const char *line)
{
	struct rpc_denial params = {(char *)(uintptr_t)line};

	guest_ok(g, RPC_DENIAL, &params, NULL);
}

static void test_denials(void **state)
{
	auto_free char *path = home_path(*state, DENIALS);
	struct stat st;

	deny(*state, "{\"host\":\"a\"}");
	deny(*state, "{\"host\":\"b\"}");
	check_file(*state, DENIALS, "{\"host\":\"a\"}\n{\"host\":\"b\"}\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	guest_fails(*state, RPC_DENIAL, &(struct rpc_denial){(char *)(uintptr_t) "two\nlines"},
		EINVAL, NULL, "denial");
	check_file(*state, DENIALS, "{\"host\":\"a\"}\n{\"host\":\"b\"}\n");
}

static void test_denials_are_put_aside(void **state)
{
	enum { MIB = 1024 * 1024, LINE = 1024 };
	auto_free char *path = home_path(*state, DENIALS);
	auto_free char *old = home_path(*state, DENIALS ".1");
	auto_free char *line = mem_zalloc(LINE);
	struct stat st;

	memset(line, 'x', LINE - 1);
	home_write(*state, DENIALS ".1", "older");
	for (int i = 0; i < MIB / LINE; i++)
		deny(*state, line);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, MIB);
	check_file(*state, DENIALS ".1", "older");
	deny(*state, "next");
	check_file(*state, DENIALS, "next\n");
	assert_int_equal(stat(old, &st), 0);
	assert_int_equal(st.st_size, MIB);
}

static void test_denials_in_odd_places(void **state)
{
	auto_free char *path = home_path(*state, DENIALS);
	auto_free char *victim = home_path(*state, "victim");
	struct rpc_denial params = {(char *)(uintptr_t) "line"};

	home_write(*state, "victim", "untouched");
	assert_int_equal(symlink(victim, path), 0);
	guest_fails(*state, RPC_DENIAL, &params, ELOOP, NULL, "denial");
	check_file(*state, "victim", "untouched");
	/* Nobody reads this one. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0644), 0);
	guest_fails(*state, RPC_DENIAL, &params, ENXIO, NULL, "denial");
}

/* --- as somebody else ------------------------------------------------------------------------- */

static void test_files_are_roots(void **state)
{
	static const char *const names[] = {
		BUNDLE, DENIALS, LOCAL "warren-sandbox.crt", HASHED "0123abcd.0"};
	auto_free char *denials = home_path(*state, DENIALS);
	auto_free char *victim = home_path(*state, HASHED "victim");
	struct rpc_write_file write = {.path = denials, .options = {.create = true, .mode = -1}};
	struct rpc_mkdir folder = {victim, {false, -1}};
	struct outbox out = {0};

	trust(*state, CERT("bWluZQ=="), "0123abcd");
	deny(*state, "line");
	for (size_t i = 0; i < array_len(names); i++) {
		auto_free char *path = home_path(*state, names[i]);
		struct stat st;

		assert_int_equal(lstat(path, &st), 0);
		assert_int_equal(st.st_uid, 0);
		assert_int_equal(st.st_gid, 0);
	}
	/* Afterwards the agent's files are the user's again. */
	guest_fails(*state, RPC_MKDIR, &folder, EACCES, NULL, "mkdir");
	outbox_open(*state, &out);
	write.channel = out.stream.id;
	guest_fails(*state, RPC_WRITE_FILE, &write, EACCES, NULL, "writefile");
	rpc_clear(&rpc_failure_schema, &out.failure);
	check_file(*state, DENIALS, "line\n");
	trust_fails(*state, CERT("bWluZQ=="), "bad", EINVAL);
	guest_fails(*state, RPC_MKDIR, &folder, EACCES, NULL, "mkdir");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_variables),
		TEST(test_variables_and_configure),
		TEST(test_own_authority),
		TEST(test_again),
		TEST(test_ahead),
		TEST(test_host_bundle),
		TEST(test_odd_host_bundle),
		TEST(test_bad_parameters),
		TEST(test_no_bundle),
		TEST(test_folders_are_missing),
		TEST(test_things_in_the_way),
		TEST(test_denials),
		TEST(test_denials_are_put_aside),
		TEST(test_denials_in_odd_places),
	};
	const struct CMUnitTest as_root[] = {
		cmocka_unit_test_setup_teardown(test_files_are_roots, setup_user, teardown),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	/* Becoming another user takes root. */
	if (geteuid() == 0)
		r |= cmocka_run_group_tests(as_root, NULL, NULL);
	return r;
}
