/* What a fuzzer claims. Unlike assert() it is never compiled out, so it may call things. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define check(claim) \
	do { \
		if (!(claim)) { \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #claim); \
			abort(); \
		} \
	} while (0)
