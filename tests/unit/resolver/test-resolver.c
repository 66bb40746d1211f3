/*
 * The program itself, in a network of its own with an /etc of its own, where a thread of this test
 * is the name server.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/mem.h"
#include "resolver/request.h"
#include "wire/dns.h"

#define UID 54321
#define QUERIES_MAX 2048
#define ASKER_WAITS_MAX 128 /* as in queue.c */
#define ASKER_THREADS_MAX 8
#define WAIT_MS 30000 /* against a test that hangs */

static bool has_world;

/* --- the name server -------------------------------------------------------------------------- */

/* Names that begin with "held" are answered once they are released. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t asked;
	int sock;
	bool released;
	size_t count;
	struct query {
		struct dns_query q;
		struct sockaddr_in from;
		bool answered;
	} queries[QUERIES_MAX];
} server = {.lock = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER};

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static void reply(struct query *query)
{
	static const uint8_t address[4] = {203, 0, 113, 7};
	uint8_t message[DNS_ANSWER_MAX];
	enum dns_rcode rcode = DNS_NOERROR;

	if (strstr(query->q.name, ".invalid"))
		rcode = DNS_NXDOMAIN;
	else if (begins(query->q.name, "broken."))
		rcode = DNS_SERVFAIL;
	size_t len = dns_put_answer(&query->q, rcode,
		rcode == DNS_NOERROR && query->q.type == DNS_A ? address : NULL, NULL, 0, message);
	(void)sendto(
		server.sock, message, len, 0, (struct sockaddr *)&query->from, sizeof(query->from));
	query->answered = true;
}

static void *serve(void *data)
{
	for (;;) {
		uint8_t message[DNS_MESSAGE_MAX];
		struct query query = {.answered = false};
		socklen_t from_len = sizeof(query.from);
		ssize_t n = recvfrom(server.sock, message, sizeof(message), 0,
			(struct sockaddr *)&query.from, &from_len);

		if (n < 0 || dns_parse_query(message, (size_t)n, &query.q) < 0)
			abort();
		pthread_mutex_lock(&server.lock);
		if (server.count == QUERIES_MAX)
			abort();
		if (server.released || !begins(query.q.name, "held"))
			reply(&query);
		server.queries[server.count++] = query;
		pthread_cond_broadcast(&server.asked);
		pthread_mutex_unlock(&server.lock);
	}
	return NULL;
}

static void hold(void)
{
	pthread_mutex_lock(&server.lock);
	server.released = false;
	pthread_mutex_unlock(&server.lock);
}

static void release(void)
{
	pthread_mutex_lock(&server.lock);
	server.released = true;
	for (size_t i = 0; i < server.count; i++) {
		if (!server.queries[i].answered)
			reply(&server.queries[i]);
	}
	pthread_mutex_unlock(&server.lock);
}

static size_t count_queries(const char *prefix, unsigned type)
{
	size_t n = 0;

	for (size_t i = 0; i < server.count; i++)
		n += begins(server.queries[i].q.name, prefix) && server.queries[i].q.type == type;
	return n;
}

static size_t queries(const char *prefix, unsigned type)
{
	pthread_mutex_lock(&server.lock);
	size_t n = count_queries(prefix, type);
	pthread_mutex_unlock(&server.lock);
	return n;
}

static void await_queries(const char *prefix, size_t count)
{
	struct timespec end;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_MS / 1000;
	pthread_mutex_lock(&server.lock);
	while (count_queries(prefix, DNS_A) < count && r == 0)
		r = pthread_cond_timedwait(&server.asked, &server.lock, &end);
	pthread_mutex_unlock(&server.lock);
	assert_int_equal(r, 0);
}

/* --- the world -------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

/* More addresses for "many" than an answer holds, and two that are the same. */
static void write_hosts(void)
{
	auto_buf struct buf text = {.max = 4096};

	assert_int_equal(buf_append_str(&text, "127.0.0.1 localhost\n::1 localhost\n"
					       "198.51.100.4 in-a-file\n198.51.100.4 in-a-file\n"),
		0);
	for (int i = 0; i <= RESOLVER_ADDRESSES_MAX; i++)
		assert_int_equal(buf_printf(&text, "198.51.100.%d many\n", i), 0);
	assert_int_equal(buf_append_byte(&text, 0), 0);
	write_file("/etc/hosts", (const char *)buf_data(&text));
}

