/* Two legs over one socket pair, plain and with TLS: the sandbox's CA on one side, a client that
 * trusts it on the other. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "gate/tls/authority.h"
#include "gate/tls/leg.h"

#define BULK ((size_t)3 * 1024 * 1024)

struct side {
	struct leg *leg;
	bool open;
	bool keep; /* leaves what comes in the leg */
	bool free_on_data;
	struct buf got;
	int closes;
	int err;
	char text[160];
};

static struct loop *loop;
static struct side a, b;
static struct loop_timer guard;

static void on_open(struct leg *l, void *data)
{
	((struct side *)data)->open = true;
}

static void on_data(struct leg *l, void *data)
{
	struct side *s = data;
	struct buf *in = leg_in(l);

	if (s->free_on_data) {
		leg_free(take_ptr(s->leg));
		loop_stop(loop, 0);
		return;
	}
	if (s->keep)
		return;
	assert_int_equal(buf_append(&s->got, buf_data(in), in->len), 0);
	buf_consume(in, in->len);
}

static void on_close(struct leg *l, int err, void *data)
{
	struct side *s = data;

	s->closes++;
	s->err = err;
	snprintf(s->text, sizeof(s->text), "%s", leg_error_text(l));
	loop_stop(loop, 0);
}

static const struct leg_ops ops = {.on_open = on_open, .on_data = on_data, .on_close = on_close};

static void on_guard(struct loop_timer *timer)
{
	fail_msg("nothing happens any more");
}

static void run(void)
{
	loop_timer_set(loop, &guard, 20 * CLOCK_SEC, on_guard);
	loop_run(loop);
	loop_timer_cancel(&guard);
}

static void on_tick(struct loop_timer *timer)
{
	loop_stop(loop, 0);
}

/* Lets what is due happen. */
static void settle(void)
{
	struct loop_timer tick = {0};

	loop_timer_set(loop, &tick, 50 * CLOCK_MS, on_tick);
	loop_run(loop);
	loop_timer_cancel(&tick); /* something else may have stopped the loop */
}

static void start(SSL *ssl_a, SSL *ssl_b, const char *early)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	loop = loop_new();
	a = b = (struct side){0};
	buf_init(&a.got, SIZE_MAX / 2);
	buf_init(&b.got, SIZE_MAX / 2);
	assert_int_equal(leg_new(loop, pair[0], early, early != NULL ? strlen(early) : 0, ssl_a,
				 &ops, &a, &a.leg),
		0);
	assert_int_equal(leg_new(loop, pair[1], NULL, 0, ssl_b, &ops, &b, &b.leg), 0);
}

static void stop(void)
{
	leg_free(a.leg);
	leg_free(b.leg);
	buf_done(&a.got);
	buf_done(&b.got);
	loop_free(loop);
}

/* --- plain ------------------------------------------------------------------------------------ */

static void test_plain(void **state)
{
	start(NULL, NULL, "early ");
	assert_int_equal(leg_write(b.leg, "late", 4), 0);
	settle();
	assert_true(a.open && b.open);
	assert_int_equal(a.got.len, 10);
	assert_memory_equal(buf_data(&a.got), "early late", 10);
	leg_close_after_flush(b.leg);
	run();
	assert_int_equal(a.closes + b.closes, 1);
	assert_int_equal(leg_write(b.leg, "x", 1), -EPIPE);
	stop();
}

static void test_pause(void **state)
{
	start(NULL, NULL, NULL);
	settle();
	leg_pause(a.leg);
	assert_int_equal(leg_write(b.leg, "held", 4), 0);
	settle();
	assert_int_equal(a.got.len, 0);
	leg_resume(a.leg);
	settle();
	assert_int_equal(a.got.len, 4);
	stop();
}

static void test_freed_in_its_callback(void **state)
{
	start(NULL, NULL, NULL);
	a.free_on_data = true;
	assert_int_equal(leg_write(b.leg, "x", 1), 0);
	run();
	assert_null(a.leg);
	stop();
}

/* --- TLS -------------------------------------------------------------------------------------- */

static struct authority *ca;

static SSL *client_of(const char *host, const char *trusted_pem, const char *alpn)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	BIO *bio = BIO_new_mem_buf(trusted_pem, -1);
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	SSL *ssl;

	assert_non_null(cert);
	assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert), 1);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	ssl = SSL_new(ctx);
	assert_int_equal(SSL_set1_host(ssl, host), 1);
	if (alpn != NULL)
		assert_int_equal(
			SSL_set_alpn_protos(ssl, (const uint8_t *)alpn, (unsigned)strlen(alpn)), 0);
	SSL_set_connect_state(ssl);
	X509_free(cert);
	BIO_free(bio);
	SSL_CTX_free(ctx);
	return ssl;
}

