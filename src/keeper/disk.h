/* Disk files of machines: copies of a formatted, sparse template. Calls block. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk_range;

/* The template's data, which is little, in memory. */
struct disk_template {
	int fd;
	off_t size;
	struct disk_range *ranges;
	size_t count;
	uint8_t *data;
};

/* Reads it. -EFBIG when it holds more than a formatted file system does. */
int disk_template_open(struct disk_template *t, const char *path);
/* Only after disk_template_open(), whatever that said. */
void disk_template_close(struct disk_template *t);

/* An empty file without a name in dir, so that nothing can be left behind. A descriptor or a
 * negative errno. */
int disk_new(int dir);
/* Makes disk share the template's blocks where the file system can, else writes its data and leaves
 * its holes. 0 or a negative errno. */
int disk_clone(int disk, const struct disk_template *t);
