#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "gate/secrets/locked.h"
#include "gate/secrets/vault.h"
#include "wire/base64.h"

#define OUT_MAX ((size_t)1024 * 1024)

#define P0 PLACEHOLDER_PREFIX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define P1 PLACEHOLDER_PREFIX "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
#define P2 PLACEHOLDER_PREFIX "abababababababababababababababababababababababababababababababab"
/* Nobody's. */
#define PX PLACEHOLDER_PREFIX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void add(struct vault *v, const char *placeholder, const char *value, const char *host)
{
	assert_int_equal(
		vault_add(v, "NAME", placeholder, value, strlen(value), &host, 1, NULL), 0);
}

static struct vault *three(void)
{
	struct vault *v = vault_new();

	add(v, P0, "alpha-value", "api.example");
	add(v, P1, "b", "*.b.example:8443");
	add(v, P2, "line\nbreak", "*");
	return v;
}

/* --- what is kept ----------------------------------------------------------------------------- */

static void test_add(void **state)
{
	static const char *const hosts[] = {"a.example", "b.example"};
	static const char *const bad_host[] = {"a.example", "a..b"};
	auto_free char *large = mem_zalloc(VAULT_VALUE_MAX + 1);
	struct vault *v = vault_new();
	struct error e = {0};
	size_t len = 0;

	memset(large, 'x', VAULT_VALUE_MAX + 1);
	assert_int_equal(vault_count(v), 0);
	assert_int_equal(vault_add(v, "A", P0, "value", 0, hosts, 2, &e), -EINVAL);
	assert_int_equal(vault_add(v, "A", P0, large, VAULT_VALUE_MAX + 1, hosts, 2, &e), -E2BIG);
	assert_int_equal(vault_add(v, "A", P0, "value", 5, hosts, 0, &e), -EINVAL);
	assert_int_equal(vault_add(v, "A", P0, "value", 5, bad_host, 2, &e), -EINVAL);
	assert_string_equal(e.field, "secrets.hosts");
	assert_int_equal(vault_count(v), 0);
	assert_int_equal(vault_add(v, "A", P0, "a\0b", 3, hosts, 2, NULL), 0);
	assert_int_equal(vault_add(v, "B", P1, large, VAULT_VALUE_MAX, hosts, 1, NULL), 0);
	/* A second secret with the placeholder of the first. */
	assert_int_equal(vault_add(v, "C", P0, "value", 5, hosts, 2, &e), -EINVAL);
	assert_null(strstr(e.message, "value\""));
	assert_int_equal(vault_count(v), 2);
	assert_string_equal(vault_name(v, 0), "A");
	assert_string_equal(vault_name(v, 1), "B");
	assert_memory_equal(vault_value(v, 0, &len), "a\0b", 3);
	assert_int_equal(len, 3);
	assert_memory_equal(vault_value(v, 1, &len), large, VAULT_VALUE_MAX);
	assert_int_equal(len, VAULT_VALUE_MAX);
	vault_free(v);
	vault_free(NULL);
}

