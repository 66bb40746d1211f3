#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

static char captured[20000];

/* Runs one log call with standard error going to `captured`. */
#define capture(call) \
	do { \
		int pipe_[2]; \
		int saved_ = dup(STDERR_FILENO); \
		assert_int_equal(pipe2(pipe_, O_CLOEXEC | O_NONBLOCK), 0); \
		dup2(pipe_[1], STDERR_FILENO); \
		call; \
		dup2(saved_, STDERR_FILENO); \
		fd_close(saved_); \
		fd_close(pipe_[1]); \
		ssize_t n_ = read(pipe_[0], captured, sizeof(captured) - 1); \
		captured[n_ > 0 ? n_ : 0] = '\0'; \
		fd_close(pipe_[0]); \
	} while (0)

static void test_line(void **state)
{
	char time_text[CLOCK_ISO_SIZE];
	int64_t ms;

	log_init("tester", LOG_LEVEL_INFO);
	capture(log_info("started port=%d", 80));
	assert_string_equal(captured + 24, " info tester: started port=80\n");
	memcpy(time_text, captured, 24);
	time_text[24] = '\0';
	assert_int_equal(clock_parse_iso(time_text, &ms), 0);
}

static void test_levels(void **state)
{
	enum log_level level;

	log_init("tester", LOG_LEVEL_WARN);
	assert_true(log_enabled(LOG_LEVEL_ERROR));
	assert_true(log_enabled(LOG_LEVEL_WARN));
	assert_false(log_enabled(LOG_LEVEL_INFO));
	capture(log_info("quiet"));
	assert_string_equal(captured, "");
	capture(log_error("loud"));
	assert_non_null(strstr(captured, " error tester: loud\n"));
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_LEVEL_DEBUG);
	assert_int_equal(log_level_parse("error", &level), 0);
	assert_int_equal(level, LOG_LEVEL_ERROR);
	assert_int_equal(log_level_parse("verbose", &level), -EINVAL);
	assert_int_equal(log_level_parse("", &level), -EINVAL);
	assert_int_equal(level, LOG_LEVEL_ERROR);
}

static void test_no_forged_lines(void **state)
{
	log_init("tester", LOG_LEVEL_INFO);
	capture(log_info("a\nb\rc\x1b[31m\x7f\xc2\x9b\xc3\xa9"));
	assert_string_equal(
		captured + 24, " info tester: a\\x0ab\\x0dc\\x1b[31m\\x7f\\xc2\x9b\xc3\xa9\n");
	assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
}

static void test_long_messages_are_cut(void **state)
{
	char text[5000];

	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_init("tester", LOG_LEVEL_INFO);
	capture(log_info("%s", text));
	assert_true(strlen(captured) > 8000 && strlen(captured) < 9000);
	assert_string_equal(captured + strlen(captured) - 4, "...\n");
	assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
}

static void test_errno_survives(void **state)
{
	log_init("tester", LOG_LEVEL_INFO);
	errno = ENOTTY;
	capture(log_info("%s", "x"); assert_int_equal(errno, ENOTTY));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_no_forged_lines),
		cmocka_unit_test(test_long_messages_are_cut),
		cmocka_unit_test(test_errno_survives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
