/* The gates of machines, played by a stub: who starts them, what they get, and what ends them. */
#include "unit.h"

#include <dirent.h>

#include "fixture.h"
#include "keeper/request.h"
#include "stub-mother.h"

#define UID_BASE 0x58000000U
#define FIRST_GATE_UID (UID_BASE - KEEPER_SLOTS_MAX)
#define RESOLVER_UID (FIRST_GATE_UID - 1)
#define TRIES 1000
#define TRY_US 10000

/* --- gates ------------------------------------------------------------------------------------ */

static void tell(const struct guest *g, char what)
{
	assert_int_equal(send(g->gate, &what, 1, MSG_NOSIGNAL), 1);
}

static struct stub_gate_info who(const struct guest *g)
{
	struct stub_gate_info info = {0};

	tell(g, 'i');
	assert_int_equal(recv(g->gate, &info, sizeof(info), 0), sizeof(info));
	return info;
}

static bool is_alive(pid_t pid)
{
	auto_free char *path = mem_printf("/proc/%d/stat", (int)pid);
	auto_free char *text = NULL;

	/* A zombie nobody has reaped yet holds nothing any more. */
	return fd_read_file(AT_FDCWD, path, 4096, &text, NULL) == 0 && strstr(text, ") Z") == NULL;
}

static bool ends(pid_t pid)
{
	for (int i = 0; i < TRIES && is_alive(pid); i++)
		usleep(TRY_US);
	return !is_alive(pid);
}

static void expect_refused(struct guest *g)
{
	must(g, 1000,
		"python3 -c '\n"
		"import errno, socket\n"
		"for family, host in ((socket.AF_INET, \"1.1.1.1\"), (socket.AF_INET6, "
		"\"2600::\")):\n"
		"    s = socket.socket(family); s.settimeout(20)\n"
		"    assert s.connect_ex((host, 443)) == errno.ECONNREFUSED\n"
		"    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(20)\n"
		"    s.connect((host, 53)); s.send(b\"x\")\n"
		"    try: s.recv(9); raise SystemExit(1)\n"
		"    except ConnectionRefusedError: pass\n"
		"'");
}

static void expect_served(struct guest *g)
{
	must(g, 1000,
		"python3 -c '\n"
		"import socket\n"
		"for family, host, says in ((socket.AF_INET, \"1.1.1.1\", b\"4\"),"
		" (socket.AF_INET6, \"2600::\", b\"6\")):\n"
		"    s = socket.socket(family); s.settimeout(20)\n"
		"    s.connect((host, 443)); assert s.recv(9) == says\n"
		"    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(20)\n"
		"    s.sendto(b\"query\", (host, 53)); text, peer = s.recvfrom(9)\n"
		"    assert text == b\"query\" and peer[:2] == (host, 53), peer\n"
		"s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20)\n"
		"s.sendto(b\"q\", (\"10.200.0.1\", 53)); assert s.recvfrom(9)[1] == "
		"(\"10.200.0.1\", 53)\n"
		"s = socket.create_server((\"127.0.0.1\", 0))\n"
		"c = socket.create_connection(s.getsockname()); s.accept()[0].send(b\"own\")\n"
		"assert c.recv(9) == b\"own\"\n"
		"'");
}

static void test_life(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 1280, 1024));
	expect_refused(&g);
	assert_int_equal(guest_open_gate(&g), 0);
	struct stub_gate_info first = who(&g);
	assert_in_range(first.uid, FIRST_GATE_UID, UID_BASE - 1);
	assert_int_equal(first.gid, first.uid);
	expect_served(&g);

	/* One at a time. */
	int gate = take_fd(g.gate);
	assert_int_equal(guest_open_gate(&g), -EBUSY);
	assert_non_null(strstr(g.err.message, "start the gate"));
	g.gate = gate;

	/* Its end is the end of all it had; then there may be another. */
	tell(&g, 'x');
	assert_true(ends(first.pid));
	expect_refused(&g);
	g.gate = fd_close(g.gate);
	assert_int_equal(guest_open_gate(&g), 0);
	struct stub_gate_info second = who(&g);
	assert_int_equal(second.uid, first.uid);
	assert_int_not_equal(second.pid, first.pid);
	expect_served(&g);

	/* Killed with connections open. */
	must(&g, 1000,
		"python3 -c '\nimport socket, time\n"
		"s = socket.create_connection((\"1.1.1.1\", 80)); s.recv(9); time.sleep(60)'"
		" >/dev/null 2>&1 & sleep 0.3");
	assert_int_equal(kill(second.pid, SIGKILL), 0);
	assert_true(ends(second.pid));
	g.gate = fd_close(g.gate);
	assert_int_equal(guest_open_gate(&g), 0);
	expect_served(&g);

	/* It ends with its machine. */
	struct stub_gate_info third = who(&g);
	assert_true(guest_end(&g));
	assert_true(ends(third.pid));
}

