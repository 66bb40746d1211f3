/* The checks of `warren doctor`, one function each, in one table (doctor.c). */
#pragma once

#include <stddef.h>

#include "cli/cli.h"

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_finding {
	enum doctor_verdict verdict;
	char text[400]; /* what was found */
	char mend[400]; /* what to do about it, "" when nothing */
};

/* Both return the verdict they set. */
enum doctor_verdict doctor_ok(struct doctor_finding *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
enum doctor_verdict doctor_bad(struct doctor_finding *f, enum doctor_verdict verdict,
	const char *mend, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

typedef enum doctor_verdict (*doctor_fn)(const struct config *config, struct doctor_finding *f);

/* doctor_kernel.c */
enum doctor_verdict doctor_root(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_kernel(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_namespaces(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_packet_rules(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_file_systems(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_loop_devices(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_cgroups(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_seccomp(const struct config *config, struct doctor_finding *f);

/* doctor_host.c */
enum doctor_verdict doctor_programs(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_account(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_image(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_certificates(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_state(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_space(const struct config *config, struct doctor_finding *f);
enum doctor_verdict doctor_listen(const struct config *config, struct doctor_finding *f);

/* Controllers of *wanted (NULL-ended) that neither a cgroup v1 hierarchy nor the v2 one offers, by
 * the texts of /proc/self/mountinfo and of v2's cgroup.controllers (NULL: no such file). Writes
 * their names, blanks between, to ret_missing; returns how many. */
unsigned doctor_missing_controllers(const char *mountinfo, const char *v2_controllers,
	const char *const *wanted, char *ret_missing, size_t size);
/* Mount point of the v2 hierarchy in the text of mountinfo (heap), NULL when there is none. */
char *doctor_cgroup2_mount(const char *mountinfo);
