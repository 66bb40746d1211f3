#include "guest/trust.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "guest/calls.h"
#include "guest/system_file.h"

#define BUNDLE "/etc/ssl/certs/ca-certificates.crt"
#define HASHED_FOLDER "/etc/ssl/certs"
#define LOCAL_FOLDER "/usr/local/share/ca-certificates"
/* Placed by the launcher; the sandbox cannot change it. */
#define HOST_BUNDLE "/run/warren/trust.pem"
#define BUNDLE_MAX (4 * 1024 * 1024)
/* Authorities of the host that the image does not have. */
#define HOST_EXTRA_MAX 512
#define PLACE_LATER_NS (50 * CLOCK_MS)

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

/* --- environment ------------------------------------------------------------------------------ */

/* sudo keeps these as well: image/build. npm needs none of its own, being Node.js. */
static const char *const bundle_variables[] = {
	"SSL_CERT_FILE",
	"NODE_EXTRA_CA_CERTS",
	"REQUESTS_CA_BUNDLE",
	"CURL_CA_BUNDLE",
	"GIT_SSL_CAINFO",
	"PIP_CERT",
	"DENO_CERT",
	"AWS_CA_BUNDLE",
	"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
};

static void add_variable(struct environment *env, const char *name, const char *value)
{
	if (!environment_get(env, name))
		(void)environment_set(env, name, value);
}

void trust_add_environment(const struct trust *trust, struct environment *env)
{
	if (!trust->active)
		return;
	for (size_t i = 0; i < array_len(bundle_variables); i++)
		add_variable(env, bundle_variables[i], BUNDLE);
	add_variable(env, "DENO_TLS_CA_STORE", "system,mozilla");
}

void trust_done(struct trust *trust)
{
	loop_timer_cancel(&trust->place_later);
	free(trust->image);
	free(trust->ca_pem);
	free(trust->ca_hash);
	*trust = (struct trust){0};
}

/* --- the host's authorities ------------------------------------------------------------------- */

/* The first certificate at or behind p: where it begins and the end of its last line's text. */
static char *next_certificate(char *p, char **ret_end)
{
	char *begin = strstr(p, PEM_BEGIN);
	char *end = begin ? strstr(begin, PEM_END) : NULL;

	if (!end)
		return NULL;
	*ret_end = end + strlen(PEM_END);
	return begin;
}

static size_t count_certificates(char *text)
{
	size_t n = 0;

	for (char *end, *p = next_certificate(text, &end); p; p = next_certificate(end, &end))
		n++;
	return n;
}

/* The certificates of text by their own text, which is cut up for that. */
static void index_certificates(struct table *t, struct table_entry *entries, char *text)
{
	char *end, *p = next_certificate(text, &end);

	while (p) {
		bool last = *end == '\0';

		*end = '\0';
		if (table_insert_str(t, entries, p) == 0)
			entries++;
		p = last ? NULL : next_certificate(end + 1, &end);
	}
}

static int place_certificate(const char *root, unsigned number, const char *pem, size_t len)
{
	auto_free char *path = mem_printf("%s" LOCAL_FOLDER "/warren-host-%03u.crt", root, number);
	const struct iovec parts[] = {
		{(void *)(uintptr_t)pem, len},
		{(void *)(uintptr_t) "\n", 1},
	};

	return system_file_replace(path, parts, array_len(parts));
}

/* Authorities of the host that the image does not know, one to a file as update-ca-certificates
 * wants it. Best effort: the bundle has them anyway. host is as before afterwards. */
static void place_host(const char *root, char *host, char *image)
{
	auto_free struct table_entry *entries = NULL;
	struct table known;
	unsigned number = 0;
	char *end, *p;

	entries = mem_zalloc_array(count_certificates(image) + 1, sizeof(*entries));
	table_init(&known);
	index_certificates(&known, entries, image);
	p = next_certificate(host, &end);
	while (p && number < HOST_EXTRA_MAX) {
		char behind = *end;
		bool found;

		*end = '\0';
		found = table_find_str(&known, p) != NULL;
		*end = behind;
		if (!found && place_certificate(root, ++number, p, (size_t)(end - p)) < 0)
			break;
		p = next_certificate(end, &end);
	}
	table_done(&known);
}

/* Some dozen small files take longer than all else, and a sandbox that is being made waits for the
 * answer; nobody needs them before somebody runs update-ca-certificates. */
static void on_place_later(struct loop_timer *timer)
{
	struct agent *agent = container_of(timer, struct agent, trust.place_later);
	auto_free char *path = mem_printf("%s" HOST_BUNDLE, agent->config.root);
	auto_free char *image = take_ptr(agent->trust.image);
	auto_free char *host = NULL;
	size_t len;

	if (agent_system_files(agent) == 0 && system_file_read(path, BUNDLE_MAX, &host, &len) == 0)
		place_host(agent->config.root, host, image);
	agent_user_files(agent);
}

/* --- the sandbox's own authority ---------------------------------------------------------------
 */

static bool is_hash(const char *text)
{
	return strlen(text) == RPC_CA_HASH_MAX &&
	       strspn(text, "0123456789abcdef") == RPC_CA_HASH_MAX;
}

