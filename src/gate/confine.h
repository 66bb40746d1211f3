/*
 * What the mother and the gates give up. In a build with AddressSanitizer the files and the system
 * call filters are left alone and processes stay dumpable, for the sanitizer's own sake.
 */
#pragma once

#include <stdint.h>

struct confine_filter;

/* The mother: leaves every file of the host (an empty read-only root), capabilities but those to
 * change ids and to have the gates end with it. 0 or a negative errno with *ret_what naming the
 * step. */
int confine_mother(const char **ret_what);
/* The filter of gates, built once by the mother. NULL when that fails. */
struct confine_filter *confine_filter_new(void);
/* A gate, right after its fork: its own ids, no capability, nothing dumpable, the filter. parent:
 * pid of the mother, with which it ends. */
int confine_gate(
	uint32_t uid, int parent, const struct confine_filter *filter, const char **ret_what);
