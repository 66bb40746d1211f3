/* Stages: account, folders, identity. */
#include "server/stages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/privilege.h"
#include "config/config.h"
#include "server/stages_priv.h"

#define DESCRIPTORS_WANTED 65536

bool stages_complete(void)
{
	return !STAGES_SANITIZED;
}

/* --- account ---------------------------------------------------------------------------------- */

int stages_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, struct error *ret_err)
{
	char buf[16384];
	struct passwd pw;
	struct passwd *found = NULL;
	int r = getpwnam_r(name, &pw, buf, sizeof(buf), &found);

	if (found == NULL && strcmp(name, CONFIG_USER_DEFAULT) == 0) {
		*ret_uid = STAGES_DEFAULT_UID;
		*ret_gid = STAGES_DEFAULT_UID;
		return 0;
	}
	if (found == NULL)
		return error_set_field(ret_err, r != 0 ? -r : -ENOENT, "", "user",
			"user: there is no account %s on this machine", name);
	if (pw.pw_uid == 0 || pw.pw_gid == 0)
		return error_set_field(ret_err, -EPERM, "", "user",
			"user: the account %s has user or group 0; warrend does not stay root",
			name);
	*ret_uid = pw.pw_uid;
	*ret_gid = pw.pw_gid;
	return 0;
}

/* --- state folder ----------------------------------------------------------------------------- */

/* Makes every folder above path that is missing. */
static int make_parents(const char *path, struct error *ret_err)
{
	auto_free char *copy = mem_strdup(path);

	for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return error_set_field(ret_err, -errno, "", "state-dir",
				"cannot make the folder %s: %s", copy, strerror(errno));
		*slash = '/';
	}
	return 0;
}

/* 1 when the folder has nothing in it, 0 when it has, or negative errno. */
static int is_empty(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir;
	int empty = 1;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (dir == NULL) {
		fd_close(fd);
		return -errno;
	}
	while (empty == 1 && (entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			empty = 0;
	closedir(dir);
	return empty;
}

/* The state folder itself, when it exists: whose it is and who can write in it. */
static int adopt_state(int fd, const char *path, uid_t uid, gid_t gid, struct error *ret_err)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return error_set_field(ret_err, -errno, "", "state-dir", "cannot look at %s: %s",
			path, strerror(errno));
	if ((st.st_mode & 022) != 0)
		return error_set_field(ret_err, -EPERM, "", "state-dir",
			"others can write in the state folder %s; `chmod go-w` it, or choose "
			"another",
			path);
	if (st.st_uid == uid)
		return 0;
	if (st.st_uid != 0)
		return error_set_field(ret_err, -EPERM, "", "state-dir",
			"the state folder %s belongs to user %u, not to warrend's user %u", path,
			(unsigned)st.st_uid, (unsigned)uid);
	/* Of root: somebody made it for us, unless it is a folder of something else altogether. */
	r = is_empty(fd);
	if (r == 0)
		return error_set_field(ret_err, -ENOTEMPTY, "", "state-dir",
			"%s is neither empty nor a state folder of Warren", path);
	if (r > 0)
		r = fchown(fd, uid, gid) < 0 ? -errno : 0;
	if (r < 0)
		return error_set_field(
			ret_err, r, "", "state-dir", "cannot take over %s: %s", path, strerror(-r));
	return 0;
}

/* A folder inside the state folder, made or found exactly as it must be. */
static int prepare_inner(int dir_fd, const char *name, uid_t uid, gid_t gid, struct error *ret_err)
{
	auto_close int fd = -EBADF;
	struct stat st;
	bool made = mkdirat(dir_fd, name, 0700) == 0;

	if (!made && errno != EEXIST)
		return error_set_field(ret_err, -errno, "", "state-dir",
			"cannot make %s in the state folder: %s", name, strerror(errno));
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_field(ret_err, -errno, "", "state-dir",
			"%s in the state folder cannot be opened as a folder: %s", name,
			strerror(errno));
	if (made && fchown(fd, uid, gid) < 0)
		return error_set_field(ret_err, -errno, "", "state-dir",
			"cannot set the owner of %s in the state folder: %s", name,
			strerror(errno));
	if (!made && (st.st_uid != uid || (st.st_mode & 022) != 0))
		return error_set_field(ret_err, -EPERM, "", "state-dir",
			"%s in the state folder must belong to user %u and be writable for nobody "
			"else",
			name, (unsigned)uid);
	return 0;
}

int stages_prepare_state(
	const char *state_dir, uid_t uid, gid_t gid, int *ret_dir_fd, struct error *ret_err)
{
	mode_t mask = umask(022);
	auto_close int fd = -EBADF;
	int r = make_parents(state_dir, ret_err);

	if (r == 0 && mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		r = error_set_field(ret_err, -errno, "", "state-dir",
			"cannot make the folder %s: %s", state_dir, strerror(errno));
	if (r == 0) {
		fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			r = error_set_field(ret_err, -errno, "", "state-dir",
				"the state folder %s cannot be opened, or is a symbolic link: %s",
				state_dir, strerror(errno));
	}
	if (r == 0)
		r = adopt_state(fd, state_dir, uid, gid, ret_err);
	if (r == 0)
		r = prepare_inner(fd, "keeper", 0, 0, ret_err);
	if (r == 0)
		r = prepare_inner(fd, "spool", uid, gid, ret_err);
	umask(mask);
	if (r == 0)
		*ret_dir_fd = take_fd(fd);
	return r;
}

/* --- identity --------------------------------------------------------------------------------- */

static int set_limits(void)
{
	const struct rlimit none = {0, 0};
	struct rlimit files;

	if (setrlimit(RLIMIT_CORE, &none) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		return -errno;
	if (files.rlim_max < DESCRIPTORS_WANTED) {
		const struct rlimit more = {DESCRIPTORS_WANTED, DESCRIPTORS_WANTED};

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return 0;
	}
	files.rlim_cur = files.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &files) < 0 ? -errno : 0;
}

int stages_drop(uid_t uid, gid_t gid, struct error *ret_err)
{
	const char *step = "setting resource limits";
	int r = set_limits();

	if (r == 0) {
		step = "emptying the bounding set";
		r = privilege_drop_bounding(0);
	}
	if (r == 0) {
		step = "changing user and group";
		r = privilege_set_ids(uid, gid);
	}
	if (r == 0) {
		step = "dropping capabilities";
		r = privilege_set_caps(0, 0, 0);
	}
	if (r == 0) {
		step = "setting no_new_privs";
		r = privilege_no_new_privs();
	}
	if (r == 0 && !STAGES_SANITIZED) {
		step = "becoming undumpable";
		r = privilege_not_dumpable();
	}
	if (r < 0)
		return error_set(
			ret_err, r, "", "cannot give up rights: %s: %s", step, strerror(-r));
	return 0;
}
