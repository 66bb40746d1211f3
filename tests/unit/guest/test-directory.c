/* readDir, mkdir, remove, stat, lstat, symlink. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "harness.h"
#include "rpc/pack.h"

static int setup(void **state)
{
	*state = guest_new(NULL);
	return 0;
}

static int teardown(void **state)
{
	guest_free(*state);
	return 0;
}

static bool exists(const struct guest *g, const char *name)
{
	auto_free char *path = home_path(g, name);
	struct stat st;

	return lstat(path, &st) == 0;
}

static void make_dir(const struct guest *g, const char *name)
{
	auto_free char *path = home_path(g, name);

	assert_int_equal(mkdir(path, 0755), 0);
}

/* --- readDir ---------------------------------------------------------------------------------- */

static const struct rpc_dir_entry *find_entry(const struct rpc_dir_entries *list, const char *name)
{
	const struct rpc_dir_entry *entries = list->entries.items;

	for (size_t i = 0; i < list->entries.count; i++) {
		if (strcmp(entries[i].name, name) == 0)
			return &entries[i];
	}
	return NULL;
}

static void check_entry(const struct rpc_dir_entries *list, const char *name, char type)
{
	const struct rpc_dir_entry *e = find_entry(list, name);

	assert_non_null(e);
	assert_int_equal(e->is_file, type == 'f');
	assert_int_equal(e->is_directory, type == 'd');
	assert_int_equal(e->is_symlink, type == 'l');
}

