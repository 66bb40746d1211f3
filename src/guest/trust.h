/*
 * Whom the sandbox's programs believe. Three ways lead there, since no two tools look in the same
 * place: the bundle of all authorities, the folders out of which update-ca-certificates makes it
 * anew, and environment variables that name the bundle.
 */
#pragma once

#include <stdbool.h>

#include "loop/loop.h"

struct environment;

/* What an earlier trust request has done. */
struct trust {
	bool active;      /* the variables are to be set */
	bool host_placed; /* the host's authorities are, or will be, in the folder */
	char *image;      /* the image's bundle, until they are */
	struct loop_timer place_later;
	char *ca_pem; /* in the bundle, or NULL */
	char *ca_hash;
};

/* Accepts a zeroed struct. */
void trust_done(struct trust *trust);
/* The variables, where there are none of their names and as far as they fit. */
void trust_add_environment(const struct trust *trust, struct environment *env);