static void test_placeholder_form(void **state)
{
	static const char *const bad[] = {"", "DENO_SECRET_PLACEHOLDER_", P0 "0", "x" P0,
		PLACEHOLDER_PREFIX
		"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff",
		PLACEHOLDER_PREFIX
		"g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"DENO-SECRET-PLACEHOLDER-"
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"};
	static const char *const hosts[] = {"a.example"};
	struct vault *v = vault_new();

	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(vault_add(v, "A", bad[i], "x", 1, hosts, 1, NULL), -EINVAL);
	assert_int_equal(vault_count(v), 0);
	vault_free(v);
}

static void test_most_secrets(void **state)
{
	static const char *const hosts[] = {"a.example"};
	char placeholder[PLACEHOLDER_LEN + 1];
	struct vault *v = vault_new();

	for (unsigned i = 0; i <= VAULT_SECRETS_MAX; i++) {
		snprintf(placeholder, sizeof(placeholder), "%s%064x", PLACEHOLDER_PREFIX, i);
		assert_int_equal(vault_add(v, "A", placeholder, "x", 1, hosts, 1, NULL),
			i < VAULT_SECRETS_MAX ? 0 : -E2BIG);
	}
	assert_int_equal(vault_count(v), VAULT_SECRETS_MAX);
	assert_true(vault_for_host(v, "a.example", 443) == UINT64_MAX);
	vault_free(v);
}

static void test_hosts(void **state)
{
	struct vault *v = three();

	assert_int_equal(vault_for_host(v, "api.example", 443), 1 | 4);
	assert_int_equal(vault_for_host(v, "API.Example.", 8443), 1 | 4);
	assert_int_equal(vault_for_host(v, "x.api.example", 443), 4);
	assert_int_equal(vault_for_host(v, "x.b.example", 8443), 2 | 4);
	assert_int_equal(vault_for_host(v, "x.b.example", 443), 4);
	assert_int_equal(vault_for_host(v, "b.example", 8443), 4);
	assert_int_equal(vault_for_host(v, "192.0.2.1", 443), 0);
	assert_int_equal(vault_for_host(v, "0xc0000201", 443), 0);
	assert_int_equal(vault_for_host(v, "2001:db8::1", 443), 0);
	assert_int_equal(vault_for_name(v, "api.example"), 1 | 4);
	assert_int_equal(vault_for_name(v, "x.b.example"), 2 | 4);
	assert_int_equal(vault_for_name(v, "b.example"), 4);
	assert_int_equal(vault_for_host(v, "[2001:db8::1]", 443), 0);
	assert_int_equal(vault_for_host(v, "", 443), 0);
	vault_free(v);
}

/* In a child the memory of secrets is empty, and the kernel knows that no dump may have it. */
static void test_locked_memory(void **state)
{
	char *p = locked_new(10000);
	int status = 0;
	pid_t pid;
	bool dump_flag = false;
	char line[512];
	unsigned long from = 0;
	unsigned long to = 0;
	FILE *maps;

	for (size_t i = 0; i < 10000; i++)
		assert_int_equal(p[i], 0);
	memset(p, 's', 10000);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(p[0] == 0 && p[9999] == 0 ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(p[0], 's');
	maps = fopen("/proc/self/smaps", "re");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		char *end = NULL;
		unsigned long start = strtoul(line, &end, 16);

		if (*end == '-') {
			from = start;
			to = strtoul(end + 1, NULL, 16);
		}
		if (strncmp(line, "VmFlags:", 8) == 0 && from <= (unsigned long)p &&
			(unsigned long)p < to)
			dump_flag = strstr(line, " dd ") != NULL && strstr(line, " wf ") != NULL;
	}
	(void)fclose(maps);
	assert_true(dump_flag);
	locked_free(p, 10000);
	locked_free(NULL, 5);
}

/* --- headers ---------------------------------------------------------------------------------- */

static void test_headers(void **state)
{
	static const char *const fine[] = {"authorization", "Authorization", "X-API-Key", "cookie",
		"api-key", "x-auth-token", "private-token", "x-amz-security-token", "contents",
		"hosting", "ranges", "secret", "x-forwarde", "vi", "ifx"};
	static const char *const never[] = {"host", "Host", "HOST", ":authority", ":path",
		"content-length", "Content-Type", "content-x", "transfer-encoding", "connection",
		"keep-alive", "te", "TE", "trailer", "upgrade", "upgrade-insecure-requests",
		"expect", "range", "if-match", "if-none-match", "If-Range", "proxy-connection",
		"Proxy-Authorization", "origin", "referer", "user-agent", "via", "forwarded",
		"X-Forwarded-For", "x-forwarded-host", "x-request-id", "x-correlation-id",
		"traceparent", "tracestate", "baggage", "access-control-request-headers", "accept",
		"accept-language", "cache-control", "pragma", "from", "date", "max-forwards",
		"sec-websocket-protocol", "Sec-Fetch-Site", "dnt", "cookie2", ""};

	for (size_t i = 0; i < array_len(fine); i++) {
		if (!vault_header_ok(fine[i], strlen(fine[i])))
			fail_msg("%s may carry a secret", fine[i]);
	}
	for (size_t i = 0; i < array_len(never); i++) {
		if (vault_header_ok(never[i], strlen(never[i])))
			fail_msg("%s may not carry a secret", never[i]);
	}
	/* The length counts, not a NUL. */
	assert_true(vault_header_ok("host", 3));
}

/* --- putting in ------------------------------------------------------------------------------- */

static const struct {
	const char *header;
	const char *value;
	const char *wanted; /* NULL: as it is */
	uint64_t allowed;
	uint64_t used, stray;
} swaps[] = {
	{"authorization", "Bearer " P0, "Bearer alpha-value", 7, 1, 0},
	{"X-Api-Key", P0, "alpha-value", 1, 1, 0},
	{"cookie", "a=1; k=" P0 "; z=" P1, "a=1; k=alpha-value; z=b", 3, 3, 0},
	{"x-key", P0 P1 P0, "alpha-valuebalpha-value", 3, 3, 0},
	{"x-key", P0 P0, "alpha-valuealpha-value", 1, 1, 0},
	{"x-key", "x" P1 "-y", "xb-y", 2, 2, 0},
	{"x-key", P1 "g", "bg", 2, 2, 0},
	{"x-key", P1 "A", "bA", 2, 2, 0},
	{"x-key", PLACEHOLDER_PREFIX P1, PLACEHOLDER_PREFIX "b", 2, 2, 0},
	{"x-key", "", "", 7, 0, 0},
	{"x-key", "nothing here", NULL, 7, 0, 0},
	{"x-key", P1 "0", "b0", 2, 2, 0},
	{"x-key", P1 "f " P0, "bf alpha-value", 3, 3, 0},
	/* not whole, or another one's */
	{"x-key", PX, NULL, 7, 0, 0},
	{"x-key", PX P1, PX "b", 2, 2, 0},
	{"x-key", "deno" PLACEHOLDER_PREFIX "00112233", NULL, 7, 0, 0},
	/* not allowed here */
	{"x-key", P0, NULL, 0, 0, 1},
	{"x-key", P0 " " P1, P0 " b", 2, 2, 1},
	{"user-agent", "x/" P0, NULL, 7, 0, 1},
	{"Proxy-Authorization", "Bearer " P0, NULL, 7, 0, 1},
	{":path", "/?k=" P1, NULL, 7, 0, 2},
	{"x-key",
		"k=%44ENO"
		"_SECRET%5FPLACEHOLDER_00112233445566778899aabbccddeeff"
		"00112233445566778899aabbccddeef%66",
		NULL, 7, 0, 1},
	/* put in once, but seen in another form as well: used says enough */
	{"x-key",
		P0 " %44ENO"
		   "_SECRET%5FPLACEHOLDER_00112233445566778899aabbccddeeff"
		   "00112233445566778899aabbccddeef%66",
		"alpha-value %44ENO"
		"_SECRET%5FPLACEHOLDER_00112233445566778899aabbccddeeff"
		"00112233445566778899aabbccddeef%66",
		1, 1, 0},
};

static void check_swap(const char *header, const char *value, const char *wanted, uint64_t allowed,
	uint64_t used, uint64_t stray)
{
	struct vault *v = three();
	struct vault_swap swap = {0};
	struct buf out;
	auto_free char *exact = mem_dup(value, strlen(value));

	if (wanted == NULL)
		wanted = value;
	buf_init(&out, OUT_MAX);
	assert_int_equal(buf_append_str(&out, "x: "), 0);
	assert_int_equal(vault_substitute(v, allowed, header, strlen(header), exact, strlen(value),
				 &out, &swap),
		0);
	if (out.len != 3 + strlen(wanted) ||
		memcmp(buf_data(&out) + 3, wanted, strlen(wanted)) != 0)
		fail_msg("%s: \"%s\" became \"%.*s\"", header, value, (int)out.len,
			(const char *)buf_data(&out));
	assert_int_equal(swap.used, used);
	assert_int_equal(swap.stray, stray);
	buf_done(&out);
	vault_free(v);
}

static void test_substitute(void **state)
{
	for (size_t i = 0; i < array_len(swaps); i++)
		check_swap(swaps[i].header, swaps[i].value, swaps[i].wanted, swaps[i].allowed,
			swaps[i].used, swaps[i].stray);
}

static const struct {
	const char *header;
	const char *lead;
	const char *plain;
	unsigned cut; /* characters that are left out at the end: padding */
	const char *trail;
	const char *wanted; /* plain; NULL: the header stays as it is */
	uint64_t used, stray;
} basics[] = {
	{"authorization", "Basic ", "user:" P0, 0, "", "user:alpha-value", 1, 0},
	{"authorization", "Basic ", "user1:" P0, 0, "", "user1:alpha-value", 1, 0},
	{"Authorization", "basic ", "user12:" P0, 0, "", "user12:alpha-value", 1, 0},
	{"AUTHORIZATION", "BASIC   ", P1 ":", 0, "", "b:", 2, 0},
	{"authorization", "Basic\t", P0 ":" P1, 0, "", "alpha-value:b", 3, 0},
	{"authorization", " Basic ", P0 ":" P1, 0, " \t", "alpha-value:b", 3, 0},
	{"authorization", "Basic ", P0 ":", 1, "", "alpha-value:", 1, 0},
	{"authorization", "Basic ", P0, 2, " ", "alpha-value", 1, 0},
	{"authorization", "Basic ", "user:" P1 "0", 0, "", "user:b0", 2, 0},
	{"authorization", "Basic ", "user:pass", 0, "", NULL, 0, 0},
	/* not strict base64, another scheme, another header, a header that may not */
	{"authorization", "Basic ", P1, 3, "B==", NULL, 0, 2},
	{"authorization", "Basic ", P0, 1, "", NULL, 0, 1},
	{"authorization", "Basic ", P0, 0, "=", NULL, 0, 1},
	{"authorization", "Basic x", "user:" P1, 0, "", NULL, 0, 2},
	{"authorization", "Basic", "user:" P1, 0, "", NULL, 0, 2},
	{"authorization", "Bearer ", "user:" P0, 0, "", NULL, 0, 1},
	{"x-api-key", "Basic ", "user:" P0, 0, "", NULL, 0, 1},
	{"proxy-authorization", "Basic ", "user:" P0, 0, "", NULL, 0, 1},
};

static char *basic(size_t i, const char *plain, bool padded)
{
	size_t len = base64_encoded_len(strlen(plain));
	auto_free char *text = mem_zalloc(len + 1);

	base64_encode(text, plain, strlen(plain));
	if (!padded)
		text[len - basics[i].cut] = '\0';
	return mem_printf("%s%s%s", basics[i].lead, text, basics[i].trail);
}

static void test_basic(void **state)
{
	for (size_t i = 0; i < array_len(basics); i++) {
		auto_free char *value = basic(i, basics[i].plain, false);
		auto_free char *wanted = NULL;

		if (basics[i].wanted != NULL)
			wanted = basic(i, basics[i].wanted, true);
		check_swap(basics[i].header, value, wanted, 3, basics[i].used, basics[i].stray);
	}
}

/* A value that no header may have: nothing comes out, plain or in base64. */
static void test_value_that_may_not_stand(void **state)
{
	static const char *const values[] = {"a\rb", "a\nb", "\n", "a\x01", "\x7f"};
	static const char *const fine[] = {"a b", "a\tb", " \xc3\xa4", "\xff"};
	static const char *const hosts[] = {"a.example"};

	for (size_t i = 0; i < array_len(values) + array_len(fine) + 1; i++) {
		size_t n = array_len(values);
		/* The last one holds a NUL. */
		const char *value = i < n ? values[i] : i == n ? "a\0b" : fine[i - n - 1];
		int wanted = i <= n ? -EINVAL : 0;
		struct vault *v = vault_new();
		struct vault_swap swap = {.used = 5, .stray = 6};
		char text[160] = "Basic ";
		struct buf out;

		assert_int_equal(
			vault_add(v, "A", P0, value, i == n ? 3 : strlen(value), hosts, 1, NULL),
			0);
		buf_init(&out, OUT_MAX);
		assert_int_equal(vault_substitute(v, 1, "x-key", 5, "k=" P0, PLACEHOLDER_LEN + 2,
					 &out, &swap),
			wanted);
		assert_int_equal(out.len, wanted < 0 ? 0 : 2 + strlen(value));
		assert_int_equal(swap.used, wanted < 0 ? 5 : 1);
		buf_clear(&out);
		base64_encode(text + 6, P0, PLACEHOLDER_LEN);
		assert_int_equal(vault_substitute(v, 1, "authorization", 13, text, strlen(text),
					 &out, &swap),
			wanted);
		assert_true(wanted == 0 || out.len == 0);
		/* Where it is not put in it does no harm. */
		assert_int_equal(
			vault_substitute(v, 0, "x-key", 5, P0, PLACEHOLDER_LEN, &out, &swap), 0);
		assert_int_equal(swap.stray, 1);
		buf_done(&out);
		vault_free(v);
	}
}

static void test_out_full(void **state)
{
	struct vault *v = three();
	struct vault_swap swap = {.used = 5};
	char text[160] = "Basic ";
	struct buf out;

	buf_init(&out, 12);
	assert_int_equal(buf_append_str(&out, "ab"), 0);
	assert_int_equal(
		vault_substitute(v, 1, "x-key", 5, P0, PLACEHOLDER_LEN, &out, &swap), -ENOBUFS);
	base64_encode(text + 6, P0, PLACEHOLDER_LEN);
	assert_int_equal(
		vault_substitute(v, 1, "authorization", 13, text, strlen(text), &out, &swap),
		-ENOBUFS);
	assert_int_equal(out.len, 2);
	assert_int_equal(swap.used, 5);
	buf_consume(&out, 1);
	assert_int_equal(vault_substitute(v, 1, "x-key", 5, P0, PLACEHOLDER_LEN, &out, &swap), 0);
	assert_int_equal(out.len, 12);
	assert_memory_equal(buf_data(&out), "balpha-value", 12);
	buf_done(&out);
	vault_free(v);
}

/* --- watching --------------------------------------------------------------------------------- */

static uint64_t watch(const struct vault *v, const char *text, size_t len, size_t step)
{
	struct vault_watch w = {0};
	uint64_t found = 0;

	for (size_t done = 0; done < len; done += step) {
		size_t n = len - done < step ? len - done : step;
		auto_free uint8_t *exact = mem_dup(text + done, n);

		found |= vault_watch(v, &w, exact, n);
	}
	return found;
}

static void check_watch(const struct vault *v, const char *text, uint64_t wanted)
{
	size_t len = strlen(text);

	for (size_t step = 1; step <= len; step++) {
		if (watch(v, text, len, step) != wanted)
			fail_msg("\"%s\" in pieces of %zu", text, step);
	}
}

#define DIGITS "00112233445566778899aabbccddeeff00112233445566778899aabbccddee"

static void test_watch_plain(void **state)
{
	struct vault *v = three();
	struct vault *none = vault_new();

	check_watch(v, "{\"key\": \"" P0 "\"}", 1);
	check_watch(v, P0 P1, 3);
	check_watch(v, "DENO_SECRET_PLACEHOLDEDENO_DDENO_SECRET_PLACEHOLDER_" DIGITS "ff", 1);
	check_watch(v, "DENO_SECRET_PLACEHOLDER_00DENO_SECRET_PLACEHOLDER_" DIGITS "ff", 1);
	check_watch(v, "DENO%5FSECRET%5fPLACEHOLDER_" DIGITS "f%66", 1);
	check_watch(v, "%44%45%4e%4F%5fSECRET_PLACEHOLDER%5F" DIGITS "ff", 1);
	check_watch(v, "%%44ENO_SECRET_PLACEHOLDER_" DIGITS "ff", 1);
	check_watch(v, "%DENO_SECRET_PLACEHOLDER_" DIGITS "ff", 1);
	check_watch(v, "%" P0 "%" P1, 3);
	check_watch(v, "%4%44ENO_SECRET_PLACEHOLDER_" DIGITS "ff", 1);
	check_watch(v, "deno_secret_placeholder_" DIGITS "ff", 0);
	check_watch(v, "DENO_SECRET_PLACEHOLDER_" DIGITS "fF", 0);
	check_watch(v, "DENO_SECRET_PLACEHOLDER_" DIGITS "f", 0);
	check_watch(v, "DENO_SECRET_PLACEHOLDER_" DIGITS "f f", 0);
	check_watch(v, PX, 0);
	check_watch(none, P0, 0);
	vault_free(none);
	vault_free(v);
}

static void test_watch_base64(void **state)
{
	struct vault *v = three();

	for (size_t before = 0; before < 7; before++) {
		for (size_t after = 0; after < 4; after++) {
			char plain[160];
			char text[240] = "";
			char escaped[720] = "";
			size_t n = 0;

			snprintf(plain, sizeof(plain), "%.*s%s%.*s", (int)before, "xxxxxxx", P1,
				(int)after, "yyyy");
			base64_encode(text, plain, strlen(plain));
			check_watch(v, text, 2);
			/* Without padding, and percent-encoded. */
			text[strcspn(text, "=")] = '\0';
			check_watch(v, text, 2);
			for (const char *p = text; *p != '\0'; p++)
				n += (size_t)snprintf(escaped + n, sizeof(escaped) - n,
					(p - text) % 3 == 0 ? "%%%02x" : "%c", (unsigned)*p);
			check_watch(v, escaped, 2);
			/* Another one's, and one that is cut off. */
			plain[before + PLACEHOLDER_LEN - 1] = '1';
			base64_encode(text, plain, strlen(plain));
			check_watch(v, text, 0);
		}
	}
	vault_free(v);
}

/* Each chunk tells what ended in it. */
static void test_watch_when(void **state)
{
	struct vault *v = three();
	struct vault_watch w = {0};
	const uint8_t *text = (const uint8_t *)P0;

	assert_int_equal(vault_watch(v, &w, text, PLACEHOLDER_LEN - 1), 0);
	assert_int_equal(vault_watch(v, &w, NULL, 0), 0);
	assert_int_equal(vault_watch(v, &w, text + PLACEHOLDER_LEN - 1, 1), 1);
	assert_int_equal(vault_watch(v, &w, (const uint8_t *)"f", 1), 0);
	assert_int_equal(vault_watch(v, &w, (const uint8_t *)P1 P2, PLACEHOLDER_LEN), 2);
	assert_int_equal(vault_watch(v, &w, (const uint8_t *)P2, PLACEHOLDER_LEN), 4);
	vault_free(v);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_placeholder_form),
		cmocka_unit_test(test_most_secrets),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_locked_memory),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_substitute),
		cmocka_unit_test(test_basic),
		cmocka_unit_test(test_value_that_may_not_stand),
		cmocka_unit_test(test_out_full),
		cmocka_unit_test(test_watch_plain),
		cmocka_unit_test(test_watch_base64),
		cmocka_unit_test(test_watch_when),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
