/*
 * Loop devices of this instance. Nodes that the host has are left alone: the keeper adds its own
 * above them, records each before it adds it (so that a successor can remove what a killed keeper
 * left), lends them to slots, and removes them at the end. Device files lie in the keeper's own
 * run folder, so nothing depends on what the host's /dev shows.
 *
 * No call logs. All return 0 (or what is said) or a negative errno.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOOPDEV_MAX 65536 /* device numbers above are not used */

enum loopdev_state { LOOPDEV_ABSENT, LOOPDEV_FREE, LOOPDEV_LENT };

struct loopdevs {
	int control;    /* /dev/loop-control */
	int record;     /* one byte per device number: 1 = added by this instance */
	int nodes;      /* directory for device files; borrowed */
	unsigned first; /* lowest number above those the host had */
	unsigned top;   /* first number never tried */
	uint8_t *state; /* enum loopdev_state by number - first, for numbers below top */
};

/* Opens the control device and the record (`loops` in state_fd), finds the first number. */
int loopdevs_open(struct loopdevs *l, int state_fd, int nodes_fd);
/* Removes what the record names, waiting up to timeout_ms for devices that are still being freed.
 * -EBUSY when some stay; they stay recorded. No device may be lent. */
int loopdevs_sweep(struct loopdevs *l, unsigned timeout_ms);
/* Closes descriptors, frees memory. Only after loopdevs_open(), whatever that said. */
void loopdevs_close(struct loopdevs *l);

/* Lends an unused device, adding one when there is none: its number. */
int loopdev_lend(struct loopdevs *l);
/* Takes it back. */
void loopdev_return(struct loopdevs *l, int number);

/* Binds backing to the device; the kernel releases it when the last user closes it. Returns an open
 * descriptor of the device (the caller's); -EBUSY when somebody else has taken the device. */
int loopdev_attach(const struct loopdevs *l, int number, int backing, bool read_only);
/* Makes the device read and write its file past the page cache, which is several times faster and
 * does not keep everything in memory twice. Not done at once, since it first writes out all of the
 * file. -EINVAL where the file system cannot do it. */
int loopdev_set_direct(const struct loopdevs *l, int number);
/* Path of the device file relative to the nodes directory. */
struct loopdev_name {
	char text[24];
};
struct loopdev_name loopdev_name(int number);
/* Whether the device is bound to a file. */
bool loopdev_bound(const struct loopdevs *l, int number);