static void remove_hashed(const char *root, const char *hash)
{
	auto_free char *path = mem_printf("%s" HASHED_FOLDER "/%s.0", root, hash);

	(void)unlink(path);
}

/* The file and the links to it, as update-ca-certificates would make them. */
static int place_ca(const char *root, const char *pem, const char *hash)
{
	auto_free char *file = mem_printf("%s" LOCAL_FOLDER "/warren-sandbox.crt", root);
	auto_free char *named = mem_printf("%s" HASHED_FOLDER "/warren-sandbox.pem", root);
	auto_free char *hashed = mem_printf("%s" HASHED_FOLDER "/%s.0", root, hash);
	const struct iovec part = {(void *)(uintptr_t)pem, strlen(pem)};
	int r = system_file_replace(file, &part, 1);

	if (r == 0)
		r = system_file_link(LOCAL_FOLDER "/warren-sandbox.crt", named);
	if (r == 0)
		r = system_file_link("warren-sandbox.pem", hashed);
	return r;
}

static void remove_ca(const char *root)
{
	auto_free char *file = mem_printf("%s" LOCAL_FOLDER "/warren-sandbox.crt", root);
	auto_free char *named = mem_printf("%s" HASHED_FOLDER "/warren-sandbox.pem", root);

	(void)unlink(file);
	(void)unlink(named);
}

/* --- the bundle ------------------------------------------------------------------------------- */

/* Cuts what an earlier request added out of the image's bundle. */
static void cut_out(char *text, size_t *len, const char *pem)
{
	char *at = pem ? strstr(text, pem) : NULL;
	size_t pem_len;

	if (!at)
		return;
	pem_len = strlen(pem);
	memmove(at, at + pem_len, *len - (size_t)(at - text) - pem_len + 1);
	*len -= pem_len;
}

static int write_bundle(const char *path, char *base, size_t len, const char *ca_pem)
{
	const struct iovec parts[] = {
		{base, len},
		{(void *)(uintptr_t) "\n", len > 0 && base[len - 1] != '\n'},
		{(void *)(uintptr_t)ca_pem, ca_pem ? strlen(ca_pem) : 0},
	};

	return system_file_replace(path, parts, array_len(parts));
}

static int install_bundle(struct agent *agent, const char *ca_pem)
{
	const char *root = agent->config.root;
	auto_free char *path = mem_printf("%s" BUNDLE, root);
	auto_free char *host_path = mem_printf("%s" HOST_BUNDLE, root);
	auto_free char *image = NULL, *host = NULL;
	size_t image_len = 0, host_len = 0;
	int image_err = system_file_read(path, BUNDLE_MAX, &image, &image_len);

	if (system_file_read(host_path, BUNDLE_MAX, &host, &host_len) < 0) {
		if (image_err < 0)
			return image_err;
		cut_out(image, &image_len, agent->trust.ca_pem);
		return write_bundle(path, image, image_len, ca_pem);
	}
	/* Only the first time is the bundle the image's. */
	if (image && !agent->trust.host_placed) {
		agent->trust.image = take_ptr(image);
		loop_timer_set(
			agent->loop, &agent->trust.place_later, PLACE_LATER_NS, on_place_later);
	}
	agent->trust.host_placed = true;
	return write_bundle(path, host, host_len, ca_pem);
}

/* To a bundle that is the host's already: much less than writing it once more, and a sandbox that
 * is being made waits for it. */
static int add_to_bundle(struct agent *agent, const char *ca_pem)
{
	auto_free char *path = mem_printf("%s" BUNDLE, agent->config.root);
	const struct iovec part = {(void *)(uintptr_t)ca_pem, ca_pem ? strlen(ca_pem) : 0};

	return ca_pem ? system_file_append(path, &part, 1, BUNDLE_MAX) : 0;
}

static int install(struct agent *agent, const struct rpc_trust *params)
{
	const char *root = agent->config.root;
	const char *old = agent->trust.ca_hash;
	bool ready = agent->trust.host_placed && !old;
	int r = ready ? add_to_bundle(agent, params->ca_pem)
		      : install_bundle(agent, params->ca_pem);

	if (r < 0)
		return r;
	if (old && (!params->ca_hash || strcmp(old, params->ca_hash) != 0))
		remove_hashed(root, old);
	if (!params->ca_pem) {
		if (old)
			remove_ca(root);
		return 0;
	}
	/* The bundle is what counts: an image may lack the folders. */
	(void)place_ca(root, params->ca_pem, params->ca_hash);
	return 0;
}

void call_trust(struct agent *agent, uint32_t id, struct rpc_trust *params)
{
	struct trust *trust = &agent->trust;
	int r = -EINVAL;

	if (!params->ca_pem == !params->ca_hash && (!params->ca_hash || is_hash(params->ca_hash))) {
		r = agent_system_files(agent);
		if (r == 0)
			r = install(agent, params);
		agent_user_files(agent);
	}
	if (r < 0) {
		agent_fail(agent, id, r, "trust");
		return;
	}
	free(trust->ca_pem);
	free(trust->ca_hash);
	trust->ca_pem = take_ptr(params->ca_pem);
	trust->ca_hash = take_ptr(params->ca_hash);
	if (!params->ahead) {
		trust->active = true;
		trust_add_environment(trust, &agent->env);
	}
	agent_reply_void(agent, id);
}
