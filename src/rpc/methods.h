/*
 * The RPC methods as one table: number on the channel, name on the wire, parameters, result,
 * where it is handled, audit label. The table drives the daemon's decoding and dispatch and the
 * agent's; numbers are part of the channel protocol and never reused.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/schema.h"

enum rpc_method_id {
	RPC_CONFIGURE = 1, /* daemon to agent only: first request of a sandbox */
	RPC_SPAWN,
	RPC_PROCESS_WAIT,
	RPC_PROCESS_KILL,
	RPC_ENV_GET,
	RPC_ENV_SET,
	RPC_ENV_DELETE,
	RPC_ENV_TO_OBJECT,
	RPC_READ_FILE,
	RPC_READ_TEXT_FILE,
	RPC_WRITE_FILE,
	RPC_WRITE_TEXT_FILE,
	RPC_READ_DIR,
	RPC_MKDIR,
	RPC_REMOVE,
	RPC_STAT,
	RPC_LSTAT,
	RPC_SYMLINK,
	RPC_ABORT, /* answered by the daemon */
	RPC_TRUST, /* daemon to agent only, as the next */
	RPC_DENIAL,
	RPC_FETCH, /* answered by the daemon */
	RPC_METHOD_COUNT
};

/* Method flags. */
#define RPC_CLIENT 0x01 /* a client may call it */
#define RPC_AGENT 0x02  /* is carried out by the agent */
#define RPC_BARE 0x04   /* the JSON result is the single result field itself, not an object */
#define RPC_VOID 0x08   /* the JSON result is null */
#define RPC_TAKES_CONTENT 0x10 /* daemon opens a stream towards the agent with the content */
#define RPC_GIVES_CONTENT 0x20 /* agent opens a stream towards the daemon with the content */

struct rpc_method {
	const char *name;
	enum rpc_method_id id;
	unsigned flags;
	const struct rpc_schema *params; /* NULL: none */
	const struct rpc_schema *result; /* NULL: void */
	const char *audit;               /* "file.write", or NULL: not audited */
};

/* By name (what a client may call: RPC_CLIENT), by number (any). NULL when there is none. */
const struct rpc_method *rpc_method_by_name(const char *name, size_t len);
const struct rpc_method *rpc_method_by_id(unsigned id);

#define RPC_PATH_MAX 4096
#define RPC_PID_MAX 4194304
#define RPC_STREAM_ID_MAX INT64_C(9007199254740991)
#define RPC_STRING_MAX 131072     /* an argument, the name or value of a variable */
#define RPC_LIST_MAX 10000        /* arguments, variables */
#define RPC_CONTENT_MAX (1 << 30) /* content inside one message */
#define RPC_MODE_MAX 0177777      /* permission bits, the type bits of st_mode tolerated */
#define RPC_NAME_MAX 1024         /* name of a directory entry */
#define RPC_DIR_ENTRIES_MAX 262144
#define RPC_SIGNAL_MAX 256
#define RPC_HOSTNAME_MAX 64
#define RPC_CONTEXT_MAX 16384 /* of a failure; cut before packing */
#define RPC_CLASS_MAX 64
#define RPC_CA_MAX 16384 /* the certificate of a sandbox's own authority, as PEM */
#define RPC_CA_HASH_MAX 8
#define RPC_DENIAL_MAX 2048
#define RPC_URL_MAX 65536
#define RPC_VERB_MAX 64 /* method of an HTTP request */
#define RPC_HEADERS_MAX 1000

/* configure: environment of the sandbox, set before anything runs. */
struct rpc_configure {
	struct rpc_map env; /* replaces the environment */
	char *hostname;     /* or NULL: leave */
	int64_t real_ms;    /* wall clock to set, 0: leave */
};
extern const struct rpc_schema rpc_configure_schema;

/* JSON "inherit" decodes as RPC_STDIO_PIPED: the clients print what they receive. */
enum rpc_stdio { RPC_STDIO_PIPED, RPC_STDIO_NULL };

struct rpc_spawn {
	char *command;
	struct rpc_strings args;
	struct rpc_map env;
	bool clear_env;
	char *cwd;               /* or NULL */
	int64_t stdin_stream_id; /* client's id, -1: none; daemon only, not packed */
	int64_t stdout_mode;     /* enum rpc_stdio */
	int64_t stderr_mode;
	int64_t stdin_channel; /* internal: stream ids on the channel, 0: none */
	int64_t stdout_channel;
	int64_t stderr_channel;
};
extern const struct rpc_schema rpc_spawn_schema;

struct rpc_spawned {
	int64_t pid;
};
extern const struct rpc_schema rpc_spawned_schema;

/* pid is whatever integer the client gave, negative ones too: a number that is no child of the
 * agent is a failure of the operation, not of the parameters. Look it up, never pass it to kill(2).
 */
struct rpc_pid {
	int64_t pid;
};
extern const struct rpc_schema rpc_pid_schema;

struct rpc_process_kill {
	int64_t pid;  /* as in struct rpc_pid */
	char *signal; /* NULL: SIGTERM */
};
extern const struct rpc_schema rpc_process_kill_schema;

/* JSON: {success, code, signal, oom}, all present. */
struct rpc_process_status {
	bool success;
	int64_t code; /* 0..255, or 128 + signal */
	char *signal; /* "SIGTERM", or NULL */
	char *oom;    /* "high-confidence", "low-confidence" or NULL; daemon only, not packed */
};
extern const struct rpc_schema rpc_process_status_schema;

