/* warren image build | list. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "rpc/json.h"

#define MANIFEST_MAX (4 << 20)
#define NAME_SHOWN 12 /* digits of the sum that names an image's folder */

/* --- build ------------------------------------------------------------------------------- */

int cli_run_image_build(const struct cli_call *call)
{
	auto_free char *builder = NULL;
	auto_free char *image_dir = NULL;
	struct config config;
	struct error err = {0};
	int r = cli_load_config(call, &config, &err);

	if (r == 0) {
		image_dir = mem_strdup(config.image_dir);
		r = cli_find_image_builder(&builder, &err);
	}
	config_done(&config);
	if (r < 0)
		return cli_fail(&err);
	assert(builder != NULL && image_dir != NULL);
	execve(builder, (char *[]){builder, (char *)"--image-dir", image_dir, NULL}, call->envp);
	fprintf(stderr, "warren: cannot start %s: %s\n", builder, strerror(errno));
	return CLI_FAILURE;
}

/* --- list -------------------------------------------------------------------------------- */

static const char *member(struct json_object *json, const char *key)
{
	struct json_object *value = NULL;

	if (!json_object_object_get_ex(json, key, &value) ||
		!json_object_is_type(value, json_type_string))
		return "?";
	return json_object_get_string(value);
}

/* What a file of the image takes of the disk. */
static void print_size(int dir, const char *folder, const char *file)
{
	auto_free char *path = mem_printf("%s/%s", folder, file);
	struct stat st;

	if (fstatat(dir, path, &st, 0) < 0)
		printf("  %8s", "missing");
	else
		printf("  %4lld %s", (long long)st.st_blocks / (st.st_blocks >= 2048 ? 2048 : 2),
			st.st_blocks >= 2048 ? "MiB" : "KiB");
}

/* One line for a folder with a manifest; nothing for others. */
static bool print_image(int dir, const char *folder, const char *current, bool first)
{
	auto_free char *path = mem_printf("%s/manifest.json", folder);
	auto_free char *text = NULL;
	struct json_object *json;
	size_t len;

	if (fd_read_file(dir, path, MANIFEST_MAX, &text, &len) < 0)
		return false;
	if (first)
		printf("%-20s  %-*s  %-20s  %8s  %8s  %s\n", "IMAGE", NAME_SHOWN, "FOLDER", "BUILT",
			"BASE", "DISK", "STATE");
	json = rpc_json_parse(text, len, NULL);
	printf("%-20.40s  %.*s  %-20.30s", member(json, "image"), NAME_SHOWN, folder,
		member(json, "built"));
	print_size(dir, folder, "base.erofs");
	print_size(dir, folder, "disk.ext4");
	printf("  %s\n", strcmp(folder, current) == 0 ? "current" : "older");
	json_object_put(json);
	return true;
}

static int only_folders(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN);
}

static int list_images(const char *image_dir, struct error *ret_err)
{
	auto_close int dir = open(image_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char current[PATH_MAX] = "";
	struct dirent **entries;
	bool any = false;
	ssize_t n;
	int count;

	if (dir < 0 && errno == ENOENT)
		count = 0;
	else
		count = dir < 0 ? -1 : scandirat(dir, ".", &entries, only_folders, alphasort);
	if (count < 0)
		return error_set(
			ret_err, -errno, "", "cannot read %s: %s", image_dir, strerror(errno));
	n = count > 0 ? readlinkat(dir, "builtin-debian-13", current, sizeof(current) - 1) : 0;
	current[n > 0 ? n : 0] = '\0';
	for (int i = 0; i < count; i++) {
		any |= print_image(dir, entries[i]->d_name, current, !any);
		free(entries[i]);
	}
	if (count > 0)
		free(entries);
	if (!any)
		fprintf(stderr, "no image in %s; `warren image build` makes it\n", image_dir);
	return 0;
}

int cli_run_image_list(const struct cli_call *call)
{
	struct config config;
	struct error err = {0};
	int r = cli_load_config(call, &config, &err);

	if (r == 0)
		r = list_images(config.image_dir, &err);
	config_done(&config);
	return r < 0 ? cli_fail(&err) : CLI_OK;
}