static void test_read_dir(void **state)
{
	struct guest *g = *state;
	struct rpc_path path = {"."};
	struct rpc_dir_entries list;
	auto_free char *link = home_path(g, "link");
	auto_free char *fifo = home_path(g, "fifo");

	guest_ok(g, RPC_READ_DIR, &path, &list);
	assert_int_equal(list.entries.count, 0);
	rpc_clear(&rpc_dir_entries_schema, &list);
	home_write(g, "file", "");
	home_write(g, "n\303\244me \xff", "");
	make_dir(g, "dir");
	assert_int_equal(symlink("dir", link), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	guest_ok(g, RPC_READ_DIR, &path, &list);
	assert_int_equal(list.entries.count, 5);
	check_entry(&list, "file", 'f');
	check_entry(&list, "n\303\244me \xff", 'f');
	check_entry(&list, "dir", 'd');
	check_entry(&list, "link", 'l');
	check_entry(&list, "fifo", '-');
	rpc_clear(&rpc_dir_entries_schema, &list);
	guest_fails(g, RPC_READ_DIR, &(struct rpc_path){"file"}, ENOTDIR, NULL, "readdir 'file'");
	guest_fails(g, RPC_READ_DIR, &(struct rpc_path){"none"}, ENOENT, NULL, "readdir 'none'");
	guest_fails(g, RPC_READ_DIR, &(struct rpc_path){""}, ENOENT, NULL, "readdir ''");
}

static void make_files(const struct guest *g, const char *dir, unsigned count)
{
	auto_free char *path = home_path(g, dir);
	auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[32];

	/* Names of one file: making many inodes can take a file system long. */
	assert_int_equal(mknodat(fd, "file-0", S_IFREG | 0644, 0), 0);
	for (unsigned i = 1; i < count; i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		assert_int_equal(linkat(fd, "file-0", fd, name, 0), 0);
	}
}

static void test_read_dir_large(void **state)
{
	struct guest *g = *state;
	struct rpc_path path = {"many"};
	struct rpc_dir_entries list;
	struct answer *a, *b;

	make_dir(g, "many");
	make_files(g, "many", 20000);
	/* Two at a time, one of them given up. */
	a = guest_send(g, RPC_READ_DIR, &path);
	b = guest_send(g, RPC_READ_DIR, &path);
	assert_int_equal(channel_cancel(&g->channel, b->id), 0);
	guest_await(g, &a->done);
	guest_await(g, &b->done);
	answer_check_failed(b, ECANCELED, NULL, "readdir 'many'");
	assert_false(a->failed);
	assert_int_equal(
		rpc_unpack(buf_data(&a->data), a->data.len, &rpc_dir_entries_schema, &list), 0);
	assert_int_equal(list.entries.count, 20000);
	check_entry(&list, "file-0", 'f');
	check_entry(&list, "file-19999", 'f');
	rpc_clear(&rpc_dir_entries_schema, &list);
}

/* --- mkdir ------------------------------------------------------------------------------------ */

static void make(struct guest *g, const char *path, bool recursive, int64_t mode)
{
	struct rpc_mkdir params = {(char *)(uintptr_t)path, {recursive, mode}};

	guest_ok(g, RPC_MKDIR, &params, NULL);
}

static void make_fails(struct guest *g, const char *path, bool recursive, int err)
{
	struct rpc_mkdir params = {(char *)(uintptr_t)path, {recursive, -1}};

	guest_fails(g, RPC_MKDIR, &params, err, NULL, "mkdir '");
}

static unsigned mode_of(const struct guest *g, const char *name)
{
	auto_free char *path = home_path(g, name);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_mkdir(void **state)
{
	struct guest *g = *state;
	auto_free char *absolute = home_path(g, "x/y//z/");
	auto_free char *link = home_path(g, "link");

	make(g, "a", false, -1);
	assert_int_equal(mode_of(g, "a"), 0755);
	make(g, "private", false, 0700);
	assert_int_equal(mode_of(g, "private"), 0700);
	make_fails(g, "a", false, EEXIST);
	make_fails(g, "b/c", false, ENOENT);
	make_fails(g, "", true, ENOENT);
	make(g, "a", true, -1);
	make(g, "b/c/d", true, -1);
	assert_true(exists(g, "b/c/d"));
	make(g, absolute, true, -1);
	assert_true(exists(g, "x/y/z"));
	home_write(g, "file", "");
	make_fails(g, "file", true, EEXIST);
	make_fails(g, "file/below/it", true, ENOTDIR);
	assert_int_equal(symlink("a", link), 0);
	make(g, "link", true, -1);
	make(g, "link/inside/deeper", true, -1);
	assert_true(exists(g, "a/inside/deeper"));
	make(g, "/", true, -1);
}

/* --- remove ----------------------------------------------------------------------------------- */

static void take_away(struct guest *g, const char *path, bool recursive)
{
	struct rpc_remove params = {(char *)(uintptr_t)path, {recursive}};

	guest_ok(g, RPC_REMOVE, &params, NULL);
}

static void take_away_fails(struct guest *g, const char *path, bool recursive, int err)
{
	struct rpc_remove params = {(char *)(uintptr_t)path, {recursive}};

	guest_fails(g, RPC_REMOVE, &params, err, NULL, "remove '");
}

static void test_remove(void **state)
{
	struct guest *g = *state;

	home_write(g, "file", "");
	home_write(g, "other", "");
	make_dir(g, "dir");
	make_dir(g, "full");
	home_write(g, "full/file", "");
	take_away(g, "file", false);
	take_away(g, "other", true);
	take_away(g, "dir", false);
	assert_false(exists(g, "file") || exists(g, "other") || exists(g, "dir"));
	take_away_fails(g, "full", false, ENOTEMPTY);
	take_away(g, "full", true);
	assert_false(exists(g, "full"));
	take_away_fails(g, "full", true, ENOENT);
	take_away_fails(g, "full", false, ENOENT);
	take_away_fails(g, "", true, ENOENT);
}

/* Links are removed, never followed. */
static void test_remove_links(void **state)
{
	struct guest *g = *state;
	auto_free char *link = home_path(g, "link");
	auto_free char *inner = home_path(g, "tree/link");
	auto_free char *broken = home_path(g, "broken");

	make_dir(g, "keep");
	home_write(g, "keep/file", "");
	assert_int_equal(symlink("keep", link), 0);
	assert_int_equal(symlink("nowhere", broken), 0);
	take_away_fails(g, "link/", true, ENOTDIR);
	take_away_fails(g, "link/", false, ENOTDIR);
	assert_true(exists(g, "keep/file"));
	take_away(g, "link", true);
	take_away(g, "broken", false);
	assert_false(exists(g, "link") || exists(g, "broken"));
	make_dir(g, "tree");
	assert_int_equal(symlink("../keep", inner), 0);
	take_away(g, "tree/", true);
	assert_false(exists(g, "tree"));
	assert_true(exists(g, "keep/file"));
}

/* Deeper than folders are kept open, and than a path can be long. */
static void test_remove_deep(void **state)
{
	struct guest *g = *state;
	auto_free char *top = home_path(g, "deep");
	int fd;

	make_dir(g, "deep");
	fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 250; i++) {
		int next;

		assert_int_equal(mkdirat(fd, "a-name-of-some-length", 0755), 0);
		if (i % 10 == 0)
			assert_int_equal(mkdirat(fd, "sibling", 0755), 0);
		next = openat(fd, "a-name-of-some-length", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	take_away(g, "deep", true);
	assert_false(exists(g, "deep"));
}

/* A large tree does not keep other requests waiting. */
static void test_remove_large(void **state)
{
	struct guest *g = *state;
	struct rpc_remove params = {"many", {true}};
	struct rpc_env_key key = {"HOME"};
	unsigned answered = 0;
	struct answer *a;
	char name[32];

	make_dir(g, "many");
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "many/%d", i);
		make_dir(g, name);
		make_files(g, name, 1000);
	}
	a = guest_send(g, RPC_REMOVE, &params);
	while (!a->done) {
		guest_ok(g, RPC_ENV_GET, &key, NULL);
		answered++;
	}
	assert_false(a->failed);
	assert_true(answered >= 5);
	assert_false(exists(g, "many"));
}

static void test_remove_cancel(void **state)
{
	struct guest *g = *state;
	struct rpc_remove params = {"many", {true}};
	struct answer *a;

	make_dir(g, "many");
	make_files(g, "many", 20000);
	a = guest_send(g, RPC_REMOVE, &params);
	assert_int_equal(channel_cancel(&g->channel, a->id), 0);
	guest_await(g, &a->done);
	answer_check_failed(a, ECANCELED, NULL, "remove 'many'");
	assert_true(exists(g, "many"));
}

/* --- stat, symlink ---------------------------------------------------------------------------- */

static void test_stat(void **state)
{
	struct guest *g = *state;
	auto_free char *path = home_path(g, "file");
	auto_free char *link = home_path(g, "link");
	struct rpc_path params = {"file"};
	struct rpc_file_info info;
	struct stat st;

	home_write(g, "file", "12345");
	assert_int_equal(symlink("file", link), 0);
	assert_int_equal(stat(path, &st), 0);
	guest_ok(g, RPC_STAT, &params, &info);
	assert_true(info.is_file && !info.is_directory && !info.is_symlink);
	assert_int_equal(info.size, 5);
	assert_int_equal(info.mode, st.st_mode);
	assert_int_equal(info.ino, st.st_ino);
	assert_int_equal(info.dev, st.st_dev);
	assert_int_equal(info.uid, st.st_uid);
	assert_int_equal(info.nlink, 1);
	assert_int_equal(info.blksize, st.st_blksize);
	assert_int_equal(info.blocks, st.st_blocks);
	assert_int_equal(info.mtime, st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
	assert_int_equal(info.atime, st.st_atim.tv_sec * 1000000000 + st.st_atim.tv_nsec);
	assert_true(info.birthtime > 0 && info.birthtime <= info.ctime);
	params.path = "link";
	guest_ok(g, RPC_STAT, &params, &info);
	assert_true(info.is_file);
	guest_ok(g, RPC_LSTAT, &params, &info);
	assert_true(info.is_symlink && !info.is_file && !info.is_directory);
	params.path = ".";
	guest_ok(g, RPC_LSTAT, &params, &info);
	assert_true(info.is_directory && !info.is_file);
	params.path = "/dev/null";
	guest_ok(g, RPC_STAT, &params, &info);
	assert_true(info.is_char_device && !info.is_file);
	assert_int_equal(info.rdev, 0x103);
}

static void test_stat_errors(void **state)
{
	struct guest *g = *state;

	guest_fails(g, RPC_STAT, &(struct rpc_path){"/no/x"}, ENOENT, NULL, "stat '/no/x'");
	guest_fails(g, RPC_LSTAT, &(struct rpc_path){"x"}, ENOENT, NULL, "lstat 'x'");
	guest_fails(g, RPC_STAT, &(struct rpc_path){""}, ENOENT, NULL, "stat ''");
}

static void test_symlink(void **state)
{
	struct guest *g = *state;
	auto_free char *path = home_path(g, "link");
	struct rpc_symlink params = {"../some where", "link", {.type = -1}};
	char target[64] = {0};

	guest_ok(g, RPC_SYMLINK, &params, NULL);
	assert_int_equal(readlink(path, target, sizeof(target) - 1), 13);
	assert_string_equal(target, "../some where");
	guest_fails(g, RPC_SYMLINK, &params, EEXIST, NULL, "symlink '../some where' -> 'link'");
	params.target = "";
	params.path = "other";
	guest_fails(g, RPC_SYMLINK, &params, ENOENT, NULL, "symlink '' -> 'other'");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read_dir),
		TEST(test_read_dir_large),
		TEST(test_mkdir),
		TEST(test_remove),
		TEST(test_remove_links),
		TEST(test_remove_deep),
		TEST(test_remove_large),
		TEST(test_remove_cancel),
		TEST(test_stat),
		TEST(test_stat_errors),
		TEST(test_symlink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
