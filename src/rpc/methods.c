/*
 * Every message of the API, once. Read a row of a schema as: member, JSON key, then what is special
 * about it. Limits that a peer can push against are the constants of methods.h.
 */
#include "rpc/methods.h"

#include <string.h>

#include "base/mem.h"
#include "rpc/pack.h"

#define FIELD(structure, member, key, ...) \
	{ \
		.name = (key), .offset = offsetof(struct structure, member), __VA_ARGS__ \
	}

#define BOOL(structure, member, key, ...) \
	FIELD(structure, member, key, .type = RPC_BOOL, __VA_ARGS__)
#define INT(structure, member, key, low, high, ...) \
	FIELD(structure, member, key, .type = RPC_INT, .min = (low), .max = (high), __VA_ARGS__)
#define STRING(structure, member, key, longest, ...) \
	FIELD(structure, member, key, .type = RPC_STRING, .max = (longest), __VA_ARGS__)
#define ENUM(structure, member, key, values, ...) \
	FIELD(structure, member, key, .type = RPC_ENUM, .names = (values), __VA_ARGS__)
#define TIME(structure, member, key) FIELD(structure, member, key, .type = RPC_TIME)
#define OBJECT(structure, member, key, schema) \
	FIELD(structure, member, key, .type = RPC_OBJECT, .sub = &(schema))
#define ENVIRONMENT(structure, member, key, ...) \
	FIELD(structure, member, key, .type = RPC_STRING_MAP, .max = RPC_STRING_MAX, \
		.count_max = RPC_LIST_MAX, __VA_ARGS__)

#define PATH(structure) STRING(structure, path, "path", RPC_PATH_MAX, .flags = RPC_REQUIRED)
/* An id that the client made up. The guest has no use for it. */
#define CLIENT_ID(structure, member, key, more) \
	INT(structure, member, key, 0, RPC_STREAM_ID_MAX, .absent = -1, \
		.flags = RPC_UNPACKED | (more))
