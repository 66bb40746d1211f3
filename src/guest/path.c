#include "guest/path.h"

#include <string.h>

#include "base/mem.h"

char *path_resolve(const char *home, const char *path)
{
	if (*path == '/' || *path == '\0')
		return mem_strdup(path);
	return mem_printf("%s/%s", home, path);
}

void path_strip(char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
}
