#include "web.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* What small frames are collected in: header and body of an answer leave in one record. */
#define FLUSH_SIZE 16384

size_t web_read(struct web *w, void *data, size_t room)
{
	ssize_t n;

	if (w->ssl != NULL) {
		int got = SSL_read(w->ssl, data, room < INT_MAX ? (int)room : INT_MAX);

		return got > 0 ? (size_t)got : 0;
	}
	do {
		n = read(w->fd, data, room);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? (size_t)n : 0;
}

bool web_write(struct web *w, const void *data, size_t len)
{
	if (len == 0)
		return true;
	if (w->ssl != NULL)
		return SSL_write(w->ssl, data, (int)len) == (int)len;
	return fd_write_all(w->fd, data, len) >= 0;
}

void web_close(struct web *w)
{
	if (w->ssl != NULL)
		(void)SSL_shutdown(w->ssl);
	SSL_free(w->ssl);
	close(w->fd);
	w->ssl = NULL;
	w->fd = -EBADF;
}

bool web_flush(struct web *w, nghttp2_session *session)
{
	uint8_t out[FLUSH_SIZE];
	size_t filled = 0;
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(session, &data)) > 0) {
		if (filled + (size_t)n > sizeof(out)) {
			if (!web_write(w, out, filled))
				return false;
			filled = 0;
		}
		if ((size_t)n > sizeof(out)) {
			if (!web_write(w, data, (size_t)n))
				return false;
			continue;
		}
		memcpy(out + filled, data, (size_t)n);
		filled += (size_t)n;
	}
	return n == 0 && web_write(w, out, filled);
}

nghttp2_nv web_header(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name,
		.value = (uint8_t *)(uintptr_t)value,
		.namelen = strlen(name),
		.valuelen = strlen(value),
	};
}

bool web_is(const uint8_t *name, size_t len, const char *want)
{
	return len == strlen(want) && memcmp(name, want, len) == 0;
}
