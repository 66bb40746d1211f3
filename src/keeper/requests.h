/* The requests of the daemon (request.h), one row each. */
#pragma once

#include "keeper/link.h"

extern const struct link_ops requests_link_ops;