static void write_resolv_conf(const char *server_address)
{
	auto_free char *text =
		mem_printf("nameserver %s\nsearch corp.example\noptions timeout:30 attempts:1\n",
			server_address);

	write_file("/etc/resolv.conf", text);
}

static void raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	auto_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
}

static int make_world(void **state)
{
	struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(53)};
	pthread_t thread;

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
		return 0;
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("etc", "/etc", "tmpfs", 0, NULL), 0);
	write_file("/etc/nsswitch.conf", "hosts: files dns\n");
	write_file("/etc/host.conf", "multi on\n");
	write_hosts();
	write_resolv_conf("127.0.0.1");
	raise_loopback();
	server.sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(server.sock, (struct sockaddr *)&local, sizeof(local)), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	has_world = true;
	return 0;
}

/* --- the program ------------------------------------------------------------------------------ */

struct resolver {
	pid_t pid;
	int sock;
};

/* Only system calls: this process has threads. */
_Noreturn static void run_program(int sock, const char *uid)
{
	if (dup2(sock, 3) == 3 && fd_set_cloexec(3, false) == 0)
		execl(RESOLVER_PROGRAM, "warren-resolver", "--socket-fd", "3", uid ? "--uid" : NULL,
			uid, NULL);
	_exit(99);
}

static struct resolver start(const char *uid)
{
	struct resolver r;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sv), 0);
	r.pid = fork();
	assert_true(r.pid >= 0);
	if (r.pid == 0)
		run_program(sv[1], uid);
	close(sv[1]);
	r.sock = sv[0];
	return r;
}

static int wait_for(pid_t pid)
{
	int status = 0;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Sends len bytes with count copies of one end of a pair. Returns the other end. */
static int send_request(const struct resolver *r, const void *data, size_t len, size_t count)
{
	int sv[2];
	int fds[4];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	for (size_t i = 0; i < count; i++)
		fds[i] = sv[1];
	int err = fd_send_msg(r->sock, data, len, fds, count);
	close(sv[1]);
	return err < 0 ? err : sv[0];
}

static int ask(const struct resolver *r, const char *name)
{
	struct resolver_request request = {.name = ""};

	snprintf(request.name, sizeof(request.name), "%s", name);
	int fd = send_request(r, &request, sizeof(request), 1);
	assert_true(fd >= 0);
	return fd;
}

/* Length of the answer, 0 for its end without one. Closes fd. */
static ssize_t take_answer(int fd, struct resolver_answer *ret)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n = -ETIME;

	memset(ret, 0xff, sizeof(*ret));
	if (poll(&p, 1, WAIT_MS) == 1)
		n = recv(fd, ret, sizeof(*ret), 0);
	close(fd);
	return n;
}

static uint32_t result(int fd)
{
	struct resolver_answer a;

	assert_int_equal(take_answer(fd, &a), sizeof(a));
	return a.result;
}

/* Requests are taken in order, so those before are in the queue then. */
static void await_taken(const struct resolver *r)
{
	struct resolver_answer a;

	assert_int_equal(take_answer(send_request(r, "", 1, 1), &a), 0);
}

static int start_resolver(void **state)
{
	struct resolver *r = mem_new(struct resolver);

	if (has_world) {
		*r = start("54321");
		/* Who asks before it has begun is nobody to it. */
		await_taken(r);
	}
	hold();
	*state = r;
	return 0;
}

/* It must still be there: nothing that was asked has ended it. */
static int stop_resolver(void **state)
{
	struct resolver *r = *state;

	release();
	if (has_world) {
		assert_int_equal(waitpid(r->pid, NULL, WNOHANG), 0);
		assert_int_equal(kill(r->pid, SIGTERM), 0);
		assert_int_equal(wait_for(r->pid), -SIGTERM);
		close(r->sock);
	}
	free(r);
	return 0;
}

#define NEED_WORLD() \
	do { \
		if (!has_world) \
			skip(); \
	} while (0)

/* --- answers ---------------------------------------------------------------------------------- */

static bool has_address(const struct resolver_answer *a, const char *text)
{
	struct in6_addr wanted;

	assert_int_equal(inet_pton(AF_INET6, text, &wanted), 1);
	for (uint32_t i = 0; i < a->count; i++) {
		if (memcmp(&a->addresses[i], &wanted, sizeof(wanted)) == 0)
			return true;
	}
	return false;
}

