/*
 * warren-keeper: the one process of Warren with root's rights. It makes and destroys machines for
 * the daemon that started it, over one socket, and takes everything down when that socket ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/args.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "keeper/keeper.h"
#include "keeper/requests.h"
#include "keeper/run.h"
#include "keeper/stage.h"
#include "keeper/sweep.h"
#include "keeper/tree.h"
#include "keeper/userns.h"

#define LOCK_WAIT_MS 6000 /* a predecessor may still be cleaning up */
#define SWEEP_WAIT_MS 5000
#define END_WAIT_NS (15 * CLOCK_SEC)
#define UID_BASE_DEFAULT 0x40000000
#define HOST_CA_DEFAULT "/etc/ssl/certs/ca-certificates.crt"

struct options {
	int socket_fd;
	int state_fd;
	const char *image_dir;
	const char *agent;
	const char *gate;
	const char *resolver;
	const char *host_ca;
	const char *extra_ca;
	uint32_t uid_base;
	enum log_level level;
	const char *level_name; /* NULL: the default */
	bool sweep;
};

/* --- options ---------------------------------------------------------------------------------- */

enum option_id {
	OPT_SOCKET,
	OPT_STATE,
	OPT_IMAGE,
	OPT_AGENT,
	OPT_GATE,
	OPT_RESOLVER,
	OPT_HOST_CA,
	OPT_EXTRA_CA,
	OPT_UID_BASE,
	OPT_LOG,
	OPT_SWEEP,
	OPT_HELP
};

