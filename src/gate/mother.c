#include "gate/mother.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "gate/gate.h"
#include "keeper/mother.h"

#define BACKLOG 256

static int reply(const struct mother *m, uint64_t cookie, int err, pid_t pid, int pidfd)
{
	struct mother_reply msg = {.cookie = cookie, .err = err, .pid = pid};

	return fd_send_msg(m->sock, &msg, sizeof(msg), &pidfd, pidfd >= 0 ? 1 : 0);
}

static int start_listening(const struct gate_setup *setup)
{
	for (size_t i = 0; i < array_len(setup->tcp); i++) {
		if (fd_set_nonblock(setup->tcp[i], true) < 0 || listen(setup->tcp[i], BACKLOG) < 0)
			return -errno;
	}
	return 0;
}

/* In the child. */
static int become_gate(
	const struct mother *m, const struct mother_request *request, int *fds, pid_t parent)
{
	struct gate_setup setup = {
		.control = fds[MOTHER_FD_CONTROL],
		.tcp = {fds[MOTHER_FD_TCP4], fds[MOTHER_FD_TCP6]},
		.dns = {fds[MOTHER_FD_DNS4], fds[MOTHER_FD_DNS6]},
		.resolver = m->resolver,
		.client_ctx = m->client_ctx,
	};
	const char *what = "listen";
	int r;

	(void)prctl(PR_SET_NAME, "warren-gate");
	fd_close(m->sock);
	r = start_listening(&setup);
	if (r == 0)
		r = fd_set_nonblock(setup.control, true);
	if (r == 0)
		r = confine_gate(request->uid, parent, m->filter, &what);
	if (r < 0) {
		log_error("a gate cannot %s: %s", what, strerror(-r));
		return 1;
	}
	return gate_run(&setup);
}

static bool valid(const struct mother_request *request, ssize_t n, size_t nfds)
{
	return n == (ssize_t)sizeof(*request) && nfds == MOTHER_FD_COUNT && request->cookie != 0 &&
	       request->uid != 0;
}

/* True in the mother; false in a child that has been a gate, with *ret_code. */
static bool serve_one(
	const struct mother *m, const struct mother_request *request, int *fds, int *ret_code)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid == 0) {
		*ret_code = become_gate(m, request, fds, parent);
		return false;
	}
	if (pid < 0) {
		(void)reply(m, request->cookie, -errno, 0, -EBADF);
		return true;
	}
	/* One that is gone already cannot be opened; nor has anybody else its number yet. */
	auto_close int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	(void)reply(m, request->cookie, pidfd >= 0 ? 0 : -errno, pid, pidfd);
	return true;
}

int mother_serve(const struct mother *m)
{
	int code = 0;

	if (reply(m, 0, 0, getpid(), -EBADF) < 0)
		return 1;
	for (;;) {
		struct mother_request request = {0};
		int fds[MOTHER_FD_COUNT];
		size_t nfds = array_len(fds);
		ssize_t n = fd_recv_msg(m->sock, &request, sizeof(request), fds, &nfds);
		bool mother = true;

		if (n <= 0)
			return n == 0 ? 0 : 1;
		if (valid(&request, n, nfds))
			mother = serve_one(m, &request, fds, &code);
		else
			(void)reply(m, request.cookie, -EINVAL, 0, -EBADF);
		if (!mother)
			return code;
		for (size_t i = 0; i < nfds; i++)
			fd_close(fds[i]);
	}
}