static void test_files(void **state)
{
	struct resolver_answer a;

	NEED_WORLD();
	assert_int_equal(take_answer(ask(*state, "localhost"), &a), sizeof(a));
	assert_int_equal(a.result, RESOLVER_OK);
	assert_int_equal(a.count, 2);
	assert_true(has_address(&a, "::1"));
	assert_true(has_address(&a, "::ffff:127.0.0.1"));
	assert_int_equal(take_answer(ask(*state, "in-a-file"), &a), sizeof(a));
	assert_int_equal(a.result, RESOLVER_OK);
	assert_int_equal(a.count, 1);
	assert_true(has_address(&a, "::ffff:198.51.100.4"));
	assert_int_equal(take_answer(ask(*state, "many"), &a), sizeof(a));
	assert_int_equal(a.result, RESOLVER_OK);
	assert_int_equal(a.count, RESOLVER_ADDRESSES_MAX);
	assert_int_equal(queries("", DNS_A), 0);
}

static void test_dns(void **state)
{
	struct resolver_answer a;

	NEED_WORLD();
	assert_int_equal(take_answer(ask(*state, "www.example.com"), &a), sizeof(a));
	assert_int_equal(a.result, RESOLVER_OK);
	assert_int_equal(a.count, 1);
	assert_true(has_address(&a, "::ffff:203.0.113.7"));
	assert_int_equal(queries("www.example.com", DNS_A), 1);
	assert_int_equal(queries("www.example.com", DNS_AAAA), 1);
	assert_int_equal(take_answer(ask(*state, "broken.example"), &a), sizeof(a));
	assert_int_equal(a.result, RESOLVER_FAILED);
	assert_int_equal(a.count, 0);
}

/* The host's configuration is read again when it has changed: nobody serves the second address. */
static void test_new_server(void **state)
{
	NEED_WORLD();
	assert_int_equal(result(ask(*state, "before.example")), RESOLVER_OK);
	write_resolv_conf("127.0.0.99");
	assert_int_equal(result(ask(*state, "between.example")), RESOLVER_FAILED);
	write_resolv_conf("127.0.0.1");
	assert_int_equal(result(ask(*state, "after-all.example")), RESOLVER_OK);
	assert_int_equal(queries("between.example", DNS_A), 0);
}

/* The host's search list is not for names that rules allow. */
static void test_no_name(void **state)
{
	struct resolver_answer a;

	NEED_WORLD();
	assert_int_equal(take_answer(ask(*state, "nothing.invalid"), &a), sizeof(a));
	assert_int_equal(a.result, RESOLVER_NO_NAME);
	assert_int_equal(a.count, 0);
	assert_int_equal(result(ask(*state, "label-invalid")), RESOLVER_OK);
	assert_int_equal(queries("nothing.invalid", DNS_A), 1);
	for (size_t i = 0; i < server.count; i++) /* nobody asks now */
		assert_null(strstr(server.queries[i].q.name, "corp.example"));
}

static void test_malformed(void **state)
{
	static const char *const names[] = {"", ".", "a..b", ".a", "a.", "A", "a b", "a/b", "a\n",
		"\xc3\xbc", "*.a", "127.0.0.1", "1", "0x7f.1", "::1", "fe80::1%lo", "a:53"};
	struct resolver_request request[2] = {{.name = "a"}};
	struct resolver_answer a;

	NEED_WORLD();
	for (size_t i = 0; i < array_len(names); i++)
		assert_int_equal(take_answer(ask(*state, names[i]), &a), 0);
	assert_int_equal(take_answer(send_request(*state, request, 0, 1), &a), 0);
	assert_int_equal(
		take_answer(send_request(*state, request, sizeof(request[0]) - 1, 1), &a), 0);
	assert_int_equal(
		take_answer(send_request(*state, request, sizeof(request[0]) + 1, 1), &a), 0);
	assert_int_equal(take_answer(send_request(*state, request, sizeof(request[0]), 0), &a), 0);
	assert_int_equal(take_answer(send_request(*state, request, sizeof(request[0]), 2), &a), 0);
	assert_int_equal(take_answer(send_request(*state, request, sizeof(request[0]), 4), &a), 0);
	memset(request[0].name, 'a', sizeof(request[0].name));
	assert_int_equal(take_answer(send_request(*state, request, sizeof(request[0]), 1), &a), 0);
	assert_int_equal(result(ask(*state, "localhost")), RESOLVER_OK);
}

