#include "fixture.h"

#include <ctype.h>
#include <errno.h>

#define MINUTE INT64_C(60000)

static void test_orgs(void **state)
{
	struct fixture *f = *state;
	struct store_org first;
	struct store_org found;
	struct error err = {0};

	assert_int_equal(store_org_count(f->store), 0);
	assert_int_equal(store_org_find(f->store, "home", &found), -ENOENT);
	assert_int_equal(store_org_create(f->store, "home", &first, NULL), 0);
	assert_true(first.id > 0 && first.created_ms > 0);
	assert_int_equal(strlen(first.uuid), 36);
	assert_int_equal(first.uuid[14], '4');
	assert_int_equal(store_org_find(f->store, "home", &found), 0);
	assert_int_equal(found.id, first.id);
	assert_string_equal(found.uuid, first.uuid);
	assert_string_equal(found.slug, "home");
	assert_int_equal(found.created_ms, first.created_ms);
	assert_int_equal(store_org_create(f->store, "home", &found, &err), -EEXIST);
	assert_string_equal(err.field, "org");
	assert_int_equal(store_org_count(f->store), 1);
}

static void test_slugs(void **state)
{
	static const char *const bad[] = {"", "a", "-ab", "ab-", "Ab", "a b", "a_b", "ä-b",
		"123456789012345678901234567890123"};
	static const char *const good[] = {"ab", "a-b", "0-9", "12345678901234567890123456789012"};
	struct fixture *f = *state;
	struct store_org org;

	for (size_t i = 0; i < array_len(bad); i++)
		assert_int_equal(store_org_create(f->store, bad[i], &org, NULL), -EINVAL);
	for (size_t i = 0; i < array_len(good); i++)
		assert_int_equal(store_org_create(f->store, good[i], &org, NULL), 0);
}

static int64_t make_org(struct fixture *f, const char *slug)
{
	struct store_org org;

	assert_int_equal(store_org_create(f->store, slug, &org, NULL), 0);
	return org.id;
}

static void test_create(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");
	char text[2][STORE_TOKEN_TEXT_SIZE];
	struct store_token token;
	struct error err = {0};

	for (int i = 0; i < 2; i++)
		assert_int_equal(
			store_token_create(f->store, org, "laptop", 0, &token, text[i], NULL), 0);
	assert_string_not_equal(text[0], text[1]);
	assert_int_equal(strlen(text[0]), 44);
	assert_memory_equal(text[0], "ddo_", 4);
	for (int i = 4; i < 44; i++)
		assert_true(isalnum((unsigned char)text[0][i]));
	assert_string_equal(token.name, "laptop");
	assert_string_equal(token.org_slug, "home");
	assert_int_equal(token.org_id, org);
	assert_int_equal(strlen(token.hint), 8);
	assert_memory_equal(token.hint, text[1], 8);
	assert_int_equal(
		store_token_create(f->store, org + 1, "x", 0, &token, text[0], &err), -ENOENT);
	assert_int_equal(store_token_create(f->store, org, "", 0, &token, text[0], &err), -EINVAL);
	assert_string_equal(err.field, "name");
	assert_int_equal(
		store_token_create(f->store, org, "a\nb", 0, &token, text[0], &err), -EINVAL);
	assert_int_equal(
		store_token_create(f->store, org, "\xff", 0, &token, text[0], &err), -EINVAL);
}

/* The text of a token must be nowhere in the files. */
static void test_text_not_stored(void **state)
{
	struct fixture *f = *state;
	char text[STORE_TOKEN_TEXT_SIZE];
	struct store_token token;
	static const char *const suffixes[] = {"", "-wal"};

	assert_int_equal(
		store_token_create(f->store, make_org(f, "home"), "t", 0, &token, text, NULL), 0);
	for (size_t i = 0; i < array_len(suffixes); i++) {
		auto_free char *path = mem_printf("%s%s", f->path, suffixes[i]);
		auto_free char *bytes = mem_zalloc(1 << 20);
		FILE *in = fopen(path, "r");
		size_t len;

		assert_non_null(in);
		len = fread(bytes, 1, 1 << 20, in);
		fclose(in);
		assert_null(memmem(bytes, len, text + 4, 40));
		assert_null(memmem(bytes, len, text + 20, 10));
	}
}

