/*
 * Memory for secrets: never swapped out (as far as RLIMIT_MEMLOCK allows), in no core dump, empty
 * in a child that is forked, wiped before it goes.
 */
#pragma once

#include <stddef.h>

/* Zeroed, at least one page. Never NULL: ends the process when there is no memory. */
void *locked_new(size_t size);
/* size: as it was asked for. NULL is fine. */
void locked_free(void *p, size_t size);
