/* What programs in a machine's network get: every packet has an end at once. The gate is played by
 * the test. */
#include "netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"
#include "keeper/netrules.h"
#include "keeper/network.h"

#define WAIT_MS 20000 /* nothing here takes long; a hang ends as a failure */

static int raise_network(void)
{
	static struct netrules rules;

	netrules_build(&rules);
	int r = network_raise();
	return r < 0 ? r : netrules_load(&rules);
}

union address {
	struct sockaddr any;
	struct sockaddr_in ip4;
	struct sockaddr_in6 ip6;
};

static socklen_t parse(const char *text, uint16_t port, union address *ret)
{
	*ret = (union address){0};
	if (inet_pton(AF_INET, text, &ret->ip4.sin_addr) == 1) {
		ret->ip4.sin_family = AF_INET;
		ret->ip4.sin_port = htons(port);
		return sizeof(ret->ip4);
	}
	assert_int_equal(inet_pton(AF_INET6, text, &ret->ip6.sin6_addr), 1);
	ret->ip6.sin6_family = AF_INET6;
	ret->ip6.sin6_port = htons(port);
	return sizeof(ret->ip6);
}

/* Sends, or connects: the error of the socket in the end, 0 when there is none. */
static int attempt(const char *to, uint16_t port, int type, int protocol)
{
	static const char packet[64] = {8}; /* an echo request, where it matters */
	union address a;
	socklen_t len = parse(to, port, &a);
	int err = 0;
	socklen_t err_len = sizeof(err);

	auto_close int sock = socket(a.any.sa_family, type | SOCK_NONBLOCK, protocol);
	if (sock < 0 || (connect(sock, &a.any, len) < 0 && errno != EINPROGRESS))
		return errno;
	if (type == SOCK_DGRAM && send(sock, packet, sizeof(packet), 0) < 0)
		return errno;
	struct pollfd p = {.fd = sock, .events = type == SOCK_DGRAM ? POLLIN : POLLOUT};
	if (poll(&p, 1, WAIT_MS) != 1)
		return ETIMEDOUT;
	(void)getsockopt(sock, SOL_SOCKET, SO_ERROR, &err, &err_len);
	return err;
}

static int run_alone(void *data)
{
	static const struct {
		const char *to;
		uint16_t port;
		int type, protocol;
		int err;
	} attempts[] = {
		/* to the gate, which is not there */
		{"93.184.216.34", 443, SOCK_STREAM, 0, ECONNREFUSED},
		{"2606:2800::1", 443, SOCK_STREAM, 0, ECONNREFUSED},
		{"10.200.0.1", 53, SOCK_STREAM, 0, ECONNREFUSED},
		{"10.200.0.1", 53, SOCK_DGRAM, 0, ECONNREFUSED},
		{"8.8.8.8", 53, SOCK_DGRAM, 0, ECONNREFUSED},
		{"2606:2800::1", 53, SOCK_DGRAM, 0, ECONNREFUSED},
		{"10.200.0.2", 15001, SOCK_STREAM, 0, ECONNREFUSED},
		/* nowhere */
		{"93.184.216.34", 123, SOCK_DGRAM, 0, EPERM},
		{"93.184.216.34", 443, SOCK_DGRAM, 0, EPERM},
		{"2606:2800::1", 443, SOCK_DGRAM, 0, EPERM},
		{"10.200.0.1", 5353, SOCK_DGRAM, 0, EPERM},
		{"224.0.0.251", 5353, SOCK_DGRAM, 0, EPERM},
		{"fd00:5b::1", 5353, SOCK_DGRAM, 0, EPERM},
		{"93.184.216.34", 0, SOCK_DGRAM, IPPROTO_ICMP, EPERM},
		{"224.0.0.251", 80, SOCK_STREAM, 0, ENETUNREACH},
		/* its own */
		{"127.0.0.1", 80, SOCK_STREAM, 0, ECONNREFUSED},
		{"::1", 80, SOCK_STREAM, 0, ECONNREFUSED},
		{"127.0.0.1", 53, SOCK_DGRAM, 0, ECONNREFUSED},
		{"127.0.0.1", 0, SOCK_DGRAM, IPPROTO_ICMP, 0},
		{"10.200.0.2", 0, SOCK_DGRAM, IPPROTO_ICMP, 0},
	};
	int failed = 0;

	(void)data;
	if (raise_network() != 0)
		return 1;
	auto_close int groups = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY);
	if (write(groups, "0 0", 3) != 3)
		return 2;
	for (size_t i = 0; i < array_len(attempts); i++) {
		int err = attempt(
			attempts[i].to, attempts[i].port, attempts[i].type, attempts[i].protocol);

		if (err == attempts[i].err)
			continue;
		print_error("%s port %u type %d: %s, expected %s\n", attempts[i].to,
			attempts[i].port, attempts[i].type, strerror(err),
			strerror(attempts[i].err));
		failed++;
	}
	return failed == 0 ? 0 : 3;
}