/* Sockets that no answer fits through are closed, and nobody waits for them. */
static void test_strange_sockets(void **state)
{
	struct resolver_request request = {.name = "localhost"};
	auto_close int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	auto_close int lone = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	auto_close int file = open("/etc/hosts", O_RDWR | O_CLOEXEC);
	const int fds[] = {udp, lone, file};
	const struct resolver *r = *state;
	struct stat before, after;
	int sv[2];

	NEED_WORLD();
	assert_int_equal(fstat(file, &before), 0);
	for (size_t i = 0; i < array_len(fds); i++)
		assert_int_equal(fd_send_msg(r->sock, &request, sizeof(request), &fds[i], 1), 0);
	/* One whose buffer is full. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sv), 0);
	while (send(sv[1], &request, sizeof(request), MSG_DONTWAIT) > 0)
		;
	assert_int_equal(fd_send_msg(r->sock, &request, sizeof(request), &sv[1], 1), 0);
	assert_int_equal(result(ask(r, "localhost")), RESOLVER_OK);
	assert_int_equal(fstat(file, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	close(sv[0]);
	close(sv[1]);
}

/* --- many askers ------------------------------------------------------------------------------ */

static void test_shared(void **state)
{
	int fds[50];

	NEED_WORLD();
	for (size_t i = 0; i < array_len(fds); i++)
		fds[i] = ask(*state, "held-shared.example");
	await_taken(*state);
	release();
	for (size_t i = 0; i < array_len(fds); i++)
		assert_int_equal(result(fds[i]), RESOLVER_OK);
	assert_int_equal(queries("held-shared", DNS_A), 1);
	/* Not a cache: the next one is looked up. */
	assert_int_equal(result(ask(*state, "held-shared.example")), RESOLVER_OK);
	assert_int_equal(queries("held-shared", DNS_A), 2);
}

static void ask_many(const struct resolver *r, const char *prefix, int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s-%zu.example", prefix, i);
		fds[i] = ask(r, name);
	}
	await_taken(r);
}

/* As a gate of another sandbox does. Returns 0 when it gets its answer. */
static int ask_as_another(const struct resolver *r, const char *name)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct resolver_request request = {.name = ""};
		struct resolver_answer a;

		memcpy(request.name, name, strlen(name));
		if (setresuid(4242, 4242, 4242) < 0)
			_exit(2);
		int fd = send_request(r, &request, sizeof(request), 1);
		_exit(fd < 0 || take_answer(fd, &a) != sizeof(a) ? 3 : (int)a.result);
	}
	return wait_for(pid);
}

static void test_busy(void **state)
{
	int fds[ASKER_WAITS_MAX];

	NEED_WORLD();
	ask_many(*state, "held-busy", fds, array_len(fds));
	await_queries("held-busy", ASKER_THREADS_MAX);
	assert_int_equal(result(ask(*state, "one-more.example")), RESOLVER_BUSY);
	assert_int_equal(result(ask(*state, "held-busy-0.example")), RESOLVER_BUSY);
	/* One asker's lookups are not in the way of another's. */
	assert_int_equal(ask_as_another(*state, "quick.example"), RESOLVER_OK);
	assert_int_equal(queries("held-busy", DNS_A), ASKER_THREADS_MAX);
	release();
	for (size_t i = 0; i < array_len(fds); i++)
		assert_int_equal(result(fds[i]), RESOLVER_OK);
	assert_int_equal(queries("held-busy", DNS_A), ASKER_WAITS_MAX);
	assert_int_equal(result(ask(*state, "one-more.example")), RESOLVER_OK);
}

/* A name that somebody without a free thread waits for already runs for who asks next. */
static void test_shared_with_busy(void **state)
{
	int fds[ASKER_THREADS_MAX];

	NEED_WORLD();
	ask_many(*state, "held-full", fds, array_len(fds));
	await_queries("held-full", ASKER_THREADS_MAX);
	int popular = ask(*state, "popular.example");
	await_taken(*state);
	assert_int_equal(queries("popular", DNS_A), 0);
	assert_int_equal(ask_as_another(*state, "popular.example"), RESOLVER_OK);
	assert_int_equal(result(popular), RESOLVER_OK);
	assert_int_equal(queries("popular", DNS_A), 1);
	release();
	for (size_t i = 0; i < array_len(fds); i++)
		assert_int_equal(result(fds[i]), RESOLVER_OK);
}

