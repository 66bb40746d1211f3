#include "unit.h"

#include <ftw.h>

#include "fixture.h"

/* --- what it looks like inside ---------------------------------------------------------------- */

static const struct {
	uint32_t uid;
	const char *command;
} views[] = {
	{0, "test \"$(id -u):$(cut -c1-10 /proc/self/uid_map | tr -d ' ')\" = 0:0"},
	{0, "awk '$1 == 0 && $3 == 65536 { ok = 1 } END { exit !ok }' /proc/self/gid_map"},
	{1000, "test \"$(id -u)\" = 1000 && touch ~/file && rm ~/file"},
	{1000, "sudo -n true && test \"$(sudo -n id -u)\" = 0"},
	{0, "su nobody -s /bin/sh -c 'test $(id -u) = 65534'"},
	{0, "touch /tmp/a && chown 1000:1000 /tmp/a && chmod 4755 /tmp/a && rm /tmp/a"},
	{0, "mv /usr/share/perl5 /usr/share/perl6 && mv /usr/share/perl6 /usr/share/perl5"},
	{0, "test \"$(hostname)\" = sandbox"},
	/* one ext4 of 10 GiB, which nobody sees as such */
	{1000, "s=$(df -B1 --output=size / | tail -1); test $s -gt 10000000000 -a $s -le "
	       "10737418240"},
	{0, "! grep -qE ' - (ext4|erofs|devtmpfs) ' /proc/self/mountinfo"},
	{0, "! grep -q /loop /proc/self/mountinfo"},
	/* processes: only its own */
	{0, "test $(ls -d /proc/[0-9]* | wc -l) -lt 12"},
	{0, "test \"$(cat /proc/1/comm)\" = warren-agent -o \"$(cat /proc/1/comm)\" = agent"},
	/* /proc and /sys */
	{0, "for f in kcore kallsyms keys iomem timer_list cmdline; do"
	    " if test -e /proc/$f; then test -z \"$(head -c1 /proc/$f)\" || exit 1; fi; done"},
	{0, "test -z \"$(ls -A /proc/fs /proc/bus /proc/irq /proc/acpi 2>/dev/null | grep -v :)\""},
	{0, "! sh -c 'echo 0 > /proc/sys/kernel/panic' 2>/dev/null"},
	{0, "! sh -c 'echo h > /proc/sysrq-trigger' 2>/dev/null"},
	{0, "! mkdir /sys/x 2>/dev/null && test \"$(ls /sys)\" = \"devices\nfs\""},
	{0, "ls /sys/devices/system/cpu/cpu0 >/dev/null && nproc"},
	{0, "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null"
	    " | grep -q '^1342177280$'"},
	{0, "! sh -c 'echo 1 > /sys/fs/cgroup/memory/cgroup.procs' 2>/dev/null"},
	{0, "! grep -v ':/$' /proc/self/cgroup"},
	/* /dev */
	{1000, "echo x > /dev/null && head -c 8 /dev/urandom | wc -c | grep -q 8"},
	{1000, "test \"$(ls /dev | tr '\\n' ' ')\" ="
	       " 'fd full null ptmx pts random shm stderr stdin stdout tty urandom zero '"},
	{1000, "python3 -c 'import pty, sys; sys.exit(pty.spawn([\"/bin/true\"]))'"},
	{1000, "echo x > /dev/shm/x && rm /dev/shm/x && mkdir /run/lock/x && rmdir /run/lock/x"},
	/* network: loopback, low ports, ping */
	{0, "test \"$(ip -o link | wc -l)\" = 1 && ip -o link show lo | grep -q 'UP'"},
	{1000, "ping -c1 -W1 127.0.0.1 >/dev/null"},
	{1000, "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 80));"
	       " socket.create_connection((\"127.0.0.1\", 80))'"},
	{0, "! ip link set lo down 2>/dev/null && ! ip addr add 10.0.0.1/8 dev lo 2>/dev/null"},
	{0, "! ip route del default 2>/dev/null && ! ip route add 1.0.0.0/8 dev lo 2>/dev/null"},
	{1000, "test \"$(ip -4 route)\" = 'default dev lo scope link src 10.200.0.2 '"},
	{1000, "ip -6 route | grep -q '^default dev lo src fd00:5b::2 '"},
	/* the agent keeps its secrets, from root too */
	{0, "for f in environ mem maps fd/3 auxv; do ! head -c1 /proc/1/$f >/dev/null 2>&1 || exit "
	    "1; "
	    "done; ! readlink /proc/1/exe && ! ls /proc/1/fd 2>/dev/null"},
	{0, "kill -9 1; kill -STOP 1; ! rm -f /run/warren/agent 2>/dev/null"},
	{0, "! cat /run/warren/agent >/dev/null 2>&1 && ! cp /bin/true /run/warren/agent "
	    "2>/dev/null"},
	/* rights */
	{0, "grep -q '^CapEff:.00000000a00c05ff$' /proc/self/status"},
	{0, "grep -q '^NoNewPrivs:.0$' /proc/self/status && grep -q '^Seccomp:.2$' "
	    "/proc/self/status"},
	{0, "ulimit -c 0; grep -q 'core file size *1 *1 ' /proc/self/limits && test $(ulimit -n) "
	    "-ge 4096"},
	/* what programs need */
	{1000, "node -e 'console.log(1)' && python3 -c 'import subprocess; "
	       "subprocess.run([\"true\"])'"},
	{1000, "cd /tmp && git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q"
	       " --allow-empty -m x && rm -rf /tmp/r"},
};

