#include "rpc_test.h"

#include <errno.h>

static void expect_failure(const struct rpc_failure *f, const char *expected)
{
	auto_buf struct buf b;

	buf_init(&b, 4096);
	assert_int_equal(rpc_put_failure_object(&b, f), 0);
	auto_free char *text = buf_text(&b);
	assert_string_equal(text, expected);
}

/* The table of protocol.md section 8.2. */
static void test_classes(void **state)
{
	static const struct {
		int err;
		const char *class_name, *code;
	} rows[] = {
		{ENOENT, "NotFound", "ENOENT"},
		{EACCES, "PermissionDenied", "EACCES"},
		{EPERM, "PermissionDenied", "EPERM"},
		{EEXIST, "AlreadyExists", "EEXIST"},
		{ENOTDIR, "NotADirectory", "ENOTDIR"},
		{EISDIR, "IsADirectory", "EISDIR"},
		{ELOOP, "FilesystemLoop", "ELOOP"},
		{EINVAL, "TypeError", "EINVAL"},
		{EBADF, "BadResource", "EBADF"},
		{EPIPE, "BrokenPipe", "EPIPE"},
		{EBUSY, "Busy", "EBUSY"},
		{ETXTBSY, "Busy", "ETXTBSY"},
		{EAGAIN, "WouldBlock", "EAGAIN"},
		{EWOULDBLOCK, "WouldBlock", "EAGAIN"},
		{EINTR, "Interrupted", "EINTR"},
		{ETIMEDOUT, "TimedOut", "ETIMEDOUT"},
		{ENOSYS, "NotSupported", "ENOSYS"},
		{EOPNOTSUPP, "NotSupported", "EOPNOTSUPP"},
		{ECONNREFUSED, "ConnectionRefused", "ECONNREFUSED"},
		{ECONNRESET, "ConnectionReset", "ECONNRESET"},
		{ECONNABORTED, "ConnectionAborted", "ECONNABORTED"},
		{ENOTCONN, "NotConnected", "ENOTCONN"},
		{EADDRINUSE, "AddrInUse", "EADDRINUSE"},
		{EADDRNOTAVAIL, "AddrNotAvailable", "EADDRNOTAVAIL"},
		{ENETUNREACH, "NetworkUnreachable", "ENETUNREACH"},
		{ENOTEMPTY, "Error", "ENOTEMPTY"},
		{EXDEV, "Error", "EXDEV"},
		{ENOSPC, "Error", "ENOSPC"},
		{EDQUOT, "Error", "EDQUOT"},
		{EROFS, "Error", "EROFS"},
		{EMLINK, "Error", "EMLINK"},
		{ENAMETOOLONG, "Error", "ENAMETOOLONG"},
		{EMFILE, "Error", "EMFILE"},
		{ENFILE, "Error", "ENFILE"},
		{EIO, "Error", "EIO"},
		{EFBIG, "Error", "EFBIG"},
		{ESPIPE, "Error", "ESPIPE"},
		{ENXIO, "Error", "ENXIO"},
		{EHOSTUNREACH, "Error", "EHOSTUNREACH"},
		{E2BIG, "Error", "E2BIG"},
		{ESRCH, "Error", "ESRCH"},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct rpc_failure f = {.err = rows[i].err, .context = (char *)"op '/x'"};
		auto_free char *expected = mem_printf(
			"{\"constructorName\":\"%s\",\"message\":\"%s (os error %d): op '/x'\","
			"\"code\":\"%s\"}",
			rows[i].class_name, strerror(rows[i].err), rows[i].err, rows[i].code);

		expect_failure(&f, expected);
	}
}

static void test_forms(void **state)
{
	static const struct {
		struct rpc_failure f;
		const char *out;
	} rows[] = {
		{{ENOENT, (char *)"readfile '/x'", NULL},
			"{\"constructorName\":\"NotFound\",\"message\":\"No such file or directory "
			"(os error 2): readfile '/x'\",\"code\":\"ENOENT\"}"},
		{{ENOENT, (char *)"", NULL},
			"{\"constructorName\":\"NotFound\",\"message\":\"No such file or directory "
			"(os error 2)\",\"code\":\"ENOENT\"}"},
		{{ENOENT, NULL, NULL},
			"{\"constructorName\":\"NotFound\",\"message\":\"No such file or directory "
			"(os error 2)\",\"code\":\"ENOENT\"}"},
		{{ENOENT, (char *)"x", (char *)"TypeError"},
			"{\"constructorName\":\"TypeError\",\"message\":\"No such file or "
			"directory "
			"(os error 2): x\",\"code\":\"ENOENT\"}"},
		{{0, (char *)"Invalid signal: SIGFOO", (char *)"TypeError"},
			"{\"constructorName\":\"TypeError\",\"message\":\"Invalid signal: SIGFOO\","
			"\"code\":null}"},
		{{0, (char *)"bad data", (char *)"InvalidData"},
			"{\"constructorName\":\"InvalidData\",\"message\":\"bad "
			"data\",\"code\":null}"},
		{{0, NULL, NULL}, "{\"constructorName\":\"Error\",\"message\":\"\",\"code\":null}"},
		{{4000, (char *)"x", NULL}, "{\"constructorName\":\"Error\",\"message\":\"Unknown "
					    "error (os error 4000): "
					    "x\",\"code\":null}"},
		/* Clients cannot take a code with this class. */
		{{EINTR, (char *)"x", (char *)"DOMException"},
			"{\"constructorName\":\"DOMException\",\"name\":\"AbortError\",\"message\":"
			"\"Interrupted system call (os error 4): x\",\"code\":null}"},
		/* Names of the guest. */
		{{ENOENT, (char *)"stat '/\xff\"\n'", NULL},
			"{\"constructorName\":\"NotFound\",\"message\":\"No such file or directory "
			"(os error 2): stat '/\xef\xbf\xbd\\\"\\n'\",\"code\":\"ENOENT\"}"},
	};

	for (size_t i = 0; i < array_len(rows); i++)
		expect_failure(&rows[i].f, rows[i].out);
}

static void test_room(void **state)
{
	struct rpc_failure f = {.err = ENOENT, .context = (char *)"x"};

	for (size_t max = 1; max < 100; max++) {
		auto_buf struct buf b;

		buf_init(&b, max);
		buf_append_byte(&b, '!');
		if (rpc_put_failure_object(&b, &f) < 0)
			assert_int_equal(b.len, 1);
		else
			assert_true(b.len > 80);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
