/* warren token create | list | revoke: works on the records, whether or not a server is running. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "cli/cli.h"
#include "rpc/json.h"
#include "store/store.h"

#define FIRST_ORG "default"

/* --- opening ----------------------------------------------------------------------------- */

/*
 * Becomes the owner of the records: as root, this program would leave log files behind that the
 * server may not write, and would parse with root's rights what an unprivileged daemon wrote.
 */
static int become_owner(const char *path, struct error *ret_err)
{
	struct stat st;
	int r;

	if (lstat(path, &st) < 0 && errno == ENOENT)
		return error_set(ret_err, -ENOENT, "",
			"there are no records at %s; start the server once, or give its "
			"--state-dir",
			path);
	if (lstat(path, &st) < 0)
		return error_set(ret_err, -errno, "", "cannot look at %s: %s%s", path,
			strerror(errno), errno == EACCES ? "; run this as root" : "");
	if (geteuid() != 0)
		return 0;
	if (!S_ISREG(st.st_mode) || st.st_uid == 0)
		return error_set(
			ret_err, -EPERM, "", "%s is not a file of an unprivileged server", path);
	r = privilege_set_ids(st.st_uid, st.st_gid);
	if (r < 0)
		return error_set(
			ret_err, r, "", "cannot become the owner of %s: %s", path, strerror(-r));
	return 0;
}

static int open_store(const struct cli_call *call, struct store **ret, struct error *ret_err)
{
	auto_free char *path = NULL;
	struct config config;
	int r = cli_load_config(call, &config, ret_err);

	if (r == 0) {
		path = mem_printf("%s/warren.db", config.state_dir);
		r = become_owner(path, ret_err);
	}
	config_done(&config);
	return r == 0 ? store_open(path, ret, ret_err) : r;
}

/* --- create
 * --------------------------------------------------------------------------------------- */

static int find_or_make_org(
	struct store *store, const char *slug, struct store_org *ret, struct error *ret_err)
{
	int r = store_org_find(store, slug, ret);

	if (r != -ENOENT)
		return r < 0 ? error_set(
				       ret_err, r, "", "cannot read the records: %s", strerror(-r))
			     : 0;
	r = store_org_create(store, slug, ret, ret_err);
	if (r == 0)
		fprintf(stderr, "made the organisation %s\n", slug);
	return r;
}

static int parse_expiry(const char *text, int64_t *ret_ms, struct error *ret_err)
{
	int64_t duration;
	int r;

	if (text == NULL) {
		*ret_ms = 0;
		return 0;
	}
	r = clock_parse_duration(text, &duration);
	if (r < 0 || duration == 0)
		return error_set(ret_err, -EINVAL, "",
			"--expires: must be a duration such as 12h or 30d, up to ten years");
	*ret_ms = clock_real_ms() + duration;
	return 0;
}

static void describe(const struct store_token *token)
{
	char expires[CLOCK_ISO_SIZE] = "never";

	if (token->expires_ms != 0)
		clock_format_iso(token->expires_ms, expires);
	fprintf(stderr, "token %" PRId64 " (%s) of organisation %s, expires: %s\n", token->id,
		token->name, token->org_slug, expires);
}

int cli_run_token_create(const struct cli_call *call)
{
	const char *slug = cli_value(call, "org");
	const char *name = cli_value(call, "name");
	char text[STORE_TOKEN_TEXT_SIZE] = "";
	struct store *store = NULL;
	struct store_token token = {0};
	struct store_org org;
	struct error err = {0};
	int64_t expires_ms = 0;
	int r = parse_expiry(cli_value(call, "expires"), &expires_ms, &err);

	if (r < 0) {
		fprintf(stderr, "warren: %s\n", err.message);
		return CLI_USAGE;
	}
	r = open_store(call, &store, &err);
	if (r == 0)
		r = find_or_make_org(store, slug ? slug : FIRST_ORG, &org, &err);
	if (r == 0)
		r = store_token_create(
			store, org.id, name ? name : "token", expires_ms, &token, text, &err);
	store_close(store);
	if (r < 0)
		return cli_fail(&err);
	puts(text);
	mem_wipe(text, sizeof(text));
	describe(&token);
	return CLI_OK;
}

/* --- list
 * ----------------------------------------------------------------------------------------- */

struct listing {
	bool json;
	int64_t now_ms;
	size_t count;
};

static const char *state_of(const struct store_token *token, int64_t now_ms)
{
	if (token->revoked_ms != 0)
		return "revoked";
	return token->expires_ms != 0 && now_ms >= token->expires_ms ? "expired" : "valid";
}

