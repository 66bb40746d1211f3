/*
 * warren-resolver: looks names up for the gates, which have no files and so no resolver of their
 * own. Started by warren-keeper; ends with it. One thread takes requests, others answer them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/args.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "resolver/confine.h"
#include "resolver/queue.h"
#include "resolver/request.h"

#define FILES_MAX 4096 /* a socket for each asker, and those of lookups */

struct options {
	int socket_fd;
	uid_t uid;
	enum log_level level;
};

/* --- options ---------------------------------------------------------------------------------- */

enum option_id { OPT_SOCKET, OPT_UID, OPT_LOG, OPT_HELP };

static const struct option option_table[] = {
	{"socket-fd", required_argument, NULL, OPT_SOCKET},
	{"uid", required_argument, NULL, OPT_UID},
	{"log-level", required_argument, NULL, OPT_LOG},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

static const char usage[] = "warren-resolver is started by warren-keeper.\n"
			    "usage: warren-resolver --socket-fd N [--uid UID] [--log-level LEVEL]\n"
			    "           as root it needs --uid, and becomes that user and group\n";

static int take_option(void *data, int id, const char *value)
{
	struct options *o = data;
	uint32_t n;

	switch (id) {
	case OPT_SOCKET:
		return args_fd(value, &o->socket_fd);
	case OPT_UID:
		/* The highest number means "no change" to the calls that set ids. */
		if (args_number(value, 10, UINT32_MAX - 1, &n) < 0 || n == 0)
			return -EINVAL;
		o->uid = (uid_t)n;
		return 0;
	case OPT_LOG:
		return log_level_parse(value, &o->level);
	default:
		return -EINVAL;
	}
}

/* 0; 1 when help was asked for; or a negative errno, said on standard error. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int r = args_read("warren-resolver", option_table, OPT_HELP, argc, argv, take_option, o);

	if (r != 0)
		return r;
	if (o->socket_fd < 0 || optind != argc) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	return 0;
}

/* --- requests --------------------------------------------------------------------------------- */

struct received {
	struct resolver_request request;
	ssize_t len;
	uid_t uid;
	int sock; /* owned; -EBADF: none, or too many */
};

static void take_fds(struct received *r, const struct cmsghdr *c)
{
	const unsigned char *data = CMSG_DATA(c);
	size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
		if (count == 1)
			r->sock = fd;
		else
			queue_drop(fd);
	}
}

/* fd_recv_msg() does not say who has sent a message, so it is not used. */
static int receive(int sock, struct received *ret)
{
	union {
		char raw[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = &ret->request, .iov_len = sizeof(ret->request)};
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.raw,
		.msg_controllen = sizeof(control.raw),
	};

	ret->sock = -EBADF;
	ret->uid = (uid_t)-1;
	ret->len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	if (ret->len < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		struct ucred sender;

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			take_fds(ret, c);
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&sender, CMSG_DATA(c), sizeof(sender));
			ret->uid = sender.uid;
		}
	}
	/* Too long, or more descriptors than there was room for. */
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		ret->len = -1;
	return 0;
}

/* A name that can only be looked up: nothing that getaddrinfo() takes for an address. */
static bool is_name(const char name[RESOLVER_NAME_SIZE])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";
	size_t len = strnlen(name, RESOLVER_NAME_SIZE);
	struct in_addr address;

	return len > 0 && len < RESOLVER_NAME_SIZE && strspn(name, plain) == len &&
	       name[0] != '.' && name[len - 1] != '.' && !strstr(name, "..") &&
	       inet_aton(name, &address) == 0;
}

static bool is_local_socket(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

static void handle(struct queue *q, const struct received *r)
{
	if (r->sock < 0)
		return;
	if (r->len == (ssize_t)sizeof(r->request) && is_name(r->request.name) &&
		is_local_socket(r->sock))
		queue_ask(q, r->request.name, r->uid, r->sock);
	else
		queue_drop(r->sock);
}

/* Returns when the socket is broken: its peer's end is not to be seen (datagrams). */
static int serve(int sock, struct queue *q)
{
	struct received r;

	for (;;) {
		int err = receive(sock, &r);

		if (err == 0)
			handle(q, &r);
		else if (err != -EINTR && err != -ECONNRESET)
			return err;
	}
}

/* --- start ------------------------------------------------------------------------------------ */

static int check_socket(int sock)
{
	int type = 0;
	int one = 1;
	socklen_t len = sizeof(type);

	if (getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	if (!is_local_socket(sock) || type != SOCK_DGRAM)
		return -EPROTOTYPE;
	if (setsockopt(sock, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
		return -errno;
	return fd_set_nonblock(sock, false);
}

/* Many threads, hardly ever busy at once: one arena serves them all. */
static void spare_memory(void)
{
	struct rlimit files;
	const struct rlimit none = {0};

	(void)mallopt(M_ARENA_MAX, 1);
	(void)setrlimit(RLIMIT_CORE, &none);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int start(const struct options *o, pid_t parent, struct queue **ret, const char **ret_what)
{
	*ret_what = "use its socket";
	int r = check_socket(o->socket_fd);

	if (r < 0)
		return r;
	r = confine(o->uid, parent, ret_what);
	if (r == 0) {
		*ret_what = "start its threads";
		r = queue_start(ret);
	}
	return r;
}

int main(int argc, char **argv)
{
	pid_t parent = getppid();
	struct options o = {.socket_fd = -EBADF, .level = LOG_LEVEL_INFO};
	struct queue *q = NULL;
	const char *what = "";
	int r = parse_options(&o, argc, argv);

	if (r > 0) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (r < 0)
		return 2;
	log_init("warren-resolver", o.level);
	spare_memory();
	r = start(&o, parent, &q, &what);
	if (r == 0) {
		log_debug("ready");
		what = "receive requests";
		r = serve(o.socket_fd, q);
	}
	log_error("cannot %s: %s", what, strerror(-r));
	return EXIT_FAILURE;
}
