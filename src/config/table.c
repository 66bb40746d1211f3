/* The keys. A new setting is a row here and a member of struct config; nothing else. */
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "config/config_priv.h"

#define MEMBER(m) .offset = offsetof(struct config, m)
#define SEC INT64_C(1000)
#define DAY (24 * 3600 * SEC)
#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static const struct config_key keys[] = {
	{
		.info = {"listen", "ADDR:PORT", "127.0.0.1:8080",
			"Address of the API: an IPv4 address, or an IPv6 address in brackets, and "
			"a port. "
			"Port 0 takes any free one."},
		.type = KEY_STRING,
		MEMBER(listen),
		.check = config_check_listen,
	},
	{
		.info = {"state-dir", "DIR", CONFIG_STATE_DIR_DEFAULT,
			"Folder of everything this server must remember, and of the sandboxes' "
			"disks. It is "
			"made when absent. One server at a time."},
		.type = KEY_PATH,
		MEMBER(state_dir),
	},
	{
		.info = {"image-dir", "DIR", CONFIG_IMAGE_DIR_DEFAULT,
			"Folder of guest images, which servers may share."},
		.type = KEY_PATH,
		MEMBER(image_dir),
	},
	{
		.info = {"isolation", "LEVEL", "auto",
			"How sandboxes are kept apart: microvm, gvisor, namespace, or auto for the "
			"strongest "
			"that works on this machine. This version has namespace."},
		.type = KEY_STRING,
		MEMBER(isolation),
		.choices = "auto|microvm|gvisor|namespace",
	},
	{
		.info = {"allow-namespace-on-network", NULL, "false",
			"Permit a listen address that other machines can reach although sandboxes "
			"share this "
			"machine's kernel."},
		.type = KEY_BOOL,
		MEMBER(insecure_listen),
	},
	{
		.info = {"regions", "LIST", "ord,ams",
			"Region codes this server answers for, three lower-case letters each, "
			"separated by "
			"commas. The first is the default."},
		.type = KEY_STRING,
		MEMBER(regions),
		.check = config_check_regions,
	},
	{
		.info = {"public-url", "URL", "",
			"Base of absolute links in answers, such as https://warren.example. Empty: "
			"the Host "
			"header of the request is used."},
		.type = KEY_STRING,
		MEMBER(public_url),
		.check = config_check_public_url,
	},
	{
		.info = {"user", "NAME", CONFIG_USER_DEFAULT,
			"Account that warrend becomes after its start. If there is no account of "
			"the default "
			"name, uid and gid 61170 are used."},
		.type = KEY_STRING,
		MEMBER(user),
		.check = config_check_user,
	},
	{
		.info = {"log-level", "LEVEL", "info",
			"Least important messages to log: error, warn, info or debug."},
		.type = KEY_STRING,
		MEMBER(log_level),
		.choices = "error|warn|info|debug",
	},
	{
		.info = {"max-lifetime", "DURATION", "24h",
			"Longest time from now to which a client may set the end of a sandbox, at "
			"its "
			"creation and with each extension."},
		.type = KEY_DURATION,
		MEMBER(max_lifetime_ms),
		.min = SEC,
		.max = 3650 * DAY,
	},
	{
		.info = {"stopped-retention", "DURATION", "24h",
			"How long ended sandboxes stay in lists."},
		.type = KEY_DURATION,
		MEMBER(stopped_retention_ms),
		.min = 0,
		.max = 3650 * DAY,
	},
	{
		.info = {"max-sandboxes", "N", "100",
			"Sandboxes an organisation may have at once."},
		.type = KEY_INT,
		MEMBER(max_sandboxes),
		.min = 1,
		.max = 4096,
	},
	{
		.info = {"pool", "N", "2",
			"Ready machines kept in reserve, so that a create need not wait for one."},
		.type = KEY_INT,
		MEMBER(pool),
		.min = 0,
		.max = 256,
	},
	{
		.info = {"prepared", "N", "2",
			"Half-made machines kept in reserve below the pool; they cost almost no "
			"memory."},
		.type = KEY_INT,
		MEMBER(prepared),
		.min = 0,
		.max = 64,
	},
	{
		.info = {"pids-max", "N", "4096",
			"Processes and threads a sandbox may have at once."},
		.type = KEY_INT,
		MEMBER(pids_max),
		.min = 16,
		.max = 1000000,
	},
	{
		.info = {"max-message", "SIZE", "160MiB",
			"Longest WebSocket message taken from a client."},
		.type = KEY_SIZE,
		MEMBER(max_message),
		.min = MIB,
		.max = 2 * GIB - 1,
	},
	{
		.info = {"spool-max", "SIZE", "1GiB",
			"Data of one connection that may wait on disk for a program that does not "
			"read it."},
		.type = KEY_SIZE,
		MEMBER(spool_max),
		.min = MIB,
		.max = 1024 * GIB,
	},
	{
		.info = {"max-connections", "N", "4096", "Client connections at once."},
		.type = KEY_INT,
		MEMBER(max_connections),
		.min = 1,
		.max = 1000000,
	},
	{
		.info = {"egress-default", "POLICY", "deny",
			"Outbound network of sandboxes that were made without allowNet: deny for "
			"none, or allow for every public address."},
		.type = KEY_STRING,
		MEMBER(egress_default),
		.check = config_check_egress_default,
	},
	{
		.info = {"egress-private", "LIST", "",
			"Ranges of private addresses that sandboxes may reach when their rules "
			"allow it, such as 10.1.0.0/16, separated by commas. All others are "
			"refused whatever the rules say."},
		.type = KEY_STRING,
		MEMBER(egress_private),
		.check = config_check_private,
	},
	{
		.info = {"egress-http-proxy", "URL", "",
			"Proxy for the plain HTTP requests of sandboxes, as "
			"http://[user:password@]host:port. If not set, the variable http_proxy, "
			"then HTTP_PROXY is used."},
		.type = KEY_STRING,
		MEMBER(egress_http_proxy),
		.check = config_check_proxy,
		.url_password = true,
		.ambient = {"http_proxy", "HTTP_PROXY"},
	},
	{
		.info = {"egress-https-proxy", "URL", "",
			"Proxy for the TLS connections of sandboxes to names, by CONNECT, in the "
			"same form. If not set, the variable https_proxy, then HTTPS_PROXY is "
			"used."},
		.type = KEY_STRING,
		MEMBER(egress_https_proxy),
		.check = config_check_proxy,
		.url_password = true,
		.ambient = {"https_proxy", "HTTPS_PROXY"},
	},
	{
		.info = {"egress-no-proxy", "LIST", "",
			"Names that are reached without a proxy, as literal addresses always are, "
			"separated by commas; * for all. If not set, the variable no_proxy, then "
			"NO_PROXY is used."},
		.type = KEY_STRING,
		MEMBER(egress_no_proxy),
		.check = config_check_no_proxy,
		.ambient = {"no_proxy", "NO_PROXY"},
	},
	{
		.info = {"host-ca", "FILE", CONFIG_HOST_CA_DEFAULT,
			"Certificates, in PEM, of the authorities that are trusted for hosts to "
			"which secrets are sent."},
		.type = KEY_PATH,
		MEMBER(host_ca),
	},
	{
		.info = {"extra-ca", "FILE", "",
			"Further certificates to trust, such as that of a company's own "
			"authority."},
		.type = KEY_PATH,
		MEMBER(extra_ca),
		.optional = true,
	},
	{
		.info = {"event-retention", "DURATION", "7d",
			"How long the events of sandboxes are kept. They go with their sandbox's "
			"record at the latest."},
		.type = KEY_DURATION,
		MEMBER(event_retention_ms),
		.min = 0,
		.max = 3650 * DAY,
	},
	{
		.info = {"max-events", "N", "10000",
			"Events kept for a sandbox; the oldest go first."},
		.type = KEY_INT,
		MEMBER(max_events),
		.min = 1,
		.max = 1000000,
	},
};

