/*
 * Mounts by descriptor: every mount is made detached, then attached to a place below a directory
 * descriptor. A place is looked up without following any symbolic link and without leaving that
 * directory, so what lies in a root file system cannot send a mount elsewhere.
 *
 * All calls return 0 (or a descriptor, the caller's) or a negative errno.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* A fresh file system instance. options: comma-separated `key=value` or `key`; NULL for none.
 * attr: MOUNT_ATTR_*. Returns the detached mount, usable as a directory descriptor. */
int mount_new(const char *type, const char *options, uint64_t attr);
/* A detached copy of the mount at path (relative to dir), without what is mounted below it. attr is
 * added to its attributes. "" is dir itself. */
int mount_copy(int dir, const char *path, uint64_t attr);
/* Adds attributes to a mount, detached or not. */
int mount_restrict(int mount, uint64_t attr);
/* Shifts owners by the user namespace; only before the mount is attached. */
int mount_idmap(int mount, int userns);
/* Attaches a detached mount at path below dir. "" is dir itself. The caller still closes mount. */
int mount_attach(int mount, int dir, const char *path);
