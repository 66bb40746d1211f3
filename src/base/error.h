/*
 * A failure a person will read: what kind, and a sentence that names the field, path or limit.
 * Calls that take a struct error fill it only when they return a negative errno; NULL is allowed
 * everywhere and means that nobody wants the text.
 */
#pragma once

#include <stddef.h>

struct error {
	int err;           /* negative errno, 0 = none */
	char code[48];     /* UPPER_SNAKE code for HTTP answers, or "" */
	char field[64];    /* the offending field, or "" */
	char message[400]; /* one sentence without a trailing newline */
};

/* Fills e (when not NULL) and returns err, which must be negative. */
int error_set(struct error *e, int err, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same, naming a field. */
int error_set_field(struct error *e, int err, const char *code, const char *field, const char *fmt,
	...) __attribute__((format(printf, 5, 6)));
/* "ENOENT" for ENOENT (positive or negative); "EIO" style names only, NULL when unknown. */
const char *errno_name(int err);
