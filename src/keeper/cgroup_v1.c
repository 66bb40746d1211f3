/* Version 1: one hierarchy per controller, limits in a file set of its own for each. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>

#include "keeper/cgroup_priv.h"

#define CPU_PERIOD_US 100000
#define TCP_BUFFERS (UINT64_C(64) << 20)

const char *const cgroup_v1_names[CGROUP_CONTROLLERS] = {
	[CGROUP_MEMORY] = "memory",
	[CGROUP_CPU] = "cpu",
	[CGROUP_PIDS] = "pids",
	[CGROUP_CPUACCT] = "cpuacct",
	[CGROUP_FREEZER] = "freezer",
};

static int v1_open(struct cgroup_tree *t, const struct cgroup_place *place, const char **ret_what)
{
	*ret_what = "open cgroup hierarchies";
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (place->v1[i][0] == '\0')
			continue;
		t->tops[i] = open(place->v1[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (t->tops[i] < 0)
			return -errno;
	}
	return 0;
}

static int v1_ready(struct cgroup_tree *t)
{
	(void)t;
	return 0;
}

/* The limit of memory must never be above that of memory plus swap, so which of the two has to be
 * written first depends on the direction. Both are the same: a machine gets no swap. */
static int limit_memory(int parent, uint32_t slot, uint64_t bytes)
{
	static const char memory[] = "memory.limit_in_bytes";
	static const char with_swap[] = "memory.memsw.limit_in_bytes";
	int r = cgroup_write_u64(parent, slot, memory, bytes);

	if (r != -EINVAL) {
		int swap = r == 0 ? cgroup_write_u64(parent, slot, with_swap, bytes) : 0;

		return r < 0 || swap == -ENOENT ? r : swap; /* a kernel may not account swap */
	}
	r = cgroup_write_u64(parent, slot, with_swap, bytes);
	return r < 0 ? r : cgroup_write_u64(parent, slot, memory, bytes);
}

static int v1_limit(const struct cgroup_tree *t, uint32_t slot, const struct cgroup_limits *old,
	const struct cgroup_limits *limits)
{
	const int *p = t->parents;
	int r = 0;

	/* This version does not count the buffers of TCP as memory, and the host has one bound on
	 * them for all. Kernels without the file have no such count either. */
	if (old == NULL)
		(void)cgroup_write_u64(
			p[CGROUP_MEMORY], slot, "memory.kmem.tcp.limit_in_bytes", TCP_BUFFERS);
	if (old == NULL || old->memory_mb != limits->memory_mb)
		r = limit_memory(p[CGROUP_MEMORY], slot, (uint64_t)limits->memory_mb << 20);
	if (r == 0 && (old == NULL || old->cpu_percent != limits->cpu_percent))
		r = cgroup_write_u64(p[CGROUP_CPU], slot, "cpu.cfs_quota_us",
			(uint64_t)limits->cpu_percent * (CPU_PERIOD_US / 100));
	if (r == 0 && (old == NULL || old->pids_max != limits->pids_max))
		r = cgroup_write_u64(p[CGROUP_PIDS], slot, "pids.max", limits->pids_max);
	return r;
}

static uint64_t v1_oom_kills(const struct cgroup_tree *t, uint32_t slot)
{
	uint64_t n = 0;

	(void)cgroup_read_key(
		t->parents[CGROUP_MEMORY], slot, "memory.oom_control", "oom_kill", &n);
	return n;
}

static int v1_read(const struct cgroup_tree *t, uint32_t slot, struct cgroup_counters *ret)
{
	const int *p = t->parents;
	int r = cgroup_read_u64(
		p[CGROUP_MEMORY], slot, "memory.usage_in_bytes", &ret->memory_bytes);

	if (r < 0)
		return r;
	(void)cgroup_read_u64(
		p[CGROUP_MEMORY], slot, "memory.max_usage_in_bytes", &ret->memory_peak);
	(void)cgroup_read_u64(p[CGROUP_PIDS], slot, "pids.current", &ret->pids);
	(void)cgroup_read_key(p[CGROUP_PIDS], slot, "pids.events", "max", &ret->pids_refused);
	if (p[CGROUP_CPUACCT] >= 0)
		(void)cgroup_read_u64(p[CGROUP_CPUACCT], slot, "cpuacct.usage", &ret->cpu_ns);
	ret->oom_kills = v1_oom_kills(t, slot);
	return 0;
}

/* Programs size themselves by the memory and cpu limits; the other groups tell them nothing. */
static const char *v1_view(unsigned i)
{
	return i <= CGROUP_PIDS ? cgroup_v1_names[i] : NULL;
}

const struct cgroup_ops cgroup_v1_ops = {
	.open = v1_open,
	.ready = v1_ready,
	.clone_into = false,
	.limit = v1_limit,
	.read = v1_read,
	.oom_kills = v1_oom_kills,
	.view = v1_view,
};
