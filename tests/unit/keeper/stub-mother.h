/* What a gate of the stub says when it is asked who it is. */
#pragma once

#include <stdint.h>

struct stub_gate_info {
	int32_t pid;
	int32_t mother;
	uint32_t uid;
	uint32_t gid;
	char extra_ca[128];
};
