/*
 * A process that outlives the keeper by as long as it takes to remove what a killed one leaves:
 * cgroups and loop devices. It holds the lock of the state folder meanwhile, so a successor waits.
 * When it is killed as well, the successor does its work.
 */
#pragma once

#include <sys/types.h>

struct keeper;

struct undertaker {
	pid_t pid;
	int life; /* end of a pipe: closed by the end of the keeper, whatever that is */
};

/* Starts it, as a child that nobody watches. 0 or a negative errno. */
int undertaker_start(struct undertaker *u, struct keeper *k);
/* The keeper ends in order and has cleaned up: sends it away and reaps it. Without one: nothing. */
void undertaker_dismiss(struct undertaker *u);
