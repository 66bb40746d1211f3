/*
 * Stands in for warren-gate and warren-resolver, by the name it is called: for tests of what is
 * around them. Its gates answer every connection with one byte and every query with itself, and do
 * what the test tells them by one-byte messages on the control socket: 'i' say who you are, 'r' ask
 * the resolver, 'x' exit.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keeper/mother.h"
#include "resolver/request.h"
#include "stub-mother.h"

static const struct option options[] = {
	{"socket-fd", required_argument, NULL, 's'},
	{"resolver-fd", required_argument, NULL, 'r'},
	{"extra-ca", required_argument, NULL, 'e'},
	{"log-level", required_argument, NULL, 'l'},
	{"uid", required_argument, NULL, 'u'},
	{0},
};

static int sock = -1, resolver = -1;
static uid_t uid;
static const char *extra_ca = "";

/* A message with up to count descriptors; those that came are counted in *ret_count. */
static ssize_t receive(int from, void *data, size_t size, int *fds, size_t count, size_t *ret_count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MOTHER_FD_COUNT * sizeof(int))];
	} control;
	struct iovec iov = {data, size};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;

	*ret_count = c != NULL ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
	if (*ret_count > count)
		_exit(10);
	if (c != NULL)
		memcpy(fds, CMSG_DATA(c), *ret_count * sizeof(int));
	return n;
}

static void send_with(int to, const void *data, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(int)),
		};
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(to, &msg, MSG_NOSIGNAL) < 0)
		_exit(11);
}

static void become(uid_t id)
{
	if (setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		_exit(12);
	/* A change of ids clears it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* --- resolver --------------------------------------------------------------------------------- */

static int run_resolver(void)
{
	struct resolver_request req;
	struct resolver_answer answer = {.result = RESOLVER_OK, .count = 1};
	size_t count;
	int asker;

	become(uid);
	while (receive(sock, &req, sizeof(req), &asker, 1, &count) == (ssize_t)sizeof(req)) {
		if (count == 1) {
			send_with(asker, &answer, sizeof(answer), -1);
			close(asker);
		}
	}
	return 1;
}

/* --- gate ------------------------------------------------------------------------------------- */

static void ask_resolver(int control)
{
	struct resolver_request req = {.name = "example.com"};
	struct resolver_answer answer;
	struct timeval patience = {.tv_sec = 10};
	int pair[2];
	char said = 'n';

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		_exit(13);
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	send_with(resolver, &req, sizeof(req), pair[1]);
	close(pair[1]);
	if (recv(pair[0], &answer, sizeof(answer), 0) == (ssize_t)sizeof(answer))
		said = 'y';
	close(pair[0]);
	send_with(control, &said, 1, -1);
}

static void introduce(int control)
{
	struct stub_gate_info info = {
		.pid = getpid(),
		.mother = getppid(),
		.uid = getuid(),
		.gid = getgid(),
	};

	strncpy(info.extra_ca, extra_ca, sizeof(info.extra_ca) - 1);
	send_with(control, &info, sizeof(info), -1);
}

static void obey(int control)
{
	char what = 'x';

	if (recv(control, &what, 1, 0) != 1 || what == 'x')
		_exit(0);
	if (what == 'i')
		introduce(control);
	else if (what == 'r')
		ask_resolver(control);
}

static void serve_tcp(int listener, char says)
{
	int client = accept(listener, NULL, NULL);

	if (client < 0)
		return;
	(void)!write(client, &says, 1);
	close(client);
}

static void serve_dns(int from)
{
	char text[512];
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	ssize_t n = recvfrom(from, text, sizeof(text), 0, (struct sockaddr *)&peer, &len);

	if (n >= 0)
		(void)!sendto(from, text, (size_t)n, 0, (struct sockaddr *)&peer, len);
}

_Noreturn static void run_gate(const int *fds, uid_t id)
{
	struct pollfd polls[MOTHER_FD_COUNT];

	become(id);
	if (listen(fds[MOTHER_FD_TCP4], 64) < 0 || listen(fds[MOTHER_FD_TCP6], 64) < 0)
		_exit(14);
	for (unsigned i = 0; i < MOTHER_FD_COUNT; i++)
		polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	for (;;) {
		if (poll(polls, MOTHER_FD_COUNT, -1) < 0)
			_exit(15);
		if (polls[MOTHER_FD_TCP4].revents != 0)
			serve_tcp(fds[MOTHER_FD_TCP4], '4');
		if (polls[MOTHER_FD_TCP6].revents != 0)
			serve_tcp(fds[MOTHER_FD_TCP6], '6');
		if (polls[MOTHER_FD_DNS4].revents != 0)
			serve_dns(fds[MOTHER_FD_DNS4]);
		if (polls[MOTHER_FD_DNS6].revents != 0)
			serve_dns(fds[MOTHER_FD_DNS6]);
		if (polls[MOTHER_FD_CONTROL].revents != 0)
			obey(fds[MOTHER_FD_CONTROL]);
	}
}

/* --- mother ----------------------------------------------------------------------------------- */

static void bear(const struct mother_request *req, const int *fds)
{
	pid_t pid = fork();

	if (pid == 0) {
		close(sock);
		run_gate(fds, req->uid);
	}
	int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct mother_reply reply = {
		.cookie = req->cookie,
		.err = pidfd >= 0 ? 0 : -errno,
		.pid = pid,
	};
	for (unsigned i = 0; i < MOTHER_FD_COUNT; i++)
		close(fds[i]);
	send_with(sock, &reply, sizeof(reply), pidfd);
	close(pidfd);
}

static int run_mother(void)
{
	struct mother_reply ready = {0};
	struct mother_request req;
	int fds[MOTHER_FD_COUNT];
	size_t count;

	signal(SIGCHLD, SIG_IGN); /* nobody waits for gates */
	send_with(sock, &ready, sizeof(ready), -1);
	while (receive(sock, &req, sizeof(req), fds, MOTHER_FD_COUNT, &count) ==
		(ssize_t)sizeof(req)) {
		if (count != MOTHER_FD_COUNT)
			return 2;
		bear(&req, fds);
	}
	return 0;
}

int main(int argc, char **argv)
{
	int option;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 's')
			sock = (int)strtol(optarg, NULL, 10);
		else if (option == 'r')
			resolver = (int)strtol(optarg, NULL, 10);
		else if (option == 'u')
			uid = (uid_t)strtoul(optarg, NULL, 10);
		else if (option == 'e')
			extra_ca = optarg;
		else if (option == '?')
			return 1;
	}
	return strcmp(argv[0], "warren-resolver") == 0 ? run_resolver() : run_mother();
}