static void test_inside(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 1280, 1024));
	for (size_t i = 0; i < array_len(views); i++)
		must(&g, views[i].uid, views[i].command);
	assert_true(guest_end(&g));
}

/* --- what it may not do ----------------------------------------------------------------------- */

static const struct {
	const char *name;
	int err; /* 0: allowed */
	int app_err;
} refusals[] = {
	{"mount", EPERM, EPERM},
	{"umount2", EPERM, EPERM},
	{"pivot_root", EPERM, EPERM},
	{"unshare-user", EPERM, EPERM},
	{"unshare-net", EPERM, EPERM},
	{"clone-user", EPERM, EPERM},
	{"clone3", ENOSYS, ENOSYS},
	{"setns", EPERM, EPERM},
	{"bpf", EPERM, EPERM},
	{"keyctl", EPERM, EPERM},
	{"add_key", EPERM, EPERM},
	{"userfaultfd", EPERM, EPERM},
	{"io_uring", EPERM, EPERM},
	{"perf", EPERM, EPERM},
	{"module", EPERM, EPERM},
	{"kexec", EPERM, EPERM},
	{"reboot", EPERM, EPERM},
	{"swapoff", EPERM, EPERM},
	{"handle", EPERM, EPERM},
	{"fanotify", EPERM, EPERM},
	{"syslog", EPERM, EPERM},
	{"mknod", EPERM, EPERM},
	{"sethostname", EPERM, EPERM},
	{"tiocsti", EPERM, EPERM},
	{"vsock", EAFNOSUPPORT, EAFNOSUPPORT},
	{"packet", EAFNOSUPPORT, EAFNOSUPPORT},
	{"alg", EAFNOSUPPORT, EAFNOSUPPORT},
	{"audit", EPROTONOSUPPORT, EPROTONOSUPPORT},
	{"raw", EPERM, EPERM},
	{"sctp", EPROTONOSUPPORT, EPROTONOSUPPORT},
	/* no gate: refused, neither sent nor left waiting */
	{"connect", ECONNREFUSED, ECONNREFUSED},
	{"connect6", ECONNREFUSED, ECONNREFUSED},
	{"send", EPERM, EPERM},
	{"send6", EPERM, EPERM},
	{"ask-dns", ECONNREFUSED, ECONNREFUSED},
	{"ask-dns6", ECONNREFUSED, ECONNREFUSED},
	{"ping", EPERM, EPERM},
	{"nftables", EPROTONOSUPPORT, EPROTONOSUPPORT},
	{"ptrace-init", EPERM, EPERM},
	{"init-mem", EACCES, EACCES},
	{"agent-file", EACCES, EACCES},
	{"setuid-outside", EINVAL, EINVAL},
	{"i386", ENOSYS, ENOSYS},
};

