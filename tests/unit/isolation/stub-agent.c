/*
 * First process of a test machine: greets with one byte, then runs what it is told. A request is a
 * user id, a length and a shell command; the answer a wait status, a length and the command's
 * output. The command "@syscalls" runs the probes below instead of a shell.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHANNEL 3

struct request {
	uint32_t uid;
	uint32_t len;
};

struct answer {
	int32_t status;
	uint32_t len;
};

static char command[65536];
static char output[1 << 20];

/* --- probes: each tries something and returns what the kernel said ---------------------------- */

static long p_mount(void)
{
	return mount("tmpfs", "/mnt", "tmpfs", 0, NULL);
}

static long p_umount(void)
{
	return umount2("/proc/sys", MNT_DETACH);
}

static long p_pivot(void)
{
	return syscall(SYS_pivot_root, ".", ".");
}

static long p_unshare_user(void)
{
	return unshare(CLONE_NEWUSER);
}

static long p_unshare_net(void)
{
	return unshare(CLONE_NEWNET);
}

static long p_clone_user(void)
{
	return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
}

static long p_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0);
}

static long p_setns(void)
{
	return setns(open("/proc/self/ns/net", O_RDONLY), 0);
}

static long p_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0);
}

static long p_keyctl(void)
{
	return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
}

static long p_add_key(void)
{
	return syscall(SYS_add_key, "user", "a", "b", 1, KEY_SPEC_SESSION_KEYRING);
}

static long p_userfaultfd(void)
{
	return syscall(SYS_userfaultfd, 0);
}

static long p_io_uring(void)
{
	char params[256] = {0};

	return syscall(SYS_io_uring_setup, 4, params);
}

static long p_perf(void)
{
	struct perf_event_attr attr = {.size = sizeof(attr)};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static long p_module(void)
{
	return syscall(SYS_finit_module, 0, "", 0);
}

static long p_kexec(void)
{
	return syscall(SYS_kexec_load, 0, 0, NULL, 0);
}

static long p_reboot(void)
{
	return syscall(SYS_reboot, 0, 0, 0, NULL); /* with the wrong magic numbers */
}

static long p_swapoff(void)
{
	return syscall(SYS_swapoff, "/none");
}

static long p_handle(void)
{
	return syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0);
}

static long p_fanotify(void)
{
	return syscall(SYS_fanotify_init, 0, 0);
}

static long p_syslog(void)
{
	return syscall(SYS_syslog, 10, NULL, 0);
}

static long p_mknod(void)
{
	return mknod("/tmp/node", S_IFBLK | 0600, makedev(7, 0));
}

static long p_sethostname(void)
{
	return sethostname("x", 1);
}

static long p_tiocsti(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static long p_vsock(void)
{
	return socket(40, SOCK_STREAM, 0);
}

static long p_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static long p_alg(void)
{
	return socket(38, SOCK_SEQPACKET, 0);
}

static long p_audit(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 9);
}

static long p_raw(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static long p_sctp(void)
{
	return socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
}

static long attempt(int family, int type, int protocol, in_port_t port)
{
	struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int sock = socket(family, type, protocol);
	char packet[8] = {8}; /* an echo request, where it matters */
	long r;

	ip4.sin_addr.s_addr = htonl(0x01010101);
	ip6.sin6_addr.s6_addr[0] = 0x26;
	r = family == AF_INET ? connect(sock, (struct sockaddr *)&ip4, sizeof(ip4))
			      : connect(sock, (struct sockaddr *)&ip6, sizeof(ip6));
	if (r < 0 || type != SOCK_DGRAM)
		return r;
	r = send(sock, packet, sizeof(packet), 0);
	return r < 0 ? r : recv(sock, packet, sizeof(packet), 0);
}

static long p_connect(void)
{
	return attempt(AF_INET, SOCK_STREAM, 0, 80);
}

static long p_connect6(void)
{
	return attempt(AF_INET6, SOCK_STREAM, 0, 80);
}

static long p_send(void)
{
	return attempt(AF_INET, SOCK_DGRAM, 0, 443);
}

static long p_send6(void)
{
	return attempt(AF_INET6, SOCK_DGRAM, 0, 443);
}

static long p_ask_dns(void)
{
	return attempt(AF_INET, SOCK_DGRAM, 0, 53);
}

static long p_ask_dns6(void)
{
	return attempt(AF_INET6, SOCK_DGRAM, 0, 53);
}

static long p_ping(void)
{
	return attempt(AF_INET, SOCK_DGRAM, IPPROTO_ICMP, 0);
}

static long p_nftables(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 12);
}

