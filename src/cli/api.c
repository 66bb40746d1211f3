#include "cli/api.h"

#include <curl/curl.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "base/mem.h"
#include "cli/endpoint.h"
#include "rpc/json.h"

#define ANSWER_MAX ((size_t)64 * 1024 * 1024)
#define LINE_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define CONNECT_SECONDS 10L
#define REQUEST_SECONDS 60L
#define SILENCE_SECONDS 60L /* the server says something every 15 s */

struct api {
	CURL *curl;
	char *url; /* without a slash at the end */
	char token[CLI_TOKEN_SIZE];
	char error[CURL_ERROR_SIZE];
};

/* --- which server ------------------------------------------------------------------------ */

static const char *find_variable(const struct cli_call *call, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; call->envp != NULL && call->envp[i] != NULL; i++)
		if (strncmp(call->envp[i], name, len) == 0 && call->envp[i][len] == '=' &&
			call->envp[i][len + 1] != '\0')
			return call->envp[i] + len + 1;
	return NULL;
}

static int take_endpoint(struct api *api, const char *url, struct error *err)
{
	size_t len = strlen(url);

	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return error_set(err, -EINVAL, "",
			"DENO_SANDBOX_ENDPOINT: must begin with http:// or https://");
	while (len > 0 && url[len - 1] == '/')
		len--;
	api->url = mem_strndup(url, len);
	return 0;
}

static int take_token(struct api *api, const char *token, struct error *err)
{
	size_t len = strlen(token);

	if (len >= sizeof(api->token) || strpbrk(token, "\r\n") != NULL)
		return error_set(err, -EINVAL, "", "DENO_DEPLOY_TOKEN: is no token");
	memcpy(api->token, token, len + 1);
	return 0;
}

static int find_server(const struct cli_call *call, struct api *api, struct error *err)
{
	bool local = cli_value(call, "state-dir") != NULL || cli_value(call, "config") != NULL;
	const char *url = local ? NULL : find_variable(call, "DENO_SANDBOX_ENDPOINT");
	const char *token = local ? NULL : find_variable(call, "DENO_DEPLOY_TOKEN");
	struct endpoint endpoint = {0};
	struct config config = {0};
	int r = 0;

	if (url != NULL)
		r = take_endpoint(api, url, err);
	if (r == 0 && token != NULL)
		r = take_token(api, token, err);
	if (r < 0 || (url != NULL && token != NULL))
		return r;
	r = cli_load_config(call, &config, err);
	if (r == 0 && url == NULL) {
		r = endpoint_read(config.state_dir, &endpoint, err);
		api->url = mem_strdup(endpoint.url);
	}
	if (r == 0 && token == NULL)
		r = cli_read_token(config.state_dir, api->token, err);
	config_done(&config);
	return r;
}

/* This machine's own server is not asked through a proxy. */
static bool is_loopback(const char *url)
{
	static const char *const hosts[] = {"http://127.", "http://localhost:", "http://[::1]:"};

	for (size_t i = 0; i < array_len(hosts); i++)
		if (strncmp(url, hosts[i], strlen(hosts[i])) == 0)
			return true;
	return false;
}

struct api *api_open(const struct cli_call *call, int *ret_code)
{
	struct api *api = mem_new(struct api);
	struct error err = {0};
	int r = find_server(call, api, &err);

	if (r == 0) {
		api->curl =
			curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
		if (api->curl == NULL)
			r = error_set(&err, -ENOMEM, "", "libcurl cannot be set up");
	}
	if (r == 0)
		return api;
	*ret_code = cli_fail(&err);
	if (r == -ESRCH) /* nobody to ask */
		*ret_code = CLI_NETWORK;
	api_close(api);
	return NULL;
}

void api_close(struct api *api)
{
	if (api == NULL)
		return;
	curl_easy_cleanup(api->curl);
	mem_wipe(api->token, sizeof(api->token));
	free(api->url);
	free(api);
}

