/*
 * Telling a program no, in the language it speaks: HTTP gets a short JSON answer, TLS a fatal
 * alert, anything else a reset.
 */
#pragma once

#include <stdint.h>

#include "gate/flow/classify.h"
#include "loop/loop.h"

struct refuse;

struct refuse_text {
	int status;         /* of the HTTP answer */
	const char *code;   /* "EGRESS_DENIED" or "EGRESS_FAILED" */
	const char *reason; /* code of gate_event.reason */
	const char *host;
	uint16_t port;
	const char *detail; /* a sentence; how to allow it */
	uint8_t alert;      /* TLS_ALERT_* */
};

/* Takes fd over and lets the peer read what was said before it closes. fn is called once, from the
 * loop, when it is gone. The peer has sent bytes that were read already. */
struct refuse *refuse_new(struct loop *loop, int fd, enum traffic traffic,
	const struct refuse_text *text, void (*fn)(struct refuse *r, void *data), void *data);
/* At once. NULL is fine. */
void refuse_free(struct refuse *r);
/* Closes fd with a reset. */
void refuse_reset(int fd);
