/* The configuration file, read by inih. */
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "config/config_priv.h"

#define FILE_MAX (64 * 1024)
#define SEEN_MAX 64

struct reader {
	struct config *config;
	const char *path;
	const char *pos;
	const char *end;
	unsigned line;
	bool seen[SEEN_MAX]; /* by index of the key */
	int err;
	struct error *ret_err;
};

static int fail(struct reader *reader, const char *field, const char *what)
{
	if (reader->err == 0)
		reader->err =
			error_set_field(reader->ret_err, -EINVAL, "", field, "%s, line %u: %s%s%s",
				reader->path, reader->line, field, field[0] ? ": " : "", what);
	return 0;
}

/*
 * Hands lines to inih, which asks like fgets(). Blanks in front are dropped because inih would take
 * an indented line for the rest of the value above; a line longer than its buffer is refused
 * because inih would silently drop the end of it.
 */
static char *next_line(char *line, int size, void *data)
{
	struct reader *reader = data;
	const char *p = reader->pos;
	const char *stop;
	size_t len;

	if (p == reader->end || reader->err != 0)
		return NULL;
	reader->line++;
	stop = memchr(p, '\n', (size_t)(reader->end - p));
	stop = stop ? stop : reader->end;
	reader->pos = stop == reader->end ? stop : stop + 1;
	while (p < stop && (*p == ' ' || *p == '\t'))
		p++;
	len = (size_t)(stop - p);
	if (memchr(p, '\0', len) != NULL) {
		fail(reader, "", "has a NUL byte");
		return NULL;
	}
	if (len + 2 > (size_t)size) {
		fail(reader, "", "the line is too long");
		return NULL;
	}
	memcpy(line, p, len);
	line[len] = '\n';
	line[len + 1] = '\0';
	return line;
}

/* inih wants non-zero for success. */
static int take_pair(void *data, const char *section, const char *name, const char *value)
{
	struct reader *reader = data;
	const struct config_origin origin = {SOURCE_FILE, reader->path, reader->line};
	const struct config_key *key = config_find_key(name, strlen(name));
	size_t count;
	size_t index;

	if (reader->err != 0)
		return 0;
	if (section[0] != '\0' && strcmp(section, "warren") != 0)
		return fail(reader, section,
			"no such section; keys stand under [warren] or under none");
	if (key == NULL)
		return fail(reader, name, "no such key");
	index = (size_t)(key - config_keys(&count));
	if (reader->seen[index])
		return fail(reader, name, "is there twice");
	reader->seen[index] = true;
	reader->err = config_set(reader->config, key, value, &origin, reader->ret_err);
	return reader->err == 0;
}

int config_read_text(
	struct config *c, const char *path, const char *text, size_t len, struct error *ret_err)
{
	struct reader reader = {
		.config = c,
		.path = path,
		.pos = text,
		.end = text + len,
		.ret_err = ret_err,
	};
	size_t count;
	int r;

	config_keys(&count);
	if (count > SEEN_MAX)
		abort();
	r = ini_parse_stream(next_line, &reader, take_pair, &reader);
	if (reader.err != 0)
		return reader.err;
	if (r > 0) {
		reader.line = (unsigned)r;
		fail(&reader, "", "want key = value");
		return reader.err;
	}
	if (r < 0)
		return error_set(ret_err, -ENOMEM, "", "%s: out of memory", path);
	return 0;
}

int config_read_file(struct config *c, const char *path, bool must_exist, struct error *ret_err)
{
	auto_free char *text = NULL;
	size_t len = 0;
	int r = fd_read_file(AT_FDCWD, path, FILE_MAX, &text, &len);

	if (r == -ENOENT && !must_exist)
		return 0;
	if (r < 0)
		return error_set_field(
			ret_err, r, "", "config", "cannot read %s: %s", path, strerror(-r));
	return config_read_text(c, path, text, len, ret_err);
}
