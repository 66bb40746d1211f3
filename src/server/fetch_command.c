#include "server/fetch_command.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"

/* curl's own limit against loops, and the one of fetch. */
#define REDIRECTS_MAX "20"
#define SHOWN_URL_MAX 2048
#define SHOWN_TEXT_MAX 1024

/* --- texts ------------------------------------------------------------------------------------ */

/* UTF-8 to one byte for each character; NULL when there are others than U+0001 to U+00FF. */
static char *to_bytes(const char *text)
{
	char *bytes = mem_zalloc(strlen(text) + 1);
	char *out = bytes;

	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x80) {
			*out++ = (char)*p;
		} else if ((*p == 0xc2 || *p == 0xc3) && (p[1] & 0xc0) == 0x80) {
			*out++ = (char)((*p & 3) << 6 | (p[1] & 0x3f));
			p++;
		} else {
			free(bytes);
			return NULL;
		}
	}
	return bytes;
}

/* The other way round. */
static char *to_text(struct http1_view v)
{
	char *text = mem_zalloc(v.len * 2 + 1);
	char *out = text;

	for (size_t i = 0; i < v.len; i++) {
		unsigned char c = (unsigned char)v.data[i];

		if (c >= 0x80) {
			*out++ = (char)(0xc0 | c >> 6);
			c = 0x80 | (c & 0x3f);
		}
		*out++ = (char)c;
	}
	return text;
}

static bool is_token(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && strspn(text, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
				       "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == len;
}

static bool is_value(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if ((*p < 0x20 && *p != '\t') || *p == 0x7f)
			return false;
	}
	return true;
}

/* --- checking --------------------------------------------------------------------------------- */

static void mend_method(struct rpc_fetch *p)
{
	static const char *const known[] = {"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"};

	if (!p->method)
		p->method = mem_strdup("GET");
	for (size_t i = 0; i < array_len(known); i++) {
		if (strcasecmp(p->method, known[i]) == 0)
			memcpy(p->method, known[i], strlen(known[i]));
	}
}

static bool is_forbidden_method(const char *method)
{
	return strcasecmp(method, "CONNECT") == 0 || strcasecmp(method, "TRACE") == 0 ||
	       strcasecmp(method, "TRACK") == 0;
}

static bool is_url(const char *url)
{
	size_t scheme = strncasecmp(url, "http://", 7) == 0    ? 7
			: strncasecmp(url, "https://", 8) == 0 ? 8
							       : 0;

	if (scheme == 0 || url[scheme] == '\0' || strchr("/?#", url[scheme]))
		return false;
	for (const unsigned char *p = (const unsigned char *)url; *p; p++) {
		if (*p <= 0x20 || *p == 0x7f)
			return false;
	}
	return true;
}

static char *check_headers(const struct rpc_map *headers)
{
	for (size_t i = 0; i < headers->count; i++) {
		const struct rpc_pair *h = &headers->items[i];
		auto_free char *bytes = to_bytes(h->value);

		if (!is_token(h->key))
			return mem_printf("Invalid header name: '%.100s'", h->key);
		if (!bytes || !is_value(bytes))
			return mem_printf("Invalid value of the header '%.100s'", h->key);
	}
	return NULL;
}

char *fetch_check(struct rpc_fetch *p)
{
	mend_method(p);
	if (!is_url(p->url))
		return mem_printf("Invalid URL: '%.*s' (http and https can be fetched)",
			SHOWN_URL_MAX, p->url);
	if (!is_token(p->method) || is_forbidden_method(p->method))
		return mem_printf("Method is forbidden: '%s'", p->method);
	if (p->body_stream_id >= 0 &&
		(strcmp(p->method, "GET") == 0 || strcmp(p->method, "HEAD") == 0))
		return mem_printf("Request with %s method cannot have body", p->method);
	return check_headers(&p->headers);
}

/* --- arguments -------------------------------------------------------------------------------- */

struct list_of_args {
	struct rpc_strings args;
	size_t room;
};

/* Takes text. */
static void add_own(struct list_of_args *list, char *text)
{
	if (list->args.count == list->room) {
		list->room = list->room * 2 + 32;
		list->args.items =
			mem_realloc(list->args.items, list->room * sizeof(*list->args.items));
	}
	list->args.items[list->args.count++] = text;
}

static void add(struct list_of_args *list, const char *text)
{
	add_own(list, mem_strdup(text));
}

static void add_two(struct list_of_args *list, const char *option, const char *value)
{
	add(list, option);
	add(list, value);
}