/* Gates of two machines have an id of their own each, which the next machine of the slot gets. */
static void test_two(void **state)
{
	struct guest a, b;

	need_host();
	assert_true(guest_start(&a, &host, 1280, 1024));
	assert_true(guest_start(&b, &host, 1280, 1024));
	assert_int_equal(guest_open_gate(&a), 0);
	assert_int_equal(guest_open_gate(&b), 0);
	uint32_t uid_a = who(&a).uid, uid_b = who(&b).uid;
	assert_int_not_equal(uid_a, uid_b);
	assert_int_equal(who(&a).mother, who(&b).mother);
	assert_true(guest_end(&a));
	expect_served(&b);
	assert_true(guest_end(&b));
	/* A slot is free when its remains are cleared away, which takes its time. */
	for (int i = 0; i < TRIES; i++) {
		assert_true(guest_start(&a, &host, 1280, 1024));
		assert_int_equal(guest_open_gate(&a), 0);
		uint32_t uid = who(&a).uid;
		assert_true(guest_end(&a));
		if (uid == uid_a || uid == uid_b)
			return;
	}
	fail_msg("no slot is used again");
}

/* The machine of a gate ends by itself. */
static void test_machine_exits(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 1280, 1024));
	assert_int_equal(guest_open_gate(&g), 0);
	struct stub_gate_info info = who(&g);
	g.agent = fd_close(g.agent);
	assert_true(host_wait(&host, &g.exited));
	assert_true(ends(info.pid));
	g.gate = fd_close(g.gate);
	assert_int_equal(guest_open_gate(&g), -ESTALE);
	assert_true(guest_end(&g));
}

/* Destroyed with a request on its way: nothing is left of it. */
static void test_destroyed_meanwhile(void **state)
{
	struct guest g;

	need_host();
	for (int i = 0; i < 10; i++) {
		assert_true(guest_start(&g, &host, 256, 64));
		g.answered = false;
		machine_open_gate(g.m, guest_on_gate, &g);
		assert_true(guest_end(&g));
		assert_false(g.answered);
	}
}

static unsigned count_fds(pid_t pid)
{
	auto_free char *path = mem_printf("/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void test_no_leak(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 256, 64));
	unsigned before = count_fds(host.keeper);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(guest_open_gate(&g), 0);
		g.gate = fd_close(g.gate);
	}
	for (int i = 0; i < TRIES && count_fds(host.keeper) != before; i++)
		usleep(TRY_US);
	assert_int_equal(count_fds(host.keeper), before);
	/* While one lives, the keeper has its pidfd and nothing else of it. */
	assert_int_equal(guest_open_gate(&g), 0);
	(void)who(&g);
	assert_int_equal(count_fds(host.keeper), before + 1);
	assert_true(guest_end(&g));
}

/* --- mother and resolver ---------------------------------------------------------------------- */

static void test_mother_killed(void **state)
{
	struct guest a, b;

	need_host();
	isolation_prepare(host.iso, 1);
	assert_true(guest_start(&a, &host, 256, 64));
	assert_true(guest_start(&b, &host, 256, 64));
	assert_int_equal(guest_open_gate(&a), 0);
	assert_int_equal(guest_open_gate(&b), 0);
	struct stub_gate_info info = who(&a);
	assert_int_equal(kill(info.mother, SIGKILL), 0);
	char byte;
	assert_int_equal(recv(a.gate, &byte, 1, 0), 0);
	assert_int_equal(recv(b.gate, &byte, 1, 0), 0);
	assert_true(ends(info.pid));
	a.gate = fd_close(a.gate);
	/* Waits for the next mother. */
	assert_int_equal(guest_open_gate(&a), 0);
	assert_int_not_equal(who(&a).mother, info.mother);
	expect_served(&a);
	must(&b, 1000, "true");
	assert_true(guest_end(&b));
	assert_true(guest_start(&b, &host, 256, 64)); /* from the reserve */
	assert_int_equal(guest_open_gate(&b), 0);
	expect_served(&b);
	assert_true(guest_end(&a));
	assert_true(guest_end(&b));
	isolation_prepare(host.iso, 0);
}

