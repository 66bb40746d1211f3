#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"
#include "wire/tls_hello.h"

#define FLIGHT_MAX (2 * TLS_HELLO_MAX)

struct flight {
	uint8_t data[FLIGHT_MAX];
	size_t len;
};

/* In a block of its exact size, so that a sanitizer sees a read behind it. */
static int parse(const uint8_t *data, size_t len, struct tls_hello *h)
{
	auto_free uint8_t *copy = mem_dup(data, len);

	return tls_hello_parse(copy, len, h);
}

static int parse_flight(const struct flight *f, struct tls_hello *h)
{
	return parse(f->data, f->len, h);
}

/* --- what OpenSSL sends ----------------------------------------------------------------------- */

static const unsigned char both_protocols[] = "\x02h2\x08http/1.1";

static const struct client {
	int version;
	const char *name;
	const unsigned char *alpn;
	unsigned alpn_len;
	bool h2, http1;
} clients[] = {
	{TLS1_3_VERSION, "www.example.com", NULL, 0, false, false},
	{TLS1_2_VERSION, "www.example.com", NULL, 0, false, false},
	{TLS1_3_VERSION, NULL, NULL, 0, false, false},
	{TLS1_2_VERSION, NULL, NULL, 0, false, false},
	{TLS1_3_VERSION, "EXAMPLE.com", both_protocols, 12, true, true},
	{TLS1_2_VERSION, "example.com", both_protocols, 12, true, true},
	{TLS1_3_VERSION, "example.com", both_protocols, 3, true, false},
	{TLS1_3_VERSION, NULL, both_protocols + 3, 9, false, true},
	{TLS1_3_VERSION, "example.com", (const unsigned char *)"\4dot2\2h3", 8, false, false},
};

static void client_flight(const struct client *c, struct flight *ret)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem());
	BIO *out = BIO_new(BIO_s_mem());

	assert_int_equal(SSL_set_min_proto_version(ssl, c->version), 1);
	assert_int_equal(SSL_set_max_proto_version(ssl, c->version), 1);
	if (c->name)
		assert_int_equal(SSL_set_tlsext_host_name(ssl, c->name), 1);
	if (c->alpn)
		assert_int_equal(SSL_set_alpn_protos(ssl, c->alpn, c->alpn_len), 0);
	SSL_set_bio(ssl, in, out);
	assert_int_equal(SSL_get_error(ssl, SSL_connect(ssl)), SSL_ERROR_WANT_READ);
	int n = BIO_read(out, ret->data, sizeof(ret->data));
	assert_true(n > 0);
	ret->len = (size_t)n;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

static void check_client(const struct client *c, const struct tls_hello *h)
{
	assert_string_equal(h->name, c->name ? c->name : "");
	assert_int_equal(h->has_alpn, c->alpn != NULL);
	assert_int_equal(h->offers_h2, c->h2);
	assert_int_equal(h->offers_http1, c->http1);
	assert_false(h->has_ech);
}

/* The same handshake bytes in records of step bytes. */
static void split(const struct flight *f, size_t step, struct flight *ret)
{
	ret->len = 0;
	for (size_t at = 5; at < f->len; at += step) {
		size_t n = f->len - at < step ? f->len - at : step;
		uint8_t header[5] = {22, 3, 1, (uint8_t)(n >> 8), (uint8_t)n};

		assert_true(ret->len + 5 + n <= sizeof(ret->data));
		memcpy(ret->data + ret->len, header, 5);
		memcpy(ret->data + ret->len + 5, f->data + at, n);
		ret->len += 5 + n;
	}
}

static void test_openssl(void **state)
{
	static struct flight f;

	for (size_t i = 0; i < array_len(clients); i++) {
		struct tls_hello h;

		client_flight(&clients[i], &f);
		assert_int_equal(tls_hello_likely(f.data, f.len), 1);
		assert_int_equal(parse_flight(&f, &h), 1);
		check_client(&clients[i], &h);
	}
}

