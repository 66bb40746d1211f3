/* Talking to the kernel over netlink: messages in, one verdict back. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Sends messages (one system call, which does what they say) to a family of the caller's network
 * namespace. Of the messages only the one numbered last asks for an acknowledgement. 0, or the
 * negative errno of the first that failed. */
int netlink_exchange(int family, const void *messages, size_t len, uint32_t last);
