/* Errors of operations as the clients rebuild them: protocol.md section 8. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/json.h"
#include "rpc/json_priv.h"

/* Classes of the errors that have one of their own; every other errno is an Error. */
static const struct {
	int err;
	const char *class_name;
} classes[] = {
	{ENOENT, "NotFound"},
	{EACCES, "PermissionDenied"},
	{EPERM, "PermissionDenied"},
	{EEXIST, "AlreadyExists"},
	{ENOTDIR, "NotADirectory"},
	{EISDIR, "IsADirectory"},
	{ELOOP, "FilesystemLoop"},
	{EINVAL, "TypeError"},
	{EBADF, "BadResource"},
	{EPIPE, "BrokenPipe"},
	{EBUSY, "Busy"},
	{ETXTBSY, "Busy"},
	{EAGAIN, "WouldBlock"},
	{EINTR, "Interrupted"},
	{ETIMEDOUT, "TimedOut"},
	{ENOSYS, "NotSupported"},
	{EOPNOTSUPP, "NotSupported"},
	{ECONNREFUSED, "ConnectionRefused"},
	{ECONNRESET, "ConnectionReset"},
	{ECONNABORTED, "ConnectionAborted"},
	{ENOTCONN, "NotConnected"},
	{EADDRINUSE, "AddrInUse"},
	{EADDRNOTAVAIL, "AddrNotAvailable"},
	{ENETUNREACH, "NetworkUnreachable"},
};

static const char *class_of(const struct rpc_failure *f)
{
	if (f->constructor != NULL)
		return f->constructor;
	for (size_t i = 0; i < array_len(classes); i++) {
		if (classes[i].err == f->err)
			return classes[i].class_name;
	}
	return "Error";
}

/* "No such file or directory (os error 2): stat '/x'" */
static char *message_of(const struct rpc_failure *f)
{
	const char *context = f->context != NULL ? f->context : "";
	const char *text = f->err != 0 ? strerrordesc_np((int)f->err) : NULL;

	if (f->err == 0)
		return mem_strdup(context);
	return mem_printf("%s (os error %d)%s%s", text != NULL ? text : "Unknown error",
		(int)f->err, *context != '\0' ? ": " : "", context);
}

static int put_string(struct buf *b, const char *key, const char *value)
{
	if (buf_append_str(b, key) < 0)
		return -ENOBUFS;
	return value != NULL ? rpc_json_put_string(b, value, strlen(value))
			     : buf_append_str(b, "null");
}

int rpc_put_failure_object(struct buf *b, const struct rpc_failure *f)
{
	auto_free char *message = message_of(f);
	const char *class_name = class_of(f);
	const char *code = f->err != 0 ? errno_name((int)f->err) : NULL;
	bool aborted = strcmp(class_name, "DOMException") == 0; /* the only one there is */
	size_t mark = b->len;

	/* The clients cannot assign a code to this class: the attempt hides the error itself. */
	if (aborted)
		code = NULL;
	if (put_string(b, "{\"constructorName\":", class_name) < 0 ||
		(aborted && put_string(b, ",\"name\":", "AbortError") < 0) ||
		put_string(b, ",\"message\":", message) < 0 ||
		put_string(b, ",\"code\":", code) < 0 || buf_append_byte(b, '}') < 0) {
		b->len = mark;
		return -ENOBUFS;
	}
	return 0;
}