static void check_refusals(struct guest *g, uint32_t uid)
{
	char line[64];

	must(g, uid, "@syscalls");
	for (size_t i = 0; i < array_len(refusals); i++) {
		snprintf(line, sizeof(line), "%s %d\n", refusals[i].name,
			uid == 0 ? refusals[i].err : refusals[i].app_err);
		if (strstr(out, line) == NULL)
			fail_msg("uid %u, expected %s got: %s", uid, line, out);
	}
}

static void test_refused(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 1280, 1024));
	check_refusals(&g, 0);
	check_refusals(&g, 1000);
	assert_true(guest_end(&g));
}

/* Two machines share nothing but the kernel. */
static void test_neighbours(void **state)
{
	struct guest a, b;

	need_host();
	assert_true(guest_start(&a, &host, 1280, 1024));
	assert_true(guest_start(&b, &host, 1280, 1024));
	must(&a, 0, "echo secret > /tmp/shared; echo x > /dev/shm/x; sleep 50 >/dev/null 2>&1 &");
	must(&b, 0, "test ! -e /tmp/shared -a ! -e /dev/shm/x && ! pgrep sleep");
	must(&a, 0,
		"python3 -c 'import socket; s = socket.socket(socket.AF_UNIX);"
		" s.bind(\"\\0here\"); s.listen()' && ipcmk -M 4096 >/dev/null");
	must(&b, 0, "test -z \"$(ipcs -m | grep 0x)\"");
	assert_true(guest_end(&a));
	must(&b, 0, "true");
	assert_true(guest_end(&b));
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_memory_limit(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 128, 1024));
	int status = guest_run(&g, 1000,
		"exec python3 -c 'b = bytearray(300 << 20); print(len(b))'", out, sizeof(out));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(guest_usage(&g));
	assert_true(g.usage.oom_kills >= 1);
	assert_true(g.usage.memory_peak > 100 << 20 && g.usage.memory_peak <= 128 << 20);
	must(&g, 0, "true"); /* the machine goes on */
	machine_set_memory(g.m, 512);
	assert_true(guest_usage(&g)); /* answered after the change */
	must(&g, 1000, "python3 -c 'b = bytearray(300 << 20)'");
	assert_true(guest_end(&g));
}

static void test_pids_limit(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 1280, 32));
	int status = guest_run(&g, 1000,
		"python3 -c '\nimport os, time\nn = 0\ntry:\n  while n < 200:\n"
		"    if os.fork() == 0: time.sleep(1); os._exit(0)\n"
		"    n += 1\nexcept BlockingIOError: print(\"stopped\", n)'",
		out, sizeof(out));
	assert_int_equal(status, 0);
	assert_non_null(strstr(out, "stopped"));
	assert_true(guest_usage(&g));
	assert_true(g.usage.pids <= 32);
	assert_true(g.usage.pids_refused >= 1);
	assert_true(guest_end(&g));
}

static void test_usage(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 1280, 1024));
	assert_true(guest_usage(&g));
	struct machine_usage before = g.usage;
	assert_int_equal(before.pids, 1);
	must(&g, 1000,
		"i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done;"
		" dd if=/dev/zero of=~/f bs=1M count=8 conv=fsync 2>/dev/null; sync");
	assert_true(guest_usage(&g));
	assert_true(g.usage.cpu_ns > before.cpu_ns + 10000000);
	assert_true(g.usage.memory_bytes > 0);
	assert_true(g.usage.disk_bytes < 64 << 20);
	assert_true(guest_end(&g));
}

/* --- ends ------------------------------------------------------------------------------------- */

static void test_first_process_killed(void **state)
{
	struct guest g;

	need_host();
	assert_true(guest_start(&g, &host, 1280, 1024));
	must(&g, 0, "(setsid sleep 100 >/dev/null 2>&1 &)");
	/* Its channel ends: then the stub ends by itself. */
	assert_int_equal(shutdown(g.agent, SHUT_RDWR), 0);
	assert_true(host_wait(&host, &g.exited));
	assert_true(WIFEXITED(g.status));
	assert_true(guest_usage(&g)); /* its counters stay until it is destroyed */
	assert_true(guest_end(&g));
}

