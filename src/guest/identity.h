/* Who the agent is once it has started: see agent.h. */
#pragma once

#include <sys/types.h>

#define IDENTITY_GROUPS_MAX 64

/* The groups of a user out of a group file (lines of name:password:gid:members): its own gid and
 * those that list it. Lines that make no sense are passed over. Returns how many, 1 at least. */
size_t identity_groups(
	const char *text, const char *user, gid_t gid, gid_t ret_groups[IDENTITY_GROUPS_MAX]);

/* Takes the user's groups (of group_file, when it can be read) and its file system identity, and
 * keeps only the capabilities the agent needs; being not dumpable as well. What children may have
 * (the bounding set) is left alone: sudo must work. 0 or negative errno. */
int identity_assume(const char *user, uid_t uid, gid_t gid, const char *group_file);
/* Host name and clock may be set only between these two. 0 or negative errno. */
int identity_raise(void);
int identity_lower(void);
/* Files are opened and made as root only between these two: for those of the system that the agent
 * keeps. Without rights over files: what root owns or may write, and nothing else. */
int identity_root_files(void);
void identity_user_files(uid_t uid, gid_t gid);
