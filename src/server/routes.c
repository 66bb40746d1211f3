/*
 * The routes as a table, and the two things every request needs before its handler runs: a matching
 * row and a valid token.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/rest.h"

#define ROUTE_OPEN 0x1 /* no token needed */

struct route {
	const char *method; /* NULL: any */
	/* Segments: literal text; "{}" captures one; "sandbox(es)" is either spelling; a final "**"
	 * matches the rest, also none. */
	const char *pattern;
	unsigned flags;
	rest_handler handler;
};

/* The first match wins. Both spellings of the sandbox paths, on both API versions: clients differ.
 */
static const struct route routes[] = {
	{"GET", "/health", ROUTE_OPEN, rest_health},
	{"GET", "/api/v3/sandbox(es)/create", 0, rest_sandbox_create},
	{"GET", "/api/v3/sandbox(es)/{}/connect", 0, rest_sandbox_connect},
	{"GET", "/api/v3/sandboxes", 0, rest_sandbox_list},
	{"GET", "/api/v2/sandboxes", 0, rest_sandbox_list},
	{"GET", "/api/v3/sandbox(es)/{}", 0, rest_sandbox_get},
	{"GET", "/api/v2/sandbox(es)/{}", 0, rest_sandbox_get},
	{"DELETE", "/api/v3/sandbox(es)/{}", 0, rest_sandbox_kill},
	{"DELETE", "/api/v2/sandbox(es)/{}", 0, rest_sandbox_kill},
	{"PATCH", "/api/v3/sandbox(es)/{}", 0, rest_sandbox_extend},
	{"PATCH", "/api/v2/sandbox(es)/{}", 0, rest_sandbox_extend},
	{"GET", "/api/v2/sandbox(es)/{}/events", 0, rest_sandbox_events},
	{"GET", "/api/v3/sandbox(es)/{}/events", 0, rest_sandbox_events},
	{"GET", "/api/v2/sandbox(es)/{}/network", 0, rest_network_get},
	{"GET", "/api/v3/sandbox(es)/{}/network", 0, rest_network_get},
	{"PUT", "/api/v2/sandbox(es)/{}/network", 0, rest_network_put},
	{"PUT", "/api/v3/sandbox(es)/{}/network", 0, rest_network_put},
	{"POST", "/api/v3/sandbox(es)/{}/expose/{}", 0, rest_not_available},
	{"POST", "/api/v2/sandbox(es)/{}/deploy", 0, rest_not_available},
	{NULL, "/api/v2/volumes/**", 0, rest_not_available},
	{NULL, "/api/v2/snapshots/**", 0, rest_not_available},
	{NULL, "/api/v2/apps/**", 0, rest_not_available},
	{NULL, "/api/v2/revisions/**", 0, rest_not_available},
	{NULL, "/api/v2/layers/**", 0, rest_not_available},
};

static bool match_segment(const char *pattern, size_t plen, const char *text, size_t len,
	struct http1_view *captures, size_t *count)
{
	if (plen == 2 && memcmp(pattern, "{}", 2) == 0) {
		if (len == 0 || *count == HTTP_PARAMS_MAX)
			return false;
		captures[(*count)++] = (struct http1_view){text, len};
		return true;
	}
	if (plen == 11 && memcmp(pattern, "sandbox(es)", 11) == 0)
		return (len == 7 && memcmp(text, "sandbox", 7) == 0) ||
		       (len == 9 && memcmp(text, "sandboxes", 9) == 0);
	return plen == len && memcmp(pattern, text, len) == 0;
}

/* Both start with '/'. */
static bool match_path(const char *pattern, const char *path, size_t len,
	struct http1_view *captures, size_t *count)
{
	const char *end = path + len;

	*count = 0;
	while (*pattern == '/' && path < end && *path == '/') {
		size_t plen = strcspn(++pattern, "/");
		size_t slen;

		path++;
		if (plen == 2 && memcmp(pattern, "**", 2) == 0)
			return true;
		slen = (size_t)(end - path);
		if (memchr(path, '/', slen) != NULL)
			slen = (size_t)((const char *)memchr(path, '/', slen) - path);
		if (!match_segment(pattern, plen, path, slen, captures, count))
			return false;
		pattern += plen;
		path += slen;
	}
	return path == end && (*pattern == '\0' || strcmp(pattern, "/**") == 0);
}

/* The public API is also reachable without the /api in front: /v2/... */
static char *normalise_path(const struct http1_view *path)
{
	if (path->len >= 4 && memcmp(path->data, "/v2/", 4) == 0)
		return mem_printf("/api%.*s", (int)path->len, path->data);
	return mem_strndup(path->data, path->len);
}

static bool authenticate(struct conn *conn)
{
	const struct http1_view *h = http1_header(&conn->http, "authorization");
	int r = -ENOENT;

	if (h != NULL && h->len > 7 && strncasecmp(h->data, "Bearer ", 7) == 0)
		r = store_token_check(conn->server->params.store, h->data + 7, h->len - 7,
			clock_real_ms(), &conn->token);
	if (r == 0)
		return true;
	if (r == -EKEYEXPIRED)
		http_answer_error(conn, 401, "INVALID_TOKEN", "The token has expired");
	else if (r == -ENOENT)
		http_answer_error(conn, 401, "INVALID_TOKEN",
			h == NULL ? "The request carries no token" : "The token is not valid");
	else
		http_answer_error(conn, 500, "INTERNAL_ERROR", "The token cannot be checked: %s",
			strerror(-r));
	return false;
}

static bool decode_params(struct conn *conn, const struct http1_view *captures, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (http1_percent_decode(&captures[i], false, &conn->params[i]) == 0)
			continue;
		http_answer_error(conn, 400, "MALFORMED_REQUEST", "the path is not well encoded");
		return false;
	}
	return true;
}

void http_route(struct conn *conn)
{
	auto_free char *path = normalise_path(&conn->http.path);
	bool path_known = false;

	for (size_t i = 0; i < array_len(routes); i++) {
		const struct route *route = &routes[i];
		struct http1_view captures[HTTP_PARAMS_MAX];
		size_t count;

		if (!match_path(route->pattern, path, strlen(path), captures, &count))
			continue;
		path_known = true;
		if (route->method != NULL && !http1_view_eq(&conn->http.method, route->method))
			continue;
		if (!(route->flags & ROUTE_OPEN) && !authenticate(conn))
			return;
		if (decode_params(conn, captures, count))
			route->handler(conn);
		return;
	}
	if (path_known)
		http_answer_error(conn, 405, "METHOD_NOT_ALLOWED",
			"this path does not know the method %.*s", (int)conn->http.method.len,
			conn->http.method.data);
	else
		http_answer_error(conn, 404, "NOT_FOUND", "there is nothing at this path");
}