static void test_check(void **state)
{
	struct fixture *f = *state;
	int64_t org = make_org(f, "home");
	char text[STORE_TOKEN_TEXT_SIZE];
	char longer[STORE_TOKEN_TEXT_SIZE + 1];
	struct store_token token;
	struct store_token found = {0};

	assert_int_equal(store_token_create(f->store, org, "t", 5000, &token, text, NULL), 0);
	assert_int_equal(store_token_check(f->store, text, 44, 4999, &found), 0);
	assert_int_equal(found.id, token.id);
	assert_string_equal(found.org_slug, "home");
	assert_int_equal(store_token_check(f->store, text, 44, 5000, &found), -EKEYEXPIRED);
	assert_int_equal(store_token_check(f->store, text, 43, 1, &found), -ENOENT);
	assert_int_equal(store_token_check(f->store, "", 0, 1, &found), -ENOENT);
	memset(longer, 'a', sizeof(longer));
	assert_int_equal(store_token_check(f->store, longer, sizeof(longer), 1, &found), -ENOENT);
	text[10] ^= 1;
	assert_int_equal(store_token_check(f->store, text, 44, 1, &found), -ENOENT);
	text[10] ^= 1;
	assert_int_equal(store_token_revoke(f->store, token.id, 4000), 0);
	assert_int_equal(store_token_check(f->store, text, 44, 4500, &found), -ENOENT);
	/* Revoked is the stronger word, also when it has expired since. */
	assert_int_equal(store_token_check(f->store, text, 44, 6000, &found), -ENOENT);
	assert_int_equal(store_token_revoke(f->store, token.id, 4600), -ENOENT);
	assert_int_equal(store_token_revoke(f->store, 999, 1), -ENOENT);
}

static void test_last_used(void **state)
{
	struct fixture *f = *state;
	char text[STORE_TOKEN_TEXT_SIZE];
	struct store_token token;
	struct store_token found;

	assert_int_equal(
		store_token_create(f->store, make_org(f, "home"), "t", 0, &token, text, NULL), 0);
	assert_int_equal(token.last_used_ms, 0);
	assert_int_equal(store_token_check(f->store, text, 44, 10 * MINUTE + 7, &found), 0);
	assert_int_equal(found.last_used_ms, 10 * MINUTE);
	assert_int_equal(store_token_check(f->store, text, 44, 10 * MINUTE + 59999, &found), 0);
	assert_int_equal(found.last_used_ms, 10 * MINUTE);
	assert_int_equal(store_token_check(f->store, text, 44, 11 * MINUTE, &found), 0);
	assert_int_equal(found.last_used_ms, 11 * MINUTE);
}

struct seen {
	int count;
	int stop_at;
	char names[8][65];
};

static int see(const struct store_token *token, void *data)
{
	struct seen *seen = data;

	memcpy(seen->names[seen->count++], token->name, sizeof(token->name));
	return seen->count == seen->stop_at ? 42 : 0;
}

static void test_list(void **state)
{
	struct fixture *f = *state;
	int64_t orgs[2] = {make_org(f, "one"), make_org(f, "two")};
	static const char *const names[] = {"a", "b", "c", "d"};
	char text[STORE_TOKEN_TEXT_SIZE];
	struct store_token token;
	struct seen seen = {0};

	for (size_t i = 0; i < array_len(names); i++)
		assert_int_equal(
			store_token_create(f->store, orgs[i % 2], names[i], 0, &token, text, NULL),
			0);
	assert_int_equal(store_token_revoke(f->store, token.id, 77), 0);
	assert_int_equal(store_token_list(f->store, 0, see, &seen), 0);
	assert_int_equal(seen.count, 4);
	assert_string_equal(seen.names[0], "a");
	assert_string_equal(seen.names[3], "d");
	seen = (struct seen){0};
	assert_int_equal(store_token_list(f->store, orgs[1], see, &seen), 0);
	assert_int_equal(seen.count, 2);
	assert_string_equal(seen.names[1], "d");
	seen = (struct seen){.stop_at = 3};
	assert_int_equal(store_token_list(f->store, 0, see, &seen), 42);
	assert_int_equal(seen.count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		store_test(test_orgs),
		store_test(test_slugs),
		store_test(test_create),
		store_test(test_text_not_stored),
		store_test(test_check),
		store_test(test_last_used),
		store_test(test_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
