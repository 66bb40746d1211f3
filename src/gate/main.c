/*
 * warren-gate: reads the certificates that the host trusts, gives up everything but the right to
 * change ids, and forks a gate for each sandbox that the keeper asks one for.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/args.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/mother.h"
#include "gate/tls/authority.h"

#define HOST_CA_DEFAULT "/etc/ssl/certs/ca-certificates.crt"

struct options {
	int socket_fd;
	int resolver_fd;
	const char *host_ca;
	const char *extra_ca;
	enum log_level level;
};

enum option_id { OPT_SOCKET = 1, OPT_RESOLVER, OPT_HOST_CA, OPT_EXTRA_CA, OPT_LOG, OPT_HELP };

static const struct option option_table[] = {
	{"socket-fd", required_argument, NULL, OPT_SOCKET},
	{"resolver-fd", required_argument, NULL, OPT_RESOLVER},
	{"host-ca", required_argument, NULL, OPT_HOST_CA},
	{"extra-ca", required_argument, NULL, OPT_EXTRA_CA},
	{"log-level", required_argument, NULL, OPT_LOG},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

static const char usage[] =
	"warren-gate is started by warren-keeper.\n"
	"usage: warren-gate --socket-fd N --resolver-fd N [--host-ca FILE] [--extra-ca FILE]\n"
	"                   [--log-level LEVEL]\n";

static int take_option(void *data, int id, const char *value)
{
	struct options *o = data;

	switch (id) {
	case OPT_SOCKET:
		return args_fd(value, &o->socket_fd);
	case OPT_RESOLVER:
		return args_fd(value, &o->resolver_fd);
	case OPT_HOST_CA:
		o->host_ca = value;
		return 0;
	case OPT_EXTRA_CA:
		o->extra_ca = value;
		return 0;
	case OPT_LOG:
		return log_level_parse(value, &o->level);
	default:
		return -EINVAL;
	}
}

/* 0; 1 when help was asked for; or a negative errno, said on standard error. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int r = args_read("warren-gate", option_table, OPT_HELP, argc, argv, take_option, o);

	if (r != 0)
		return r;
	if (o->socket_fd < 0 || o->resolver_fd < 0 || optind != argc) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	return 0;
}

/* --- trust ---------------------------------------------------------------------------------- */

static int load(SSL_CTX *ctx, const char *file)
{
	if (SSL_CTX_load_verify_file(ctx, file) == 1)
		return 0;
	log_error("cannot read certificates from %s: %s", file,
		ERR_reason_error_string(ERR_peek_last_error()) ?: "unknown error");
	ERR_clear_error();
	return -EINVAL;
}

/* A host without a bundle trusts what OpenSSL finds, or nobody. */
static int load_trust(SSL_CTX *ctx, const struct options *o)
{
	int r = 0;

	if (access(o->host_ca, F_OK) == 0)
		r = load(ctx, o->host_ca);
	else if (SSL_CTX_set_default_verify_paths(ctx) != 1)
		r = -EINVAL;
	if (r == 0 && o->extra_ca != NULL && o->extra_ca[0] != '\0')
		r = load(ctx, o->extra_ca);
	return r;
}

static SSL_CTX *make_client_context(const struct options *o)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && load_trust(ctx, o) == 0)
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

/* Everything that OpenSSL does when something is first used, so that gates find it done: providers,
 * tables, the random generator, a connection's state. Nothing of the authority made here is kept.
 */
static void warm_up(SSL_CTX *client)
{
	static const char *const hosts[] = {"warm.up"};
	struct authority *authority = authority_new("warm-up", hosts, array_len(hosts), NULL);
	SSL *server = authority != NULL ? authority_accept(authority, hosts[0], "h2") : NULL;

	SSL_free(server);
	authority_free(authority);
	SSL_free(SSL_new(client));
	ERR_clear_error();
}

/* --- start ---------------------------------------------------------------------------------- */

static void prepare_process(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		(void)signal(signo, SIG_DFL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGCHLD, SIG_IGN); /* nobody waits for gates */
	/* A terminal's signals are for the daemon. */
	(void)setsid();
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Gates are small: no memory is kept aside, and what is freed goes back. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_TRIM_THRESHOLD, 64 * 1024);
	(void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}

int main(int argc, char **argv)
{
	struct options o = {
		.socket_fd = -EBADF,
		.resolver_fd = -EBADF,
		.host_ca = HOST_CA_DEFAULT,
		.level = LOG_LEVEL_INFO,
	};
	struct mother m = {0};
	const char *what = "";
	int r = parse_options(&o, argc, argv);

	if (r > 0) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (r < 0)
		return 2;
	log_init("warren-gate", o.level);
	prepare_process();
	m.sock = o.socket_fd;
	m.resolver = o.resolver_fd;
	if (fd_set_nonblock(m.sock, false) < 0 || fd_set_nonblock(m.resolver, true) < 0)
		return EXIT_FAILURE;
	m.client_ctx = make_client_context(&o);
	m.filter = confine_filter_new();
	if (m.client_ctx == NULL || m.filter == NULL) {
		log_error("cannot prepare TLS or the system call filter");
		return EXIT_FAILURE;
	}
	warm_up(m.client_ctx);
	r = confine_mother(&what);
	if (r < 0) {
		log_error("cannot %s: %s", what, strerror(-r));
		return EXIT_FAILURE;
	}
	return mother_serve(&m);
}
