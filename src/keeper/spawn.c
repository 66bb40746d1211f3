#include "keeper/spawn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/program.h"

#define ARGS_MAX 24

struct args {
	const char *argv[ARGS_MAX + 1];
	size_t count;
};

/* An option without a value is left out. */
static void add(struct args *a, const char *option, const char *value)
{
	if (value == NULL)
		return;
	assert(a->count + 2 <= ARGS_MAX);
	a->argv[a->count++] = option;
	a->argv[a->count++] = value;
}

static pid_t start(const struct keeper_spawn_params *p, int sock)
{
	const int fds[] = {sock, p->state_fd};
	struct args args = {.argv = {"warren-keeper"}, .count = 1};
	char sock_text[8], state_text[8], base[16];

	snprintf(sock_text, sizeof(sock_text), "%d", PROGRAM_FD);
	snprintf(state_text, sizeof(state_text), "%d", PROGRAM_FD + 1);
	snprintf(base, sizeof(base), "%u", p->uid_base);
	add(&args, "--socket-fd", sock_text);
	add(&args, "--state-dir-fd", state_text);
	add(&args, "--image-dir", p->image_dir);
	add(&args, "--agent", p->agent);
	add(&args, "--gate", p->gate);
	add(&args, "--resolver", p->resolver);
	add(&args, "--host-ca", p->host_ca);
	add(&args, "--extra-ca", p->extra_ca);
	add(&args, "--uid-base", p->uid_base != 0 ? base : NULL);
	add(&args, "--log-level", p->log_level);
	return program_start(p->program, args.argv, NULL, fds, array_len(fds));
}

int keeper_spawn(const struct keeper_spawn_params *params, int *ret_sock, pid_t *ret_pid)
{
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return -errno;
	auto_close int ours = socks[0];
	auto_close int theirs = socks[1];
	pid_t pid = start(params, theirs);
	if (pid < 0)
		return pid;
	*ret_sock = take_fd(ours);
	*ret_pid = pid;
	return 0;
}
