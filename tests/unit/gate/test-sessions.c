#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "gate/tls/sessions.h"

#define NOW (1000 * CLOCK_SEC)

/* One that could be resumed. */
static SSL_SESSION *make_session(void)
{
	static const uint8_t id[] = "0123456789abcdef";
	static const uint8_t key[32] = {1};
	SSL_SESSION *session = SSL_SESSION_new();

	assert_non_null(session);
	assert_int_equal(SSL_SESSION_set1_id(session, id, sizeof(id)), 1);
	assert_int_equal(SSL_SESSION_set1_master_key(session, key, sizeof(key)), 1);
	return session;
}

static void test_belongs_to_name_and_port(void **state)
{
	struct sessions *s = sessions_new();
	SSL_SESSION *session = make_session();
	uint64_t verified = 0;

	sessions_keep(s, "api.example", 443, session, NOW);
	assert_ptr_equal(sessions_find(s, "api.example", 443, NOW, &verified), session);
	assert_int_equal(verified, NOW);
	assert_null(sessions_find(s, "api.example", 8443, NOW, &verified));
	assert_null(sessions_find(s, "other.example", 443, NOW, &verified));
	assert_null(sessions_find(s, "api.example.evil", 443, NOW, &verified));
	sessions_free(s);
}

static void test_the_latest_counts(void **state)
{
	struct sessions *s = sessions_new();
	SSL_SESSION *second = make_session();
	uint64_t verified = 0;

	sessions_keep(s, "api.example", 443, make_session(), NOW);
	sessions_keep(s, "api.example", 443, second, NOW + 1);
	assert_ptr_equal(sessions_find(s, "api.example", 443, NOW + 2, &verified), second);
	assert_int_equal(verified, NOW + 1);
	sessions_free(s);
}

static void test_certificate_is_looked_at_again(void **state)
{
	struct sessions *s = sessions_new();
	uint64_t verified = 0;

	sessions_keep(s, "api.example", 443, make_session(), NOW);
	assert_non_null(sessions_find(s, "api.example", 443, NOW + SESSIONS_LIFE_NS, &verified));
	assert_null(sessions_find(s, "api.example", 443, NOW + SESSIONS_LIFE_NS + 1, &verified));
	/* And it is gone, whatever the clock says. */
	assert_null(sessions_find(s, "api.example", 443, NOW, &verified));
	sessions_free(s);
}

static void test_those_not_used_go_first(void **state)
{
	struct sessions *s = sessions_new();
	uint64_t verified = 0;
	char host[32];

	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		snprintf(host, sizeof(host), "h%u.example", i);
		sessions_keep(s, host, 443, make_session(), NOW);
	}
	assert_non_null(sessions_find(s, "h0.example", 443, NOW, &verified));
	sessions_keep(s, "new.example", 443, make_session(), NOW);
	assert_non_null(sessions_find(s, "h0.example", 443, NOW, &verified));
	assert_null(sessions_find(s, "h1.example", 443, NOW, &verified));
	for (unsigned i = 2; i < SESSIONS_MAX; i++) {
		snprintf(host, sizeof(host), "h%u.example", i);
		assert_non_null(sessions_find(s, host, 443, NOW, &verified));
	}
	assert_non_null(sessions_find(s, "new.example", 443, NOW, &verified));
	sessions_free(s);
}

static void test_what_cannot_be_resumed(void **state)
{
	struct sessions *s = sessions_new();
	uint64_t verified = 0;
	char host[400];

	/* Without an id or a ticket. */
	sessions_keep(s, "api.example", 443, SSL_SESSION_new(), NOW);
	assert_null(sessions_find(s, "api.example", 443, NOW, &verified));
	/* No name is that long. */
	memset(host, 'a', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	sessions_keep(s, host, 443, make_session(), NOW);
	assert_null(sessions_find(s, host, 443, NOW, &verified));
	sessions_free(s);
	sessions_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_belongs_to_name_and_port),
		cmocka_unit_test(test_the_latest_counts),
		cmocka_unit_test(test_certificate_is_looked_at_again),
		cmocka_unit_test(test_those_not_used_go_first),
		cmocka_unit_test(test_what_cannot_be_resumed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
