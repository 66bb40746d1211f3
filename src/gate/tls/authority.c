#include "gate/tls/authority.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/table.h"
#include "policy/rules.h"

#define HOUR (60 * 60)
/* Clocks of the host and inside may differ a little; sandboxes live for days at most. */
#define CA_LIFE (400 * 24 * HOUR)
#define LEAF_LIFE (90 * 24 * HOUR)
#define COMMON_NAME_MAX 64
#define CONSTRAINTS_MAX ((size_t)64 * 1024)

struct leaf {
	struct table_entry by_name;
	struct list age; /* least lately used first */
	char *name;
	SSL_CTX *ctx;
};

struct authority {
	EVP_PKEY *key;
	X509 *cert;
	EVP_PKEY *leaf_key;
	char *pem;
	char hash[AUTHORITY_HASH_SIZE];
	struct table leaves;
	struct list used;
	size_t leaf_count;
};

/* --- certificates --------------------------------------------------------------------------- */

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (ext == NULL)
		return -EINVAL;
	int ok = X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok == 1 ? 0 : -ENOMEM;
}

static int set_serial(X509 *cert)
{
	uint8_t bytes[16];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return -EIO;
	bytes[0] &= 0x7f; /* positive */
	bytes[0] |= 0x40; /* and not short */
	BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	int ok = number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	return ok ? 0 : -ENOMEM;
}

static int add_name(X509_NAME *name, const char *field, const char *text)
{
	return X509_NAME_add_entry_by_txt(
		       name, field, MBSTRING_UTF8, (const uint8_t *)text, -1, -1, 0) == 1
		       ? 0
		       : -ENOMEM;
}

/* A certificate without extensions and signature. */
static X509 *begin_cert(EVP_PKEY *key, long life)
{
	X509 *cert = X509_new();

	if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) == 0 &&
		X509_gmtime_adj(X509_getm_notBefore(cert), -HOUR) != NULL &&
		X509_gmtime_adj(X509_getm_notAfter(cert), life) != NULL &&
		X509_set_pubkey(cert, key) == 1)
		return cert;
	X509_free(cert);
	return NULL;
}

/* What the names of the rules allow, as OpenSSL's configuration has it; empty when a rule is for
 * everything. */
static int constraints(const char *const *hosts, size_t count, struct buf *out)
{
	struct rules rules = {0};
	int r = rules_parse(hosts, count, "secrets", &rules, NULL);

	if (r == 0)
		r = buf_append_str(out, "critical");
	for (size_t i = 0; i < rules.count && r == 0; i++) {
		const struct rule *rule = &rules.items[i];

		if (rule->kind == RULE_ALL) {
			buf_clear(out);
			break;
		}
		if (rule->kind == RULE_NAME || rule->kind == RULE_BELOW)
			r = buf_printf(out, ",permitted;DNS:%s", rule->name);
	}
	rules_done(&rules);
	return r;
}

static int add_constraints(X509 *cert, const char *const *hosts, size_t count)
{
	auto_buf struct buf text;

	buf_init(&text, CONSTRAINTS_MAX);
	int r = constraints(hosts, count, &text);
	/* "critical" alone: rules for addresses only, which no secret is put in for. */
	if (r < 0 || text.len <= strlen("critical"))
		return r;
	r = buf_append_byte(&text, '\0');
	if (r == 0)
		r = add_extension(cert, cert, NID_name_constraints, (const char *)buf_data(&text));
	return r;
}

static int make_ca(
	struct authority *a, const char *sandbox_id, const char *const *hosts, size_t count)
{
	X509 *cert = a->cert = begin_cert(a->key, CA_LIFE);

	if (cert == NULL)
		return -ENOMEM;
	X509_NAME *name = X509_get_subject_name(cert);
	int r = add_name(name, "O", "Warren");
	if (r == 0)
		r = add_name(name, "CN", sandbox_id);
	if (r == 0 && X509_set_issuer_name(cert, name) != 1)
		r = -ENOMEM;
	if (r == 0)
		r = add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
	if (r == 0)
		r = add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	if (r == 0)
		r = add_extension(cert, cert, NID_subject_key_identifier, "hash");
	if (r == 0)
		r = add_extension(cert, cert, NID_authority_key_identifier, "keyid:always");
	if (r == 0)
		r = add_constraints(cert, hosts, count);
	if (r == 0 && X509_sign(cert, a->key, EVP_sha256()) == 0)
		r = -EIO;
	return r;
}

static int describe_ca(struct authority *a)
{
	BIO *out = BIO_new(BIO_s_mem());
	char *data = NULL;
	int ok = out != NULL && PEM_write_bio_X509(out, a->cert) == 1;

	if (ok) {
		long len = BIO_get_mem_data(out, &data);

		a->pem = mem_strndup(data, (size_t)len);
	}
	BIO_free(out);
	snprintf(a->hash, sizeof(a->hash), "%08lx", X509_subject_name_hash(a->cert) & 0xffffffffUL);
	return ok ? 0 : -ENOMEM;
}

struct authority *authority_new(
	const char *sandbox_id, const char *const *hosts, size_t count, struct error *ret_err)
{
	struct authority *a = mem_new(struct authority);

	table_init(&a->leaves);
	list_init(&a->used);
	a->key = EVP_EC_gen("P-256");
	a->leaf_key = EVP_EC_gen("P-256");
	int r = a->key != NULL && a->leaf_key != NULL ? 0 : -ENOMEM;
	if (r == 0)
		r = make_ca(a, sandbox_id, hosts, count);
	if (r == 0)
		r = describe_ca(a);
	if (r < 0) {
		error_set(ret_err, r, "CA_FAILED", "the sandbox's CA cannot be made: %s",
			ERR_reason_error_string(ERR_peek_last_error()) ?: strerror(-r));
		ERR_clear_error();
		authority_free(a);
		return NULL;
	}
	return a;
}

