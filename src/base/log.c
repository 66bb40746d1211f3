#include "base/log.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* Longer messages are cut: a line leaves in one write, so that processes that share standard error
 * do not mix theirs. */
#define MESSAGE_MAX 2048
#define LINE_MAX_BYTES (4 * MESSAGE_MAX + 256)

static const char *const level_names[LOG_LEVEL_COUNT] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

static const char *log_program = "warren";
static enum log_level log_max = LOG_LEVEL_INFO;

void log_init(const char *program, enum log_level level)
{
	log_program = program;
	log_max = level;
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
	for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

bool log_enabled(enum log_level level)
{
	return level <= log_max;
}

/* Bytes that a terminal or a reader of lines could take for something else. C1 controls are
 * multi-byte in UTF-8 and start with 0xc2. */
static bool must_escape(const uint8_t *p)
{
	return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0);
}

static size_t escape(char *out, const char *text)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (const uint8_t *p = (const uint8_t *)text; *p != '\0'; p++) {
		if (!must_escape(p)) {
			out[n++] = (char)*p;
			continue;
		}
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = digits[*p >> 4];
		out[n++] = digits[*p & 15];
	}
	return n;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char message[MESSAGE_MAX];
	char line[LINE_MAX_BYTES];
	char time_text[CLOCK_ISO_SIZE];
	int saved = errno;
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	int n = vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(message))
		memcpy(message + sizeof(message) - 4, "...", 4);
	clock_format_iso(clock_real_ms(), time_text);
	n = snprintf(line, 200, "%s %s %.100s: ", time_text, level_names[level], log_program);
	size_t len = (size_t)n + escape(line + n, message);
	line[len++] = '\n';
	ssize_t written = write(STDERR_FILENO, line, len);
	(void)written;
	errno = saved;
}