/* Whatever the records, and however few bytes have come, the verdict is the same. */
static void test_fragments(void **state)
{
	static const size_t steps[] = {1, 2, 3, 4, 5, 7, 100, 511};
	static struct flight whole, f;

	for (size_t i = 0; i < array_len(clients) * array_len(steps); i++) {
		const struct client *c = &clients[i / array_len(steps)];
		struct tls_hello h = {.name = "untouched"};

		client_flight(c, &whole);
		split(&whole, steps[i % array_len(steps)], &f);
		for (size_t len = 0; len < f.len; len++) {
			assert_int_equal(parse(f.data, len, &h), -EAGAIN);
			assert_string_equal(h.name, "untouched");
		}
		assert_int_equal(parse_flight(&f, &h), 1);
		check_client(c, &h);
		/* Early data may follow. */
		memset(f.data + f.len, 0xff, 100);
		f.len += 100;
		assert_int_equal(parse_flight(&f, &h), 1);
		check_client(c, &h);
	}
}

/* --- what others could send ------------------------------------------------------------------- */

static void add(struct flight *f, const void *data, size_t len)
{
	assert_true(len <= sizeof(f->data) - f->len);
	memcpy(f->data + f->len, data, len);
	f->len += len;
}

static void set_length(uint8_t *at, size_t len, int bytes)
{
	for (int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(len >> (8 * (bytes - 1 - i)));
}

/* A hello with these extensions, in one record. */
static void make_hello(const void *extensions, size_t len, struct flight *ret)
{
	static const uint8_t random[32];

	ret->len = 0;
	add(ret, "\x16\3\1\0\0\1\0\0\0\3\3", 11);
	add(ret, random, sizeof(random));
	add(ret, "\0\0\2\x13\1\1\0\0\0", 9);
	set_length(ret->data + ret->len - 2, len, 2);
	add(ret, extensions, len);
	set_length(ret->data + 3, ret->len - 5, 2);
	set_length(ret->data + 6, ret->len - 9, 3);
}

#define SNI(name_and_length, list, ext) "\0\0\0" ext "\0" list "\0\0" name_and_length
#define NAME_A SNI("\1a", "\4", "\6")
#define ECH_OUTER "\xfe\x0d\0\x0b\0\0\1\0\1\x42\0\0\0\1x"

static const struct {
	const char *title;
	const char *data;
	size_t len;
	int result;
	struct tls_hello hello;
} hellos[] = {
#define GOOD(title, data, ...) \
	{ \
		title, data, sizeof(data) - 1, 1, \
		{ \
			__VA_ARGS__ \
		} \
	}
#define BAD(title, data) \
	{ \
		title, data, sizeof(data) - 1, -EBADMSG, \
		{ \
			.name = "" \
		} \
	}
	GOOD("no extensions", "", .name = ""),
	GOOD("name", NAME_A, .name = "a"),
	GOOD("an unknown one", "\x12\x34\0\2xx" NAME_A, .name = "a"),
	GOOD("hidden name", NAME_A ECH_OUTER, .name = "a", .has_ech = true),
	GOOD("inner form", NAME_A "\xfe\x0d\0\1\1", .name = "a"),
	GOOD("h2", "\0\x10\0\5\0\3\2h2", .has_alpn = true, .offers_h2 = true),
	GOOD("neither", "\0\x10\0\4\0\2\1h", .has_alpn = true),
	GOOD("h2c is not h2", "\0\x10\0\6\0\4\3h2c", .has_alpn = true),
	BAD("name twice", NAME_A NAME_A),
	BAD("two names in a list", "\0\0\0\x0a\0\x08\0\0\1a\0\0\1b"),
	BAD("name of another type", "\0\0\0\6\0\4\1\0\1a"),
	BAD("empty name", "\0\0\0\5\0\3\0\0\0"),
	BAD("empty list of names", "\0\0\0\2\0\0"),
	BAD("empty server_name", "\0\0\0\0"),
	BAD("NUL in name", SNI("\3a\0b", "\6", "\x08")),
	BAD("newline in name", SNI("\3a\nb", "\6", "\x08")),
	BAD("blank in name", SNI("\3a b", "\6", "\x08")),
	BAD("DEL in name", SNI("\3a\x7f"
			       "b",
				   "\6", "\x08")),
	BAD("UTF-8 in name", SNI("\3a\xc3\xbc", "\6", "\x08")),
	BAD("name past its list", SNI("\3a", "\4", "\6")),
	BAD("list past its extension", SNI("\1a", "\5", "\6")),
	BAD("bytes behind the list", "\0\0\0\7\0\4\0\0\1ax"),
	BAD("bytes behind the name", "\0\0\0\7\0\5\0\0\1ax"),
	BAD("extension past the end", "\x12\x34\0\3xx"),
	BAD("half an extension", "\x12\x34\0"),
	BAD("ALPN twice", "\0\x10\0\5\0\3\2h2\0\x10\0\5\0\3\2h2"),
	BAD("empty ALPN", "\0\x10\0\0"),
	BAD("empty list in ALPN", "\0\x10\0\2\0\0"),
	BAD("empty protocol", "\0\x10\0\6\0\4\2h2\0"),
	BAD("protocol past the end", "\0\x10\0\5\0\3\3h2"),
	BAD("bytes behind ALPN", "\0\x10\0\6\0\3\2h2x"),
	BAD("ECH twice", ECH_OUTER ECH_OUTER),
	BAD("empty ECH", "\xfe\x0d\0\0"),
	BAD("form of ECH", "\xfe\x0d\0\1\2"),
	BAD("inner form with bytes", "\xfe\x0d\0\2\1x"),
	BAD("cut ECH", "\xfe\x0d\0\x0a\0\0\1\0\1\x42\0\0\0\1"),
	BAD("ECH without payload", "\xfe\x0d\0\x0a\0\0\1\0\1\x42\0\0\0\0"),
};

static void test_extensions(void **state)
{
	static struct flight f, parts;

	for (size_t i = 0; i < 2 * array_len(hellos); i++) {
		struct tls_hello h = {.name = ""};
		const struct tls_hello *wanted = &hellos[i / 2].hello;

		print_message("# %s\n", hellos[i / 2].title);
		make_hello(hellos[i / 2].data, hellos[i / 2].len, &f);
		split(&f, 3, &parts);
		assert_int_equal(parse_flight(i % 2 ? &parts : &f, &h), hellos[i / 2].result);
		assert_string_equal(h.name, wanted->name);
		assert_int_equal(h.has_ech, wanted->has_ech);
		assert_int_equal(h.has_alpn, wanted->has_alpn);
		assert_int_equal(h.offers_h2, wanted->offers_h2);
		assert_int_equal(h.offers_http1, wanted->offers_http1);
	}
}

static void test_name_length(void **state)
{
	uint8_t extension[9 + 256] = {0};
	static struct flight f;
	struct tls_hello h;

	for (size_t len = 255; len <= 256; len++) {
		set_length(extension + 2, len + 5, 2);
		set_length(extension + 4, len + 3, 2);
		set_length(extension + 7, len, 2);
		memset(extension + 9, 'n', len);
		make_hello(extension, 9 + len, &f);
		assert_int_equal(parse_flight(&f, &h), len == 255 ? 1 : -EBADMSG);
		assert_int_equal(strlen(h.name), 255);
	}
}

/* One byte of a good hello set to another value. */
static void test_broken_frames(void **state)
{
	static const struct {
		const char *name;
		size_t at;
		uint8_t value;
		int result;
	} cases[] = {
		{"an alert", 0, 21, -EBADMSG},
		{"early data", 0, 23, -EBADMSG},
		{"version 2 of SSL", 1, 2, -EBADMSG},
		{"TLS 1.2 in the record", 2, 3, 1},
		{"an empty record", 4, 0, -EBADMSG},
		{"record longer than its message", 4, 0xff, -EBADMSG},
		{"record longer than there can be", 3, 0x41, -EBADMSG},
		{"a server's hello", 5, 2, -EBADMSG},
		{"message longer than its record", 8, 0xff, -EAGAIN},
		{"message too long", 6, 1, -E2BIG},
		{"message shorter than its record", 8, 10, -EBADMSG},
		{"version 2 inside", 9, 2, -EBADMSG},
		{"session id of 33", 43, 33, -EBADMSG},
		{"session id past the end", 43, 255, -EBADMSG},
		{"no ciphers", 45, 0, -EBADMSG},
		{"odd ciphers", 45, 1, -EBADMSG},
		{"ciphers past the end", 44, 255, -EBADMSG},
		{"no compression", 48, 0, -EBADMSG},
		{"compressions past the end", 48, 255, -EBADMSG},
		{"extensions past the end", 50, 255, -EBADMSG},
		{"bytes behind the extensions", 51, 0, -EBADMSG},
	};
	static struct flight f;

	for (size_t i = 0; i < array_len(cases); i++) {
		struct tls_hello h;

		print_message("# %s\n", cases[i].name);
		make_hello(NAME_A, 10, &f);
		f.data[cases[i].at] = cases[i].value;
		assert_int_equal(parse_flight(&f, &h), cases[i].result);
	}
}

/* The oldest form has no extensions, not even their length. */
static void test_without_extensions(void **state)
{
	static struct flight f;
	struct tls_hello h;

	make_hello("", 0, &f);
	f.len -= 2;
	set_length(f.data + 3, f.len - 5, 2);
	set_length(f.data + 6, f.len - 9, 3);
	assert_int_equal(parse_flight(&f, &h), 1);
	assert_string_equal(h.name, "");
}

/* Another record between the parts of a hello. */
static void test_interleaved(void **state)
{
	static struct flight f, parts;
	struct tls_hello h;

	make_hello(NAME_A, 10, &f);
	split(&f, 20, &parts);
	memmove(parts.data + 25 + 7, parts.data + 25, parts.len - 25);
	tls_hello_alert(0, parts.data + 25);
	parts.len += 7;
	assert_int_equal(parse_flight(&parts, &h), -EBADMSG);
}

/* The second record goes on behind the end of the hello. */
static void test_second_message(void **state)
{
	static struct flight f, parts;
	struct tls_hello h;

	make_hello(NAME_A, 10, &f);
	f.data[f.len++] = 1;
	split(&f, 20, &parts);
	assert_int_equal(parse_flight(&parts, &h), -EBADMSG);
	assert_int_equal(parse(parts.data, parts.len - 1, &h), -EBADMSG);
}

static void test_size_limit(void **state)
{
	/* An unknown extension of 65000 bytes fits in four records, but not in records of 100. */
	static uint8_t extension[4 + 65000] = {0x12, 0x34, 65000 >> 8, 65000 & 255};
	static struct flight f, parts;
	struct tls_hello h;

	make_hello(extension, sizeof(extension), &f);
	split(&f, 16384, &parts);
	assert_true(parts.len < TLS_HELLO_MAX);
	assert_int_equal(parse_flight(&parts, &h), 1);
	assert_int_equal(parse(parts.data, parts.len - 1, &h), -EAGAIN);
	split(&f, 100, &parts);
	assert_true(parts.len > TLS_HELLO_MAX);
	assert_int_equal(parse(parts.data, TLS_HELLO_MAX - 1, &h), -EAGAIN);
	assert_int_equal(parse(parts.data, TLS_HELLO_MAX, &h), -E2BIG);
	assert_int_equal(parse_flight(&parts, &h), -E2BIG);
}

static void test_likely(void **state)
{
	static const struct {
		const char *data;
		size_t len;
		int result;
	} cases[] = {
		{"", 0, -EAGAIN},
		{"\x16", 1, -EAGAIN},
		{"\x16\3\1\2\0", 5, -EAGAIN},
		{"\x16\3\1\2\0\1", 6, 1},
		{"\x16\3\3\x40\0\1", 6, 1},
		{"\x16\3\5", 3, 0},
		{"\x16\2", 2, 0},
		{"\x16\3\1\x41", 4, 0},
		{"\x16\3\1\2\0\2", 6, 0},
		{"\x15\3\1\0\2", 5, 0},
		{"GET / HTTP/1.1", 14, 0},
		{"SSH-2.0-x", 9, 0},
		{"\x80\x2e\1\3\1", 5, 0}, /* a hello of SSL 2 */
		{"\0", 1, 0},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		auto_free uint8_t *copy = mem_dup(cases[i].data, cases[i].len);

		assert_int_equal(tls_hello_likely(copy, cases[i].len), cases[i].result);
	}
}

/* The client takes it for what it is. */
static void test_alert(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem());
	uint8_t alert[TLS_ALERT_SIZE];

	SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
	assert_int_equal(SSL_get_error(ssl, SSL_connect(ssl)), SSL_ERROR_WANT_READ);
	tls_hello_alert(TLS_ALERT_ACCESS_DENIED, alert);
	assert_int_equal(BIO_write(in, alert, sizeof(alert)), sizeof(alert));
	assert_int_equal(SSL_get_error(ssl, SSL_connect(ssl)), SSL_ERROR_SSL);
	assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_ACCESS_DENIED);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_openssl),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_name_length),
		cmocka_unit_test(test_broken_frames),
		cmocka_unit_test(test_without_extensions),
		cmocka_unit_test(test_interleaved),
		cmocka_unit_test(test_second_message),
		cmocka_unit_test(test_size_limit),
		cmocka_unit_test(test_likely),
		cmocka_unit_test(test_alert),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