static void free_leaf(struct authority *a, struct leaf *leaf)
{
	table_remove(&a->leaves, &leaf->by_name);
	list_del(&leaf->age);
	a->leaf_count--;
	SSL_CTX_free(leaf->ctx);
	free(leaf->name);
	free(leaf);
}

void authority_free(struct authority *a)
{
	if (a == NULL)
		return;
	while (!list_empty(&a->used))
		free_leaf(a, list_first(&a->used, struct leaf, age));
	table_done(&a->leaves);
	X509_free(a->cert);
	EVP_PKEY_free(a->key);
	EVP_PKEY_free(a->leaf_key);
	free(a->pem);
	free(a);
}

const char *authority_pem(const struct authority *a)
{
	return a->pem;
}

const char *authority_hash(const struct authority *a)
{
	return a->hash;
}

/* --- leaves --------------------------------------------------------------------------------- */

static X509 *make_leaf(const struct authority *a, const char *name)
{
	auto_free char *alt = mem_printf("DNS:%s", name);
	X509 *cert = begin_cert(a->leaf_key, LEAF_LIFE);
	int r = cert != NULL ? 0 : -ENOMEM;

	if (r == 0 && strlen(name) <= COMMON_NAME_MAX)
		r = add_name(X509_get_subject_name(cert), "CN", name);
	if (r == 0 && X509_set_issuer_name(cert, X509_get_subject_name(a->cert)) != 1)
		r = -ENOMEM;
	if (r == 0)
		r = add_extension(cert, a->cert, NID_basic_constraints, "critical,CA:FALSE");
	if (r == 0)
		r = add_extension(cert, a->cert, NID_key_usage, "critical,digitalSignature");
	if (r == 0)
		r = add_extension(cert, a->cert, NID_ext_key_usage, "serverAuth");
	if (r == 0)
		r = add_extension(cert, a->cert, NID_subject_key_identifier, "hash");
	if (r == 0)
		r = add_extension(cert, a->cert, NID_authority_key_identifier, "keyid:always");
	/* Without a subject the names must be critical (RFC 5280 section 4.2.1.6). */
	if (r == 0 && strlen(name) > COMMON_NAME_MAX) {
		auto_free char *critical = mem_printf("critical,%s", alt);

		r = add_extension(cert, a->cert, NID_subject_alt_name, critical);
	} else if (r == 0) {
		r = add_extension(cert, a->cert, NID_subject_alt_name, alt);
	}
	if (r == 0 && X509_sign(cert, a->key, EVP_sha256()) != 0)
		return cert;
	X509_free(cert);
	return NULL;
}

/* The SSL's own data is the protocol wanted. */
static int select_alpn(SSL *ssl, const uint8_t **ret, uint8_t *ret_len, const uint8_t *offered,
	unsigned offered_len, void *arg)
{
	const char *wanted = SSL_get_app_data(ssl);
	size_t len = wanted != NULL ? strlen(wanted) : 0;

	(void)arg;
	for (unsigned i = 0; len > 0 && i < offered_len; i += offered[i] + 1U) {
		if (offered[i] == len && i + 1 + len <= offered_len &&
			memcmp(offered + i + 1, wanted, len) == 0) {
			*ret = offered + i + 1;
			*ret_len = offered[i];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_NOACK;
}

static SSL_CTX *make_context(const struct authority *a, const char *name)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	X509 *cert = make_leaf(a, name);

	if (ctx != NULL && cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1 &&
		SSL_CTX_use_PrivateKey(ctx, a->leaf_key) == 1 &&
		SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1) {
		X509_free(cert);
		SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
		SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
		return ctx;
	}
	X509_free(cert);
	SSL_CTX_free(ctx);
	return NULL;
}

static struct leaf *find_leaf(struct authority *a, const char *name)
{
	struct table_entry *e = table_find_str(&a->leaves, name);
	struct leaf *leaf;

	if (e != NULL) {
		leaf = container_of(e, struct leaf, by_name);
		list_del(&leaf->age);
		list_push_back(&a->used, &leaf->age);
		return leaf;
	}
	SSL_CTX *ctx = make_context(a, name);
	if (ctx == NULL)
		return NULL;
	if (a->leaf_count >= AUTHORITY_LEAVES_MAX)
		free_leaf(a, list_first(&a->used, struct leaf, age));
	leaf = mem_new(struct leaf);
	leaf->name = mem_strdup(name);
	leaf->ctx = ctx;
	(void)table_insert_str(&a->leaves, &leaf->by_name, leaf->name);
	list_push_back(&a->used, &leaf->age);
	a->leaf_count++;
	return leaf;
}

SSL *authority_accept(struct authority *a, const char *name, const char *alpn)
{
	const struct leaf *leaf = find_leaf(a, name);
	SSL *ssl = leaf != NULL ? SSL_new(leaf->ctx) : NULL;

	ERR_clear_error();
	if (ssl == NULL)
		return NULL;
	SSL_set_app_data(ssl, (void *)(uintptr_t)alpn);
	SSL_set_accept_state(ssl);
	return ssl;
}
