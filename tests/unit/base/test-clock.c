#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

static void check_format(int64_t ms, const char *expected)
{
	char text[CLOCK_ISO_SIZE];

	clock_format_iso(ms, text);
	assert_string_equal(text, expected);
}

static void test_format(void **state)
{
	check_format(0, "1970-01-01T00:00:00.000Z");
	check_format(-1, "1969-12-31T23:59:59.999Z");
	check_format(-1000, "1969-12-31T23:59:59.000Z");
	check_format(1795449324123, "2026-11-23T15:55:24.123Z");
	check_format(951782400000, "2000-02-29T00:00:00.000Z");
	check_format(INT64_C(253402300799999), "9999-12-31T23:59:59.999Z");
}

static void test_format_clamps(void **state)
{
	check_format(INT64_MAX, "9999-12-31T23:59:59.999Z");
	check_format(INT64_C(253402300800000), "9999-12-31T23:59:59.999Z");
	check_format(INT64_MIN, "0000-01-01T00:00:00.000Z");
}

static void check_parse(const char *text, int64_t expected)
{
	int64_t ms = -7;

	assert_int_equal(clock_parse_iso(text, &ms), 0);
	assert_true(ms == expected);
}

static void test_parse(void **state)
{
	check_parse("1970-01-01T00:00:00Z", 0);
	check_parse("1970-01-01t00:00:00z", 0);
	check_parse("1970-01-01 00:00:00.5Z", 500);
	check_parse("1970-01-01T00:00:00.123999999999999999999Z", 123);
	check_parse("1970-01-01T02:00:00+02:00", 0);
	check_parse("1969-12-31T20:30:00-0330", 0);
	check_parse("2000-02-29T00:00:00Z", 951782400000);
	check_parse("2016-12-31T23:59:60Z", 1483228800000);
	check_parse("1969-12-31T23:59:59.999Z", -1);
	check_parse("0000-01-01T00:00:00Z", INT64_C(-62167219200000));
}

static void test_parse_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"1970",
		"1970-01-01",
		"1970-01-01T00:00:00",
		"1970-01-01T00:00Z",
		"1970-13-01T00:00:00Z",
		"1970-00-01T00:00:00Z",
		"1970-01-00T00:00:00Z",
		"1970-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"1970-04-31T00:00:00Z",
		"1970-01-01T24:00:00Z",
		"1970-01-01T00:60:00Z",
		"1970-01-01T00:00:61Z",
		"1970-01-01T00:00:00.Z",
		"1970-01-01T00:00:00+24:00",
		"1970-01-01T00:00:00+2:00",
		"1970-01-01T00:00:00+02:60",
		"1970-01-01T00:00:00Z ",
		" 1970-01-01T00:00:00Z",
		"+970-01-01T00:00:00Z",
		"1970-1-01T00:00:00Z",
	};
	int64_t ms = -7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(clock_parse_iso(bad[i], &ms), -EINVAL);
	assert_true(ms == -7);
}

static void test_round_trip(void **state)
{
	char text[CLOCK_ISO_SIZE];
	int64_t back;

	for (int64_t ms = INT64_C(-62167219200000); ms < INT64_C(253402300799999);
		ms += INT64_C(86400000) * 91 + 12345677) {
		clock_format_iso(ms, text);
		assert_int_equal(clock_parse_iso(text, &back), 0);
		assert_true(back == ms);
	}
}

static void check_duration(const char *text, int64_t expected)
{
	int64_t ms = -7;

	assert_int_equal(clock_parse_duration(text, &ms), 0);
	assert_true(ms == expected);
}

static void test_durations(void **state)
{
	check_duration("0", 0);
	check_duration("0s", 0);
	check_duration("30s", 30000);
	check_duration("5m", 300000);
	check_duration("2h", 7200000);
	check_duration("1d", 86400000);
	check_duration("500ms", 500);
	check_duration("42", 42000);
	check_duration("007s", 7000);
	check_duration("3650d", INT64_C(315360000000));
	check_duration("315360000000ms", INT64_C(315360000000));
}

static void test_durations_out_of_range(void **state)
{
	int64_t ms = -7;

	assert_int_equal(clock_parse_duration("3651d", &ms), -ERANGE);
	assert_int_equal(clock_parse_duration("315360000001ms", &ms), -ERANGE);
	assert_int_equal(clock_parse_duration("99999999999999999999999999999999s", &ms), -ERANGE);
	assert_int_equal(clock_parse_duration("9223372036854775807d", &ms), -ERANGE);
	assert_true(ms == -7);
}

static void test_durations_refused(void **state)
{
	static const char *const bad[] = {"", "s", "-1s", "+1s", " 1s", "1 s", "1s ", "1.5s", "1w",
		"1S", "1mss", "0x10", "1h30m", "99999999999999999999999999999999w"};
	int64_t ms = -7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(clock_parse_duration(bad[i], &ms), -EINVAL);
	assert_true(ms == -7);
}

static void test_clocks(void **state)
{
	uint64_t before = clock_mono_ns();

	assert_true(clock_mono_ns() >= before);
	assert_true(llabs((long long)clock_real_ms() - (long long)time(NULL) * 1000) < 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_format_clamps),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_durations_out_of_range),
		cmocka_unit_test(test_durations_refused),
		cmocka_unit_test(test_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
