/* Version 2: one hierarchy. A group that holds processes cannot give controllers to its children,
 * except the root; so in a delegated group everybody in it moves to a leaf first. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/cgroup_priv.h"

#define CPU_PERIOD_US 100000
#define PROCS_TEXT_MAX (1024 * 1024)
#define SELF_LEAF "warren-main"

static const char controllers[] = "+memory +cpu +pids";

/* systemd marks groups that it leaves to their service (Delegate=yes). */
static bool is_delegated(int group)
{
	char value[8];

	for (unsigned i = 0; i < 2; i++) {
		const char *name = i == 0 ? "trusted.delegate" : "user.delegate";
		ssize_t n = fgetxattr(group, name, value, sizeof(value));

		if (n == 1 && value[0] == '1')
			return true;
	}
	return false;
}

static int move_all(int from, int leaf)
{
	/* A process may fork while we look: go on until the group is empty. */
	for (int tries = 0; tries < 100; tries++) {
		auto_free char *text = NULL;
		int r = fd_read_file(from, "cgroup.procs", PROCS_TEXT_MAX, &text, NULL);

		if (r < 0)
			return r;
		if (text[0] == '\0')
			return 0;
		for (char *save, *pid = strtok_r(text, "\n", &save); pid != NULL;
			pid = strtok_r(NULL, "\n", &save)) {
			r = fd_write_file(leaf, "cgroup.procs", pid);
			if (r < 0 && r != -ESRCH)
				return r;
		}
	}
	return -EBUSY;
}

static int use_delegated(int group)
{
	if (mkdirat(group, SELF_LEAF, 0755) < 0 && errno != EEXIST)
		return -errno;
	auto_close int leaf = openat(group, SELF_LEAF, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (leaf < 0)
		return -errno;
	return move_all(group, leaf);
}

/* The group that `warren` goes into: our own when it is ours to divide, else the root. A keeper
 * that is started again finds itself in the leaf it made. */
static int open_top(const struct cgroup_place *place, int *ret_fd)
{
	char path[2 * CGROUP_PATH_MAX];
	size_t suffix = strlen("/" SELF_LEAF);
	size_t len;

	snprintf(path, sizeof(path), "%s%s", place->v2_mount, place->v2_own);
	len = strlen(path);
	if (len > suffix && strcmp(path + len - suffix, "/" SELF_LEAF) == 0)
		path[len - suffix] = '\0';
	auto_close int own = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (own >= 0 && strcmp(place->v2_own, "/") != 0 && is_delegated(own)) {
		int r = use_delegated(own);

		if (r == 0)
			*ret_fd = take_fd(own);
		return r;
	}
	int fd = open(place->v2_mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int v2_open(struct cgroup_tree *t, const struct cgroup_place *place, const char **ret_what)
{
	auto_close int top = -EBADF;

	*ret_what = "open the cgroup of this service";
	int r = open_top(place, &top);
	if (r < 0)
		return r;
	*ret_what = "enable the memory, cpu and pids controllers of cgroups";
	r = fd_write_file(top, "cgroup.subtree_control", controllers);
	if (r < 0)
		return r;
	t->tops[0] = take_fd(top);
	return 0;
}

static int v2_ready(struct cgroup_tree *t)
{
	auto_close int warren = openat(t->tops[0], "warren", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (warren < 0)
		return -errno;
	int r = fd_write_file(warren, "cgroup.subtree_control", controllers);
	return r < 0 ? r : fd_write_file(t->parents[0], "cgroup.subtree_control", controllers);
}

/* Writing memory.max kills when more is in use than allowed; so ask for the surplus back first and
 * refuse when it does not come. */
static int lower_memory(int parent, uint32_t slot, uint64_t bytes)
{
	uint64_t used = 0;

	if (cgroup_read_u64(parent, slot, "memory.current", &used) < 0 || used <= bytes)
		return 0;
	(void)cgroup_write_u64(parent, slot, "memory.reclaim", used - bytes);
	int r = cgroup_read_u64(parent, slot, "memory.current", &used);
	return r < 0 ? r : used <= bytes ? 0 : -EBUSY;
}

static int limit_memory(int parent, uint32_t slot, bool fresh, uint64_t bytes)
{
	int r = fresh ? 0 : lower_memory(parent, slot, bytes);

	if (r == 0)
		r = cgroup_write_u64(parent, slot, "memory.max", bytes);
	if (r == 0 && fresh) {
		r = cgroup_write(parent, slot, "memory.swap.max", "0");
		if (r == -ENOENT) /* a kernel may not account swap */
			r = 0;
	}
	return r;
}

static int v2_limit(const struct cgroup_tree *t, uint32_t slot, const struct cgroup_limits *old,
	const struct cgroup_limits *limits)
{
	int parent = t->parents[0];
	char text[48];
	int r = 0;

	if (old == NULL || old->memory_mb != limits->memory_mb)
		r = limit_memory(parent, slot, old == NULL, (uint64_t)limits->memory_mb << 20);
	if (r == 0 && (old == NULL || old->cpu_percent != limits->cpu_percent)) {
		snprintf(text, sizeof(text), "%" PRIu64 " %d",
			(uint64_t)limits->cpu_percent * (CPU_PERIOD_US / 100), CPU_PERIOD_US);
		r = cgroup_write(parent, slot, "cpu.max", text);
	}
	if (r == 0 && (old == NULL || old->pids_max != limits->pids_max))
		r = cgroup_write_u64(parent, slot, "pids.max", limits->pids_max);
	return r;
}

static uint64_t v2_oom_kills(const struct cgroup_tree *t, uint32_t slot)
{
	uint64_t n = 0;

	(void)cgroup_read_key(t->parents[0], slot, "memory.events", "oom_kill", &n);
	return n;
}

static int v2_read(const struct cgroup_tree *t, uint32_t slot, struct cgroup_counters *ret)
{
	int parent = t->parents[0];
	uint64_t usec = 0;
	int r = cgroup_read_u64(parent, slot, "memory.current", &ret->memory_bytes);

	if (r < 0)
		return r;
	(void)cgroup_read_u64(parent, slot, "memory.peak", &ret->memory_peak);
	(void)cgroup_read_u64(parent, slot, "pids.current", &ret->pids);
	(void)cgroup_read_key(parent, slot, "pids.events", "max", &ret->pids_refused);
	(void)cgroup_read_key(parent, slot, "cpu.stat", "usage_usec", &usec);
	ret->cpu_ns = usec * 1000;
	ret->oom_kills = v2_oom_kills(t, slot);
	return 0;
}

static const char *v2_view(unsigned i)
{
	return i == 0 ? "" : NULL;
}

const struct cgroup_ops cgroup_v2_ops = {
	.open = v2_open,
	.ready = v2_ready,
	.clone_into = true,
	.limit = v2_limit,
	.read = v2_read,
	.oom_kills = v2_oom_kills,
	.view = v2_view,
};
