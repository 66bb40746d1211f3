#include "cli/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"

#define FILE_MAX 4096

/* --- parsing ----------------------------------------------------------------------------- */

/* Host names, addresses and ports; nothing a shell or a URL parser could trip over. */
static bool is_authority(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-:[]");

	return len > 0 && text[len] == '\0';
}

static int set_url(struct endpoint *e, const char *value)
{
	static const struct {
		const char *any;
		const char *loopback;
	} wildcards[] = {
		{"http://0.0.0.0:", "http://127.0.0.1:"},
		{"http://[::]:", "http://[::1]:"},
	};

	if (strncmp(value, "http://", 7) != 0 || !is_authority(value + 7) ||
		strlen(value) >= sizeof(e->url) - 8)
		return -EINVAL;
	for (size_t i = 0; i < array_len(wildcards); i++) {
		size_t len = strlen(wildcards[i].any);

		if (strncmp(value, wildcards[i].any, len) == 0) {
			snprintf(
				e->url, sizeof(e->url), "%s%s", wildcards[i].loopback, value + len);
			return 0;
		}
	}
	snprintf(e->url, sizeof(e->url), "%s", value);
	return 0;
}

static int set_domain(struct endpoint *e, const char *value)
{
	if (!is_authority(value) || strlen(value) >= sizeof(e->domain))
		return -EINVAL;
	snprintf(e->domain, sizeof(e->domain), "%s", value);
	return 0;
}

static int set_pid(struct endpoint *e, const char *value)
{
	char *end;
	long pid = strtol(value, &end, 10);

	if (value[0] < '1' || value[0] > '9' || *end != '\0' || pid > INT_MAX)
		return -EINVAL;
	e->pid = (pid_t)pid;
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *ret)
{
	static const struct {
		const char *key;
		int (*set)(struct endpoint *e, const char *value);
	} keys[] = {{"url=", set_url}, {"domain=", set_domain}, {"pid=", set_pid}};
	struct endpoint e = {0};

	for (const char *line = text; *line != '\0';) {
		size_t len = strcspn(line, "\n");

		for (size_t i = 0; i < array_len(keys); i++) {
			size_t key_len = strlen(keys[i].key);

			if (len < key_len || memcmp(line, keys[i].key, key_len) != 0)
				continue;

			auto_free char *value = mem_strndup(line + key_len, len - key_len);

			if (keys[i].set(&e, value) < 0)
				return -EINVAL;
		}
		line += len;
		line += *line == '\n';
	}
	if (e.url[0] == '\0' || e.domain[0] == '\0' || e.pid == 0)
		return -EINVAL;
	*ret = e;
	return 0;
}

/* --- reading ----------------------------------------------------------------------------- */

/* The process may have ended without removing the file, and its number be another's by now. */
static bool is_server(pid_t pid)
{
	auto_free char *path = mem_printf("/proc/%d/comm", (int)pid);
	auto_free char *name = NULL;
	size_t len;

	if (kill(pid, 0) < 0 && errno != EPERM)
		return false;
	/* /proc may hide the processes of others. */
	if (fd_read_file(AT_FDCWD, path, 64, &name, &len) < 0)
		return true;
	return strcmp(name, "warrend\n") == 0;
}

int endpoint_read(const char *state_dir, struct endpoint *ret, struct error *ret_err)
{
	auto_free char *path = mem_printf("%s/endpoint", state_dir);
	auto_free char *text = NULL;
	struct endpoint e;
	size_t len;
	int r = fd_read_file(AT_FDCWD, path, FILE_MAX, &text, &len);

	if (r == -ENOENT || r == -ENOTDIR)
		return error_set(ret_err, -ESRCH, "", "no server is running on the state folder %s",
			state_dir);
	if (r < 0)
		return error_set(ret_err, r, "", "cannot read %s: %s%s", path, strerror(-r),
			r == -EACCES ? "; run this as root" : "");
	if (strlen(text) != len || endpoint_parse(text, &e) < 0)
		return error_set(
			ret_err, -EINVAL, "", "%s is damaged; start the server again", path);
	if (!is_server(e.pid))
		return error_set(ret_err, -ESRCH, "",
			"no server is running on the state folder %s (the last one, process %d, is "
			"gone)",
			state_dir, (int)e.pid);
	*ret = e;
	return 0;
}
