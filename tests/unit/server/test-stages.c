/* Each test goes through stages in a child, as root, and looks at what the child can still do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "server/stages.h"
#include "store/store.h"

#define UID 61171

struct fixture {
	char top[32];
	char *dir; /* top/a/state: does not exist yet */
};

static int setup(void **state)
{
	struct fixture *f = mem_new(struct fixture);

	snprintf(f->top, sizeof(f->top), "/tmp/test-stages-XXXXXX");
	/* Unconfined, in a build with sanitizers, the user must find the way. */
	if (mkdtemp(f->top) == NULL || chmod(f->top, 0755) < 0)
		return -1;
	f->dir = mem_printf("%s/a/state", f->top);
	*state = f;
	return 0;
}

static void remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		auto_free char *name = mem_printf("%s/%s", path, entry->d_name);

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlink(name) < 0)
			remove_tree(name);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	remove_tree(f->top);
	free(f->dir);
	free(f);
	return 0;
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static void need_all_stages(void)
{
	need_root();
	if (!stages_complete())
		skip();
}

/* --- state folder and account ------------------------------------------------------------ */

static void expect_folder(const char *dir, const char *name, uid_t uid, mode_t mode)
{
	auto_free char *path = mem_printf("%s/%s", dir, name);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | mode);
	assert_int_equal(st.st_uid, uid);
}

static int prepare(const char *dir, struct error *err)
{
	auto_close int fd = -EBADF;

	memset(err, 0, sizeof(*err));
	return stages_prepare_state(dir, UID, UID, &fd, err);
}

static void test_state_made(void **state)
{
	struct fixture *f = *state;
	mode_t mask;
	struct error err;

	need_root();
	mask = umask(077);
	assert_int_equal(prepare(f->dir, &err), 0);
	assert_int_equal(umask(mask), 077);
	expect_folder(f->top, "a", 0, 0755);
	expect_folder(f->dir, ".", UID, 0700);
	expect_folder(f->dir, "keeper", 0, 0700);
	expect_folder(f->dir, "spool", UID, 0700);
	/* And once more. */
	assert_int_equal(prepare(f->dir, &err), 0);
}

static void test_state_adopted(void **state)
{
	struct fixture *f = *state;
	struct error err;

	need_root();
	/* As mktemp -d leaves it. */
	assert_int_equal(chmod(f->top, 0700), 0);
	assert_int_equal(prepare(f->top, &err), 0);
	expect_folder(f->top, ".", UID, 0700);
	expect_folder(f->top, "keeper", 0, 0700);
}

static void expect_refusal(const char *dir, int r, const char *text)
{
	struct error err;

	assert_int_equal(prepare(dir, &err), r);
	assert_string_equal(err.field, "state-dir");
	if (strstr(err.message, text) == NULL)
		fail_msg("%s", err.message);
}

static void test_state_refused(void **state)
{
	struct fixture *f = *state;
	auto_free char *file = mem_printf("%s/file", f->top);
	auto_free char *below = mem_printf("%s/file/x", f->top);
	auto_free char *link = mem_printf("%s/link", f->top);
	auto_free char *dir = mem_printf("%s/dir", f->top);
	int fd;

	need_root();
	fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	fd_close(fd);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(symlink("dir", link), 0);
	expect_refusal(file, -ENOTDIR, file);
	expect_refusal(below, -ENOTDIR, below);
	expect_refusal(link, -ENOTDIR, "symbolic link");
	expect_refusal(f->top, -ENOTEMPTY, "neither empty nor a state folder");
	assert_int_equal(chmod(dir, 0770), 0);
	expect_refusal(dir, -EPERM, "others can write");
	assert_int_equal(chmod(dir, 0700), 0);
	assert_int_equal(chown(dir, 12345, 12345), 0);
	expect_refusal(dir, -EPERM, "belongs to user 12345");
	expect_refusal("/etc", -ENOTEMPTY, "/etc is neither empty");
}

/* A daemon that was taken over can rename what is in its folder; root must not walk into that. */
static void test_inner_swapped(void **state)
{
	struct fixture *f = *state;
	auto_free char *keeper = mem_printf("%s/keeper", f->dir);
	struct error err;

	need_root();
	assert_int_equal(prepare(f->dir, &err), 0);
	assert_int_equal(rmdir(keeper), 0);
	assert_int_equal(symlink("/etc", keeper), 0);
	expect_refusal(f->dir, -ENOTDIR, "keeper");
	assert_int_equal(unlink(keeper), 0);
	assert_int_equal(mkdir(keeper, 0700), 0);
	assert_int_equal(chown(keeper, UID, UID), 0);
	expect_refusal(f->dir, -EPERM, "keeper in the state folder must belong to user 0");
}

