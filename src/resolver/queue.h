/*
 * The lookups that are asked for, and the threads that make them: getaddrinfo() blocks, for half a
 * minute when servers are silent.
 */
#pragma once

#include <sys/types.h>

struct queue;

/* Starts the threads. 0 or negative errno. The queue lives as long as the process. */
int queue_start(struct queue **ret);
/* Has name (valid) looked up for uid and the answer sent to sock, which is taken over. Never
 * blocks; what is too much is answered with RESOLVER_BUSY. */
void queue_ask(struct queue *q, const char *name, uid_t uid, int sock);
/* Closes a descriptor that a stranger has sent, without waiting for anything. */
void queue_drop(int fd);
