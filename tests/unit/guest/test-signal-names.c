#include "unit.h"

#include <errno.h>
#include <signal.h>

#include "base/mem.h"
#include "guest/signal_names.h"

/* Deno's list as the protocol text has it, without the three that Linux lacks. */
static const char *const accepted[] = {"SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT",
	"SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO", "SIGPOLL", "SIGUNUSED", "SIGKILL",
	"SIGPIPE", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS",
	"SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2",
	"SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ"};

static void test_accepted(void **state)
{
	for (size_t i = 0; i < array_len(accepted); i++) {
		int number = signal_number(accepted[i]);

		assert_in_range(number, 1, 31);
		assert_non_null(signal_name(number));
	}
}

static void test_numbers(void **state)
{
	assert_int_equal(signal_number("SIGTERM"), SIGTERM);
	assert_int_equal(signal_number("SIGKILL"), 9);
	assert_int_equal(signal_number("SIGPOLL"), SIGIO);
	assert_int_equal(signal_number("SIGUNUSED"), SIGSYS);
}

static void test_unknown(void **state)
{
	static const char *const unknown[] = {"SIGBREAK", "SIGEMT", "SIGINFO", "TERM", "sigterm",
		"", "SIG", "SIGTERM ", "9", "SIGRTMIN"};

	for (size_t i = 0; i < array_len(unknown); i++)
		assert_int_equal(signal_number(unknown[i]), -EINVAL);
}

static void test_names(void **state)
{
	for (int number = 1; number <= 31; number++) {
		assert_non_null(signal_name(number));
		assert_int_equal(signal_number(signal_name(number)), number);
	}
	assert_string_equal(signal_name(SIGIO), "SIGIO");
	assert_string_equal(signal_name(SIGSYS), "SIGSYS");
	assert_null(signal_name(0));
	assert_null(signal_name(40));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
