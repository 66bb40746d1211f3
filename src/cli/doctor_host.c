/* Checks of what is installed and configured on this machine. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "cli/doctor.h"
#include "cli/endpoint.h"

#define GIB (UINT64_C(1) << 30)
#define SPACE_WANTED (10 * GIB) /* one sandbox that fills its disk */

enum doctor_verdict doctor_programs(const struct config *config, struct doctor_finding *f)
{
	static const char *const names[] = {
		"warrend", "warren-keeper", "warren-gate", "warren-resolver", "warren-agent"};
	struct error err;

	(void)config;
	for (size_t i = 0; i < array_len(names); i++) {
		auto_free char *path = NULL;

		if (cli_find_program(names[i], &path, &err) < 0)
			return doctor_bad(
				f, DOCTOR_FAIL, "run make, or make install", "%s", err.message);
	}
	return doctor_ok(f, "warrend, warren-keeper, warren-gate, warren-resolver, warren-agent");
}

enum doctor_verdict doctor_account(const struct config *config, struct doctor_finding *f)
{
	struct passwd *pw = getpwnam(config->user);

	if (pw != NULL && pw->pw_uid != 0)
		return doctor_ok(f, "%s (uid %u)", config->user, (unsigned)pw->pw_uid);
	if (pw == NULL && strcmp(config->user, CONFIG_USER_DEFAULT) == 0)
		return doctor_ok(f, "no account %s: the server uses uid 61170", config->user);
	return doctor_bad(f, DOCTOR_FAIL, "make the account, or set the key user",
		pw == NULL ? "there is no account %s" : "the account %s is root", config->user);
}

enum doctor_verdict doctor_image(const struct config *config, struct doctor_finding *f)
{
	static const char *const files[] = {"base.erofs", "disk.ext4", "manifest.json"};

	for (size_t i = 0; i < array_len(files); i++) {
		auto_free char *path =
			mem_printf("%s/builtin-debian-13/%s", config->image_dir, files[i]);

		if (access(path, R_OK) < 0)
			return doctor_bad(f, DOCTOR_FAIL, "run `warren image build`", "%s: %s",
				path, strerror(errno));
	}
	return doctor_ok(f, "builtin:debian-13 in %s", config->image_dir);
}

/* The folder itself, or the first above it that is there. */
static char *existing_part(const char *path)
{
	char *part = mem_strdup(path);

	while (access(part, F_OK) < 0 && errno == ENOENT) {
		char *slash = strrchr(part, '/');

		if (slash == part || slash == NULL) {
			free(part);
			return mem_strdup("/");
		}
		*slash = '\0';
	}
	return part;
}

/* Without a bundle the gate trusts nobody, and HTTPS fails inside. */
enum doctor_verdict doctor_certificates(const struct config *config, struct doctor_finding *f)
{
	if (config->extra_ca[0] != '\0' && access(config->extra_ca, R_OK) < 0)
		return doctor_bad(f, DOCTOR_FAIL, "set the key extra-ca to a file that is there",
			"%s: %s", config->extra_ca, strerror(errno));
	if (access(config->host_ca, R_OK) < 0)
		return doctor_bad(f, DOCTOR_WARN, "install ca-certificates, or set the key host-ca",
			"%s: %s", config->host_ca, strerror(errno));
	return doctor_ok(f, "%s%s%s", config->host_ca, config->extra_ca[0] != '\0' ? ", " : "",
		config->extra_ca);
}

enum doctor_verdict doctor_state(const struct config *config, struct doctor_finding *f)
{
	const char *path = config->state_dir;
	struct stat st;

	if (lstat(path, &st) < 0 && errno == ENOENT)
		return doctor_ok(f, "%s will be made at the first start", path);
	if (lstat(path, &st) < 0)
		return doctor_bad(f, DOCTOR_FAIL, "", "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return doctor_bad(
			f, DOCTOR_FAIL, "choose another state-dir", "%s is no folder", path);
	if ((st.st_mode & 022) != 0)
		return doctor_bad(f, DOCTOR_FAIL, "chmod go-w it", "others can write in %s", path);
	return doctor_ok(f, "%s", path);
}

enum doctor_verdict doctor_space(const struct config *config, struct doctor_finding *f)
{
	auto_free char *part = existing_part(config->state_dir);
	struct statvfs vfs;
	uint64_t bytes;

	if (statvfs(part, &vfs) < 0)
		return doctor_bad(f, DOCTOR_WARN, "", "%s: %s", part, strerror(errno));
	bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (bytes < SPACE_WANTED)
		return doctor_bad(f, DOCTOR_WARN, "each sandbox may fill a disk of 10 GiB there",
			"%.1f GiB free for %s", (double)bytes / (double)GIB, config->state_dir);
	return doctor_ok(f, "%.0f GiB free for %s", (double)bytes / (double)GIB, config->state_dir);
}

enum doctor_verdict doctor_listen(const struct config *config, struct doctor_finding *f)
{
	auto_close int fd = socket(config->listen_addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct endpoint endpoint;
	int one = 1;

	if (!config->listen_loopback && !config->insecure_listen)
		return doctor_bad(f, DOCTOR_WARN,
			"at isolation level namespace the server refuses this without "
			"allow-namespace-on-network",
			"other machines can reach %s", config->listen);
	if (fd < 0)
		return doctor_bad(f, DOCTOR_FAIL, "", "cannot make a socket: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&config->listen_addr, config->listen_len) == 0 &&
		listen(fd, 1) == 0)
		return doctor_ok(f, "%s is free", config->listen);
	if (errno == EADDRINUSE && endpoint_read(config->state_dir, &endpoint, NULL) == 0)
		return doctor_ok(f, "a server is running, process %d at %s", (int)endpoint.pid,
			endpoint.url);
	return doctor_bad(f, DOCTOR_FAIL, "choose another with --listen", "%s: %s", config->listen,
		strerror(errno));
}