static int make_ca(void **state)
{
	static const char *const hosts[] = {"api.test", "*.wild.test:443"};

	ca = authority_new("sbx_ord_test", hosts, 2, NULL);
	return ca != NULL ? 0 : -1;
}

static int free_ca(void **state)
{
	authority_free(ca);
	return 0;
}

static void test_tls(void **state)
{
	auto_free uint8_t *bulk = mem_zalloc(BULK);

	for (size_t i = 0; i < BULK; i++)
		bulk[i] = (uint8_t)(i * 7 + i / 251);
	start(client_of("api.test", authority_pem(ca), "\x02h2\x08http/1.1"),
		authority_accept(ca, "api.test", "h2"), NULL);
	settle();
	assert_true(a.open && b.open);
	assert_string_equal(leg_alpn(a.leg), "h2");
	assert_int_equal(leg_write(a.leg, bulk, BULK), 0);
	assert_true(leg_congested(a.leg));
	assert_int_equal(leg_write(b.leg, "answer", 6), 0);
	while (b.got.len < BULK)
		settle();
	assert_memory_equal(buf_data(&b.got), bulk, BULK);
	assert_memory_equal(buf_data(&a.got), "answer", 6);
	leg_close_after_flush(a.leg);
	run();
	assert_int_equal(b.closes, 1);
	assert_int_equal(b.err, 0);
	stop();
}

static void test_tls_backpressure(void **state)
{
	auto_free uint8_t *bulk = mem_zalloc(BULK);

	start(client_of("api.test", authority_pem(ca), NULL), authority_accept(ca, "api.test", ""),
		NULL);
	settle();
	b.keep = true;
	assert_int_equal(leg_write(a.leg, bulk, BULK), 0);
	settle();
	settle();
	assert_true(leg_in(b.leg)->len <= LEG_IN_MAX);
	assert_true(leg_congested(a.leg));
	b.keep = false;
	while (b.got.len < BULK) {
		leg_resume(b.leg);
		settle();
	}
	assert_int_equal(leg_write(a.leg, bulk, LEG_OUT_MAX + 1), -ENOBUFS);
	stop();
}

static void check_failure(SSL *client, SSL *server)
{
	start(client, server, NULL);
	run();
	settle();
	assert_false(a.open);
	assert_int_equal(a.err, -EPROTO);
	assert_true(a.text[0] != '\0');
	stop();
}

static void test_wrong_name(void **state)
{
	check_failure(client_of("other.test", authority_pem(ca), NULL),
		authority_accept(ca, "api.test", ""));
}

static void test_other_ca(void **state)
{
	static const char *const hosts[] = {"api.test"};
	struct authority *other = authority_new("sbx_ord_other", hosts, 1, NULL);

	check_failure(client_of("api.test", authority_pem(other), NULL),
		authority_accept(ca, "api.test", ""));
	authority_free(other);
}

/* The CA's name constraints: a leaf for a name outside of them is worth nothing. */
static void test_constraints(void **state)
{
	check_failure(client_of("evil.test", authority_pem(ca), NULL),
		authority_accept(ca, "evil.test", ""));
	start(client_of("a.wild.test", authority_pem(ca), NULL),
		authority_accept(ca, "a.wild.test", ""), NULL);
	settle();
	assert_true(a.open);
	stop();
}

static void test_cut_off(void **state)
{
	start(client_of("api.test", authority_pem(ca), NULL), authority_accept(ca, "api.test", ""),
		NULL);
	settle();
	leg_set_abort(a.leg);
	leg_free(take_ptr(a.leg));
	run();
	assert_int_equal(b.closes, 1);
	assert_true(b.err == -ECONNABORTED || b.err == -ECONNRESET);
	stop();
}

static void test_garbage(void **state)
{
	start(NULL, authority_accept(ca, "api.test", ""), NULL);
	assert_int_equal(leg_write(a.leg, "GET / HTTP/1.1\r\n\r\n", 18), 0);
	while (b.closes == 0)
		settle();
	assert_int_equal(b.err, -EPROTO);
	stop();
}

static void test_many_names(void **state)
{
	char name[32];

	for (int i = 0; i < AUTHORITY_LEAVES_MAX * 2; i++) {
		snprintf(name, sizeof(name), "h%d.wild.test", i);
		SSL *ssl = authority_accept(ca, name, "");

		assert_non_null(ssl);
		X509 *cert = SSL_get_certificate(ssl);
		assert_int_equal(X509_check_host(cert, name, 0, 0, NULL), 1);
		SSL_free(ssl);
	}
	assert_int_equal(strlen(authority_hash(ca)), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_freed_in_its_callback),
		cmocka_unit_test(test_tls),
		cmocka_unit_test(test_tls_backpressure),
		cmocka_unit_test(test_wrong_name),
		cmocka_unit_test(test_other_ca),
		cmocka_unit_test(test_constraints),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_many_names),
	};

	return cmocka_run_group_tests(tests, make_ca, free_ca);
}