static long p_ptrace_init(void)
{
	return ptrace(PTRACE_SEIZE, 1, NULL, NULL);
}

static long p_open_init_mem(void)
{
	return open("/proc/1/mem", O_RDONLY);
}

static long p_open_agent(void)
{
	return open("/run/warren/agent", O_RDONLY);
}

static long p_setuid_outside(void)
{
	return setresuid(70000, 70000, 70000);
}

/* Other instruction sets: 20 is getpid() of i386. */
static long p_i386(void)
{
#if defined(__x86_64__)
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
	if (r < 0) {
		errno = (int)-r;
		return -1;
	}
	return r;
#else
	errno = ENOSYS;
	return -1;
#endif
}

static const struct {
	const char *name;
	long (*run)(void);
} probes[] = {
	{"mount", p_mount},
	{"umount2", p_umount},
	{"pivot_root", p_pivot},
	{"unshare-user", p_unshare_user},
	{"unshare-net", p_unshare_net},
	{"clone-user", p_clone_user},
	{"clone3", p_clone3},
	{"setns", p_setns},
	{"bpf", p_bpf},
	{"keyctl", p_keyctl},
	{"add_key", p_add_key},
	{"userfaultfd", p_userfaultfd},
	{"io_uring", p_io_uring},
	{"perf", p_perf},
	{"module", p_module},
	{"kexec", p_kexec},
	{"reboot", p_reboot},
	{"swapoff", p_swapoff},
	{"handle", p_handle},
	{"fanotify", p_fanotify},
	{"syslog", p_syslog},
	{"mknod", p_mknod},
	{"sethostname", p_sethostname},
	{"tiocsti", p_tiocsti},
	{"vsock", p_vsock},
	{"packet", p_packet},
	{"alg", p_alg},
	{"audit", p_audit},
	{"raw", p_raw},
	{"sctp", p_sctp},
	{"connect", p_connect},
	{"connect6", p_connect6},
	{"send", p_send},
	{"send6", p_send6},
	{"ask-dns", p_ask_dns},
	{"ask-dns6", p_ask_dns6},
	{"ping", p_ping},
	{"nftables", p_nftables},
	{"ptrace-init", p_ptrace_init},
	{"init-mem", p_open_init_mem},
	{"agent-file", p_open_agent},
	{"setuid-outside", p_setuid_outside},
	{"i386", p_i386},
};

/* In a child each, so that one that succeeds does not change what the next one sees. */
static void run_probes(void)
{
	for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			_exit(probes[i].run() >= 0 ? 0 : errno);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		printf("%s %d\n", probes[i].name, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
		fflush(stdout);
	}
}

/* --- commands --------------------------------------------------------------------------------- */

static void run_command(uint32_t uid)
{
	gid_t gid = uid;

	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", uid != 0 ? "/home/app" : "/root", 1);
	if (uid != 0 && (setgroups(1, &gid) < 0 || setresgid(gid, gid, gid) < 0 ||
				setresuid(uid, uid, uid) < 0))
		_exit(126);
	(void)!chdir(uid != 0 ? "/home/app" : "/root");
	setsid();
	if (strcmp(command, "@syscalls") == 0) {
		run_probes();
		_exit(0);
	}
	execl("/bin/sh", "sh", "-c", command, NULL);
	_exit(127);
}

static int read_all(void *to, size_t len)
{
	for (char *at = to; len > 0;) {
		ssize_t n = read(CHANNEL, at, len);

		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_all(const void *from, size_t len)
{
	for (const char *at = from; len > 0;) {
		ssize_t n = write(CHANNEL, at, len);

		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static struct answer serve(uint32_t uid)
{
	struct answer answer = {.status = -1};
	int ends[2], status = -1;
	ssize_t n;
	pid_t pid, ended;

	if (pipe(ends) < 0)
		return answer;
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		close(CHANNEL);
		run_command(uid);
	}
	close(ends[1]);
	while ((n = read(ends[0], output + answer.len, sizeof(output) - answer.len)) > 0)
		answer.len += (uint32_t)n;
	close(ends[0]);
	while ((ended = wait(&status)) > 0 && ended != pid)
		;
	answer.status = pid > 0 ? status : -1;
	return answer;
}

int main(void)
{
	struct request req;

	if (write_all("H", 1) < 0)
		return 1;
	while (read_all(&req, sizeof(req)) == 0) {
		if (req.len >= sizeof(command) || read_all(command, req.len) < 0)
			return 1;
		command[req.len] = '\0';
		struct answer answer = serve(req.uid);
		if (write_all(&answer, sizeof(answer)) < 0 || write_all(output, answer.len) < 0)
			return 1;
	}
	return 0;
}
