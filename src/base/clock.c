#include "base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ISO_MIN_MS INT64_C(-62167219200000) /* 0000-01-01T00:00:00.000Z */
#define ISO_MAX_MS INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define DURATION_MAX_MS (INT64_C(10) * 365 * 24 * 3600 * 1000)

uint64_t clock_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * CLOCK_SEC + (uint64_t)ts.tv_nsec;
}

int64_t clock_real_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void clock_format_iso(int64_t real_ms, char ret_text[CLOCK_ISO_SIZE])
{
	struct tm tm;
	char text[64];

	if (real_ms < ISO_MIN_MS)
		real_ms = ISO_MIN_MS;
	if (real_ms > ISO_MAX_MS)
		real_ms = ISO_MAX_MS;
	int64_t ms = real_ms % 1000;
	if (ms < 0)
		ms += 1000;
	time_t sec = (time_t)((real_ms - ms) / 1000);
	gmtime_r(&sec, &tm);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
		tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
	memcpy(ret_text, text, CLOCK_ISO_SIZE);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads exactly n digits at *at. */
static bool take_digits(const char **at, int n, int *ret_value)
{
	int value = 0;

	for (int i = 0; i < n; i++) {
		if (!is_digit((*at)[i]))
			return false;
		value = value * 10 + ((*at)[i] - '0');
	}
	*at += n;
	*ret_value = value;
	return true;
}

static bool take_char(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

/* ".123456": further digits than milliseconds are dropped. */
static bool take_fraction(const char **at, int *ret_ms)
{
	int ms = 0;
	int scale = 100;

	if (**at != '.' && **at != ',') {
		*ret_ms = 0;
		return true;
	}
	(*at)++;
	if (!is_digit(**at))
		return false;
	for (; is_digit(**at); (*at)++) {
		ms += (**at - '0') * scale;
		scale /= 10;
	}
	*ret_ms = ms;
	return true;
}

/* "Z", "+02:00", "-0330" */
static bool take_offset(const char **at, int *ret_minutes)
{
	int hours;
	int minutes;

	if (take_char(at, 'Z') || take_char(at, 'z')) {
		*ret_minutes = 0;
		return true;
	}
	int sign = **at == '-' ? -1 : 1;
	if (!take_char(at, '+') && !take_char(at, '-'))
		return false;
	if (!take_digits(at, 2, &hours))
		return false;
	take_char(at, ':');
	if (!take_digits(at, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*ret_minutes = sign * (hours * 60 + minutes);
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

int clock_parse_iso(const char *text, int64_t *ret_real_ms)
{
	int year, month, day, hour, minute, second, ms, offset;
	const char *at = text;

	if (!take_digits(&at, 4, &year) || !take_char(&at, '-') || !take_digits(&at, 2, &month) ||
		!take_char(&at, '-') || !take_digits(&at, 2, &day))
		return -EINVAL;
	if (!take_char(&at, 'T') && !take_char(&at, 't') && !take_char(&at, ' '))
		return -EINVAL;
	if (!take_digits(&at, 2, &hour) || !take_char(&at, ':') || !take_digits(&at, 2, &minute) ||
		!take_char(&at, ':') || !take_digits(&at, 2, &second))
		return -EINVAL;
	if (!take_fraction(&at, &ms) || !take_offset(&at, &offset) || *at != '\0')
		return -EINVAL;
	/* Second 60 is a leap second; it counts as the first of the next minute. */
	if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
		minute > 59 || second > 60)
		return -EINVAL;
	struct tm tm = {
		.tm_year = year - 1900,
		.tm_mon = month - 1,
		.tm_mday = day,
		.tm_hour = hour,
		.tm_min = minute,
		.tm_sec = second,
	};
	*ret_real_ms = ((int64_t)timegm(&tm) - (int64_t)offset * 60) * 1000 + ms;
	return 0;
}

int clock_parse_duration(const char *text, int64_t *ret_ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {
		{"", 1000},
		{"ms", 1},
		{"s", 1000},
		{"m", 60 * 1000},
		{"h", 3600 * 1000},
		{"d", 24 * 3600 * 1000},
	};
	const char *at = text;
	int64_t value = 0;

	if (!is_digit(*at))
		return -EINVAL;
	for (; is_digit(*at); at++) {
		/* Clamped, not refused yet: a malformed unit is the better complaint. */
		if (value <= DURATION_MAX_MS)
			value = value * 10 + (*at - '0');
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(at, units[i].name) != 0)
			continue;
		if (value > DURATION_MAX_MS / units[i].ms)
			return -ERANGE;
		*ret_ms = value * units[i].ms;
		return 0;
	}
	return -EINVAL;
}