_Static_assert(array_len(keys) <= 64, "struct config.given has a bit for each");

const struct config_key *config_keys(size_t *ret_count)
{
	*ret_count = array_len(keys);
	return keys;
}

const struct config_key *config_find_key(const char *name, size_t len)
{
	for (size_t i = 0; i < array_len(keys); i++)
		if (strlen(keys[i].info.name) == len && memcmp(keys[i].info.name, name, len) == 0)
			return &keys[i];
	return NULL;
}

bool config_key_at(size_t index, struct config_key_info *ret)
{
	if (index >= array_len(keys))
		return false;
	*ret = keys[index].info;
	return true;
}

void config_print(const struct config *c, FILE *out)
{
	for (size_t i = 0; i < array_len(keys); i++) {
		fprintf(out, "%s = ", keys[i].info.name);
		config_write_value(c, &keys[i], out);
		fputc('\n', out);
	}
}

/* Text filled to 80 columns, indented by eight. */
static void print_paragraph(const char *text, FILE *out)
{
	enum { INDENT = 8, WIDTH = 80 };
	int column = 0;

	while (*text != '\0') {
		int len = (int)strcspn(text, " ");

		if (column > INDENT && column + 1 + len > WIDTH) {
			fputc('\n', out);
			column = 0;
		}
		if (column == 0)
			column = fprintf(out, "%*s", INDENT, "");
		else
			column += fprintf(out, " ");
		column += fprintf(out, "%.*s", len, text);
		text += len;
		text += strspn(text, " ");
	}
	fputc('\n', out);
}

static void print_option(const struct config_key_info *info, FILE *out)
{
	auto_free char *text = NULL;

	if (info->default_value[0] != '\0')
		text = mem_printf("%s (default %s)", info->help, info->default_value);
	else
		text = mem_strdup(info->help);
	fprintf(out, "  --%s%s%s\n", info->name, info->arg ? " " : "", info->arg ? info->arg : "");
	print_paragraph(text, out);
}

void config_help(FILE *out)
{
	static const struct config_key_info extra[] = {
		{"config", "FILE", CONFIG_FILE_DEFAULT,
			"Configuration file; the default one may be absent."},
		{"print-config", NULL, "", "Print the effective configuration and exit."},
		{"help", NULL, "", "Print this text and exit."},
		{"version", NULL, "", "Print the version and exit."},
	};

	for (size_t i = 0; i < array_len(keys); i++)
		print_option(&keys[i].info, out);
	for (size_t i = 0; i < array_len(extra); i++)
		print_option(&extra[i], out);
	fputs("\nEach key is also a line `key = value` of the file and an environment variable:\n"
	      "WARREN_ and the key in capitals, with _ for -. A flag is stronger than the\n"
	      "environment, which is stronger than the file.\n",
		out);
}
