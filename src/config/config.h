/*
 * The daemon's configuration: one table (table.c) from which the file's keys, the command-line
 * flags, the environment variables, --help, --print-config and the man page text come.
 * Precedence: flag, environment (WARREN_KEY), file, default. Unknown keys are errors everywhere
 * (for the environment: WARREN_* names that are no key). The proxies that no source names come from
 * the variables that curl and others know: http_proxy, then HTTP_PROXY, and so on.
 *
 * Every value is checked where it is given, also one that a stronger source overrides: a mistake
 * in the file does not wait for the day the flag is left out.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/error.h"

#define CONFIG_REGIONS_MAX 32
#define CONFIG_FILE_DEFAULT "/etc/warren/warren.conf"
#define CONFIG_STATE_DIR_DEFAULT "/var/lib/warren/state"
#define CONFIG_IMAGE_DIR_DEFAULT "/var/lib/warren/images"
#define CONFIG_USER_DEFAULT "warren"
#define CONFIG_HOST_CA_DEFAULT "/etc/ssl/certs/ca-certificates.crt"
#define CONFIG_PRIVATE_RANGES_MAX 256

struct config {
	char *state_dir; /* state-dir, absolute */
	char *listen;    /* listen: ADDR:PORT; port 0: any free one */
	char *isolation; /* isolation: auto | microvm | gvisor | namespace */
	char *image_dir; /* image-dir, absolute */
	char *regions;   /* regions: comma-separated three-letter codes; the first is the default */
	char *user;      /* user: account warrend becomes */
	char *log_level; /* log-level: error | warn | info | debug */
	char *public_url;        /* public-url: base of absolute links in answers; "": from Host */
	int64_t max_lifetime_ms; /* max-lifetime */
	int64_t stopped_retention_ms; /* stopped-retention: how long ended sandboxes stay listed */
	int64_t max_sandboxes;        /* max-sandboxes: per organisation */
	int64_t pool;                 /* pool: ready machines kept */
	int64_t prepared;             /* prepared: half-made machines kept */
	int64_t pids_max;             /* pids-max: processes in a sandbox */
	int64_t max_message;          /* max-message: bytes of a WebSocket message */
	int64_t spool_max;       /* spool-max: bytes of unread client data kept per connection */
	int64_t max_connections; /* max-connections */
	bool insecure_listen;    /* allow-namespace-on-network: listen beyond loopback at namespace
				    level */
	char *egress_default;    /* egress-default: deny | allow, of sandboxes without allow_net */
	char *egress_private; /* egress-private: comma-separated ranges that the operator opens */
	char *egress_http_proxy;    /* egress-http-proxy: http://[user:password@]host:port or "" */
	char *egress_https_proxy;   /* egress-https-proxy: the same */
	char *egress_no_proxy;      /* egress-no-proxy: comma-separated names and addresses */
	char *host_ca;              /* host-ca: certificates that the gates trust */
	char *extra_ca;             /* extra-ca: further ones, or "" */
	int64_t event_retention_ms; /* event-retention */
	int64_t max_events;         /* max-events: of a sandbox */
	/* derived */
	bool egress_allow; /* egress-default is allow */
	uint64_t given;    /* bit i: a file, variable or flag named key i */
	char region_list[CONFIG_REGIONS_MAX][4];
	unsigned region_count;
	struct sockaddr_storage listen_addr; /* ready for bind(2) */
	socklen_t listen_len;
	bool listen_loopback; /* only this machine can connect */
	bool print_config;
	bool help;
	bool version;
};

/* Reads flags, environment and file (--config FILE; default CONFIG_FILE_DEFAULT if it exists) and
 * validates every value. With --help or --version nothing but the flags is read. 0, or -EINVAL /
 * the errno of the file, with the key, flag or variable in ret_err->field. config_done() in every
 * case. argv[0] is skipped; envp may be NULL. */
int config_load(
	struct config *c, int argc, char *const *argv, char *const *envp, struct error *ret_err);
/* Accepts a zeroed struct. */
void config_done(struct config *c);
/* The effective values as a configuration file. */
void config_print(const struct config *c, FILE *out);
/* The options, one paragraph each. */
void config_help(FILE *out);

/* What a program may want to say about a key. All strings are static. */
struct config_key_info {
	const char *name;
	const char *arg;           /* stands for the value in help; NULL for yes-or-no keys */
	const char *default_value; /* as it would be written in the file */
	const char *help;
};
/* The key at index, in the order of the documentation; false past the end. */
bool config_key_at(size_t index, struct config_key_info *ret);

/* "127.0.0.1:80", "[::1]:0" to a socket address. 0 or -EINVAL with the reason. */
int config_parse_listen(const char *text, struct sockaddr_storage *ret_addr, socklen_t *ret_len,
	struct error *ret_err);
/* "1048576", "160MiB", "1GB" to bytes. 0, -EINVAL, or -ERANGE when it does not fit. */
int config_parse_size(const char *text, int64_t *ret_bytes);
