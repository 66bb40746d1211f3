/*
 * warrend: starts as root, takes what only root can give (state folder, listening socket, keeper),
 * and goes on as an unprivileged process that sees nothing of the host but its state folder.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "isolation/isolation.h"
#include "keeper/spawn.h"
#include "loop/loop.h"
#include "sandbox/sandbox.h"
#include "server/server.h"
#include "server/stages.h"
#include "store/store.h"

#define STOP_LIMIT_NS (4 * CLOCK_SEC)
#define FIRST_ORG "default"

struct daemon {
	struct config config;
	struct loop *loop;
	struct store *store;
	struct isolation *isolation;
	struct sandboxes *sandboxes;
	struct server *server;
	struct loop_child keeper;
	struct loop_timer stop_timer;
	int state_fd;
	int lock_fd; /* held for life: one server a state folder */
	int spool_fd;
	int listen_fd;
	int keeper_sock;
	pid_t keeper_pid;
	bool keeper_gone;
	bool machines_gone;
	bool stopping;
	int exit_code;
	char address[INET6_ADDRSTRLEN + 16]; /* ADDR:PORT as bound */
	unsigned port;
};

static int fail(const struct error *err)
{
	fprintf(stderr, "warrend: %s\n", err->message);
	return 1;
}

/* --- while still root -------------------------------------------------------------------- */

static void describe_address(struct daemon *d, const struct sockaddr *sa)
{
	char host[INET6_ADDRSTRLEN] = "";

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sa;

		d->port = ntohs(in->sin_port);
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(d->address, sizeof(d->address), "%s:%u", host, d->port);
	} else {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		d->port = ntohs(in6->sin6_port);
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(d->address, sizeof(d->address), "[%s]:%u", host, d->port);
	}
}

/* Before anything is read or changed: the records of a server that runs are no wreck to clear up.
 */
