/*
 * Requests between warrend and warren-keeper: fixed binary messages over one SOCK_SEQPACKET socket
 * pair, descriptors as SCM_RIGHTS. Same machine, same build: host byte order and struct layout.
 * docs/protocol/keeper.md is the text. The keeper is root and parses nothing a client or a guest
 * wrote: names are slot numbers it handed out itself, the rest are bounded integers.
 *
 * Every request carries a cookie that its reply repeats; replies may come in any order. The keeper
 * also sends KEEPER_EXITED on its own when a machine's first process has ended. End of file on the
 * socket means that the daemon is gone: the keeper destroys every machine and exits.
 */
#pragma once

#include <stdint.h>

#define KEEPER_VERSION 2
#define KEEPER_SLOTS_MAX 4096
#define KEEPER_PREPARE_MAX 64
#define KEEPER_MEMORY_MIN_MB 64
#define KEEPER_MEMORY_MAX_MB 1048576
#define KEEPER_CPU_MIN_PERCENT 1
#define KEEPER_CPU_MAX_PERCENT 100000
#define KEEPER_PIDS_MIN 16
#define KEEPER_PIDS_MAX 1000000

enum keeper_verb {
	KEEPER_HELLO = 1, /* first message: versions must agree. A keeper that cannot start answers
			   * with this verb, cookie 0, err and what before it ends, asked or not */
	KEEPER_CREATE,    /* start a machine; reply carries the agent's socket */
	KEEPER_LIMIT,     /* change the memory limit of a machine */
	KEEPER_USAGE,     /* read counters of a machine */
	KEEPER_DESTROY,   /* end a machine and everything of it; replied when its processes are gone
			   */
	KEEPER_PREPARE,   /* how many machines to keep half-made in reserve */
	KEEPER_EXITED,    /* keeper -> daemon, unasked */
	KEEPER_GATE,      /* start the gate of a machine; reply carries its socket */
	KEEPER_VERB_COUNT
};

struct keeper_request {
	uint32_t verb;
	uint32_t slot; /* LIMIT, USAGE, DESTROY, GATE: which machine */
	uint64_t cookie;
	uint64_t generation; /* likewise: as in the reply to CREATE; stale = -ESTALE */
	union {
		struct {
			uint32_t version;
		} hello;
		struct {
			uint32_t memory_mb;   /* KEEPER_MEMORY_* */
			uint32_t cpu_percent; /* 100 = one CPU */
			uint32_t pids_max;
			uint32_t reserved;
		} create;
		struct {
			uint32_t memory_mb;
			uint32_t reserved;
		} limit;
		struct {
			uint32_t count; /* 0..KEEPER_PREPARE_MAX */
			uint32_t reserved;
		} prepare;
	};
};

struct keeper_reply {
	uint32_t verb;
	uint32_t slot;
	uint64_t cookie; /* 0 in EXITED */
	uint64_t generation;
	int32_t err; /* 0 or negative errno */
	uint32_t reserved;
	char what[64]; /* err != 0: the step that failed, e.g. "mount overlay": static text */
	union {
		struct {
			int32_t pid; /* of the machine's first process, in the keeper's namespace */
			uint32_t cold;     /* 1: nothing had been prepared */
			uint64_t start_ns; /* time the keeper took */
		} create;
		struct {
			uint64_t oom_kills; /* processes the kernel has killed for memory, so far */
			uint64_t memory_bytes; /* charged now */
			uint64_t memory_peak;
			uint64_t cpu_ns;
			uint64_t pids;
			uint64_t pids_refused; /* forks refused by the limit */
			uint64_t disk_bytes;   /* allocated by the sandbox's disk */
		} usage;
		struct {
			int32_t status; /* as of waitpid(2) */
			uint32_t reserved;
			uint64_t oom_kills;
		} exited;
		struct {
			int32_t pid; /* of the gate, in the keeper's namespace */
			uint32_t reserved;
		} gate;
	};
};