static uint32_t real_uid(const char *pid)
{
	auto_free char *path = mem_printf("/proc/%s/status", pid);
	auto_free char *text = NULL;

	if (fd_read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	const char *at = strstr(text, "\nUid:");
	return at != NULL ? (uint32_t)strtoul(at + 5, NULL, 10) : 0;
}

static pid_t find_by_uid(uint32_t uid)
{
	DIR *dir = opendir("/proc");
	pid_t found = 0;

	assert_non_null(dir);
	for (struct dirent *e; found == 0 && (e = readdir(dir)) != NULL;) {
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && real_uid(e->d_name) == uid)
			found = (pid_t)strtol(e->d_name, NULL, 10);
	}
	closedir(dir);
	return found;
}

static bool asks_resolver(const struct guest *g)
{
	char said = 0;

	tell(g, 'r');
	assert_int_equal(recv(g->gate, &said, 1, 0), 1);
	return said == 'y';
}

static void test_resolver_killed(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 256, 64));
	assert_int_equal(guest_open_gate(&g), 0);
	assert_true(asks_resolver(&g));
	pid_t pid = find_by_uid(RESOLVER_UID);
	assert_true(pid > 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(ends(pid));
	assert_true(asks_resolver(&g)); /* the next one reads what waits */
	assert_int_not_equal(find_by_uid(RESOLVER_UID), pid);
	assert_true(guest_end(&g));
}

/* Everything ends with the keeper, however that ends. */
static void expect_all_gone(int signo)
{
	struct host h;
	struct error err = {0};
	struct guest g;

	assert_int_equal(host_start(&h, &err), 0);
	assert_true(guest_start(&g, &h, 256, 64));
	assert_int_equal(guest_open_gate(&g), 0);
	struct stub_gate_info info = who(&g);
	pid_t resolver = 0;
	/* The one of the other keeper has the same id. */
	auto_free char *path = mem_printf("/proc/%d/task/%d/children", h.keeper, h.keeper);
	auto_free char *children = NULL;
	assert_int_equal(fd_read_file(AT_FDCWD, path, 4096, &children, NULL), 0);
	for (char *at = children, *end; *at != '\0'; at = end) {
		pid_t pid = (pid_t)strtol(at, &end, 10);
		if (end == at)
			break;
		auto_free char *text = mem_printf("%d", (int)pid);
		if (real_uid(text) == RESOLVER_UID)
			resolver = pid;
	}
	assert_true(resolver > 0);
	assert_int_equal(kill(h.keeper, signo), 0);
	assert_true(host_wait(&h, &h.lost));
	assert_true(ends(info.pid));
	assert_true(ends(info.mother));
	assert_true(ends(resolver));
	/* Of a machine that is lost nothing can be had. */
	g.gate = fd_close(g.gate);
	assert_int_equal(guest_open_gate(&g), -ENOTCONN);
	assert_true(guest_end(&g));
	host_stop(&h);
}

static void test_keeper_killed(void **state)
{
	need_host();
	expect_all_gone(SIGKILL);
}

static void test_keeper_ends(void **state)
{
	need_host();
	expect_all_gone(SIGTERM);
}

/* --- start ------------------------------------------------------------------------------------ */

static void test_no_program(void **state)
{
	static const struct {
		const char *path;
		int err;
		const char *says;
	} cases[] = {
		{"/nonexistent/warren-gate", -ENOENT, "find warren-gate"},
		{"/etc/passwd", -EACCES, "find warren-gate"},
		{"/etc", -EACCES, "find warren-gate"},
	};

	need_host();
	for (size_t i = 0; i < array_len(cases); i++) {
		struct error err = {0};
		struct host h;

		assert_int_equal(host_start_as(&h, &(struct host){.gate = cases[i].path}, &err),
			cases[i].err);
		assert_non_null(strstr(err.message, cases[i].says));
		host_stop(&h);
	}
}