static void test_destroy_while_starting(void **state)
{
	struct guest guests[4];

	need_host();
	isolation_prepare(host.iso, 0);
	for (size_t i = 0; i < array_len(guests); i++) {
		guest_ask(&guests[i], &host, 1280, 1024);
		machine_destroy(take_ptr(guests[i].m), guest_on_gone, &guests[i]);
	}
	for (size_t i = 0; i < array_len(guests); i++) {
		assert_true(host_wait(&host, &guests[i].gone));
		assert_false(guests[i].started);
	}
	assert_int_equal(isolation_machine_count(host.iso), 0);
}

static void test_many_at_once(void **state)
{
	struct guest guests[12];

	need_host();
	isolation_prepare(host.iso, 3);
	for (size_t i = 0; i < array_len(guests); i++)
		guest_ask(&guests[i], &host, 256 + 16 * (unsigned)i, 64);
	for (size_t i = 0; i < array_len(guests); i++) {
		assert_true(host_wait(&host, &guests[i].answered));
		assert_true(guests[i].started);
		assert_true(guest_greet(&guests[i]));
	}
	must(&guests[11], 0,
		"cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
		" 2>/dev/null | grep -q '^452984832$'");
	for (size_t i = 0; i < array_len(guests); i++)
		assert_true(guest_end(&guests[i]));
	isolation_prepare(host.iso, 0);
}

static void test_bad_spec(void **state)
{
	struct guest g;

	need_host();
	guest_ask(&g, &host, 1, 1024);
	assert_true(host_wait(&host, &g.answered));
	assert_true(g.failed);
	assert_int_equal(g.err.err, -EINVAL);
}

/* --- what is left ----------------------------------------------------------------------------- */

static char *instance_of(const struct host *h)
{
	auto_free char *path = mem_printf("%s/keeper/instance", h->state);
	char *text = NULL;

	assert_int_equal(fd_read_file(AT_FDCWD, path, 64, &text, NULL), 0);
	return text;
}

static const char *sought;

static int is_sought(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return type == FTW_DP && strcmp(path + at->base, sought) == 0;
}

/* Anywhere: on version 2 it depends on the service's own group. */
static bool has_cgroup(const char *instance)
{
	sought = instance;
	return nftw("/sys/fs/cgroup", is_sought, 16, FTW_PHYS | FTW_DEPTH) > 0;
}

static bool has_loop(const struct host *h)
{
	for (int i = 0; i < 256; i++) {
		auto_free char *path = mem_printf("/sys/block/loop%d/loop/backing_file", i);
		auto_free char *text = NULL;

		if (fd_read_file(AT_FDCWD, path, 4096, &text, NULL) == 0 &&
			strstr(text, h->state) != NULL)
			return true;
	}
	return false;
}

static bool has_mount(const struct host *h)
{
	auto_free char *text = NULL;

	assert_int_equal(fd_read_file(AT_FDCWD, "/proc/self/mountinfo", 1 << 20, &text, NULL), 0);
	return strstr(text, h->state) != NULL;
}

static void expect_nothing_left(const struct host *h, const char *instance)
{
	assert_false(has_cgroup(instance));
	assert_false(has_loop(h));
	assert_false(has_mount(h));
}

static void fill(struct host *h, struct guest *guests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_true(guest_start(&guests[i], h, 256, 64));
		must(&guests[i], 1000,
			"dd if=/dev/zero of=~/f bs=1M count=4 2>/dev/null;"
			" (setsid sleep 300 >/dev/null 2>&1 &)");
	}
	isolation_prepare(h->iso, 1);
}

static void test_end_of_daemon(void **state)
{
	struct host h;
	struct error err = {0};
	struct guest guests[2];

	need_host();
	assert_int_equal(host_start(&h, &err), 0);
	auto_free char *instance = instance_of(&h);
	fill(&h, guests, array_len(guests));
	assert_true(has_cgroup(instance));
	assert_true(has_loop(&h));
	assert_false(has_mount(&h)); /* never on the host */
	assert_int_equal(host_stop_keeper(&h), 0);
	expect_nothing_left(&h, instance);
	for (size_t i = 0; i < array_len(guests); i++) {
		char byte;

		assert_int_equal(read(guests[i].agent, &byte, 1), 0);
		close(guests[i].agent);
	}
	host_stop(&h);
}

