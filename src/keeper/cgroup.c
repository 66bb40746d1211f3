#include "keeper/cgroup.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/cgroup_priv.h"
#include "keeper/fds.h"

#define TABLE_TEXT_MAX (4 * 1024 * 1024)
#define FILE_TEXT_MAX 16384

/* --- small files ------------------------------------------------------------------------------ */

struct cgroup_path cgroup_file(uint32_t slot, const char *file)
{
	struct cgroup_path p;
	int n = snprintf(p.text, sizeof(p.text), "%" PRIu32 "/%s", slot, file);

	assert(n > 0 && (size_t)n < sizeof(p.text));
	(void)n;
	return p;
}

int cgroup_write(int parent, uint32_t slot, const char *file, const char *text)
{
	return fd_write_file(parent, cgroup_file(slot, file).text, text);
}

int cgroup_write_u64(int parent, uint32_t slot, const char *file, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return cgroup_write(parent, slot, file, text);
}

static int parse_u64(const char *text, uint64_t *ret)
{
	char *end;

	if (strncmp(text, "max", 3) == 0) {
		*ret = UINT64_MAX;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	uint64_t value = strtoull(text, &end, 10);
	if (errno != 0)
		return -errno;
	*ret = value;
	return 0;
}

int cgroup_read_u64(int parent, uint32_t slot, const char *file, uint64_t *ret)
{
	auto_free char *text = NULL;
	int r = fd_read_file(parent, cgroup_file(slot, file).text, FILE_TEXT_MAX, &text, NULL);

	return r < 0 ? r : parse_u64(text, ret);
}

int cgroup_read_key(int parent, uint32_t slot, const char *file, const char *key, uint64_t *ret)
{
	auto_free char *text = NULL;
	size_t len = strlen(key);
	int r = fd_read_file(parent, cgroup_file(slot, file).text, FILE_TEXT_MAX, &text, NULL);

	if (r < 0)
		return r;
	for (const char *line = text; line != NULL && *line != '\0';) {
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return parse_u64(line + len + 1, ret);
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return -ENOENT;
}

/* --- the instance's place --------------------------------------------------------------------- */

/* Opens dir/name, making it first. Somebody else's clean-up may remove an empty `warren` between
 * the two steps, hence the loop. */
static int open_made(int dir, const char *name)
{
	for (int tries = 0; tries < 100; tries++) {
		if (mkdirat(dir, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 || errno != ENOENT)
			return fd >= 0 ? fd : -errno;
	}
	return -EAGAIN;
}

static int open_parent(int top, const char *instance)
{
	for (int tries = 0; tries < 100; tries++) {
		auto_close int warren = open_made(top, "warren");

		if (warren < 0)
			return warren;
		int fd = open_made(warren, instance);
		if (fd != -ENOENT)
			return fd;
	}
	return -EAGAIN;
}

static int open_place(struct cgroup_tree *t, const char **ret_what)
{
	auto_free char *mountinfo = NULL;
	auto_free char *self = NULL;
	auto_free struct cgroup_place *place = mem_new(struct cgroup_place);

	*ret_what = "read cgroup mounts";
	int r = fd_read_file(AT_FDCWD, "/proc/self/mountinfo", TABLE_TEXT_MAX, &mountinfo, NULL);
	if (r == 0)
		r = fd_read_file(AT_FDCWD, "/proc/self/cgroup", TABLE_TEXT_MAX, &self, NULL);
	if (r == 0)
		r = cgroup_place_find(mountinfo, self, place, ret_what);
	if (r < 0)
		return r;
	t->ops = place->v2 ? &cgroup_v2_ops : &cgroup_v1_ops;
	return t->ops->open(t, place, ret_what);
}

int cgroup_tree_open(struct cgroup_tree *t, const char *instance, const char **ret_what)
{
	*t = (struct cgroup_tree){0};
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++)
		t->tops[i] = t->parents[i] = -EBADF;
	snprintf(t->instance, sizeof(t->instance), "%s", instance);

	int r = open_place(t, ret_what);
	for (unsigned i = 0; i < CGROUP_CONTROLLERS && r == 0; i++) {
		if (t->tops[i] < 0)
			continue;
		*ret_what = "make cgroup of the instance";
		t->parents[i] = open_parent(t->tops[i], instance);
		if (t->parents[i] < 0)
			r = t->parents[i];
	}
	if (r == 0) {
		*ret_what = "enable cgroup controllers";
		r = t->ops->ready(t);
	}
	if (r < 0)
		cgroup_tree_close(t);
	return r;
}

static void kill_all(int parent, uint32_t slot)
{
	auto_free char *text = NULL;
	char *save = NULL;

	if (fd_read_file(parent, cgroup_file(slot, "cgroup.procs").text, TABLE_TEXT_MAX, &text,
		    NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line != NULL;
		line = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(line, NULL, 10);

		if (pid > 1)
			(void)kill((pid_t)pid, SIGKILL);
	}
}

/* Only folders that are called like slots are ours. */
static int sweep_parent(int parent)
{
	int result = 0;
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir == NULL) {
		int r = -errno;
		fd_close(fd);
		return r;
	}
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		char *end;
		unsigned long slot = strtoul(e->d_name, &end, 10);

		if (e->d_name[0] < '0' || e->d_name[0] > '9' || *end != '\0' || slot > UINT32_MAX)
			continue;
		kill_all(parent, (uint32_t)slot);
		if (unlinkat(parent, e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			result = -errno;
	}
	closedir(dir);
	return result;
}

int cgroup_tree_sweep(const struct cgroup_tree *t)
{
	int result = 0;

	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		int r = t->parents[i] >= 0 ? sweep_parent(t->parents[i]) : 0;
		if (r < 0)
			result = r;
	}
	return result;
}

int cgroup_tree_remove(const struct cgroup_tree *t)
{
	int result = 0;

	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (t->parents[i] < 0)
			continue;
		auto_close int warren =
			openat(t->tops[i], "warren", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (warren < 0)
			continue;
		if (unlinkat(warren, t->instance, AT_REMOVEDIR) < 0 && errno != ENOENT)
			result = -errno;
		/* Other instances may be in it; then it stays. */
		(void)unlinkat(t->tops[i], "warren", AT_REMOVEDIR);
	}
	return result;
}

void cgroup_tree_close(struct cgroup_tree *t)
{
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		t->tops[i] = fd_close(t->tops[i]);
		t->parents[i] = fd_close(t->parents[i]);
	}
}

/* --- slots ------------------------------------------------------------------------------------ */

int cgroup_make(const struct cgroup_tree *t, uint32_t slot, const struct cgroup_limits *limits)
{
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (t->parents[i] < 0)
			continue;
		/* Controllers that share a hierarchy share the directory. */
		if (mkdirat(t->parents[i], cgroup_file(slot, "").text, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return t->ops->limit(t, slot, NULL, limits);
}

int cgroup_clone_fd(const struct cgroup_tree *t, uint32_t slot)
{
	if (!t->ops->clone_into)
		return -ENOTSUP;
	int fd = openat(
		t->parents[0], cgroup_file(slot, "").text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

int cgroup_enter(const struct cgroup_tree *t, uint32_t slot, const char *pid)
{
	if (t->ops->clone_into)
		return 0;
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (t->parents[i] < 0)
			continue;
		int r = cgroup_write(t->parents[i], slot, "cgroup.procs", pid);
		if (r < 0)
			return r;
	}
	return 0;
}

int cgroup_limit(const struct cgroup_tree *t, uint32_t slot, const struct cgroup_limits *old,
	const struct cgroup_limits *limits)
{
	return t->ops->limit(t, slot, old, limits);
}

int cgroup_read(const struct cgroup_tree *t, uint32_t slot, struct cgroup_counters *ret)
{
	struct cgroup_counters counters = {0};
	int r = t->ops->read(t, slot, &counters);

	if (r == 0)
		*ret = counters;
	return r;
}

uint64_t cgroup_oom_kills(const struct cgroup_tree *t, uint32_t slot)
{
	return t->ops->oom_kills(t, slot);
}

int cgroup_remove(const struct cgroup_tree *t, uint32_t slot)
{
	int result = 0;

	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (t->parents[i] < 0)
			continue;
		if (unlinkat(t->parents[i], cgroup_file(slot, "").text, AT_REMOVEDIR) < 0 &&
			errno != ENOENT)
			result = -errno;
	}
	return result;
}

const char *cgroup_view_name(const struct cgroup_tree *t, unsigned i)
{
	return t->ops->view(i);
}

int cgroup_view(const struct cgroup_tree *t, uint32_t slot, unsigned i)
{
	auto_close int group =
		openat(t->parents[i], cgroup_file(slot, "").text, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return group < 0 ? -errno : fds_open_here(group);
}

/* --- finding the hierarchies ------------------------------------------------------------------ */

/* The kernel writes blanks and backslashes in paths as \040 and the like. */
static void unescape(char *out, size_t size, const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '\\' && i + 3 < len && text[i + 1] >= '0' && text[i + 1] <= '3') {
			c = (char)((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 |
				   (text[i + 3] - '0'));
			i += 3;
		}
		if (n + 1 >= size) { /* as if it were not there */
			n = 0;
			break;
		}
		out[n++] = c;
	}
	out[n] = '\0';
}

static bool has_word(const char *list, size_t len, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= len; i++) {
		bool starts = i == 0 || list[i - 1] == ',';
		bool ends = i + n == len || list[i + n] == ',';

		if (starts && ends && memcmp(list + i, word, n) == 0)
			return true;
	}
	return false;
}

struct field {
	const char *at;
	size_t len;
};

/* Splits a line of mountinfo: 36 35 98:0 /root /mount opts [optional...] - type source super.
 * Returns false when it is not of that form. */
static bool split_mount(
	const char *line, size_t len, struct field *mount, struct field *type, struct field *super)
{
	struct field f[64];
	size_t n = 0;
	size_t dash = 0;

	for (size_t i = 0; i < len && n < array_len(f);) {
		size_t start = i;

		while (i < len && line[i] != ' ')
			i++;
		f[n] = (struct field){line + start, i - start};
		if (n > 5 && dash == 0 && f[n].len == 1 && f[n].at[0] == '-')
			dash = n;
		n++;
		i++;
	}
	if (dash == 0 || dash + 3 >= n)
		return false;
	*mount = f[4];
	*type = f[dash + 1];
	*super = f[dash + 3];
	return true;
}

static bool is_text(struct field f, const char *text)
{
	return f.len == strlen(text) && memcmp(f.at, text, f.len) == 0;
}

/* A hierarchy may be mounted in several places; the first is as good as any. */
static void note_mount(const char *line, size_t len, struct cgroup_place *place)
{
	struct field mount, type, super;

	if (!split_mount(line, len, &mount, &type, &super))
		return;
	if (is_text(type, "cgroup2") && place->v2_mount[0] == '\0')
		unescape(place->v2_mount, sizeof(place->v2_mount), mount.at, mount.len);
	if (!is_text(type, "cgroup"))
		return;
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (place->v1[i][0] == '\0' && has_word(super.at, super.len, cgroup_v1_names[i]))
			unescape(place->v1[i], sizeof(place->v1[i]), mount.at, mount.len);
	}
}

/* The line "0::/path" names the own group of version 2. */
static void note_own(const char *line, size_t len, struct cgroup_place *place)
{
	if (len > 3 && memcmp(line, "0::", 3) == 0 && len - 3 < sizeof(place->v2_own)) {
		memcpy(place->v2_own, line + 3, len - 3);
		place->v2_own[len - 3] = '\0';
	}
}

static void each_line(const char *text, struct cgroup_place *place,
	void (*note)(const char *line, size_t len, struct cgroup_place *place))
{
	while (*text != '\0') {
		size_t len = strcspn(text, "\n");

		note(text, len, place);
		text += len + (text[len] == '\n' ? 1 : 0);
	}
}

int cgroup_place_find(
	const char *mountinfo, const char *self, struct cgroup_place *ret, const char **ret_what)
{
	static const char *const missing[] = {
		[CGROUP_MEMORY] = "find the memory controller of cgroups",
		[CGROUP_CPU] = "find the cpu controller of cgroups",
		[CGROUP_PIDS] = "find the pids controller of cgroups",
	};
	auto_free struct cgroup_place *place = mem_new(struct cgroup_place);

	each_line(mountinfo, place, note_mount);
	each_line(self, place, note_own);
	if (place->v1[CGROUP_MEMORY][0] != '\0') {
		for (unsigned i = 0; i < array_len(missing); i++) {
			if (place->v1[i][0] != '\0')
				continue;
			*ret_what = missing[i];
			return -ENOTSUP;
		}
	} else if (place->v2_mount[0] != '\0' && place->v2_own[0] != '\0') {
		place->v2 = true;
	} else {
		*ret_what = "find cgroups";
		return -ENOTSUP;
	}
	*ret = *place;
	return 0;
}