static int lock_state(struct daemon *d, struct error *err)
{
	auto_close int fd =
		openat(d->state_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set(err, -errno, "", "cannot open the file \"lock\" in %s: %s",
			d->config.state_dir, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(err, -errno, "",
			errno == EWOULDBLOCK ? "another server is using the state folder %s"
					     : "cannot lock the state folder %s",
			d->config.state_dir);
	d->lock_fd = take_fd(fd);
	return 0;
}

static int open_listener(struct daemon *d, struct error *err)
{
	struct sockaddr_storage sa = d->config.listen_addr;
	socklen_t len = d->config.listen_len;
	auto_close int fd = -EBADF;
	int one = 1;

	if (!d->config.listen_loopback && !d->config.insecure_listen)
		return error_set(err, -EPERM, "",
			"refusing to listen on %s: namespaces share this host's kernel with the "
			"code "
			"inside; set allow-namespace-on-network to accept that",
			d->config.listen);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(err, -errno, "", "cannot make a socket: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 1024) < 0)
		return error_set(err, -errno, "", "cannot listen on %s: %s", d->config.listen,
			strerror(errno));
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return error_set(
			err, -errno, "", "cannot read the bound address: %s", strerror(errno));
	describe_address(d, (struct sockaddr *)&sa);
	d->listen_fd = take_fd(fd);
	return 0;
}

/* The programs lie beside each other, in a build tree and installed. */
static char *program_path(const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return mem_strdup(name);
	self[n] = '\0';
	return mem_printf("%s/%s", dirname(self), name);
}

/* The keeper would fail on it too, but it cannot say what to do. */
static int check_image(const struct daemon *d, struct error *err)
{
	auto_free char *path = mem_printf("%s/builtin-debian-13", d->config.image_dir);

	if (access(path, F_OK) == 0)
		return 0;
	return error_set(err, -errno, "",
		"there is no guest image in %s (%s); `warren image build` makes it",
		d->config.image_dir, strerror(errno));
}

static int start_keeper(struct daemon *d, struct error *err)
{
	auto_free char *keeper = program_path("warren-keeper");
	auto_free char *agent = program_path("warren-agent");
	auto_free char *gate = program_path("warren-gate");
	auto_free char *resolver = program_path("warren-resolver");
	struct keeper_spawn_params params = {
		.program = keeper,
		.agent = agent,
		.gate = gate,
		.resolver = resolver,
		.state_fd = d->state_fd,
		.image_dir = d->config.image_dir,
		.host_ca = d->config.host_ca,
		.extra_ca = d->config.extra_ca[0] != '\0' ? d->config.extra_ca : NULL,
	};
	int r = keeper_spawn(&params, &d->keeper_sock, &d->keeper_pid);

	if (r < 0)
		return error_set(err, r, "", "cannot start %s: %s", keeper, strerror(-r));
	return 0;
}

static int take_from_root(struct daemon *d, struct error *err)
{
	uid_t uid;
	gid_t gid;
	int r;

	if (geteuid() != 0)
		return error_set(err, -EPERM, "",
			"must be started as root (it gives up root before it serves anybody)");
	r = stages_user(d->config.user, &uid, &gid, err);
	if (r == 0)
		r = stages_prepare_state(d->config.state_dir, uid, gid, &d->state_fd, err);
	if (r == 0)
		r = lock_state(d, err);
	if (r == 0)
		r = open_listener(d, err);
	if (r == 0)
		r = check_image(d, err);
	if (r == 0)
		r = start_keeper(d, err);
	if (r == 0)
		r = stages_confine_fs(d->state_fd, err);
	if (r == 0)
		r = stages_drop(uid, gid, err);
	if (r == 0)
		r = stages_seccomp(err);
	return r;
}

/* --- the unprivileged daemon ------------------------------------------------------------- */

/* The first start makes an organisation and a token; the token's text goes to a file only its owner
 * can read, for `warren env`. */
static int first_start(struct daemon *d, struct error *err)
{
	struct store_org org;
	struct store_token token;
	char text[STORE_TOKEN_TEXT_SIZE];
	auto_close int fd = -EBADF;
	int r;

	if (store_org_count(d->store) != 0)
		return 0;
	r = store_org_create(d->store, FIRST_ORG, &org, err);
	if (r == 0)
		r = store_token_create(d->store, org.id, "first token", 0, &token, text, err);
	if (r < 0)
		return r;
	(void)unlinkat(d->state_fd, "token", 0);
	fd = openat(d->state_fd, "token", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_all(fd, text, strlen(text)) < 0)
		r = error_set(
			err, -errno, "", "cannot write the file \"token\": %s", strerror(errno));
	mem_wipe(text, sizeof(text));
	return r;
}

static int write_endpoint(struct daemon *d, struct error *err)
{
	auto_free char *text = mem_printf(
		"url=http://%s\npid=%d\ndomain=localhost:%u\n", d->address, (int)getpid(), d->port);
	auto_close int fd =
		openat(d->state_fd, "endpoint.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || fd_write_all(fd, text, strlen(text)) < 0 ||
		renameat(d->state_fd, "endpoint.new", d->state_fd, "endpoint") < 0)
		return error_set(
			err, -errno, "", "cannot write the file \"endpoint\": %s", strerror(errno));
	return 0;
}

static void check_finished(struct daemon *d)
{
	if (d->machines_gone && d->keeper_gone)
		loop_stop(d->loop, d->exit_code);
}

static void on_machines_gone(void *data)
{
	struct daemon *d = data;

	d->machines_gone = true;
	/* The keeper cleans up and ends when its socket closes. */
	isolation_free(take_ptr(d->isolation));
	check_finished(d);
}

static void on_stop_limit(struct loop_timer *timer)
{
	struct daemon *d = container_of(timer, struct daemon, stop_timer);

	log_warn("machines or connections did not end in time: leaving them to the keeper");
	loop_stop(d->loop, d->exit_code);
}

static void stop(struct daemon *d, int exit_code)
{
	if (d->stopping)
		return;
	d->stopping = true;
	d->exit_code = exit_code;
	(void)unlinkat(d->state_fd, "endpoint", 0);
	loop_timer_set(d->loop, &d->stop_timer, STOP_LIMIT_NS, on_stop_limit);
	server_stop(d->server);
	sandboxes_shutdown(d->sandboxes, STORE_END_HOST_RESTART, on_machines_gone, d);
}

static void on_signal(struct loop *loop, int signo, void *data)
{
	(void)loop;
	log_info("signal %d: stopping", signo);
	stop(data, 0);
}

static void on_isolation_lost(struct isolation *iso, int err, void *data)
{
	struct daemon *d = data;

	(void)iso;
	if (d->stopping)
		return;
	log_error("the keeper is gone (%s): every sandbox has ended with it",
		err == 0 ? "end of its socket" : strerror(-err));
	sandboxes_lost(d->sandboxes);
	stop(d, 1);
}

static void on_keeper_exit(struct loop_child *child, int status)
{
	struct daemon *d = container_of(child, struct daemon, keeper);

	d->keeper_gone = true;
	if (!d->stopping)
		log_error("the keeper ended (status %#x)", (unsigned)status);
	check_finished(d);
}

static const struct isolation_ops isolation_ops = {.on_lost = on_isolation_lost};

static int open_state(struct daemon *d, struct error *err)
{
	auto_free char *path = mem_printf("%s/warren.db", stages_state_path(d->config.state_dir));
	int r = store_open(path, &d->store, err);
	int n;

	if (r == 0)
		r = first_start(d, err);
	if (r < 0)
		return r;
	d->spool_fd = openat(d->state_fd, "spool", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (d->spool_fd < 0)
		return error_set(
			err, -errno, "", "cannot open the folder \"spool\": %s", strerror(errno));
	n = store_sandbox_end_all(
		d->store, STORE_END_HOST_RESTART, "the server died or was killed", clock_real_ms());
	if (n > 0)
		log_warn("%d sandboxes had not ended properly: recorded as host-restart", n);
	return n < 0 ? error_set(err, n, "", "cannot read the records: %s", strerror(-n)) : 0;
}

static int start(struct daemon *d, struct error *err)
{
	enum isolation_level level;
	int r;

	d->loop = loop_new();
	if (d->loop == NULL)
		return error_set(err, -errno, "", "cannot make an event loop: %s", strerror(errno));
	(void)loop_signal(d->loop, SIGTERM, on_signal, d);
	(void)loop_signal(d->loop, SIGINT, on_signal, d);
	r = loop_child_add(d->loop, &d->keeper, d->keeper_pid, -EBADF, on_keeper_exit);
	if (r < 0)
		return error_set(err, r, "", "cannot watch the keeper: %s", strerror(-r));
	r = open_state(d, err);
	if (r < 0)
		return r;
	(void)isolation_level_parse(d->config.isolation, &level);
	r = isolation_new(
		d->loop, level, take_fd(d->keeper_sock), &isolation_ops, d, &d->isolation, err);
	if (r < 0)
		return r;
	isolation_prepare(d->isolation, (unsigned)d->config.prepared);
	d->sandboxes = sandboxes_new(&(struct sandboxes_params){
		.loop = d->loop,
		.store = d->store,
		.isolation = d->isolation,
		.max_lifetime_ms = d->config.max_lifetime_ms,
		.stopped_retention_ms = d->config.stopped_retention_ms,
		.max_per_org = (unsigned)d->config.max_sandboxes,
		.pool = (unsigned)d->config.pool,
		.pids_max = (unsigned)d->config.pids_max,
		.egress_allow = d->config.egress_allow,
		.egress_private = d->config.egress_private,
		.http_proxy = d->config.egress_http_proxy,
		.https_proxy = d->config.egress_https_proxy,
		.no_proxy = d->config.egress_no_proxy,
		.event_retention_ms = d->config.event_retention_ms,
		.max_events = (unsigned)d->config.max_events,
	});
	d->server = server_new(
		&(struct server_params){
			.loop = d->loop,
			.store = d->store,
			.sandboxes = d->sandboxes,
			.config = &d->config,
			.spool_fd = d->spool_fd,
		},
		take_fd(d->listen_fd));
	return write_endpoint(d, err);
}

static int serve(struct daemon *d)
{
	int code;

	if (isolation_level(d->isolation) != ISOLATION_MICROVM)
		log_warn("isolation level %s: sandboxes share this host's kernel",
			isolation_level_name(isolation_level(d->isolation)));
	printf("ready http://%s\n", d->address);
	fflush(stdout);
	code = loop_run(d->loop);
	server_free(d->server);
	sandboxes_free(d->sandboxes);
	isolation_free(d->isolation);
	loop_child_del(&d->keeper);
	store_close(d->store);
	loop_timer_cancel(&d->stop_timer);
	loop_free(d->loop);
	fd_close(d->spool_fd);
	fd_close(d->state_fd);
	fd_close(d->lock_fd);
	return code;
}

int main(int argc, char **argv, char **envp)
{
	struct daemon d = {
		.state_fd = -EBADF,
		.lock_fd = -EBADF,
		.spool_fd = -EBADF,
		.listen_fd = -EBADF,
		.keeper_sock = -EBADF,
	};
	enum log_level level = LOG_LEVEL_INFO;
	struct error err = {0};
	int code;

	log_init("warrend", LOG_LEVEL_INFO);
	if (config_load(&d.config, argc, argv, envp, &err) < 0)
		return fail(&err);
	if (d.config.help || d.config.version || d.config.print_config) {
		if (d.config.help)
			config_help(stdout);
		else if (d.config.version)
			printf("warrend %s\n", WARREN_VERSION);
		else
			config_print(&d.config, stdout);
		config_done(&d.config);
		return 0;
	}
	(void)log_level_parse(d.config.log_level, &level);
	log_init("warrend", level);
	if (take_from_root(&d, &err) < 0 || start(&d, &err) < 0)
		return fail(&err);
	code = serve(&d);
	config_done(&d.config);
	return code;
}
