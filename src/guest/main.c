/*
 * warren-agent: first process of a sandbox. Descriptor 3 is the channel to the daemon; everything
 * else comes through it. Descriptor 4 may be our /proc/self/oom_score_adj, open for reading and
 * writing: a launcher that made our files in /proc somebody else's opens it first. The launcher has
 * made the mounts, the namespaces and the system call filter. A message goes to standard error only
 * while starting; later there is nobody to read it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/privilege.h"
#include "guest/agent.h"
#include "guest/identity.h"
#include "loop/loop.h"

#define CHANNEL_FD 3
#define OOM_FD 4
#define USER_NAME "app"
#define USER_ID 1000
#define USER_HOME "/home/app"
#define GROUP_FILE "/etc/group"
#define NOFILE_WANTED 65536

static int report(const char *step, int err)
{
	dprintf(STDERR_FILENO, "warren-agent: %s: %s\n", step, strerror(-err));
	return 1;
}

/* Whatever the launcher inherited: children must see the defaults. */
static int reset_signals(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL); /* fails for those that cannot be changed */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

static int close_standard(void)
{
	auto_close int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (int i = 0; i < CHANNEL_FD; i++) {
		if (dup2(fd, i) < 0)
			return -errno;
	}
	return 0;
}

/* What the launcher opened for us, since our own files in /proc may be closed to us. */
static int check_oom_fd(void)
{
	struct statfs fs;

	if (fstatfs(OOM_FD, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC &&
		fd_set_cloexec(OOM_FD, true) == 0)
		return OOM_FD;
	close(OOM_FD);
	return open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
}

static int check_descriptors(struct agent_config *config)
{
	struct stat st;
	int r;

	if (fstat(CHANNEL_FD, &st) < 0)
		return -errno;
	r = fd_close_from(OOM_FD + 1);
	if (r < 0)
		return r;
	/* Low numbers must be taken: what is opened later may not become a standard stream. */
	for (int i = 0; i < CHANNEL_FD; i++) {
		if (fcntl(i, F_GETFD) < 0 && open("/dev/null", O_RDWR) != i)
			return -EBADF;
	}
	config->oom_fd = check_oom_fd();
	return fd_set_cloexec(CHANNEL_FD, true);
}

/* Many processes with three pipes each; they get the limit that we were given. */
static void raise_nofile(struct rlimit *ret_given)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	*ret_given = limit;
	if (limit.rlim_cur >= NOFILE_WANTED)
		return;
	limit.rlim_cur = limit.rlim_max < NOFILE_WANTED ? limit.rlim_max : NOFILE_WANTED;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int prepare(struct agent_config *config)
{
	int r;

	agent_config_default(config);
	config->home = USER_HOME;
	config->uid = USER_ID;
	config->gid = USER_ID;
	config->become = true;
	config->init = getpid() == 1;
	r = privilege_not_dumpable();
	if (r < 0)
		return report("dumpable", r);
	r = check_descriptors(config);
	if (r < 0)
		return report("descriptors", r);
	r = reset_signals();
	if (r < 0)
		return report("signals", r);
	umask(022);
	if (chdir("/") < 0)
		return report("chdir", -errno);
	raise_nofile(&config->nofile);
	r = identity_assume(USER_NAME, USER_ID, USER_ID, GROUP_FILE);
	return r < 0 ? report("identity", r) : 0;
}

int main(void)
{
	struct agent_config config;
	struct agent agent;
	struct loop *loop;
	int r = prepare(&config);

	if (r != 0)
		return r;
	loop = loop_new();
	if (!loop)
		return report("loop", -errno);
	r = agent_init(&agent, loop, CHANNEL_FD, &config);
	if (r < 0)
		return report("channel", r);
	r = close_standard();
	if (r < 0)
		return report("/dev/null", r);
	r = loop_run(loop);
	/* As first process: the kernel ends whatever is left when we are gone. */
	agent_done(&agent);
	loop_free(loop);
	return r;
}
