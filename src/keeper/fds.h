/* Descriptors across processes and mount namespaces. */
#pragma once

#include <stddef.h>

/* Closes every descriptor but the standard three and those in keep, which may contain negative
 * numbers and is sorted by the call. 0 or a negative errno. */
int fds_close_except(int *keep, size_t count);

/* A descriptor opened in one mount namespace is no place for a mount in another. This opens the
 * same folder (O_PATH) by its path in the calling process's namespace; -ESTALE when the path leads
 * elsewhere by now. The descriptor (the caller's) or a negative errno. */
int fds_open_here(int dir);
