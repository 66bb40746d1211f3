#include "unit.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

static void test_zeroed(void **state)
{
	auto_free char *p = mem_zalloc(100);
	auto_free int *array = mem_zalloc_array(10, sizeof(int));
	auto_free void *none = mem_zalloc(0);

	for (int i = 0; i < 100; i++)
		assert_int_equal(p[i], 0);
	assert_int_equal(array[9], 0);
	assert_non_null(none);
}

static void test_copies(void **state)
{
	auto_free char *a = mem_strdup("abc");
	auto_free char *b = mem_strndup("abcdef", 2);
	auto_free char *c = mem_printf("%d/%s", 7, "x");
	auto_free char *d = mem_dup("\0\1", 2);
	auto_free char *e = mem_strndup("", 0);

	assert_string_equal(a, "abc");
	assert_string_equal(b, "ab");
	assert_string_equal(c, "7/x");
	assert_memory_equal(d, "\0\1", 2);
	assert_string_equal(e, "");
	assert_null(mem_strdup(NULL));
	assert_null(mem_strndup(NULL, 4));
}

static void test_take(void **state)
{
	char *p = mem_strdup("x");
	auto_free char *q = take_ptr(p);

	assert_null(p);
	assert_string_equal(q, "x");
}

static void test_wipe(void **state)
{
	char secret[8] = "secret";

	mem_wipe(secret, sizeof(secret));
	for (size_t i = 0; i < sizeof(secret); i++)
		assert_int_equal(secret[i], 0);
	mem_wipe(NULL, 0);
}

#ifdef __SANITIZE_ADDRESS__
/* Impossible sizes shall fail as they do without ASan, not be reported. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}
#endif

/* Runs fn in a child and returns the signal that ended it. */
static int ending_of(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rlimit none = {0, 0};

		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &none);
		close(STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void overflow(void)
{
	/* From where the compiler does not see it. */
	volatile size_t count = SIZE_MAX / 2;

	free(mem_zalloc_array(count, 4));
}

static void exhaust(void)
{
	volatile size_t size = SIZE_MAX / 4;

	free(mem_realloc(NULL, size));
}

static void test_exhaustion_ends_the_process(void **state)
{
	assert_int_equal(ending_of(overflow), SIGABRT);
	assert_int_equal(ending_of(exhaust), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zeroed),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_exhaustion_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
