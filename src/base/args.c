#include "base/args.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"

int args_read(const char *program, const struct option *table, int help_id, int argc, char **argv,
	args_take_fn take, void *data)
{
	int id, index = 0;

	while ((id = getopt_long(argc, argv, "", table, &index)) >= 0) {
		if (id == help_id)
			return 1;
		if (id == '?')
			return -EINVAL;
		if (take(data, id, optarg) < 0) {
			fprintf(stderr, "%s: --%s: bad value '%s'\n", program, table[index].name,
				optarg);
			return -EINVAL;
		}
	}
	return 0;
}

int args_number(const char *text, int base, uint32_t max, uint32_t *ret)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, base);
	if (errno != 0 || *end != '\0' || *text < '0' || *text > '9' || n > max)
		return -EINVAL;
	*ret = (uint32_t)n;
	return 0;
}

int args_fd(const char *text, int *ret)
{
	uint32_t n;

	if (args_number(text, 10, INT_MAX, &n) < 0 || n < 3)
		return -EINVAL;
	int r = fd_set_cloexec((int)n, true); /* -EBADF when it is not open */
	if (r == 0)
		*ret = (int)n;
	return r;
}
