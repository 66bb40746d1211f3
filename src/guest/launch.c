/*
 * The child shares our memory until it has loaded its program (as with vfork(2)): nothing is
 * copied, and it tells us why it failed by writing to a struct of ours. The price is that it may
 * only use raw system calls and memory prepared for it. It runs on a stack of its own, and all
 * signals are blocked until it has the dispositions of the new program.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/launch.h"

#define STACK_SIZE (64 * 1024)
#define SEARCH_DEFAULT "/usr/local/bin:/usr/bin:/bin"
#define SHELL "/bin/sh"

struct child {
	const struct agent_config *config;
	const struct launch *launch;
	enum launch_step step;
	int err; /* 0: running, or killed before it got there */
	char path[PATH_MAX];
};

/* One child starts at a time: we stand still until it has. */
static struct child child;
static char stack[STACK_SIZE] __attribute__((aligned(64)));

/* Files without a #! line are shell scripts by old custom; what runs commands through execvp(3)
 * relies on it. */
static void exec_script(const char *path)
{
	child.launch->block[0] = (char *)(uintptr_t)SHELL;
	child.launch->block[1] = (char *)(uintptr_t)path;
	execve(SHELL, child.launch->block, child.launch->envp);
}

static int exec_path(const char *path)
{
	execve(path, child.launch->block + 1, child.launch->envp);
	if (errno == ENOEXEC)
		exec_script(path);
	return errno;
}

/* Most folders of PATH do not have the file, and execve(2) sets a whole process up before it
 * notices. The ids are the user's by now, the real ones too. */
static int try_path(const char *path)
{
	return access(path, F_OK) < 0 ? errno : exec_path(path);
}

/* The folders of PATH in turn, with the rules of execvp(3): a file that may not be executed does
 * not end the search, but is what is reported when nothing else is found. */
static int exec_search(const char *command, const char *search)
{
	size_t command_len = strlen(command);
	int err = ENOENT;

	for (const char *dir = search; dir;) {
		const char *colon = strchr(dir, ':');
		size_t len = colon ? (size_t)(colon - dir) : strlen(dir);
		int e = ENOENT;

		if (len + command_len + 2 <= sizeof(child.path)) {
			memcpy(child.path, dir, len);
			if (len > 0)
				child.path[len++] = '/';
			memcpy(child.path + len, command, command_len + 1);
			e = try_path(child.path);
		}
		if (e == EACCES)
			err = e;
		else if (e != ENOENT && e != ENOTDIR)
			return e;
		dir = colon ? colon + 1 : NULL;
	}
	return err;
}

static int exec_command(void)
{
	const char *command = child.launch->command;
	const char *search = child.launch->search;

	if (!*command)
		return ENOENT;
	if (strchr(command, '/'))
		return exec_path(command);
	return exec_search(command, search ? search : SEARCH_DEFAULT);
}

/* libc's own calls would take locks and speak to threads that this process does not have. */
static int become(const struct agent_config *config)
{
	if (!config->become)
		return 0;
	if (syscall(SYS_setresgid, config->gid, config->gid, config->gid) < 0 ||
		syscall(SYS_setresuid, config->uid, config->uid, config->uid) < 0)
		return errno;
	/* Our memory is the agent's still: the change must not have opened it to the user. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return errno;
	return 0;
}

static int set_up(void)
{
	const struct agent_config *config = child.config;

	if (setsid() < 0)
		return errno;
	for (int i = 0; i < 3; i++) {
		if (dup2(child.launch->fds[i], i) < 0)
			return errno;
	}
	/* Everything is close-on-exec; this also covers what a future change forgets. */
	syscall(SYS_close_range, 3U, ~0U, 0U);
	if (config->nofile.rlim_max != 0 &&
		syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &config->nofile, NULL) < 0)
		return errno;
	return 0;
}

/* The folder is looked up as the user already: the agent's file system identity is the user's. */
static int enter_cwd(void)
{
	child.step = LAUNCH_CWD;
	return chdir(child.launch->cwd) < 0 ? errno : 0;
}

/* Ignored signals survive exec. libc hides the two that it uses itself, also from sigaction(2); who
 * started the server may have left them ignored. */
static void heed_all_signals(void)
{
	static const struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		unsigned long mask;
	} standard;

	for (int signo = 1; signo < 65; signo++)
		syscall(SYS_rt_sigaction, signo, &standard, NULL, sizeof(standard.mask));
}

static int child_main(void *unused)
{
	sigset_t none;

	(void)unused;
	child.err = set_up();
	if (!child.err)
		child.err = enter_cwd();
	if (child.err)
		_exit(127);
	child.step = LAUNCH_EXEC;
	heed_all_signals();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Last: from here on processes of the user can stop us, and with us the agent. */
	child.err = become(child.config);
	if (!child.err)
		child.err = exec_command();
	_exit(127);
}

int launch_program(struct agent *agent, const struct launch *launch, pid_t *ret_pid,
	enum launch_step *ret_step)
{
	sigset_t all, old;
	int err;
	pid_t pid;

	child.config = &agent->config;
	child.launch = launch;
	child.step = LAUNCH_SETUP;
	child.err = 0;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	oom_score_raise(&agent->oom_score);
	pid = clone(child_main, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
	err = pid < 0 ? errno : child.err;
	oom_score_restore(&agent->oom_score);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (err) {
		/* A child that failed is reaped as one that nobody knows. */
		*ret_step = child.step;
		return -err;
	}
	*ret_pid = pid;
	return 0;
}
