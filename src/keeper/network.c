#include "keeper/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "keeper/netlink.h"

#define LOOPBACK 1 /* index of lo, the first interface of every namespace */
#define MESSAGES_SIZE 512

/* --- addresses and routes --------------------------------------------------------------------- */

struct address {
	uint8_t family;
	uint8_t bits;
	union {
		struct in_addr ip4;
		struct in6_addr ip6;
	};
};

static struct address address4(void)
{
	return (struct address){AF_INET, 32, .ip4.s_addr = htonl(NETWORK_ADDRESS4)};
}

static struct address address6(void)
{
	return (struct address){AF_INET6, 128, .ip6 = NETWORK_ADDRESS6};
}

/* Messages, one after the other. */
struct writer {
	char buf[MESSAGES_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
	size_t len;
	uint32_t seq;
};

static struct nlmsghdr *begin(struct writer *w, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *msg = mnl_nlmsg_put_header(w->buf + w->len);

	msg->nlmsg_type = type;
	msg->nlmsg_flags = NLM_F_REQUEST | flags;
	msg->nlmsg_seq = ++w->seq;
	return msg;
}

static void end(struct writer *w, const struct nlmsghdr *msg)
{
	w->len += msg->nlmsg_len;
}

static void raise_link(struct writer *w)
{
	struct nlmsghdr *msg = begin(w, RTM_NEWLINK, 0);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(msg, sizeof(*link));

	link->ifi_family = AF_UNSPEC;
	link->ifi_index = LOOPBACK;
	link->ifi_flags = IFF_UP;
	link->ifi_change = IFF_UP;
	end(w, msg);
}

static void put_address(struct nlmsghdr *msg, uint16_t type, const struct address *a)
{
	mnl_attr_put(msg, type, a->bits / 8, &a->ip6);
}

static void add_address(struct writer *w, const struct address *a)
{
	struct nlmsghdr *msg = begin(w, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifa_family = a->family;
	head->ifa_prefixlen = a->bits;
	/* Nobody else can have it: without the wait for a conflict it can be used at once. */
	head->ifa_flags = a->family == AF_INET6 ? IFA_F_NODAD : 0;
	head->ifa_index = LOOPBACK;
	put_address(msg, IFA_LOCAL, a);
	put_address(msg, IFA_ADDRESS, a);
	end(w, msg);
}

/* Without a source of its own, what leaves by it would come from 0.0.0.0 and fail. */
static struct nlmsghdr *add_default_route(struct writer *w, const struct address *source)
{
	struct nlmsghdr *msg = begin(w, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
	struct rtmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->rtm_family = source->family;
	head->rtm_table = RT_TABLE_MAIN;
	head->rtm_protocol = RTPROT_BOOT;
	head->rtm_scope = source->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	head->rtm_type = RTN_UNICAST;
	put_address(msg, RTA_PREFSRC, source);
	mnl_attr_put_u32(msg, RTA_OIF, LOOPBACK);
	end(w, msg);
	return msg;
}

int network_raise(void)
{
	const struct address ip4 = address4(), ip6 = address6();
	struct writer w = {.len = 0};

	raise_link(&w);
	add_address(&w, &ip4);
	add_address(&w, &ip6);
	(void)add_default_route(&w, &ip4);
	add_default_route(&w, &ip6)->nlmsg_flags |= NLM_F_ACK;
	return netlink_exchange(NETLINK_ROUTE, w.buf, w.len, w.seq);
}

/* --- the gate's sockets ----------------------------------------------------------------------- */

static int bind_to(int sock, uint8_t family, in_port_t port)
{
	struct sockaddr_in ip4 = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(NETWORK_ADDRESS4),
	};
	struct sockaddr_in6 ip6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = NETWORK_ADDRESS6,
	};
	int r = family == AF_INET ? bind(sock, (struct sockaddr *)&ip4, sizeof(ip4))
				  : bind(sock, (struct sockaddr *)&ip6, sizeof(ip6));

	return r < 0 ? -errno : 0;
}

static int make_socket(uint8_t family, int type)
{
	const int on = 1;
	auto_close int sock = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (sock < 0)
		return -errno;
	if (family == AF_INET6 && setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	/* Connections of a gate that was killed keep their place for a minute. Only those who have
	 * this as well get along with it; while one of them listens, no other can. */
	if (type == SOCK_STREAM && setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	int r = bind_to(sock, family, type == SOCK_STREAM ? NETWORK_PORT_TCP : NETWORK_PORT_DNS);
	return r < 0 ? r : take_fd(sock);
}

static int make_sockets(int fds[NETWORK_SOCKET_COUNT])
{
	static const struct {
		uint8_t family;
		int type;
	} wanted[NETWORK_SOCKET_COUNT] = {
		[NETWORK_TCP4] = {AF_INET, SOCK_STREAM},
		[NETWORK_TCP6] = {AF_INET6, SOCK_STREAM},
		[NETWORK_DNS4] = {AF_INET, SOCK_DGRAM},
		[NETWORK_DNS6] = {AF_INET6, SOCK_DGRAM},
	};

	for (unsigned i = 0; i < NETWORK_SOCKET_COUNT; i++) {
		fds[i] = make_socket(wanted[i].family, wanted[i].type);
		if (fds[i] >= 0)
			continue;
		int err = fds[i];
		while (i-- > 0)
			fds[i] = fd_close(fds[i]);
		return err;
	}
	return 0;
}

int network_make_sockets(int netns, int home, int fds[NETWORK_SOCKET_COUNT])
{
	if (setns(netns, CLONE_NEWNET) < 0)
		return -errno;
	int r = make_sockets(fds);
	if (setns(home, CLONE_NEWNET) < 0) {
		log_error("cannot leave the network of a machine: %s", strerror(errno));
		abort();
	}
	return r;
}