/* A mother that cannot stay: machines work, gates are refused after a while. */
static void test_no_mother(void **state)
{
	struct error err = {0};
	struct host h;
	struct guest g;

	need_host();
	assert_int_equal(host_start_as(&h, &(struct host){.gate = "/bin/false"}, &err), 0);
	assert_true(guest_start(&g, &h, 256, 64));
	assert_int_equal(guest_open_gate(&g), -EAGAIN);
	assert_non_null(strstr(g.err.message, "start the gate"));
	expect_refused(&g);
	assert_true(guest_end(&g));
	assert_int_equal(host_stop_keeper(&h), 0);
	host_stop(&h);
}

/* --- trust ------------------------------------------------------------------------------------ */

static void write_file(const char *path, const char *text)
{
	auto_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void with_trust(const struct host *usual, const char *const *commands, size_t count)
{
	struct error err = {0};
	struct host h;
	struct guest g;

	assert_int_equal(host_start_as(&h, usual, &err), 0);
	assert_true(guest_start(&g, &h, 256, 64));
	for (size_t i = 0; i < count; i++)
		must(&g, 1000, commands[i]);
	assert_int_equal(guest_open_gate(&g), 0);
	assert_string_equal(who(&g).extra_ca, usual->extra_ca != NULL ? usual->extra_ca : "");
	assert_true(guest_end(&g));
	assert_int_equal(host_stop_keeper(&h), 0);
	host_stop(&h);
}

static void test_trust(void **state)
{
	static const char *const both[] = {
		"test \"$(cat /run/warren/trust.pem)\" = \"$(printf 'host\\nextra')\"",
		"! sudo -n sh -c 'echo x >> /run/warren/trust.pem' 2>/dev/null",
		"! sudo -n rm -f /run/warren/trust.pem 2>/dev/null",
	};
	static const char *const image_and_extra[] = {
		"head -c $(stat -c %s /etc/ssl/certs/ca-certificates.crt) /run/warren/trust.pem"
		" | cmp - /etc/ssl/certs/ca-certificates.crt",
		"test \"$(tail -n 1 /run/warren/trust.pem)\" = extra",
	};
	static const char *const none[] = {"test ! -e /run/warren/trust.pem"};
	char folder[] = "/tmp/warren-test-XXXXXX";

	need_host();
	assert_non_null(mkdtemp(folder));
	auto_free char *host_ca = mem_printf("%s/host.pem", folder);
	auto_free char *extra_ca = mem_printf("%s/extra.pem", folder);
	auto_free char *missing = mem_printf("%s/missing.pem", folder);
	write_file(host_ca, "host"); /* without an end of line */
	write_file(extra_ca, "extra\n");
	with_trust(&(struct host){.host_ca = host_ca, .extra_ca = extra_ca}, both, array_len(both));
	with_trust(&(struct host){.host_ca = missing, .extra_ca = extra_ca}, image_and_extra,
		array_len(image_and_extra));
	with_trust(&(struct host){.host_ca = missing}, none, array_len(none));

	struct error err = {0};
	struct host h;
	assert_int_equal(host_start_as(&h, &(struct host){.extra_ca = missing}, &err), -ENOENT);
	assert_non_null(strstr(err.message, "extra certificates"));
	host_stop(&h);
	assert_int_equal(truncate(extra_ca, (8 << 20) + 1), 0);
	assert_int_equal(host_start_as(&h, &(struct host){.extra_ca = extra_ca}, &err), -EFBIG);
	host_stop(&h);
	unlink(host_ca);
	unlink(extra_ca);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_machine_exits),
		cmocka_unit_test(test_destroyed_meanwhile),
		cmocka_unit_test(test_no_leak),
		cmocka_unit_test(test_mother_killed),
		cmocka_unit_test(test_resolver_killed),
		cmocka_unit_test(test_keeper_killed),
		cmocka_unit_test(test_keeper_ends),
		cmocka_unit_test(test_no_program),
		cmocka_unit_test(test_no_mother),
		cmocka_unit_test(test_trust),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, begin, finish);
}
