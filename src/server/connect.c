/* The two upgrades: create a sandbox and stay connected, or connect to one that runs. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/create_options.h"
#include "server/rest.h"
#include "server/session.h"

/* The Python client's WebSocket library names itself; protocol.md 1.3. */
static bool is_python(const struct conn *conn)
{
	const struct http1_view *agent = http1_header(&conn->http, "user-agent");

	return agent != NULL && memmem(agent->data, agent->len, "websockets/", 11) != NULL;
}

/* "ams" of a Host like ams.sandbox.example:8443: how the JavaScript client picks a region. */
static void host_region(const struct conn *conn, const struct config *config, char ret[4])
{
	const struct http1_view *host = http1_header(&conn->http, "host");

	ret[0] = '\0';
	if (host == NULL || host->len < 5 || host->data[3] != '.')
		return;
	for (unsigned i = 0; i < config->region_count; i++) {
		if (memcmp(config->region_list[i], host->data, 3) == 0)
			memcpy(ret, config->region_list[i], 4);
	}
}

static void on_created(struct sandbox *sb, const struct error *err, void *data)
{
	struct conn *conn = data;

	conn->on_abandoned = NULL;
	if (sb == NULL)
		http_answer_failure(conn, err);
	else
		session_start(conn, sb, true, is_python(conn));
}

static void on_abandoned(struct conn *conn, void *data)
{
	(void)conn;
	sandbox_create_cancel(data);
}

void rest_sandbox_create(struct conn *conn)
{
	const struct server_params *params = &conn->server->params;
	const struct http1_view *header = http1_header(&conn->http, "x-deno-sandbox-config");
	struct sandbox_options options = {0};
	struct sandbox_create *create;
	struct error err = {0};
	struct store_org org;
	char region[4];
	int r;

	if (!http_check_upgrade(conn))
		return;
	host_region(conn, params->config, region);
	r = create_options_parse(header != NULL ? header->data : NULL,
		header != NULL ? header->len : 0, params->config, region, clock_real_ms(), &options,
		&err);
	/* The request lives until the sandbox runs; the secrets in it need not. */
	if (header != NULL)
		mem_wipe(conn->head + (header->data - conn->head), header->len);
	if (r < 0) {
		http_answer_failure(conn, &err);
		return;
	}
	if (store_org_find(params->store, conn->token.org_slug, &org) < 0) {
		sandbox_options_done(&options);
		http_answer_error(conn, 500, "INTERNAL_ERROR",
			"the organisation of the token cannot be read");
		return;
	}
	create = sandbox_create(
		params->sandboxes, org.id, org.uuid, &options, on_created, conn, &err);
	sandbox_options_done(&options);
	if (create == NULL) {
		http_answer_failure(conn, &err);
		return;
	}
	conn->on_abandoned = on_abandoned;
	conn->handler_data = create;
}

void rest_sandbox_connect(struct conn *conn)
{
	const struct server_params *params = &conn->server->params;
	struct sandbox *sb;

	if (!http_check_upgrade(conn))
		return;
	sb = sandbox_find(params->sandboxes, conn->params[0], conn->token.org_id);
	if (sb != NULL)
		session_start(conn, sb, false, is_python(conn));
	else
		rest_answer_no_sandbox(conn);
}