static void test_given_up(void **state)
{
	int fds[ASKER_WAITS_MAX];

	NEED_WORLD();
	ask_many(*state, "held-gone", fds, array_len(fds));
	await_queries("held-gone", ASKER_THREADS_MAX);
	for (size_t i = 0; i < array_len(fds); i++)
		close(fds[i]);
	/* Their places are free, but not the threads. */
	int fd = ask(*state, "after.example");
	await_taken(*state);
	release();
	assert_int_equal(result(fd), RESOLVER_OK);
	/* Nobody waits for the others any more, so they are not looked up. */
	assert_int_equal(queries("held-gone", DNS_A), ASKER_THREADS_MAX);
}

/* --- rights ----------------------------------------------------------------------------------- */

static void test_confined(void **state)
{
	static const char *const lines[] = {"\nUid:\t54321\t54321\t54321\t54321\n",
		"\nGid:\t54321\t54321\t54321\t54321\n", "\nGroups:\t \n",
		"\nCapInh:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n",
		"\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n",
		"\nCapAmb:\t0000000000000000\n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n"};
	const struct resolver *r = *state;
	auto_free char *path = mem_printf("/proc/%d/status", r->pid);
	auto_free char *text = NULL;

	NEED_WORLD();
	assert_int_equal(result(ask(r, "localhost")), RESOLVER_OK);
	assert_int_equal(fd_read_file(AT_FDCWD, path, 65536, &text, NULL), 0);
	for (size_t i = 0; i < array_len(lines); i++) {
		print_message("# %s", lines[i] + 1);
		assert_non_null(strstr(text, lines[i]));
	}
}

/* Its parent says which it is, and ends. */
static void test_dies_with_parent(void **state)
{
	struct pollfd p = {.events = POLLIN};
	struct resolver r;
	int sv[2];
	pid_t parent;

	NEED_WORLD();
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	parent = fork();
	assert_true(parent >= 0);
	if (parent == 0) {
		char go;

		r = start("54321");
		(void)!write(sv[1], &r.pid, sizeof(r.pid));
		(void)fd_send_msg(sv[1], "", 1, &r.sock, 1);
		(void)!read(sv[1], &go, 1);
		_exit(0);
	}
	char byte;
	size_t count = 1;
	assert_int_equal(read(sv[0], &r.pid, sizeof(r.pid)), sizeof(r.pid));
	assert_int_equal(fd_recv_msg(sv[0], &byte, 1, &r.sock, &count), 1);
	assert_int_equal(count, 1);
	p.fd = (int)syscall(SYS_pidfd_open, r.pid, 0);
	assert_true(p.fd >= 0);
	assert_int_equal(result(ask(&r, "localhost")), RESOLVER_OK);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(write(sv[0], "", 1), 1);
	assert_int_equal(wait_for(parent), 0);
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	close(p.fd);
	close(r.sock);
	close(sv[0]);
	close(sv[1]);
}

static void test_refuses_root(void **state)
{
	static const char *const uids[] = {NULL, "0", "4294967295", "-1", "x", ""};

	if (geteuid() != 0)
		skip();
	for (size_t i = 0; i < array_len(uids); i++) {
		struct resolver r = start(uids[i]);

		assert_int_equal(wait_for(r.pid), uids[i] ? 2 : 1);
		close(r.sock);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_resolver, stop_resolver)
	static const struct CMUnitTest tests[] = {
		TEST(test_files),
		TEST(test_dns),
		TEST(test_new_server),
		TEST(test_no_name),
		TEST(test_malformed),
		TEST(test_strange_sockets),
		TEST(test_shared),
		TEST(test_busy),
		TEST(test_shared_with_busy),
		TEST(test_given_up),
		TEST(test_confined),
		cmocka_unit_test(test_dies_with_parent),
		cmocka_unit_test(test_refuses_root),
	};

	return cmocka_run_group_tests(tests, make_world, NULL);
}
