/* warren network: where a sandbox may connect to. */
#include <json-c/json.h>
#include <string.h>

#include "base/mem.h"
#include "cli/api.h"
#include "rpc/json.h"

#define ANSWER_MAX ((size_t)8 * 1024 * 1024)

/* The body that makes the change the options ask for (heap); NULL: none. */
static char *make_body(const struct cli_call *call)
{
	struct json_object *root, *rules = NULL;
	char *text;

	if (call->repeated_count == 0 && cli_value(call, "deny-all") == NULL &&
		cli_value(call, "default") == NULL)
		return NULL;
	root = json_object_new_object();
	if (cli_value(call, "default") == NULL)
		rules = json_object_new_array();
	for (int i = 0; i < call->repeated_count; i++)
		json_object_array_add(rules, json_object_new_string(cli_repeated(call, i)));
	json_object_object_add(root, "allowNet", rules);
	text = mem_strdup(json_object_to_json_string(root));
	json_object_put(root);
	return text;
}

static int check_options(const struct cli_call *call)
{
	int kinds = (call->repeated_count > 0) + (cli_value(call, "deny-all") != NULL) +
		    (cli_value(call, "default") != NULL);

	if (kinds <= 1)
		return CLI_OK;
	fputs("warren network: --allow, --deny-all and --default exclude each other\n", stderr);
	return CLI_USAGE;
}

static void print_list(const char *title, struct json_object *list, const char *none)
{
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	printf("%-8s", title);
	for (size_t i = 0; i < n; i++)
		printf(" %s", json_object_get_string(json_object_array_get_idx(list, i)));
	printf("%s\n", n == 0 ? none : "");
}

static void print_network(struct json_object *network)
{
	struct json_object *v = NULL;
	bool standard =
		json_object_object_get_ex(network, "default", &v) && json_object_get_boolean(v);

	v = NULL;
	(void)json_object_object_get_ex(network, "allowNet", &v);
	print_list("allowed", v, " nothing");
	if (standard)
		puts("         (the server's default)");
	v = NULL;
	(void)json_object_object_get_ex(network, "secrets", &v);
	print_list("secrets", v, " none");
	if (json_object_object_get_ex(network, "gate", &v))
		printf("gate     %s\n", json_object_get_string(v));
	if (json_object_object_get_ex(network, "closed", &v))
		printf("closed   %s\n", json_object_get_string(v));
}

static int print_answer(const struct buf *answer, bool json)
{
	struct json_object *root =
		rpc_json_parse((const char *)buf_data(answer), answer->len, NULL);
	int code = CLI_OK;

	if (!json_object_is_type(root, json_type_object)) {
		fputs("warren: the server's answer is not understood\n", stderr);
		code = CLI_FAILURE;
	} else if (json) {
		printf("%.*s\n", (int)answer->len, (const char *)buf_data(answer));
	} else {
		print_network(root);
	}
	json_object_put(root);
	return code;
}

int cli_run_network(const struct cli_call *call)
{
	auto_free char *id = api_encode(call->argv[0]);
	auto_free char *path = mem_printf("/api/v2/sandboxes/%s/network", id);
	auto_free char *body = make_body(call);
	auto_buf struct buf answer = {.max = ANSWER_MAX};
	int code = check_options(call);
	struct api *api;

	if (code != CLI_OK)
		return code;
	api = api_open(call, &code);
	if (api == NULL)
		return code;
	code = api_request(api, body != NULL ? "PUT" : "GET", path, body, &answer);
	if (code == CLI_OK)
		code = print_answer(&answer, cli_value(call, "json") != NULL);
	api_close(api);
	return code;
}
