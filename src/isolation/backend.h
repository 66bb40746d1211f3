/* What a level must provide. isolation.c owns the machine objects and the callbacks' rules. */
#pragma once

#include "isolation/isolation.h"

struct backend_ops {
	const char *name;
	enum isolation_level level;
	/* Whether this level works on this host: 0, or -ENOTSUP with the reason. */
	int (*probe)(struct error *ret_err);
	int (*open)(struct isolation *iso, int keeper_fd, struct error *ret_err);
	void (*close)(struct isolation *iso);
	void (*prepare)(struct isolation *iso, unsigned count);
	void (*create)(struct isolation *iso, struct machine *m);
	void (*set_memory)(struct machine *m, unsigned memory_mb);
	void (*get_usage)(struct machine *m);
	void (*destroy)(struct machine *m);
};