/* They are about one connection, and this one is curl's. */
static bool is_hop_by_hop(const char *name)
{
	static const char *const names[] = {"connection", "keep-alive", "proxy-connection", "te",
		"trailer", "transfer-encoding", "upgrade"};

	for (size_t i = 0; i < array_len(names); i++) {
		if (strcasecmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static bool has_header(const struct rpc_map *headers, const char *name)
{
	for (size_t i = 0; i < headers->count; i++) {
		if (strcasecmp(headers->items[i].key, name) == 0)
			return true;
	}
	return false;
}

static void add_headers(struct list_of_args *list, const struct rpc_map *headers)
{
	for (size_t i = 0; i < headers->count; i++) {
		const struct rpc_pair *h = &headers->items[i];
		auto_free char *bytes = to_bytes(h->value);

		if (is_hop_by_hop(h->key) || strcasecmp(h->key, "content-length") == 0 ||
			strcasecmp(h->key, "expect") == 0)
			continue;
		add(list, "-H");
		/* "name:" would take a header of curl's away; with ';' it is sent empty. */
		if (*bytes)
			add_own(list, mem_printf("%s: %s", h->key, bytes));
		else
			add_own(list, mem_printf("%s;", h->key));
	}
}

/* A method that is named stays through all redirects, so it is named only where curl would use
 * another: then POST becomes GET where fetch says so. */
static void add_method(struct list_of_args *list, const char *method, enum fetch_body body)
{
	bool post = strcmp(method, "POST") == 0, put = strcmp(method, "PUT") == 0;
	const char *implied = "GET";

	if (strcmp(method, "HEAD") == 0) {
		add(list, "--head");
		return;
	}
	if (body == FETCH_WHOLE_BODY) {
		add_two(list, "--data-binary", "@-");
		implied = "POST";
	} else if (body == FETCH_STREAMED_BODY) {
		add_two(list, "--upload-file", "-");
		implied = "PUT";
	} else if (post || put) { /* says that its length is 0 */
		add_two(list, "--data-binary", "");
		implied = "POST";
	}
	if (strcmp(method, implied) != 0)
		add_two(list, "--request", method);
}

struct rpc_strings fetch_arguments(const struct rpc_fetch *p, enum fetch_body body)
{
	struct list_of_args list = {0};

	/* The first makes curl pass over the user's settings. */
	add(&list, "-q");
	add(&list, "--silent");
	add(&list, "--show-error");
	add(&list, "--include");
	add(&list, "--no-buffer");
	add(&list, "--globoff");
	add(&list, "--http1.1");
	add(&list, "--suppress-connect-headers");
	add_two(&list, "--proto", "=http,https");
	if (p->redirect == RPC_REDIRECT_FOLLOW) {
		add(&list, "--location");
		add_two(&list, "--max-redirs", REDIRECTS_MAX);
		add_two(&list, "--proto-redir", "=http,https");
	}
	add_method(&list, p->method, body);
	add_headers(&list, &p->headers);
	add_two(&list, "-H", "Expect:");
	if (!has_header(&p->headers, "content-type"))
		add_two(&list, "-H", "Content-Type:");
	add_two(&list, "--url", p->url);
	return list.args;
}

void fetch_arguments_done(struct rpc_strings *args)
{
	for (size_t i = 0; i < args->count; i++)
		free(args->items[i]);
	free(args->items);
	*args = (struct rpc_strings){0};
}

/* --- answers ---------------------------------------------------------------------------------- */

bool fetch_is_redirect(const struct http1_answer *head)
{
	const struct http1_fields f = {head->headers, head->header_count};
	const struct http1_view *location = http1_field(f, "location");

	return head->status >= 300 && head->status < 400 && location && location->len > 0;
}

bool fetch_is_refusal(const struct http1_answer *head)
{
	const struct http1_fields f = {head->headers, head->header_count};

	return head->status == 403 && http1_field(f, "x-warren-refused") != NULL;
}

bool fetch_is_bodyless(const struct rpc_fetch *p, int status)
{
	return strcmp(p->method, "HEAD") == 0 || status == 204 || status == 205 || status == 304;
}

void fetch_answer(const struct http1_answer *head, struct rpc_fetched *ret)
{
	const struct http1_fields f = {head->headers, head->header_count};

	*ret = (struct rpc_fetched){
		.status = head->status,
		.status_text = to_text(head->reason),
		.headers.items = mem_zalloc_array(f.count, sizeof(struct rpc_pair)),
		.body_stream_id = -1,
	};
	for (size_t i = 0; i < f.count; i++) {
		auto_free char *name = to_text(f.items[i].name);

		for (char *p = name; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (is_hop_by_hop(name) || http1_field_has_token(f, "connection", name))
			continue;
		ret->headers.items[ret->headers.count++] =
			(struct rpc_pair){take_ptr(name), to_text(f.items[i].value)};
	}
}

/* The first line of what curl said, without its "curl: (7) ". */
static struct http1_view first_line(const char *said, size_t len)
{
	const char *end = memchr(said, '\n', len);
	struct http1_view v = {said, end ? (size_t)(end - said) : len};
	const char *close;

	if (v.len > 7 && memcmp(said, "curl: (", 7) == 0) {
		close = memchr(said, ')', v.len);
		if (close && v.len - (size_t)(close - said) > 2)
			v = (struct http1_view){close + 2, v.len - (size_t)(close + 2 - said)};
	}
	if (v.len > SHOWN_TEXT_MAX)
		v.len = SHOWN_TEXT_MAX;
	return v;
}

char *fetch_failure(const char *url, const void *said, size_t len, int64_t code)
{
	struct http1_view line = len > 0 ? first_line(said, len) : (struct http1_view){0};
	auto_free char *text = line.len > 0 ? mem_strndup(line.data, line.len)
					    : mem_printf("curl ended with status %d", (int)code);

	return mem_printf("error sending request for url (%.*s): %s", SHOWN_URL_MAX, url, text);
}
