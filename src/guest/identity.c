#include "guest/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/privilege.h"

#define CAP_BIT(cap) (UINT64_C(1) << (cap))
/* To become the user in children, and to signal them. Not the ones over files and /proc: the agent
 * opens what clients name. */
#define CAPS_ALWAYS (CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_KILL))
#define CAPS_RAISED (CAP_BIT(CAP_SYS_ADMIN) | CAP_BIT(CAP_SYS_TIME))
#define GROUP_FILE_MAX (1024 * 1024)

static bool lists_member(const char *members, size_t len, const char *user)
{
	size_t user_len = strlen(user);

	while (len > 0) {
		const char *comma = memchr(members, ',', len);
		size_t n = comma ? (size_t)(comma - members) : len;

		if (n == user_len && memcmp(members, user, n) == 0)
			return true;
		if (!comma)
			break;
		len -= n + 1;
		members = comma + 1;
	}
	return false;
}

/* The gid of a line that lists user, or -1. */
static int64_t group_of_line(const char *line, size_t len, const char *user)
{
	const char *fields[4] = {line};
	unsigned long gid;
	char *end;

	for (int i = 1; i < 4; i++) {
		const char *colon =
			memchr(fields[i - 1], ':', len - (size_t)(fields[i - 1] - line));

		if (!colon)
			return -1;
		fields[i] = colon + 1;
	}
	if (*fields[2] < '0' || *fields[2] > '9')
		return -1;
	gid = strtoul(fields[2], &end, 10);
	if (*end != ':' || gid >= UINT32_MAX)
		return -1;
	if (!lists_member(fields[3], len - (size_t)(fields[3] - line), user))
		return -1;
	return (int64_t)gid;
}

static bool has_group(const gid_t *groups, size_t count, gid_t gid)
{
	for (size_t i = 0; i < count; i++) {
		if (groups[i] == gid)
			return true;
	}
	return false;
}

size_t identity_groups(
	const char *text, const char *user, gid_t gid, gid_t ret_groups[IDENTITY_GROUPS_MAX])
{
	size_t count = 0;

	ret_groups[count++] = gid;
	while (*text && count < IDENTITY_GROUPS_MAX) {
		size_t len = strcspn(text, "\n");
		int64_t found = group_of_line(text, len, user);

		if (found >= 0 && !has_group(ret_groups, count, (gid_t)found))
			ret_groups[count++] = (gid_t)found;
		text += len + (text[len] == '\n');
	}
	return count;
}

static int assume_groups(const char *user, gid_t gid, const char *group_file)
{
	gid_t groups[IDENTITY_GROUPS_MAX];
	auto_free char *text = NULL;
	size_t count, len;

	if (fd_read_file(AT_FDCWD, group_file, GROUP_FILE_MAX, &text, &len) < 0)
		text = mem_strdup("");
	count = identity_groups(text, user, gid, groups);
	return setgroups(count, groups) < 0 ? -errno : 0;
}

/* These two do not report failure; an impossible id gives back the present one. */
static int set_file_ids(uid_t uid, gid_t gid)
{
	setfsgid(gid);
	setfsuid(uid);
	if ((gid_t)setfsgid((gid_t)-1) != gid || (uid_t)setfsuid((uid_t)-1) != uid)
		return -EPERM;
	return 0;
}

int identity_assume(const char *user, uid_t uid, gid_t gid, const char *group_file)
{
	int r = assume_groups(user, gid, group_file);

	if (r < 0)
		return r;
	r = set_file_ids(uid, gid);
	if (r < 0)
		return r;
	r = identity_lower();
	return r < 0 ? r : privilege_not_dumpable();
}

/* The launcher may have taken some rights for good (over the clock, say): what is left counts. */
static int permitted(uint64_t *ret_caps)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	*ret_caps = (uint64_t)data[1].permitted << 32 | data[0].permitted;
	return 0;
}

static int set_caps(uint64_t effective)
{
	uint64_t have = 0;
	int r = permitted(&have);

	if (r < 0)
		return r;
	if ((have & CAPS_ALWAYS) != CAPS_ALWAYS)
		return -EPERM;
	return privilege_set_caps(effective & have, (CAPS_ALWAYS | CAPS_RAISED) & have, 0);
}

int identity_raise(void)
{
	return set_caps(CAPS_ALWAYS | CAPS_RAISED);
}

int identity_lower(void)
{
	return set_caps(CAPS_ALWAYS);
}

int identity_root_files(void)
{
	return set_file_ids(0, 0);
}

/* A change of this identity can make a process dumpable, by a setting of the machine. */
void identity_user_files(uid_t uid, gid_t gid)
{
	/* An agent that opens what clients name as root must not go on. */
	if (set_file_ids(uid, gid) < 0 || privilege_not_dumpable() < 0)
		abort();
}
