/* The mother of the gates: has done once what every gate would have to do at its start, and forks
 * one for each request of the keeper (keeper/mother.h). */
#pragma once

#include <openssl/ssl.h>

#include "gate/confine.h"

struct mother {
	int sock;            /* to the keeper */
	int resolver;        /* every gate's end of the resolver's pair */
	SSL_CTX *client_ctx; /* for connections to hosts */
	struct confine_filter *filter;
};

/* Serves the keeper until its end of the socket closes. Returns the exit status. In a child that
 * has become a gate it returns as well, with the gate's status. */
int mother_serve(const struct mother *m);