static void test_without_gate(void **state)
{
	if (!netns_possible())
		skip();
	assert_int_equal(netns_run(run_alone, NULL), 0);
}

/* --- with a gate ------------------------------------------------------------------------------ */

static int ready(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, WAIT_MS) == 1 ? 0 : -1;
}

/* A connection to anywhere lands on the gate's socket, which can tell where it was to go. */
static int check_tcp(int listener, const char *to, int level)
{
	union address a, original;
	socklen_t len = parse(to, 443, &a), original_len = len;
	char text[4] = {0};

	if (listen(listener, 16) < 0)
		return -1;
	auto_close int client = socket(a.any.sa_family, SOCK_STREAM, 0);
	if (connect(client, &a.any, len) < 0 || ready(listener) < 0)
		return -2;
	auto_close int served = accept(listener, NULL, NULL);
	if (served < 0 ||
		getsockopt(served, level, SO_ORIGINAL_DST, &original, &original_len) < 0 ||
		memcmp(&original, &a, len) != 0)
		return -3;
	if (write(client, "abc", 3) != 3 || read(served, text, 3) != 3 || strcmp(text, "abc") != 0)
		return -4;
	return 0;
}

/* An answer comes from where the question went. */
static int check_dns(int gate, const char *to)
{
	union address a, from, seen;
	socklen_t len = parse(to, 53, &a), from_len = sizeof(from), seen_len = sizeof(seen);
	char text[8] = {0};

	auto_close int client = socket(a.any.sa_family, SOCK_DGRAM, 0);
	if (sendto(client, "query", 5, 0, &a.any, len) != 5 || ready(gate) < 0 ||
		recvfrom(gate, text, sizeof(text), 0, &from.any, &from_len) != 5)
		return -1;
	if (sendto(gate, "answer", 6, 0, &from.any, from_len) != 6 || ready(client) < 0 ||
		recvfrom(client, text, sizeof(text), 0, &seen.any, &seen_len) != 6)
		return -2;
	return seen_len == len && memcmp(&seen, &a, len) == 0 ? 0 : -3;
}

