/* Flights of a real server, whole and in pieces. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "wire/tls_flight.h"

static EVP_PKEY *key;
static X509 *cert;

static int make_certificate(void **state)
{
	key = EVP_EC_gen("P-256");
	cert = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
		(const uint8_t *)"flight.test", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	return X509_sign(cert, key, EVP_sha256()) > 0 ? 0 : -1;
}

static int free_certificate(void **state)
{
	X509_free(cert);
	EVP_PKEY_free(key);
	return 0;
}

/* What a server answers to a client's hello. */
static size_t flight(int version, uint8_t **ret)
{
	SSL_CTX *server_ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
	SSL *server, *client;
	char *data = NULL;

	SSL_CTX_use_certificate(server_ctx, cert);
	SSL_CTX_use_PrivateKey(server_ctx, key);
	SSL_CTX_set_max_proto_version(client_ctx, version);
	server = SSL_new(server_ctx);
	client = SSL_new(client_ctx);
	BIO *to_server = BIO_new(BIO_s_mem());
	BIO *to_client = BIO_new(BIO_s_mem());
	BIO_up_ref(to_server);
	BIO_up_ref(to_client);
	SSL_set_bio(client, to_client, to_server);
	SSL_set_bio(server, to_server, to_client);
	SSL_set_connect_state(client);
	SSL_set_accept_state(server);
	(void)SSL_do_handshake(client);
	(void)SSL_do_handshake(server);
	long len = BIO_get_mem_data(to_client, &data);
	*ret = mem_dup(data, (size_t)len);
	SSL_free(client);
	SSL_free(server);
	SSL_CTX_free(client_ctx);
	SSL_CTX_free(server_ctx);
	return (size_t)len;
}

static void check_found(const uint8_t *data, size_t len)
{
	uint8_t *der = NULL, *wanted = NULL;
	size_t der_len = 0;
	int n = i2d_X509(cert, &wanted);

	assert_int_equal(tls_flight_certificate(data, len, &der, &der_len), 1);
	assert_int_equal(der_len, n);
	assert_memory_equal(der, wanted, der_len);
	free(der);
	OPENSSL_free(wanted);
}

static void test_tls12(void **state)
{
	auto_free uint8_t *data = NULL;
	size_t len = flight(TLS1_2_VERSION, &data);
	uint8_t *der = NULL;
	size_t der_len = 0, first = 0;

	check_found(data, len);
	for (size_t n = 0; n < len; n++) {
		auto_free uint8_t *copy = mem_dup(data, n);
		int r = tls_flight_certificate(copy, n, &der, &der_len);

		assert_true(r == (first == 0 ? r : 1));
		if (r == 1) {
			first = first == 0 ? n : first;
			free(take_ptr(der));
		} else {
			assert_int_equal(r, -EAGAIN);
		}
	}
	assert_true(first > 100 && first < len);
}

/* The same handshake in records of few bytes. */
static void test_small_records(void **state)
{
	auto_free uint8_t *data = NULL;
	size_t len = flight(TLS1_2_VERSION, &data);
	auto_free uint8_t *small = mem_zalloc(len * 6);
	size_t out = 0;

	for (size_t at = 0; at + 5 < len;) {
		size_t size = (size_t)data[at + 3] << 8 | data[at + 4];

		for (size_t i = 0; i < size; i++) {
			memcpy(small + out, data + at, 3);
			small[out + 3] = 0;
			small[out + 4] = 1;
			small[out + 5] = data[at + 5 + i];
			out += 6;
		}
		at += 5 + size;
	}
	check_found(small, out);
}

static void test_tls13(void **state)
{
	auto_free uint8_t *data = NULL;
	size_t len = flight(TLS1_3_VERSION, &data);
	uint8_t *der = NULL;
	size_t der_len = 0;

	assert_int_equal(tls_flight_certificate(data, len, &der, &der_len), 0);
	assert_null(der);
}

static void test_others(void **state)
{
	static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 40};
	static const uint8_t http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
	static const uint8_t hello_request[] = {22, 3, 3, 0, 4, 0, 0, 0, 0};
	uint8_t *der = NULL;
	size_t len = 0;

	assert_int_equal(tls_flight_certificate(alert, sizeof(alert), &der, &len), 0);
	assert_int_equal(tls_flight_certificate(http, sizeof(http), &der, &len), 0);
	assert_int_equal(
		tls_flight_certificate(hello_request, sizeof(hello_request), &der, &len), 0);
	assert_int_equal(tls_flight_certificate(alert, 0, &der, &len), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tls12),
		cmocka_unit_test(test_small_records),
		cmocka_unit_test(test_tls13),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, make_certificate, free_certificate);
}
