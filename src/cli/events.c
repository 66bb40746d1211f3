/* warren events: what happened to a sandbox. */
#include <json-c/json.h>
#include <string.h>

#include "base/mem.h"
#include "cli/api.h"
#include "rpc/json.h"

#define PAGE 1000
#define ANSWER_MAX ((size_t)64 * 1024 * 1024)

/* Names and reasons come from inside sandboxes: nothing of them may move the cursor. */
static void print_safe(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;

		putchar(*p < 0x20 || *p == 0x7f || c1 ? '?' : *p);
		p += c1;
	}
}

static const char *text_of(struct json_object *event, const char *key)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(event, key, &v) && v != NULL ? json_object_get_string(v)
								      : "";
}

/* "2026-11-26T14:00:00.000Z denied protocol=tls host=a.example port=443" */
static void print_line(struct json_object *event)
{
	print_safe(text_of(event, "time"));
	putchar(' ');
	print_safe(text_of(event, "type"));
	json_object_object_foreach(event, key, value)
	{
		if (strcmp(key, "id") == 0 || strcmp(key, "time") == 0 || strcmp(key, "type") == 0)
			continue;
		putchar(' ');
		print_safe(key);
		putchar('=');
		print_safe(
			json_object_is_type(value, json_type_string)
				? json_object_get_string(value)
				: json_object_to_json_string_ext(value,
					  JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	}
	putchar('\n');
}

static void print_event(struct json_object *event, bool json)
{
	if (json)
		puts(json_object_to_json_string_ext(
			event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print_line(event);
}

static int broken(void)
{
	fputs("warren: the server's answer is not understood\n", stderr);
	return CLI_FAILURE;
}

/* One page. *ret_last: the number of its last event; 0: there was none. */
static int print_page(const struct buf *answer, bool json, int64_t *ret_last)
{
	struct json_object *list =
		rpc_json_parse((const char *)buf_data(answer), answer->len, NULL);
	int code = json_object_is_type(list, json_type_array) ? CLI_OK : broken();

	*ret_last = 0;
	for (size_t i = 0; code == CLI_OK && i < json_object_array_length(list); i++) {
		struct json_object *event = json_object_array_get_idx(list, i), *id = NULL;

		if (!json_object_is_type(event, json_type_object) ||
			!json_object_object_get_ex(event, "id", &id)) {
			code = broken();
			break;
		}
		*ret_last = json_object_get_int64(id);
		print_event(event, json);
	}
	json_object_put(list);
	return code;
}

static int print_all(struct api *api, const char *base, const char *type, bool json)
{
	int64_t last = 0;
	int code;

	do {
		auto_free char *path = mem_printf("%s?limit=%d&after=%lld%s%s", base, PAGE,
			(long long)last, type != NULL ? "&type=" : "", type != NULL ? type : "");
		auto_buf struct buf answer;

		buf_init(&answer, ANSWER_MAX);
		code = api_request(api, "GET", path, NULL, &answer);
		if (code == CLI_OK)
			code = print_page(&answer, json, &last);
	} while (code == CLI_OK && last != 0);
	return code;
}

static int on_event(const char *data, size_t len, void *data_of_fn)
{
	const bool *json = data_of_fn;
	struct json_object *event = rpc_json_parse(data, len, NULL);
	int code = json_object_is_type(event, json_type_object) ? CLI_OK : broken();

	if (code == CLI_OK) {
		print_event(event, *json);
		if (fflush(stdout) != 0)
			code = CLI_FAILURE;
	}
	json_object_put(event);
	return code;
}

int cli_run_events(const struct cli_call *call)
{
	auto_free char *id = api_encode(call->argv[0]);
	auto_free char *base = mem_printf("/api/v2/sandboxes/%s/events", id);
	const char *wanted = cli_value(call, "type");
	auto_free char *type = wanted != NULL ? api_encode(wanted) : NULL;
	bool json = cli_value(call, "json") != NULL;
	int code;
	struct api *api = api_open(call, &code);

	if (api == NULL)
		return code;
	if (cli_value(call, "follow") != NULL) {
		auto_free char *path = mem_printf(
			"%s%s%s", base, type != NULL ? "?type=" : "", type != NULL ? type : "");

		code = api_follow(api, path, on_event, &json);
	} else {
		code = print_all(api, base, type, json);
	}
	api_close(api);
	return code;
}