static void test_keeper_killed(void **state)
{
	struct host h;
	struct error err = {0};
	struct guest guests[2], late;

	need_host();
	assert_int_equal(host_start(&h, &err), 0);
	auto_free char *instance = instance_of(&h);
	fill(&h, guests, array_len(guests));
	guest_ask(&late, &h, 256, 64);
	assert_int_equal(kill(h.keeper, SIGKILL), 0);
	assert_true(host_wait(&h, &h.lost));
	assert_true(host_wait(&h, &late.answered));
	for (size_t i = 0; i < array_len(guests); i++) {
		char byte;

		assert_int_equal(read(guests[i].agent, &byte, 1), 0); /* the kernel has ended it */
		assert_false(guest_usage(&guests[i]));
		assert_true(guest_end(&guests[i]));
	}
	if (late.started)
		assert_true(guest_end(&late));
	assert_int_equal(isolation_machine_count(h.iso), 0);
	host_stop_keeper(&h);

	/* What is left is cleared away without a successor, which works all the same. */
	for (int i = 0; i < 100 && (has_cgroup(instance) || has_loop(&h)); i++)
		usleep(50000);
	expect_nothing_left(&h, instance);
	assert_int_equal(host_start_keeper(&h, &err), 0);
	struct guest g;
	assert_true(guest_start(&g, &h, 256, 64));
	assert_true(guest_end(&g));
	assert_int_equal(host_stop_keeper(&h), 0);
	expect_nothing_left(&h, instance);
	host_stop(&h);
}

static void test_start_fails_with_reason(void **state)
{
	static const struct isolation_ops ops = {.on_lost = host_on_lost};
	struct error err = {0};
	struct isolation *iso = NULL;
	int sock;
	pid_t pid;

	need_host();
	auto_close int dir = open(host.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct keeper_spawn_params params = {
		.program = KEEPER_PROGRAM,
		.agent = "/nonexistent/agent",
		.gate = STUB_MOTHER,
		.resolver = STUB_MOTHER,
		.image_dir = "/nonexistent",
		.state_fd = dir,
		.log_level = "error",
	};
	/* The state folder is in use. */
	assert_int_equal(keeper_spawn(&params, &sock, &pid), 0);
	int r = isolation_new(host.loop, ISOLATION_AUTO, sock, &ops, &host, &iso, &err);
	assert_int_equal(r, -EBUSY);
	assert_non_null(strstr(err.message, "lock"));
	assert_int_equal(waitpid(pid, NULL, 0), pid);

	params.program = "/nonexistent/keeper";
	assert_int_equal(keeper_spawn(&params, &sock, &pid), -ENOENT);
}

static void test_no_image(void **state)
{
	static const struct isolation_ops ops = {.on_lost = host_on_lost};
	struct error err = {0};
	struct isolation *iso = NULL;
	struct host h = {.loop = loop_new()};
	int sock;
	pid_t pid;

	need_host();
	snprintf(h.state, sizeof(h.state), "/tmp/warren-test-XXXXXX");
	assert_non_null(mkdtemp(h.state));
	auto_close int dir = open(h.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct keeper_spawn_params params = {
		.program = KEEPER_PROGRAM,
		.agent = STUB_AGENT,
		.gate = STUB_MOTHER,
		.resolver = STUB_MOTHER,
		.image_dir = h.state,
		.state_fd = dir,
		.log_level = "error",
	};
	assert_int_equal(keeper_spawn(&params, &sock, &pid), 0);
	int r = isolation_new(h.loop, ISOLATION_AUTO, sock, &ops, &h, &iso, &err);
	assert_int_equal(r, -ENOENT);
	assert_non_null(strstr(err.message, "image"));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	auto_free char *instance = instance_of(&h);
	expect_nothing_left(&h, instance);
	host_stop(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inside),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_neighbours),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_pids_limit),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_first_process_killed),
		cmocka_unit_test(test_destroy_while_starting),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_bad_spec),
		cmocka_unit_test(test_end_of_daemon),
		cmocka_unit_test(test_keeper_killed),
		cmocka_unit_test(test_start_fails_with_reason),
		cmocka_unit_test(test_no_image),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, begin, finish);
}
