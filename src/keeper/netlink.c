#include "keeper/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

/* 1: nothing said about the last one yet. */
static int read_verdicts(const char *buf, size_t size, uint32_t last)
{
	const struct nlmsghdr *msg = (const void *)buf;
	int left = (int)size;

	for (; mnl_nlmsg_ok(msg, left); msg = mnl_nlmsg_next(msg, &left)) {
		const struct nlmsgerr *said = mnl_nlmsg_get_payload(msg);

		if (msg->nlmsg_type != NLMSG_ERROR ||
			mnl_nlmsg_get_payload_len(msg) < sizeof(*said))
			return -EPROTO;
		if (said->error != 0)
			return said->error;
		if (msg->nlmsg_seq == last)
			return 0;
	}
	return 1;
}

int netlink_exchange(int family, const void *messages, size_t len, uint32_t last)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	char buf[2048] __attribute__((aligned(NLMSG_ALIGNTO)));
	int r;

	auto_close int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
	if (sock < 0)
		return -errno;
	if (sendto(sock, messages, len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	do {
		/* The kernel has answered before sendto() returned. */
		ssize_t n = recv(sock, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			r = 1;
		else
			r = n < 0 ? -errno : read_verdicts(buf, (size_t)n, last);
	} while (r > 0);
	return r;
}
