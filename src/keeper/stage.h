/* Start of the keeper: what it sets up once. All calls block; on failure *ret_what is the step. */
#pragma once

#include "keeper/keeper.h"

/* A session, a keyring, a mount namespace of its own. Everything it mounts ends with it. The folder
 * state_fd, which keeps its number, and the working folder are the state folder in there. */
int stage_isolate(int state_fd, const char **ret_what);
/* The run folder (run.h) as working directory: base image mounted, agent copied. Needs k->state and
 * k->loops.nodes comes from it. */
int stage_run_folder(struct keeper *k, const char **ret_what);
int stage_base_image(struct keeper *k, const char *image_dir, const char **ret_what);
int stage_agent(const char *path, const char **ret_what);
/* The programs that run beside the keeper (gates.h): the files as they are now, whatever takes
 * their place later. */
int stage_programs(const char *gate, const char *resolver, const char **ret_what);
/* What machines are to trust: the certificates of the host (those of the image when the host has
 * none) and further ones (NULL: none), as they are. No file when there are only the image's. */
int stage_trust(const char *host_ca, const char *extra_ca, const char **ret_what);
/* Gives up the capabilities and system calls that nothing later needs. */
int stage_drop_rights(const char **ret_what);