char *api_encode(const char *text)
{
	static const char safe[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~";
	char *out = mem_zalloc(3 * strlen(text) + 1);
	char *p = out;

	for (; *text != '\0'; text++) {
		if (strchr(safe, *text) != NULL)
			*p++ = *text;
		else
			p += snprintf(p, 4, "%%%02X", (unsigned char)*text);
	}
	return out;
}

/* --- requests ---------------------------------------------------------------------------- */

/* What comes in: the text of an answer, or lines of events. */
struct inflow {
	struct api *api;
	struct buf text;  /* of the answer, or the line that is not complete */
	struct buf event; /* data lines of the event that is not complete */
	api_event_fn fn;  /* NULL: no events */
	void *data;
	int code; /* of fn */
};

static struct curl_slist *make_headers(const struct api *api, bool events)
{
	auto_free char *token = mem_printf("Authorization: Bearer %s", api->token);
	struct curl_slist *list = curl_slist_append(NULL, token);

	mem_wipe(token, strlen(token));
	list = curl_slist_append(list, "Content-Type: application/json");
	return curl_slist_append(
		list, events ? "Accept: text/event-stream" : "Accept: application/json");
}

static int end_event(struct inflow *in)
{
	int code = in->event.len > 0
			   ? in->fn((const char *)buf_data(&in->event), in->event.len, in->data)
			   : CLI_OK;

	buf_clear(&in->event);
	return code;
}

/* A whole line of the event stream. */
static int take_line(struct inflow *in, const char *line, size_t len)
{
	if (len > 0 && line[len - 1] == '\r')
		len--;
	if (len == 0)
		return end_event(in);
	if (len >= 6 && memcmp(line, "data: ", 6) == 0 &&
		buf_append(&in->event, line + 6, len - 6) < 0)
		return CLI_FAILURE;
	return CLI_OK;
}

static void take_lines(struct inflow *in)
{
	while (in->code == CLI_OK && in->text.len > 0) {
		const char *text = (const char *)buf_data(&in->text);
		const char *end = memchr(text, '\n', in->text.len);

		if (end == NULL)
			return;
		in->code = take_line(in, text, (size_t)(end - text));
		buf_consume(&in->text, (size_t)(end - text) + 1);
	}
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *data)
{
	struct inflow *in = data;
	long status = 0;

	if (buf_append(&in->text, bytes, size * count) < 0)
		return 0;
	curl_easy_getinfo(in->api->curl, CURLINFO_RESPONSE_CODE, &status);
	if (in->fn != NULL && status == 200)
		take_lines(in);
	return in->code == CLI_OK ? size * count : 0;
}

/* The message of an error answer. */
static int refused(long status, const struct buf *text)
{
	struct json_object *root = rpc_json_parse((const char *)buf_data(text), text->len, NULL);
	struct json_object *message = NULL;

	if (json_object_is_type(root, json_type_object))
		(void)json_object_object_get_ex(root, "message", &message);
	if (json_object_is_type(message, json_type_string))
		fprintf(stderr, "warren: %s\n", json_object_get_string(message));
	else
		fprintf(stderr, "warren: the server answered with status %ld\n", status);
	json_object_put(root);
	if (status == 401 || status == 403)
		return CLI_AUTH;
	return status == 404 ? CLI_NOT_FOUND : CLI_FAILURE;
}

static void set_options(struct api *api, const char *url, struct curl_slist *headers,
	const char *method, const char *body, struct inflow *in)
{
	CURL *c = api->curl;

	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	if (body != NULL)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, api->error);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	if (in->fn != NULL) {
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, SILENCE_SECONDS);
	} else {
		curl_easy_setopt(c, CURLOPT_TIMEOUT, REQUEST_SECONDS);
	}
	if (is_loopback(api->url))
		curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, in);
}

static int run(struct inflow *in, const char *method, const char *path, const char *body)
{
	struct api *api = in->api;
	auto_free char *url = mem_printf("%s%s", api->url, path);
	struct curl_slist *headers = make_headers(api, in->fn != NULL);
	long status = 0;
	CURLcode rc;

	set_options(api, url, headers, method, body, in);
	rc = curl_easy_perform(api->curl);
	curl_easy_getinfo(api->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	if (in->code != CLI_OK)
		return in->code;
	if (rc != CURLE_OK) {
		fprintf(stderr, "warren: cannot ask the server at %s: %s\n", api->url,
			api->error[0] != '\0' ? api->error : curl_easy_strerror(rc));
		return CLI_NETWORK;
	}
	return status >= 200 && status < 300 ? CLI_OK : refused(status, &in->text);
}

int api_request(
	struct api *api, const char *method, const char *path, const char *body, struct buf *out)
{
	struct inflow in = {.api = api};
	int code;

	buf_init(&in.text, ANSWER_MAX);
	code = run(&in, method, path, body);
	if (code == CLI_OK && buf_append(out, buf_data(&in.text), in.text.len) < 0)
		code = CLI_FAILURE;
	buf_done(&in.text);
	return code;
}

int api_follow(struct api *api, const char *path, api_event_fn fn, void *data)
{
	struct inflow in = {.api = api, .fn = fn, .data = data};
	int code;

	buf_init(&in.text, LINE_MAX_BYTES);
	buf_init(&in.event, LINE_MAX_BYTES);
	code = run(&in, "GET", path, NULL);
	buf_done(&in.text);
	buf_done(&in.event);
	return code;
}
