/* warren doctor: runs the table of checks. */
#include "cli/doctor.h"

#include <stdarg.h>
#include <string.h>

#include "base/mem.h"

static const struct {
	const char *name;
	doctor_fn fn;
} checks[] = {
	{"root", doctor_root},
	{"kernel", doctor_kernel},
	{"namespaces", doctor_namespaces},
	{"packet rules", doctor_packet_rules},
	{"file systems", doctor_file_systems},
	{"loop devices", doctor_loop_devices},
	{"control groups", doctor_cgroups},
	{"seccomp", doctor_seccomp},
	{"programs", doctor_programs},
	{"account", doctor_account},
	{"guest image", doctor_image},
	{"certificates", doctor_certificates},
	{"state folder", doctor_state},
	{"disk space", doctor_space},
	{"listen address", doctor_listen},
};

enum doctor_verdict doctor_ok(struct doctor_finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return f->verdict = DOCTOR_OK;
}

enum doctor_verdict doctor_bad(struct doctor_finding *f, enum doctor_verdict verdict,
	const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	snprintf(f->mend, sizeof(f->mend), "%s", mend);
	return f->verdict = verdict;
}

static void print_finding(const char *name, const struct doctor_finding *f)
{
	static const char *const words[] = {"ok", "warn", "fail"};

	printf("%-4s  %-14s  %s%s%s\n", words[f->verdict], name, f->text, f->mend[0] ? "; " : "",
		f->mend);
}

int cli_run_doctor(const struct cli_call *call)
{
	struct config config;
	struct error err = {0};
	unsigned failed = 0;
	int r = cli_load_config(call, &config, &err);

	if (r < 0) {
		config_done(&config);
		return cli_fail(&err);
	}
	for (size_t i = 0; i < array_len(checks); i++) {
		struct doctor_finding f = {0};

		failed += checks[i].fn(&config, &f) == DOCTOR_FAIL;
		print_finding(checks[i].name, &f);
	}
	config_done(&config);
	if (failed > 0)
		fprintf(stderr, "warren: %u of %zu checks failed\n", failed, array_len(checks));
	return failed > 0 ? CLI_FAILURE : CLI_OK;
}
