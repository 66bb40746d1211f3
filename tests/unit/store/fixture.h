/* A store in a folder of its own, gone after the test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/store.h"

struct fixture {
	char dir[32];
	char path[64];
	struct store *store;
};

static inline int fixture_open(void **state)
{
	struct fixture *f = mem_new(struct fixture);
	struct error err = {0};

	snprintf(f->dir, sizeof(f->dir), "/tmp/test-store-XXXXXX");
	if (mkdtemp(f->dir) == NULL)
		return -1;
	snprintf(f->path, sizeof(f->path), "%s/warren.db", f->dir);
	if (store_open(f->path, &f->store, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return -1;
	}
	*state = f;
	return 0;
}

static inline int fixture_close(void **state)
{
	static const char *const names[] = {"warren.db", "warren.db-wal", "warren.db-shm"};
	struct fixture *f = *state;

	store_close(f->store);
	for (size_t i = 0; i < array_len(names); i++) {
		auto_free char *path = mem_printf("%s/%s", f->dir, names[i]);

		unlink(path);
	}
	rmdir(f->dir);
	free(f);
	return 0;
}

#define store_test(fn) cmocka_unit_test_setup_teardown(fn, fixture_open, fixture_close)
