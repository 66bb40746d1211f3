/* Disk files of machines: copies of a formatted, sparse template. Calls block. */
#pragma once

/* An empty file without a name in dir, so that nothing can be left behind. A descriptor or a
 * negative errno. */
int disk_new(int dir);
/* Makes disk share the template's blocks where the file system can, else copies its data and
 * leaves its holes. 0 or a negative errno. */
int disk_clone(int disk, int template_fd);
