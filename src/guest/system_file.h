/*
 * Files of the system that the agent keeps. Root of the sandbox may have put anything in their
 * place: links are not followed, and what is no regular file is neither read nor written, so that
 * nothing here can wait. All calls: 0 or negative errno.
 */
#pragma once

#include <stddef.h>
#include <sys/uio.h>

/* The whole file as NUL-terminated heap text; -EFBIG beyond max bytes. */
int system_file_read(const char *path, size_t max, char **ret_text, size_t *ret_len);
/* Puts a new file with these bytes in the place of path, in one step; mode 0644. */
int system_file_replace(const char *path, const struct iovec *parts, size_t count);
/* Makes path a symbolic link to target, whatever it was. */
int system_file_link(const char *target, const char *path);
/* Adds to the end of a file, which is made when it is not there (mode 0644). A file that would grow
 * beyond max bytes becomes "path.1" and is begun anew. */
int system_file_append(const char *path, const struct iovec *parts, size_t count, size_t max);