struct rpc_env_key {
	char *key;
};
extern const struct rpc_schema rpc_env_key_schema;

struct rpc_env_set {
	char *key;
	char *value;
};
extern const struct rpc_schema rpc_env_set_schema;

struct rpc_text { /* bare string or null */
	char *text;
};
extern const struct rpc_schema rpc_text_schema;

/* At most RPC_LIST_MAX variables: the agent refuses to hold more. */
struct rpc_env {
	struct rpc_map env;
};
extern const struct rpc_schema rpc_env_schema; /* bare */

struct rpc_read_file {
	char *path;
	int64_t abort_id; /* -1: none; daemon only, not packed */
	int64_t channel;  /* internal: stream id for the content */
};
extern const struct rpc_schema rpc_read_file_schema;

struct rpc_write_options {
	bool append;
	bool create; /* default true */
	bool create_new;
	int64_t mode; /* -1: not given */
};
extern const struct rpc_schema rpc_write_options_schema;

struct rpc_write_file {
	char *path;
	int64_t abort_id;          /* daemon only, not packed, as the next two */
	struct rpc_bytes content;  /* either this (data not NULL) ... */
	int64_t content_stream_id; /* ... or this: client's id, -1: none */
	struct rpc_write_options options;
	int64_t channel; /* internal: stream id of the content */
};
/* Differ in the JSON form of content only: base64, and the text itself (NUL allowed). */
extern const struct rpc_schema rpc_write_file_schema;
extern const struct rpc_schema rpc_write_text_file_schema;

struct rpc_path {
	char *path;
};
extern const struct rpc_schema rpc_path_schema;

struct rpc_dir_entry {
	char *name;
	bool is_file;
	bool is_directory;
	bool is_symlink;
};
/* A folder with more than RPC_DIR_ENTRIES_MAX entries, or more names than fit into one message of
 * the channel, is a failure of the operation. */
struct rpc_dir_entries {
	struct rpc_objects entries;
};
extern const struct rpc_schema rpc_dir_entry_schema;
extern const struct rpc_schema rpc_dir_entries_schema; /* bare */

struct rpc_mkdir_options {
	bool recursive;
	int64_t mode; /* -1: not given */
};
struct rpc_mkdir {
	char *path;
	struct rpc_mkdir_options options;
};
extern const struct rpc_schema rpc_mkdir_options_schema;
extern const struct rpc_schema rpc_mkdir_schema;

struct rpc_remove_options {
	bool recursive;
};
struct rpc_remove {
	char *path;
	struct rpc_remove_options options;
};
extern const struct rpc_schema rpc_remove_options_schema;
extern const struct rpc_schema rpc_remove_schema;

struct rpc_symlink_options {
	int64_t type; /* enum "file" "dir" "junction", -1: not given; no meaning on Linux */
};
struct rpc_symlink {
	char *target;
	char *path;
	struct rpc_symlink_options options;
};
extern const struct rpc_schema rpc_symlink_options_schema;
extern const struct rpc_schema rpc_symlink_schema;

struct rpc_file_info {
	bool is_file, is_directory, is_symlink;
	int64_t size;
	int64_t mtime, atime, birthtime, ctime;                         /* RPC_TIME */
	int64_t mode, dev, ino, nlink, uid, gid, rdev, blksize, blocks; /* as the kernel gives */
	bool is_block_device, is_char_device, is_fifo, is_socket;
};
extern const struct rpc_schema rpc_file_info_schema;

struct rpc_abort {
	int64_t abort_id;
};
extern const struct rpc_schema rpc_abort_schema;

enum rpc_redirect { RPC_REDIRECT_FOLLOW, RPC_REDIRECT_MANUAL };

struct rpc_fetch {
	char *url;
	char *method; /* NULL: GET */
	struct rpc_map headers;
	int64_t redirect;       /* enum rpc_redirect */
	int64_t abort_id;       /* -1: none, as the next two */
	int64_t body_stream_id; /* client's */
	int64_t pid;            /* of the Deno process to ask */
};
extern const struct rpc_schema rpc_fetch_schema;

struct rpc_fetched {
	int64_t status;
	char *status_text;
	struct rpc_map headers;
	int64_t body_stream_id; /* -1: there is no body */
};
extern const struct rpc_schema rpc_fetched_schema;

/* trust: whom the sandbox's programs are to believe, besides what its image says: the authorities
 * of the host (which the keeper has placed in the sandbox) and, when the sandbox has secrets, its
 * own. Before or after configure; may come again, and then replaces what the one before it did. */
struct rpc_trust {
	char *ca_pem;  /* NULL: the sandbox has no authority of its own */
	char *ca_hash; /* eight hex digits, as OpenSSL names files; NULL without ca_pem */
	bool ahead;    /* the sandbox may come to need it: files only, no variables yet */
};
extern const struct rpc_schema rpc_trust_schema;

/* denial: one connection or request that the gate refused, for the sandbox to read. */
struct rpc_denial {
	char *line; /* JSON, without the newline */
};
extern const struct rpc_schema rpc_denial_schema;

/* What went wrong in the guest: payload of a failed response and of a stream reset. */
struct rpc_failure {
	int64_t err;       /* positive errno (<= 4095); 0: no errno belongs to it */
	char *context;     /* "readfile '/x'": what was tried; or the whole message when err is 0 */
	char *constructor; /* error class that replaces the one of the errno, or NULL */
};
extern const struct rpc_schema rpc_failure_schema;
