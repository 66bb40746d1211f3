/*
 * Times of machines at the isolation interface: machine-times [rounds]. For each way to make one:
 * from the request to on_started, to the stub agent's greeting, and from machine_destroy() to gone.
 */
#include "host.h"

struct series {
	const char *name;
	unsigned gap_ms; /* before each create */
	unsigned reserve;
};

static const struct series all[] = {
	{"prepared, every 100 ms", 100, 4},
	{"nothing prepared, every 100 ms", 100, 0},
	{"nothing prepared, back to back", 0, 0},
};

enum { STARTED, GREETED, ENDED, TIMES };

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double since_ms(uint64_t start)
{
	return (double)(clock_mono_ns() - start) / 1e6;
}

static int measure(struct host *h, const struct series *s, unsigned rounds)
{
	static const char *const names[TIMES] = {"started", "greeted", "gone"};
	auto_free double *times = mem_zalloc_array(TIMES * rounds, sizeof(double));

	isolation_prepare(h->iso, s->reserve);
	usleep(500000);
	for (unsigned i = 0; i < rounds; i++) {
		struct guest g;

		usleep(s->gap_ms * 1000);
		uint64_t start = clock_mono_ns();
		guest_ask(&g, h, 1280, 1024);
		if (!host_wait(h, &g.answered) || !g.started) {
			fprintf(stderr, "machine-times: %s\n", g.err.message);
			return -EIO;
		}
		times[STARTED * rounds + i] = since_ms(start);
		if (!guest_greet(&g))
			return -EIO;
		times[GREETED * rounds + i] = since_ms(start);
		start = clock_mono_ns();
		if (!guest_end(&g))
			return -EIO;
		times[ENDED * rounds + i] = since_ms(start);
	}
	for (unsigned t = 0; t < TIMES; t++) {
		double *column = times + t * rounds;

		qsort(column, rounds, sizeof(double), by_value);
		printf("%-34s %-8s p50 %7.2f  p90 %7.2f  max %7.2f ms\n", s->name, names[t],
			column[rounds / 2], column[rounds * 9 / 10], column[rounds - 1]);
	}
	return 0;
}

/* Memory that count idle machines add to the host, page cache left out. */
static unsigned long free_kb(void)
{
	auto_free char *text = NULL;
	const char *at;

	if (fd_read_file(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) < 0)
		return 0;
	at = strstr(text, "MemAvailable:");
	return at != NULL ? strtoul(at + strlen("MemAvailable:"), NULL, 10) : 0;
}

static int weigh(struct host *h, unsigned count)
{
	auto_free struct guest *guests = mem_zalloc_array(count, sizeof(*guests));

	isolation_prepare(h->iso, 0);
	usleep(500000);
	unsigned long before = free_kb();
	uint64_t start = clock_mono_ns();
	for (unsigned i = 0; i < count; i++) {
		if (!guest_start(&guests[i], h, 1280, 1024))
			return -EIO;
	}
	printf("%u machines one after the other: %.0f ms\n", count, since_ms(start));
	usleep(500000);
	printf("memory per idle machine: %.2f MiB\n",
		((double)before - (double)free_kb()) / 1024 / count);
	for (unsigned i = 0; i < count; i++)
		(void)guest_end(&guests[i]);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 30;
	struct error err = {0};
	struct host h;
	int r;

	log_init("machine-times", LOG_LEVEL_WARN);
	if (!host_possible() || rounds == 0 || rounds > 10000) {
		fprintf(stderr, "machine-times: needs root and the base image in " IMAGES "\n");
		return 2;
	}
	r = host_start(&h, &err);
	for (size_t i = 0; i < array_len(all) && r == 0; i++)
		r = measure(&h, &all[i], rounds);
	if (r == 0)
		r = weigh(&h, rounds);
	if (r < 0)
		fprintf(stderr, "machine-times: %s %s\n", strerror(-r), err.message);
	host_stop(&h);
	return r == 0 ? 0 : 1;
}
