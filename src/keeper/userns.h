/* User namespaces of machines. */
#pragma once

#include <stdint.h>

#define USERNS_IDS 65536

/* A new user namespace that maps ids 0..65535 to base..base+65535: a descriptor (the caller's) or a
 * negative errno. Its owner is the user `base`, so that what the kernel counts per owner (inotify
 * instances, for one) is counted for each machine apart. Blocks; makes and reaps a child. Needs
 * /proc of the initial pid namespace. */
int userns_new(uint32_t base);