static void put_json_string(const char *key, const char *value)
{
	struct buf b;

	buf_init(&b, 4096);
	/* The limit is far above what a record can hold. */
	if (rpc_json_put_string(&b, value, strlen(value)) == 0)
		printf(",\"%s\":%.*s", key, (int)b.len, (const char *)buf_data(&b));
	buf_done(&b);
}

static void put_json_time(const char *key, int64_t ms)
{
	char text[CLOCK_ISO_SIZE];

	if (ms == 0) {
		printf(",\"%s\":null", key);
		return;
	}
	clock_format_iso(ms, text);
	printf(",\"%s\":\"%s\"", key, text);
}

static void print_json(const struct store_token *token, const struct listing *listing)
{
	printf("%s\n{\"id\":%" PRId64, listing->count > 0 ? "," : "", token->id);
	put_json_string("org", token->org_slug);
	put_json_string("name", token->name);
	put_json_string("hint", token->hint);
	put_json_string("state", state_of(token, listing->now_ms));
	put_json_time("createdAt", token->created_ms);
	put_json_time("expiresAt", token->expires_ms);
	put_json_time("revokedAt", token->revoked_ms);
	put_json_time("lastUsedAt", token->last_used_ms);
	putchar('}');
}

/* To the minute, in UTC; a dash for no time. */
static void format_minute(int64_t ms, char ret_text[CLOCK_ISO_SIZE])
{
	if (ms == 0) {
		memcpy(ret_text, "-", 2);
		return;
	}
	clock_format_iso(ms, ret_text);
	ret_text[10] = ' ';
	ret_text[16] = '\0';
}

static void print_row(const struct store_token *token, const struct listing *listing)
{
	char created[CLOCK_ISO_SIZE];
	char expires[CLOCK_ISO_SIZE];
	char used[CLOCK_ISO_SIZE];

	format_minute(token->created_ms, created);
	format_minute(token->expires_ms, expires);
	format_minute(token->last_used_ms, used);
	if (listing->count == 0)
		printf("%-5s %-16s %-20s %-11s %-8s %-16s %-16s %s\n", "ID", "ORGANISATION", "NAME",
			"BEGINS WITH", "STATE", "CREATED (UTC)", "EXPIRES", "LAST USED");
	printf("%-5" PRId64 " %-16s %-20s %-11s %-8s %-16s %-16s %s\n", token->id, token->org_slug,
		token->name, token->hint, state_of(token, listing->now_ms), created, expires, used);
}

static int print_token(const struct store_token *token, void *data)
{
	struct listing *listing = data;

	if (listing->json)
		print_json(token, listing);
	else
		print_row(token, listing);
	listing->count++;
	return 0;
}

int cli_run_token_list(const struct cli_call *call)
{
	const char *slug = cli_value(call, "org");
	struct listing listing = {
		.json = cli_value(call, "json") != NULL,
		.now_ms = clock_real_ms(),
	};
	struct store *store = NULL;
	struct store_org org = {0};
	struct error err = {0};
	int r = open_store(call, &store, &err);

	if (r == 0 && slug != NULL) {
		r = store_org_find(store, slug, &org);
		if (r == -ENOENT)
			error_set(&err, r, "", "there is no organisation %.40s", slug);
	}
	if (r == 0) {
		if (listing.json)
			putchar('[');
		r = store_token_list(store, org.id, print_token, &listing);
		if (listing.json && r == 0)
			puts(listing.count > 0 ? "\n]" : "]");
	}
	store_close(store);
	if (r < 0 && err.err == 0)
		error_set(&err, r, "", "cannot read the records: %s", strerror(-r));
	return r < 0 ? cli_fail(&err) : CLI_OK;
}

/* --- revoke
 * --------------------------------------------------------------------------------------- */

static int parse_id(const char *text, int64_t *ret)
{
	int64_t id = 0;

	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++)
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(id, 10, &id) ||
			__builtin_add_overflow(id, *text - '0', &id))
			return -EINVAL;
	*ret = id;
	return 0;
}

int cli_run_token_revoke(const struct cli_call *call)
{
	struct store *store = NULL;
	struct error err = {0};
	int64_t id;
	int r;

	if (parse_id(call->argv[0], &id) < 0) {
		fprintf(stderr,
			"warren: \"%s\" is no number of a token; `warren token list` shows them\n",
			call->argv[0]);
		return CLI_USAGE;
	}
	r = open_store(call, &store, &err);
	if (r == 0) {
		r = store_token_revoke(store, id, clock_real_ms());
		if (r == -ENOENT)
			error_set(&err, r, "", "there is no valid token %" PRId64, id);
		else if (r < 0)
			error_set(&err, r, "", "cannot change the records: %s", strerror(-r));
	}
	store_close(store);
	if (r < 0)
		return cli_fail(&err);
	fprintf(stderr, "revoked token %" PRId64 "\n", id);
	return CLI_OK;
}