static int run_gate(void *data)
{
	int fds[NETWORK_SOCKET_COUNT];
	auto_close int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	(void)data;
	if (here < 0 || raise_network() != 0 || unshare(CLONE_NEWNET) < 0)
		return 1;
	auto_close int elsewhere = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (network_make_sockets(here, elsewhere, fds) != 0)
		return 2;
	/* The caller is where it was: nothing there is raised. */
	if (attempt("93.184.216.34", 443, SOCK_STREAM, 0) != ENETUNREACH)
		return 3;
	if (setns(here, CLONE_NEWNET) < 0)
		return 4;
	/* Bound and not listening: refused rather than left waiting. */
	if (attempt("93.184.216.34", 443, SOCK_STREAM, 0) != ECONNREFUSED)
		return 5;
	if (check_tcp(fds[NETWORK_TCP4], "93.184.216.34", SOL_IP) != 0)
		return 6;
	if (check_tcp(fds[NETWORK_TCP6], "2606:2800::1", SOL_IPV6) != 0)
		return 7;
	if (check_dns(fds[NETWORK_DNS4], "10.200.0.1") != 0)
		return 8;
	if (check_dns(fds[NETWORK_DNS4], "8.8.8.8") != 0)
		return 9;
	if (check_dns(fds[NETWORK_DNS6], "2606:2800::1") != 0)
		return 10;
	for (unsigned i = 0; i < NETWORK_SOCKET_COUNT; i++) {
		if ((fcntl(fds[i], F_GETFD) & FD_CLOEXEC) == 0)
			return 11;
	}
	/* The places are taken. */
	return network_make_sockets(here, elsewhere, fds) == -EADDRINUSE ? 0 : 12;
}

static void test_with_gate(void **state)
{
	if (!netns_possible())
		skip();
	assert_int_equal(netns_run(run_gate, NULL), 0);
}

static int count_tracked(void)
{
	char text[16] = "";
	auto_close int fd =
		open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -1;
	return (int)strtol(text, NULL, 10);
}

static int talk_to_itself(const char *to)
{
	union address a;
	socklen_t len = parse(to, 80, &a);

	auto_close int listener = socket(a.any.sa_family, SOCK_STREAM, 0);
	if (bind(listener, &a.any, len) < 0 || listen(listener, 1) < 0)
		return -1;
	auto_close int client = socket(a.any.sa_family, SOCK_STREAM, 0);
	return connect(client, &a.any, len);
}

/* What is said inside has no place in the table of connections; what goes to the gate has. */
static int run_tracking(void *data)
{
	int fds[NETWORK_SOCKET_COUNT];
	auto_close int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	(void)data;
	if (raise_network() != 0 || network_make_sockets(here, here, fds) != 0)
		return 1;
	if (talk_to_itself("127.0.0.1") < 0 || talk_to_itself("127.8.8.8") < 0 ||
		talk_to_itself("::1") < 0)
		return 2;
	if (count_tracked() != 0)
		return 3;
	if (check_tcp(fds[NETWORK_TCP4], "93.184.216.34", SOL_IP) != 0)
		return 4;
	return count_tracked() == 1 ? 0 : 5;
}

static void test_tracking(void **state)
{
	if (!netns_possible())
		skip();
	assert_int_equal(netns_run(run_tracking, NULL), 0);
}

/* A gate that dies with connections open leaves them behind for a minute; the next one must find
 * its place all the same. */
static int run_successor(void *data)
{
	int fds[NETWORK_SOCKET_COUNT];
	union address a;
	socklen_t len = parse("93.184.216.34", 443, &a);
	auto_close int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	(void)data;
	if (raise_network() != 0 || network_make_sockets(here, here, fds) != 0 ||
		listen(fds[NETWORK_TCP4], 16) < 0)
		return 1;
	auto_close int client = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(client, &a.any, len) < 0 || ready(fds[NETWORK_TCP4]) < 0)
		return 2;
	int served = accept(fds[NETWORK_TCP4], NULL, NULL);
	if (served < 0)
		return 3;
	close(served);
	for (unsigned i = 0; i < NETWORK_SOCKET_COUNT; i++)
		close(fds[i]);
	if (network_make_sockets(here, here, fds) != 0)
		return 4;
	return listen(fds[NETWORK_TCP4], 16) == 0 ? 0 : 5;
}

static void test_successor(void **state)
{
	if (!netns_possible())
		skip();
	assert_int_equal(netns_run(run_successor, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_gate),
		cmocka_unit_test(test_with_gate),
		cmocka_unit_test(test_tracking),
		cmocka_unit_test(test_successor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