/* Number of a stream on the agent channel. */
#define CHANNEL(structure, member) \
	INT(structure, member, #member, 0, UINT32_MAX, .flags = RPC_INTERNAL)
#define MODE(structure) INT(structure, mode, "mode", 0, RPC_MODE_MAX, .absent = -1)
/* Any integer that JavaScript can hold: see struct rpc_pid. */
#define ANY_PID(structure) \
	INT(structure, pid, "pid", -RPC_STREAM_ID_MAX, RPC_STREAM_ID_MAX, .flags = RPC_REQUIRED)

/* One field to a line. */
/* clang-format off */

RPC_SCHEMA(rpc_configure_schema, struct rpc_configure,
	ENVIRONMENT(rpc_configure, env, "env", .flags = RPC_INTERNAL | RPC_ENV_NAME),
	STRING(rpc_configure, hostname, "hostname", RPC_HOSTNAME_MAX,
		.flags = RPC_INTERNAL | RPC_NOT_EMPTY),
	INT(rpc_configure, real_ms, "realMs", 0, INT64_MAX, .flags = RPC_INTERNAL));

static const char *const stdio_names[] = {"piped", "null", NULL};
static const struct rpc_synonym stdio_synonyms[] = {{"inherit", RPC_STDIO_PIPED}, {NULL, 0}};
_Static_assert(RPC_STDIO_PIPED == 0 && RPC_STDIO_NULL == 1, "order of stdio_names");

RPC_SCHEMA(rpc_spawn_schema, struct rpc_spawn,
	STRING(rpc_spawn, command, "command", RPC_PATH_MAX, .flags = RPC_REQUIRED),
	FIELD(rpc_spawn, args, "args", .type = RPC_STRING_LIST, .max = RPC_STRING_MAX,
		.count_max = RPC_LIST_MAX),
	ENVIRONMENT(rpc_spawn, env, "env", .flags = RPC_ENV_NAME),
	BOOL(rpc_spawn, clear_env, "clearEnv"),
	STRING(rpc_spawn, cwd, "cwd", RPC_PATH_MAX),
	CLIENT_ID(rpc_spawn, stdin_stream_id, "stdinStreamId", 0),
	ENUM(rpc_spawn, stdout_mode, "stdout", stdio_names, .synonyms = stdio_synonyms),
	ENUM(rpc_spawn, stderr_mode, "stderr", stdio_names, .synonyms = stdio_synonyms),
	CHANNEL(rpc_spawn, stdin_channel),
	CHANNEL(rpc_spawn, stdout_channel),
	CHANNEL(rpc_spawn, stderr_channel));

RPC_SCHEMA(rpc_spawned_schema, struct rpc_spawned,
	INT(rpc_spawned, pid, "pid", 1, RPC_PID_MAX, .flags = RPC_REQUIRED));

RPC_SCHEMA(rpc_pid_schema, struct rpc_pid,
	ANY_PID(rpc_pid));

RPC_SCHEMA(rpc_process_kill_schema, struct rpc_process_kill,
	ANY_PID(rpc_process_kill),
	STRING(rpc_process_kill, signal, "signal", RPC_SIGNAL_MAX));

RPC_SCHEMA(rpc_process_status_schema, struct rpc_process_status,
	BOOL(rpc_process_status, success, "success", .flags = RPC_REQUIRED),
	INT(rpc_process_status, code, "code", 0, 255, .flags = RPC_REQUIRED),
	STRING(rpc_process_status, signal, "signal", RPC_SIGNAL_MAX),
	STRING(rpc_process_status, oom, "oom", RPC_SIGNAL_MAX, .flags = RPC_UNPACKED));

/* Which names the environment takes is the agent's answer (a TypeError), not a matter of types. */
RPC_SCHEMA(rpc_env_key_schema, struct rpc_env_key,
	STRING(rpc_env_key, key, "key", RPC_STRING_MAX, .flags = RPC_REQUIRED));

RPC_SCHEMA(rpc_env_set_schema, struct rpc_env_set,
	STRING(rpc_env_set, key, "key", RPC_STRING_MAX, .flags = RPC_REQUIRED),
	STRING(rpc_env_set, value, "value", RPC_STRING_MAX, .flags = RPC_REQUIRED));

RPC_SCHEMA(rpc_text_schema, struct rpc_text,
	STRING(rpc_text, text, "text", RPC_STRING_MAX));

RPC_SCHEMA(rpc_env_schema, struct rpc_env,
	ENVIRONMENT(rpc_env, env, "env", .flags = RPC_ENV_NAME));

RPC_SCHEMA(rpc_read_file_schema, struct rpc_read_file,
	PATH(rpc_read_file),
	CLIENT_ID(rpc_read_file, abort_id, "abortId", 0),
	CHANNEL(rpc_read_file, channel));

RPC_SCHEMA(rpc_write_options_schema, struct rpc_write_options,
	BOOL(rpc_write_options, append, "append"),
	BOOL(rpc_write_options, create, "create", .absent = true),
	BOOL(rpc_write_options, create_new, "createNew"),
	MODE(rpc_write_options));

#define WRITE_FILE_FIELDS(content_flags) \
	PATH(rpc_write_file), CLIENT_ID(rpc_write_file, abort_id, "abortId", 0), \
		FIELD(rpc_write_file, content, "content", .type = RPC_BYTES, \
			.max = RPC_CONTENT_MAX, \
			.flags = RPC_UNPACKED | RPC_ONE_OF | (content_flags)), \
		CLIENT_ID(rpc_write_file, content_stream_id, "contentStreamId", RPC_ONE_OF), \
		OBJECT(rpc_write_file, options, "options", rpc_write_options_schema), \
		CHANNEL(rpc_write_file, channel)

RPC_SCHEMA(rpc_write_file_schema, struct rpc_write_file,
	WRITE_FILE_FIELDS(0));
RPC_SCHEMA(rpc_write_text_file_schema, struct rpc_write_file,
	WRITE_FILE_FIELDS(RPC_TEXT));

RPC_SCHEMA(rpc_path_schema, struct rpc_path,
	PATH(rpc_path));

RPC_SCHEMA(rpc_dir_entry_schema, struct rpc_dir_entry,
	STRING(rpc_dir_entry, name, "name", RPC_NAME_MAX, .flags = RPC_REQUIRED | RPC_NOT_EMPTY),
	BOOL(rpc_dir_entry, is_file, "isFile"),
	BOOL(rpc_dir_entry, is_directory, "isDirectory"),
	BOOL(rpc_dir_entry, is_symlink, "isSymlink"));

RPC_SCHEMA(rpc_dir_entries_schema, struct rpc_dir_entries,
	FIELD(rpc_dir_entries, entries, "entries", .type = RPC_OBJECTS,
		.count_max = RPC_DIR_ENTRIES_MAX, .sub = &rpc_dir_entry_schema));

RPC_SCHEMA(rpc_mkdir_options_schema, struct rpc_mkdir_options,
	BOOL(rpc_mkdir_options, recursive, "recursive"),
	MODE(rpc_mkdir_options));

RPC_SCHEMA(rpc_mkdir_schema, struct rpc_mkdir,
	PATH(rpc_mkdir),
	OBJECT(rpc_mkdir, options, "options", rpc_mkdir_options_schema));

RPC_SCHEMA(rpc_remove_options_schema, struct rpc_remove_options,
	BOOL(rpc_remove_options, recursive, "recursive"));

RPC_SCHEMA(rpc_remove_schema, struct rpc_remove,
	PATH(rpc_remove),
	OBJECT(rpc_remove, options, "options", rpc_remove_options_schema));

static const char *const symlink_type_names[] = {"file", "dir", "junction", NULL};

RPC_SCHEMA(rpc_symlink_options_schema, struct rpc_symlink_options,
	ENUM(rpc_symlink_options, type, "type", symlink_type_names, .absent = -1));

RPC_SCHEMA(rpc_symlink_schema, struct rpc_symlink,
	STRING(rpc_symlink, target, "target", RPC_PATH_MAX, .flags = RPC_REQUIRED),
	PATH(rpc_symlink),
	OBJECT(rpc_symlink, options, "options", rpc_symlink_options_schema));

#define COUNTER(member, key) INT(rpc_file_info, member, key, 0, INT64_MAX)
/* Device and inode numbers use all 64 bits (overlayfs does); the sign means nothing. */
#define NUMBER(member, key) INT(rpc_file_info, member, key, INT64_MIN, INT64_MAX)

RPC_SCHEMA(rpc_file_info_schema, struct rpc_file_info,
	BOOL(rpc_file_info, is_file, "isFile"),
	BOOL(rpc_file_info, is_directory, "isDirectory"),
	BOOL(rpc_file_info, is_symlink, "isSymlink"),
	COUNTER(size, "size"),
	TIME(rpc_file_info, mtime, "mtime"),
	TIME(rpc_file_info, atime, "atime"),
	TIME(rpc_file_info, birthtime, "birthtime"),
	TIME(rpc_file_info, ctime, "ctime"),
	COUNTER(mode, "mode"),
	NUMBER(dev, "dev"),
	NUMBER(ino, "ino"),
	COUNTER(nlink, "nlink"),
	COUNTER(uid, "uid"),
	COUNTER(gid, "gid"),
	NUMBER(rdev, "rdev"),
	COUNTER(blksize, "blksize"),
	COUNTER(blocks, "blocks"),
	BOOL(rpc_file_info, is_block_device, "isBlockDevice"),
	BOOL(rpc_file_info, is_char_device, "isCharDevice"),
	BOOL(rpc_file_info, is_fifo, "isFifo"),
	BOOL(rpc_file_info, is_socket, "isSocket"));

RPC_SCHEMA(rpc_abort_schema, struct rpc_abort,
	INT(rpc_abort, abort_id, "abortId", 0, RPC_STREAM_ID_MAX, .flags = RPC_REQUIRED));

static const char *const redirect_names[] = {"follow", "manual", NULL};
_Static_assert(RPC_REDIRECT_FOLLOW == 0 && RPC_REDIRECT_MANUAL == 1, "order of redirect_names");

#define HEADERS(structure) \
	FIELD(structure, headers, "headers", .type = RPC_PAIRS, .max = RPC_STRING_MAX, \
		.count_max = RPC_HEADERS_MAX)

RPC_SCHEMA(rpc_fetch_schema, struct rpc_fetch,
	STRING(rpc_fetch, url, "url", RPC_URL_MAX, .flags = RPC_REQUIRED),
	STRING(rpc_fetch, method, "method", RPC_VERB_MAX),
	HEADERS(rpc_fetch),
	ENUM(rpc_fetch, redirect, "redirect", redirect_names),
	CLIENT_ID(rpc_fetch, abort_id, "abortId", 0),
	CLIENT_ID(rpc_fetch, body_stream_id, "bodyStreamId", 0),
	INT(rpc_fetch, pid, "pid", 0, RPC_STREAM_ID_MAX, .absent = -1));

RPC_SCHEMA(rpc_fetched_schema, struct rpc_fetched,
	INT(rpc_fetched, status, "status", 200, 599, .flags = RPC_REQUIRED),
	STRING(rpc_fetched, status_text, "statusText", RPC_STRING_MAX, .flags = RPC_REQUIRED),
	HEADERS(rpc_fetched),
	CLIENT_ID(rpc_fetched, body_stream_id, "bodyStreamId", 0));

RPC_SCHEMA(rpc_trust_schema, struct rpc_trust,
	STRING(rpc_trust, ca_pem, "caPem", RPC_CA_MAX, .flags = RPC_INTERNAL | RPC_NOT_EMPTY),
	STRING(rpc_trust, ca_hash, "caHash", RPC_CA_HASH_MAX,
		.flags = RPC_INTERNAL | RPC_NOT_EMPTY),
	BOOL(rpc_trust, ahead, "ahead", .flags = RPC_INTERNAL));

RPC_SCHEMA(rpc_denial_schema, struct rpc_denial,
	STRING(rpc_denial, line, "line", RPC_DENIAL_MAX,
		.flags = RPC_INTERNAL | RPC_REQUIRED | RPC_NOT_EMPTY));

RPC_SCHEMA(rpc_failure_schema, struct rpc_failure,
	INT(rpc_failure, err, "err", 0, 4095),
	STRING(rpc_failure, context, "context", RPC_CONTEXT_MAX),
	STRING(rpc_failure, constructor, "constructor", RPC_CLASS_MAX, .flags = RPC_NOT_EMPTY));

/* clang-format on */

/* --- the methods ------------------------------------------------------------------------------ */

#define CALL (RPC_CLIENT | RPC_AGENT)

/* id, name, flags, parameters, result, audit label */
#define METHODS(X) \
	X(CONFIGURE, "configure", RPC_AGENT | RPC_VOID, &rpc_configure_schema, NULL, NULL) \
	X(SPAWN, "spawn", CALL, &rpc_spawn_schema, &rpc_spawned_schema, "process.spawn") \
	X(PROCESS_WAIT, "processWait", CALL, &rpc_pid_schema, &rpc_process_status_schema, NULL) \
	X(PROCESS_KILL, "processKill", CALL | RPC_VOID, &rpc_process_kill_schema, NULL, \
		"process.kill") \
	X(ENV_GET, "envGet", CALL | RPC_BARE, &rpc_env_key_schema, &rpc_text_schema, NULL) \
	X(ENV_SET, "envSet", CALL | RPC_VOID, &rpc_env_set_schema, NULL, "env.set") \
	X(ENV_DELETE, "envDelete", CALL | RPC_VOID, &rpc_env_key_schema, NULL, "env.delete") \
	X(ENV_TO_OBJECT, "envToObject", CALL | RPC_BARE, NULL, &rpc_env_schema, NULL) \
	X(READ_FILE, "readFile", CALL | RPC_GIVES_CONTENT, &rpc_read_file_schema, NULL, \
		"file.read") \
	X(READ_TEXT_FILE, "readTextFile", CALL | RPC_GIVES_CONTENT, &rpc_read_file_schema, NULL, \
		"file.read") \
	X(WRITE_FILE, "writeFile", CALL | RPC_VOID | RPC_TAKES_CONTENT, &rpc_write_file_schema, \
		NULL, "file.write") \
	X(WRITE_TEXT_FILE, "writeTextFile", CALL | RPC_VOID | RPC_TAKES_CONTENT, \
		&rpc_write_text_file_schema, NULL, "file.write") \
	X(READ_DIR, "readDir", CALL | RPC_BARE, &rpc_path_schema, &rpc_dir_entries_schema, NULL) \
	X(MKDIR, "mkdir", CALL | RPC_VOID, &rpc_mkdir_schema, NULL, "file.mkdir") \
	X(REMOVE, "remove", CALL | RPC_VOID, &rpc_remove_schema, NULL, "file.remove") \
	X(STAT, "stat", CALL, &rpc_path_schema, &rpc_file_info_schema, NULL) \
	X(LSTAT, "lstat", CALL, &rpc_path_schema, &rpc_file_info_schema, NULL) \
	X(SYMLINK, "symlink", CALL | RPC_VOID, &rpc_symlink_schema, NULL, "file.symlink") \
	X(ABORT, "abort", RPC_CLIENT | RPC_VOID, &rpc_abort_schema, NULL, NULL) \
	X(TRUST, "trust", RPC_AGENT | RPC_VOID, &rpc_trust_schema, NULL, NULL) \
	X(DENIAL, "denial", RPC_AGENT | RPC_VOID, &rpc_denial_schema, NULL, NULL) \
	X(FETCH, "fetch", RPC_CLIENT, &rpc_fetch_schema, &rpc_fetched_schema, "net.fetch")

#define ROW_NUMBER(method, ...) ROW_##method,
#define ROW_IN_ORDER(method, ...) \
	_Static_assert(ROW_##method + 1 == (int)RPC_##method, "rows in the order of the numbers");
#define ROW(method, wire_name, bits, in, out, label) \
	{.name = (wire_name), \
		.id = RPC_##method, \
		.flags = (bits), \
		.params = (in), \
		.result = (out), \
		.audit = (label)},

enum method_row { METHODS(ROW_NUMBER) ROW_COUNT };
METHODS(ROW_IN_ORDER)
_Static_assert(ROW_COUNT == RPC_METHOD_COUNT - 1, "a row for every number");

static const struct rpc_method methods[] = {METHODS(ROW)};

/* Numbers of the client's methods, sorted by name. */
static const enum rpc_method_id by_name[] = {
	RPC_ABORT,
	RPC_ENV_DELETE,
	RPC_ENV_GET,
	RPC_ENV_SET,
	RPC_ENV_TO_OBJECT,
	RPC_FETCH,
	RPC_LSTAT,
	RPC_MKDIR,
	RPC_PROCESS_KILL,
	RPC_PROCESS_WAIT,
	RPC_READ_DIR,
	RPC_READ_FILE,
	RPC_READ_TEXT_FILE,
	RPC_REMOVE,
	RPC_SPAWN,
	RPC_STAT,
	RPC_SYMLINK,
	RPC_WRITE_FILE,
	RPC_WRITE_TEXT_FILE,
};
_Static_assert(
	array_len(by_name) == RPC_METHOD_COUNT - 1 - 3, "all but configure, trust and denial");

const struct rpc_method *rpc_method_by_id(unsigned id)
{
	return id >= 1 && id < RPC_METHOD_COUNT ? &methods[id - 1] : NULL;
}

static int compare_name(const char *name, size_t len, const char *known)
{
	size_t known_len = strlen(known);
	int order = memcmp(name, known, len < known_len ? len : known_len);

	return order != 0 ? order : (len > known_len) - (len < known_len);
}

const struct rpc_method *rpc_method_by_name(const char *name, size_t len)
{
	size_t low = 0, high = array_len(by_name);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct rpc_method *m = &methods[by_name[middle] - 1];
		int order = compare_name(name, len, m->name);

		if (order == 0)
			return m;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