static void test_user(void **state)
{
	struct error err = {0};
	uid_t uid = 0;
	gid_t gid = 0;

	assert_int_equal(stages_user("nobody", &uid, &gid, &err), 0);
	assert_int_equal(uid, 65534);
	assert_int_equal(stages_user("no-such-account-here", &uid, &gid, &err), -ENOENT);
	assert_string_equal(err.field, "user");
	assert_int_equal(stages_user("root", &uid, &gid, &err), -EPERM);
	assert_int_equal(stages_user("warren", &uid, &gid, &err), 0);
	assert_true(uid != 0 && gid != 0);
}

/* --- in a child
 * ----------------------------------------------------------------------------------- */

/* The child's answer: 0, or the line that was not as it should be. */
#define REQUIRE(x) \
	do { \
		if (!(x)) \
			return __LINE__; \
	} while (0)

struct child {
	int state_fd;
	char path[64]; /* of the state folder, as seen now */
};

/* Runs fn in a child after all stages up to and with the given one; the wait status. */
enum upto { UPTO_CONFINE, UPTO_DROP, UPTO_SECCOMP };

static int run_child(struct fixture *f, enum upto upto, int (*fn)(struct child *child))
{
	int line[2];
	int answer = -1;
	int status = 0;
	pid_t pid;

	assert_int_equal(pipe2(line, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct child child = {.state_fd = -EBADF};
		struct error err = {0};
		int r = stages_prepare_state(f->dir, UID, UID, &child.state_fd, &err);

		if (r == 0)
			r = stages_confine_fs(child.state_fd, &err);
		if (r == 0 && upto >= UPTO_DROP)
			r = stages_drop(UID, UID, &err);
		if (r == 0 && upto >= UPTO_SECCOMP)
			r = stages_seccomp(&err);
		snprintf(child.path, sizeof(child.path), "%s", stages_state_path(f->dir));
		if (r < 0)
			fprintf(stderr, "%s\n", err.message);
		r = r < 0 ? r : fn(&child);
		(void)!write(line[1], &r, sizeof(r));
		_exit(0);
	}
	fd_close(line[1]);
	(void)!read(line[0], &answer, sizeof(answer));
	fd_close(line[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return 1000 + WTERMSIG(status);
	return answer;
}

static int look_at_files(struct child *child)
{
	struct stat st;

	REQUIRE(strcmp(child->path, "/state") == 0);
	REQUIRE(access("/etc/passwd", F_OK) < 0 && errno == ENOENT);
	REQUIRE(access("/proc", F_OK) < 0 && access("/bin", F_OK) < 0);
	/* Nor through the descriptor that was opened before. */
	REQUIRE(faccessat(child->state_fd, "../etc/passwd", F_OK, 0) < 0 && errno == ENOENT);
	REQUIRE(faccessat(child->state_fd, "../../../../../../etc", F_OK, 0) < 0);
	REQUIRE(mkdir("/other", 0700) < 0 && errno == EROFS);
	REQUIRE(faccessat(child->state_fd, "keeper", F_OK, 0) == 0);
	REQUIRE(stat("/state/spool", &st) == 0 && st.st_uid == UID);
	REQUIRE(mkdir("/state/new", 0700) == 0 && rmdir("/state/new") == 0);
	/* A device in it opens nothing, even for root. */
	REQUIRE(mknod("/state/null", S_IFCHR | 0666, 1 << 8 | 3) == 0);
	REQUIRE(open("/state/null", O_RDWR) < 0 && errno == EACCES);
	REQUIRE(unlink("/state/null") == 0);
	return 0;
}

static void test_confined(void **state)
{
	need_all_stages();
	assert_int_equal(run_child(*state, UPTO_CONFINE, look_at_files), 0);
	/* The host has noticed nothing. */
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	assert_int_not_equal(access("/state", F_OK), 0);
}

static int look_at_identity(struct child *child)
{
	uid_t ids[3];
	gid_t groups[4];
	struct rlimit limit;

	REQUIRE(getresuid(&ids[0], &ids[1], &ids[2]) == 0);
	REQUIRE(ids[0] == UID && ids[1] == UID && ids[2] == UID);
	REQUIRE(getresgid(&ids[0], &ids[1], &ids[2]) == 0);
	REQUIRE(ids[0] == UID && ids[1] == UID && ids[2] == UID);
	REQUIRE(getgroups(4, groups) == 0);
	REQUIRE(setuid(0) < 0 && setgid(0) < 0 && setgroups(0, NULL) < 0);
	for (int cap = 0; cap < 41; cap++)
		REQUIRE(prctl(PR_CAPBSET_READ, cap, 0, 0, 0) <= 0);
	REQUIRE(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	REQUIRE(!stages_complete() || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
	REQUIRE(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0);
	REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == limit.rlim_max);
	REQUIRE(limit.rlim_cur >= 4096);
	REQUIRE(openat(child->state_fd, "keeper", O_RDONLY | O_DIRECTORY) < 0 && errno == EACCES);
	REQUIRE(unshare(CLONE_NEWNS) < 0 && mount("none", child->path, "tmpfs", 0, NULL) < 0);
	return 0;
}

static void test_dropped(void **state)
{
	need_root();
	assert_int_equal(run_child(*state, UPTO_DROP, look_at_identity), 0);
}

/* What warrend must still be able to do at the end. */
static int do_daily_work(struct child *child)
{
	auto_free char *path = mem_printf("%s/warren.db", child->path);
	char text[STORE_TOKEN_TEXT_SIZE];
	struct store_token token;
	struct store_org org;
	struct store *store;
	struct error err = {0};
	sigset_t signals;
	int spool;
	int fd;

	if (store_open(path, &store, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		return __LINE__;
	}
	REQUIRE(store_org_create(store, "home", &org, NULL) == 0);
	REQUIRE(store_token_create(store, org.id, "t", 0, &token, text, NULL) == 0);
	REQUIRE(store_token_check(store, text, strlen(text), 1, &token) == 0);
	REQUIRE(store_checkpoint(store) == 0);
	store_close(store);
	spool = openat(child->state_fd, "spool", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = openat(spool, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	REQUIRE(fd >= 0 && pwrite(fd, "x", 1, 1 << 20) == 1 && ftruncate(fd, 0) == 0);
	REQUIRE(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
	REQUIRE((fd = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	REQUIRE((fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) >= 0);
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	REQUIRE(sigprocmask(SIG_BLOCK, &signals, NULL) == 0);
	REQUIRE((fd = signalfd(-1, &signals, SFD_CLOEXEC)) >= 0);
	REQUIRE(mmap(NULL, 1 << 22, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		MAP_FAILED);
	REQUIRE(openat(child->state_fd, "endpoint.new", O_WRONLY | O_CREAT | O_TRUNC, 0644) >= 0);
	REQUIRE(renameat(child->state_fd, "endpoint.new", child->state_fd, "endpoint") == 0);
	REQUIRE(unlinkat(child->state_fd, "endpoint", 0) == 0);
	REQUIRE(printf("# working under seccomp\n") > 0 && fflush(stdout) == 0);
	return 0;
}

static void test_daily_work(void **state)
{
	need_root();
	assert_int_equal(run_child(*state, UPTO_SECCOMP, do_daily_work), 0);
}

static int try_refused(struct child *child)
{
	void *memory;

	(void)child;
	REQUIRE(socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM);
	REQUIRE(socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM);
	REQUIRE(socket(AF_NETLINK, SOCK_RAW, 0) < 0 && errno == EPERM);
	REQUIRE(kill(getppid(), 0) < 0 && errno == EPERM);
	REQUIRE(kill(getpid(), 0) < 0 && errno == EPERM);
	memory = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(memory == MAP_FAILED && errno == EPERM);
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(memory != MAP_FAILED);
	REQUIRE(mprotect(memory, 4096, PROT_READ | PROT_EXEC) < 0 && errno == EPERM);
	REQUIRE(mprotect(memory, 4096, PROT_READ) == 0);
	REQUIRE(ioctl(0, TIOCSTI, "x") < 0 && errno == EPERM);
	REQUIRE(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 && errno == EPERM);
	REQUIRE(fork() < 0 && errno == EPERM); /* the C library's fork() is clone(2) */
	return 0;
}

static void test_refused(void **state)
{
	need_all_stages();
	assert_int_equal(run_child(*state, UPTO_SECCOMP, try_refused), 0);
}

static int try_execve(struct child *child)
{
	(void)child;
	return execve("/bin/true", (char *[]){NULL}, (char *[]){NULL});
}

static int try_ptrace(struct child *child)
{
	(void)child;
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static int try_mount(struct child *child)
{
	(void)child;
	return mount("none", "/", "tmpfs", 0, NULL);
}

static int try_unshare(struct child *child)
{
	(void)child;
	return unshare(CLONE_NEWUSER);
}

static int try_setuid(struct child *child)
{
	(void)child;
	return setuid(0);
}

static void test_deadly(void **state)
{
	static int (*const attempts[])(struct child * child) = {
		try_execve, try_ptrace, try_mount, try_unshare, try_setuid};

	need_all_stages();
	for (size_t i = 0; i < array_len(attempts); i++)
		assert_int_equal(run_child(*state, UPTO_SECCOMP, attempts[i]), 1000 + SIGSYS);
}

static int do_abort(struct child *child)
{
	(void)child;
	abort();
}

static void test_abort(void **state)
{
	need_all_stages();
	assert_int_equal(run_child(*state, UPTO_SECCOMP, do_abort), 1000 + SIGABRT);
}

int main(void)
{
#define WITH_STATE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_STATE(test_state_made),
		WITH_STATE(test_state_adopted),
		WITH_STATE(test_state_refused),
		WITH_STATE(test_inner_swapped),
		cmocka_unit_test(test_user),
		WITH_STATE(test_confined),
		WITH_STATE(test_dropped),
		WITH_STATE(test_daily_work),
		WITH_STATE(test_refused),
		WITH_STATE(test_deadly),
		WITH_STATE(test_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