static const struct option option_table[] = {
	{"socket-fd", required_argument, NULL, OPT_SOCKET},
	{"state-dir-fd", required_argument, NULL, OPT_STATE},
	{"image-dir", required_argument, NULL, OPT_IMAGE},
	{"agent", required_argument, NULL, OPT_AGENT},
	{"gate", required_argument, NULL, OPT_GATE},
	{"resolver", required_argument, NULL, OPT_RESOLVER},
	{"host-ca", required_argument, NULL, OPT_HOST_CA},
	{"extra-ca", required_argument, NULL, OPT_EXTRA_CA},
	{"uid-base", required_argument, NULL, OPT_UID_BASE},
	{"log-level", required_argument, NULL, OPT_LOG},
	{"sweep", no_argument, NULL, OPT_SWEEP},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

static const char usage[] =
	"warren-keeper is started by warrend.\n"
	"usage: warren-keeper --socket-fd N --state-dir-fd N --image-dir DIR --agent FILE\n"
	"                     --gate FILE --resolver FILE [--host-ca FILE] [--extra-ca FILE]\n"
	"                     [--uid-base N] [--log-level LEVEL]\n"
	"       warren-keeper --sweep --state-dir-fd N\n"
	"           removes what a killed keeper left behind\n";

/* An id beyond the last range would not fit the kernel's signed group range for ping. Below the
 * ranges are the ids of the gates and the resolver, which must not be those of accounts. */
static int parse_uid_base(const char *text, uint32_t *ret)
{
	uint32_t base;
	uint32_t min = USERNS_IDS + KEEPER_SLOTS_MAX + 1;
	uint32_t max = (uint32_t)INT32_MAX - KEEPER_SLOTS_MAX * USERNS_IDS + 1;

	if (args_number(text, 0, max, &base) < 0 || base < min)
		return -EINVAL;
	*ret = base;
	return 0;
}

static int take_option(void *data, int id, const char *value)
{
	struct options *o = data;

	switch (id) {
	case OPT_SOCKET:
		return args_fd(value, &o->socket_fd);
	case OPT_STATE:
		return args_fd(value, &o->state_fd);
	case OPT_IMAGE:
		o->image_dir = value;
		return 0;
	case OPT_AGENT:
		o->agent = value;
		return 0;
	case OPT_GATE:
		o->gate = value;
		return 0;
	case OPT_RESOLVER:
		o->resolver = value;
		return 0;
	case OPT_HOST_CA:
		o->host_ca = value;
		return 0;
	case OPT_EXTRA_CA:
		o->extra_ca = value;
		return 0;
	case OPT_UID_BASE:
		return parse_uid_base(value, &o->uid_base);
	case OPT_LOG:
		o->level_name = value;
		return log_level_parse(value, &o->level);
	case OPT_SWEEP:
		o->sweep = true;
		return 0;
	default:
		return -EINVAL;
	}
}

/* 0; 1 when help was asked for; or a negative errno, said on standard error. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int r = args_read("warren-keeper", option_table, OPT_HELP, argc, argv, take_option, o);

	if (r != 0)
		return r;
	bool service = o->socket_fd >= 0 && o->image_dir != NULL && o->agent != NULL &&
		       o->gate != NULL && o->resolver != NULL;
	if (o->state_fd < 0 || (!o->sweep && !service) || optind != argc) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	return 0;
}

/* --- life ------------------------------------------------------------------------------------- */

static void on_impatience(struct loop_timer *timer)
{
	struct keeper *k = container_of(timer, struct keeper, patience);

	log_error("machines do not end; what is left is removed at the next start");
	loop_stop(k->loop, EXIT_FAILURE);
}

void keeper_end(struct keeper *k)
{
	if (k->ending)
		return;
	k->ending = true;
	loop_timer_set(k->loop, &k->patience, END_WAIT_NS, on_impatience);
	pool_end(&k->pool);
}

static void on_signal(struct loop *loop, int signo, void *data)
{
	(void)loop;
	(void)signo;
	keeper_end(data);
}

static void on_ignored_signal(struct loop *loop, int signo, void *data)
{
	(void)loop;
	(void)signo;
	(void)data;
}

static int watch_signals(struct keeper *k)
{
	static const int ignored[] = {SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
	int r = loop_signal(k->loop, SIGTERM, on_signal, k);

	for (size_t i = 0; i < array_len(ignored) && r == 0; i++)
		r = loop_signal(k->loop, ignored[i], on_ignored_signal, NULL);
	return r;
}

/* A machine costs the keeper a handful of descriptors. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int open_netns(struct keeper *k, const char **ret_what)
{
	*ret_what = "open the network namespace";
	k->netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return k->netns < 0 ? -errno : 0;
}

static int open_loops(struct keeper *k, const char **ret_what)
{
	int nodes = open(RUN_NODES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*ret_what = "open the loop devices";
	if (nodes < 0)
		return -errno;
	int r = loopdevs_open(&k->loops, k->state.dir, nodes);
	if (r < 0)
		fd_close(nodes);
	return r;
}

/* The stages of the start, in order; what each needs, an earlier one has made. */
static int start(struct keeper *k, const struct options *o, const char **ret_what)
{
	raise_files();
	k->uid_base = o->uid_base;
	seccomp_build(&k->filter, SECCOMP_SET_MACHINE);
	netrules_build(&k->rules);
	int r = stage_isolate(o->state_fd, ret_what);
	if (r == 0)
		r = state_open(&k->state, o->state_fd, LOCK_WAIT_MS, ret_what);
	if (r == 0)
		r = cgroup_tree_open(&k->cgroups, k->state.instance, ret_what);
	if (r == 0)
		r = stage_run_folder(k, ret_what);
	if (r == 0)
		r = open_loops(k, ret_what);
	if (r == 0)
		r = sweep_machines(k, SWEEP_WAIT_MS, ret_what);
	if (r == 0)
		r = stage_base_image(k, o->image_dir, ret_what);
	if (r == 0)
		r = stage_agent(o->agent, ret_what);
	if (r == 0)
		r = stage_programs(o->gate, o->resolver, ret_what);
	if (r == 0)
		r = stage_trust(o->host_ca, o->extra_ca, ret_what);
	if (r == 0)
		r = open_netns(k, ret_what);
	tree_prepare();
	if (r == 0)
		r = stage_drop_rights(ret_what);
	if (r == 0) {
		*ret_what = "start the undertaker";
		r = undertaker_start(&k->undertaker, k);
	}
	return r;
}

/* The programs beside the keeper start with the rights that it has kept: a later start, when one of
 * them has ended, has no others. */
static int serve(struct keeper *k, const struct options *o, int *sock, const char **ret_what)
{
	const struct gates_params gates = {
		.extra_ca = o->extra_ca,
		.log_level = o->level_name,
	};

	*ret_what = "make the event loop";
	k->loop = loop_new();
	if (k->loop == NULL)
		return -errno;
	pool_init(&k->pool, k);
	int r = watch_signals(k);
	if (r == 0)
		r = gates_start(&k->gates, k, &gates, ret_what);
	if (r == 0)
		r = link_open(&k->link, k->loop, take_fd(*sock), &requests_link_ops);
	if (r < 0)
		return r;
	return loop_run(k->loop);
}

/* The daemon waits for the answer to HELLO; it gets the reason instead. */
static void report_failure(int sock, int err, const char *what)
{
	struct keeper_reply reply = {.verb = KEEPER_HELLO, .err = err};

	snprintf(reply.what, sizeof(reply.what), "%s", what);
	if (sock >= 0)
		(void)fd_send_msg(sock, &reply, sizeof(reply), NULL, 0);
}

static struct keeper *keeper_new(void)
{
	struct keeper *k = mem_new(struct keeper);

	k->template.fd = k->netns = -EBADF;
	k->state = (struct state){.dir = -EBADF, .lock = -EBADF, .disks = -EBADF};
	k->loops = (struct loopdevs){.control = -EBADF, .record = -EBADF, .nodes = -EBADF};
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++)
		k->cgroups.tops[i] = k->cgroups.parents[i] = -EBADF;
	return k;
}

/* Only a keeper that has the lock may sweep. */
static void clean_up(struct keeper *k)
{
	const char *what = "";

	if (k->loop != NULL) {
		link_close(&k->link);
		gates_stop(&k->gates);
		pool_done(&k->pool);
		loop_free(k->loop);
	}
	int r = k->state.lock >= 0 ? sweep_all(k, SWEEP_WAIT_MS, &what) : 0;
	if (r < 0)
		log_warn("cannot %s: %s", what, strerror(-r));
	undertaker_dismiss(&k->undertaker);
	loopdevs_close(&k->loops);
	cgroup_tree_close(&k->cgroups);
	disk_template_close(&k->template);
	state_close(&k->state);
	fd_close(k->netns);
	free(k);
}

static int run_service(const struct options *o)
{
	struct keeper *k = keeper_new();
	const char *what = "";
	int sock = o->socket_fd;
	int r = start(k, o, &what);

	if (r == 0) {
		log_debug("ready instance=%s uid-base=%u", k->state.instance, k->uid_base);
		r = serve(k, o, &sock, &what);
	}
	if (r < 0) {
		log_error("cannot %s: %s", what, strerror(-r));
		report_failure(sock, r, what);
	}
	clean_up(k);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_sweep(const struct options *o)
{
	struct keeper *k = keeper_new();
	const char *what = "";
	int r = state_open(&k->state, o->state_fd, LOCK_WAIT_MS, &what);

	if (r == 0)
		r = cgroup_tree_open(&k->cgroups, k->state.instance, &what);
	if (r == 0) {
		what = "open the loop devices";
		r = loopdevs_open(&k->loops, k->state.dir, -EBADF);
	}
	if (r < 0)
		log_error("cannot %s: %s", what, strerror(-r));
	clean_up(k);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct options o = {
		.socket_fd = -EBADF,
		.state_fd = -EBADF,
		.host_ca = HOST_CA_DEFAULT,
		.uid_base = UID_BASE_DEFAULT,
		.level = LOG_LEVEL_INFO,
	};
	int r = parse_options(&o, argc, argv);

	if (r > 0) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (r < 0)
		return 2;
	log_init("warren-keeper", o.level);
	if (geteuid() != 0) {
		log_error("must be started as root");
		return EXIT_FAILURE;
	}
	return o.sweep ? run_sweep(&o) : run_service(&o);
}
