/*
 * The command lines of the processes that Warren starts itself: long options with one value each.
 */
#pragma once

#include <getopt.h>
#include <stdint.h>

/* Takes one option: its `val` of the table and its value, which lives as long as argv. 0 or a
 * negative errno, whatever it is: the value is bad.
 */
typedef int (*args_take_fn)(void *data, int id, const char *value);

/* Reads all options by a table that ends with {0}; the values of `val` are the caller's, but not
 * those of '?'. help_id: the option that ends the reading. Returns 0, 1 when help was asked for, or
 * -EINVAL, which has been said on standard error after the program's name; words that are no
 * options are left from optind on. Not for use by threads (getopt_long).
 */
int args_read(const char *program, const struct option *table, int help_id, int argc, char **argv,
	args_take_fn take, void *data);

/* A number without sign, from 0 to max, in the base of strtoull(): 10, or 0 for 0x40 and 010 too.
 * 0 or -EINVAL.
 */
int args_number(const char *text, int base, uint32_t max, uint32_t *ret);

/* The number of an inherited descriptor that is open and no standard stream; a program that is
 * executed later does not get it. 0 or a negative errno. The caller owns the descriptor.
 */
int args_fd(const char *text, int *ret);
