#include "rpc_test.h"

#include <errno.h>

/* --- the bytes ----------------------------------------------------------------------------- */

static void expect_bytes(
	const struct rpc_schema *schema, const void *object, const void *bytes, size_t len)
{
	auto_buf struct buf b;

	buf_init(&b, 1 << 20);
	assert_int_equal(rpc_pack(&b, schema, object), 0);
	assert_int_equal(b.len, len);
	assert_memory_equal(buf_data(&b), bytes, len);
}

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define I64(low) low, 0, 0, 0, 0, 0, 0, 0

/* The format of docs/protocol/agent-channel.md, byte by byte. */
static void test_format(void **state)
{
	struct rpc_pid minus = {-2};
	struct rpc_process_kill kill_default = {5, NULL}, kill = {5, (char *)"AB"};
	struct rpc_remove rm = {(char *)"", {true}};
	char *args[] = {(char *)"a", (char *)""};
	struct rpc_pair env[] = {{(char *)"K", (char *)"v"}};
	struct rpc_spawn spawn = {.command = (char *)"c",
		.args = {args, 2},
		.env = {env, 1},
		.clear_env = true,
		.stdin_stream_id = 9, /* stays here */
		.stdout_mode = RPC_STDIO_NULL,
		.stdin_channel = 3,
		.stdout_channel = 4,
		.stderr_channel = 5};
	struct rpc_dir_entry items[] = {{(char *)"n", true, false, true}};
	struct rpc_dir_entries entries = {{items, 1}};

	expect_bytes(
		&rpc_pid_schema, &minus, BYTES(0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff));
	expect_bytes(
		&rpc_process_kill_schema, &kill_default, BYTES(I64(5), 0xff, 0xff, 0xff, 0xff));
	expect_bytes(&rpc_process_kill_schema, &kill, BYTES(I64(5), 2, 0, 0, 0, 'A', 'B'));
	expect_bytes(&rpc_remove_schema, &rm, BYTES(0, 0, 0, 0, 1));
	expect_bytes(&rpc_spawn_schema, &spawn,
		BYTES(1, 0, 0, 0, 'c', 2, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0,
			0, 'K', 1, 0, 0, 0, 'v', 1, 0xff, 0xff, 0xff, 0xff, I64(1), I64(0), I64(3),
			I64(4), I64(5)));
	expect_bytes(
		&rpc_dir_entries_schema, &entries, BYTES(1, 0, 0, 0, 1, 0, 0, 0, 'n', 1, 0, 1));
}

static void test_all_or_nothing(void **state)
{
	struct rpc_env_set set = {(char *)"key", (char *)"value"};

	for (size_t max = 1; max < 30; max++) {
		auto_buf struct buf b;

		buf_init(&b, max);
		buf_append_byte(&b, '!');
		bool fits = max >= 1 + 4 + 3 + 4 + 5;
		assert_int_equal(rpc_pack(&b, &rpc_env_set_schema, &set), fits ? 0 : -ENOBUFS);
		assert_int_equal(b.len, fits ? 17 : 1);
	}
}

/* --- there and back ------------------------------------------------------------------------ */

/* Packs, unpacks, packs again: the same bytes. Returns the unpacked object (for rpc_clear()). */
static void *there_and_back(const struct rpc_schema *schema, const void *object)
{
	auto_buf struct buf first, second;
	void *back = mem_zalloc(schema->size);

	buf_init(&first, 64 << 20);
	buf_init(&second, 64 << 20);
	memset(back, 0xa5, schema->size);
	assert_int_equal(rpc_pack(&first, schema, object), 0);
	assert_int_equal(rpc_unpack(buf_data(&first), first.len, schema, back), 0);
	assert_int_equal(rpc_pack(&second, schema, back), 0);
	assert_int_equal(first.len, second.len);
	if (first.len > 0)
		assert_memory_equal(buf_data(&first), buf_data(&second), first.len);
	return back;
}

static const struct {
	const char *method, *params;
	const char *unpacked; /* when it differs because fields stay in the daemon */
} trips[] = {
	{"spawn",
		"{\"command\":\"c\",\"args\":[\"\",\"b\"],\"env\":{\"K\":\"v\",\"L\":\"\"},"
		"\"clearEnv\":true,\"cwd\":\"/\",\"stdinStreamId\":null,\"stdout\":\"null\","
		"\"stderr\":\"piped\"}",
		NULL},
	{"spawn", "{\"command\":\"c\",\"stdinStreamId\":4}",
		"{\"command\":\"c\",\"args\":[],\"env\":{},\"clearEnv\":false,\"cwd\":null,"
		"\"stdinStreamId\":null,\"stdout\":\"piped\",\"stderr\":\"piped\"}"},
	{"processWait", "{\"pid\":-9007199254740991}", NULL},
	{"processKill", "{\"pid\":7,\"signal\":\"SIGTERM\"}", NULL},
	{"processKill", "{\"pid\":7,\"signal\":null}", NULL},
	{"envSet", "{\"key\":\"K\",\"value\":\"\xe2\x82\xac\"}", NULL},
	{"readFile", "{\"path\":\"/x\",\"abortId\":3}", "{\"path\":\"/x\",\"abortId\":null}"},
	{"writeFile",
		"{\"path\":\"/x\",\"abortId\":1,\"content\":\"aGkK\",\"options\":{\"append\":true,"
		"\"create\":false,\"createNew\":true,\"mode\":420}}",
		"{\"path\":\"/x\",\"abortId\":null,\"content\":null,\"contentStreamId\":null,"
		"\"options\":{\"append\":true,\"create\":false,\"createNew\":true,\"mode\":420}}"},
	{"writeTextFile", "{\"path\":\"/x\",\"contentStreamId\":8}",
		"{\"path\":\"/x\",\"abortId\":null,\"content\":null,\"contentStreamId\":null,"
		"\"options\":{\"append\":false,\"create\":true,\"createNew\":false,\"mode\":null}"
		"}"},
	{"mkdir", "{\"path\":\"/x\",\"options\":{\"recursive\":true,\"mode\":448}}", NULL},
	{"remove", "{\"path\":\"/x\",\"options\":{\"recursive\":true}}", NULL},
	{"symlink", "{\"target\":\"t\",\"path\":\"/x\",\"options\":{\"type\":\"dir\"}}", NULL},
	{"symlink", "{\"target\":\"t\",\"path\":\"/x\",\"options\":{\"type\":null}}", NULL},
};

/* JSON -> struct -> bytes -> struct -> JSON. */
static void test_json_trips(void **state)
{
	for (size_t i = 0; i < array_len(trips); i++) {
		const struct rpc_schema *schema = params_of(trips[i].method);
		auto_free void *object = mem_zalloc(schema->size);
		auto_json struct json_object *json = parse(trips[i].params);

		assert_int_equal(rpc_json_decode(json, schema, object, NULL), 0);
		auto_free void *back = there_and_back(schema, object);
		auto_free char *text = encode(schema, back, false);
		assert_string_equal(
			text, trips[i].unpacked != NULL ? trips[i].unpacked : trips[i].params);
		rpc_clear(schema, object);
		rpc_clear(schema, back);
	}
}

static struct rpc_dir_entry dir_items[] = {
	{(char *)"\xff", true, false, false}, {(char *)"b", false, true, false}};
static char *spawn_args[] = {(char *)"a", (char *)""};
static struct rpc_pair spawn_env[] = {{(char *)"K", (char *)"v"}, {(char *)"L", (char *)""}};

/* One of each, with something in every field that crosses the channel. */
static const struct sample {
	const struct rpc_schema *schema;
	const void *object;
} samples[] = {
	{&rpc_configure_schema,
		&(struct rpc_configure){{spawn_env, 2}, (char *)"host", INT64_C(1795449324123)}},
	{&rpc_spawn_schema, &(struct rpc_spawn){.command = (char *)"c",
				    .args = {spawn_args, 2},
				    .env = {spawn_env, 2},
				    .clear_env = true,
				    .cwd = (char *)"/",
				    .stdin_stream_id = -1,
				    .stdout_mode = RPC_STDIO_NULL,
				    .stdin_channel = UINT32_MAX,
				    .stdout_channel = 1}},
	{&rpc_spawned_schema, &(struct rpc_spawned){RPC_PID_MAX}},
	{&rpc_pid_schema, &(struct rpc_pid){-1}},
	{&rpc_process_kill_schema, &(struct rpc_process_kill){1, (char *)"SIGHUP"}},
	{&rpc_process_status_schema,
		&(struct rpc_process_status){false, 255, (char *)"SIGKILL", NULL}},
	{&rpc_env_key_schema, &(struct rpc_env_key){(char *)"A=B"}},
	{&rpc_env_set_schema, &(struct rpc_env_set){(char *)"", (char *)"x"}},
	{&rpc_text_schema, &(struct rpc_text){(char *)"text"}},
	{&rpc_text_schema, &(struct rpc_text){NULL}},
	{&rpc_env_schema, &(struct rpc_env){{spawn_env, 2}}},
	{&rpc_fetch_schema, &(struct rpc_fetch){.url = (char *)"http://x/",
				    .headers = {spawn_env, 2},
				    .redirect = RPC_REDIRECT_MANUAL,
				    .abort_id = -1,
				    .body_stream_id = -1,
				    .pid = -1}},
	{&rpc_trust_schema, &(struct rpc_trust){(char *)"pem", (char *)"01234567", true}},
	{&rpc_trust_schema, &(struct rpc_trust){NULL, NULL, false}},
	{&rpc_denial_schema, &(struct rpc_denial){(char *)"{}"}},
	{&rpc_read_file_schema, &(struct rpc_read_file){(char *)"/x", -1, 7}},
	{&rpc_write_file_schema, &(struct rpc_write_file){.path = (char *)"/x",
					 .abort_id = -1,
					 .content_stream_id = -1,
					 .options = {true, false, true, 0644},
					 .channel = 9}},
	{&rpc_path_schema, &(struct rpc_path){(char *)"/"}},
	{&rpc_dir_entries_schema, &(struct rpc_dir_entries){{dir_items, 2}}},
	{&rpc_dir_entries_schema, &(struct rpc_dir_entries){{NULL, 0}}},
	{&rpc_mkdir_schema, &(struct rpc_mkdir){(char *)"/x", {true, -1}}},
	{&rpc_remove_schema, &(struct rpc_remove){(char *)"/x", {true}}},
	{&rpc_symlink_schema, &(struct rpc_symlink){(char *)"t", (char *)"/x", {-1}}},
	{&rpc_file_info_schema, &(struct rpc_file_info){.is_file = true,
					.size = INT64_MAX,
					.mtime = INT64_MIN,
					.ino = -1,
					.mode = 0100644,
					.is_socket = true}},
	{&rpc_failure_schema, &(struct rpc_failure){2, (char *)"stat '/x'", NULL}},
	{&rpc_failure_schema, &(struct rpc_failure){0, (char *)"text", (char *)"TypeError"}},
};

static void test_trips(void **state)
{
	for (size_t i = 0; i < array_len(samples); i++) {
		const struct rpc_schema *schema = samples[i].schema;
		auto_free void *back = there_and_back(schema, samples[i].object);
		auto_free char *before = encode(schema, samples[i].object, false);
		auto_free char *after = encode(schema, back, false);

		assert_string_equal(before, after);
		rpc_clear(schema, back);
	}
}

/* The guest has no say in what the daemon finds out itself. */
static void test_unpacked_fields_stay(void **state)
{
	struct rpc_process_status status = {.code = 137, .oom = (char *)"high-confidence"};
	struct rpc_write_file w = {.path = (char *)"/x",
		.abort_id = 4,
		.content = {(uint8_t *)"data", 4},
		.content_stream_id = 5};
	auto_free struct rpc_process_status *status_back =
		there_and_back(&rpc_process_status_schema, &status);
	auto_free struct rpc_write_file *w_back = there_and_back(&rpc_write_file_schema, &w);

	assert_null(status_back->oom);
	assert_int_equal(w_back->abort_id, -1);
	assert_int_equal(w_back->content_stream_id, -1);
	assert_null(w_back->content.data);
	rpc_clear(&rpc_process_status_schema, status_back);
	rpc_clear(&rpc_write_file_schema, w_back);
}

/* --- hostile bytes ------------------------------------------------------------------------- */

/* Unpacks from a block of exactly the size. What is accepted must pack to the same bytes. */
static int try_unpack(const struct rpc_schema *schema, const uint8_t *bytes, size_t len)
{
	auto_free uint8_t *block = mem_dup(bytes, len);
	auto_free void *object = mem_zalloc(schema->size);
	auto_free void *fresh = mem_zalloc(schema->size);
	auto_buf struct buf again = {0};
	int r;

	memset(object, 0xa5, schema->size);
	r = rpc_unpack(block, len, schema, object);
	if (r < 0) {
		assert_int_equal(r, -EBADMSG);
		rpc_reset(schema, fresh);
		auto_free char *reset = encode(schema, object, false);
		auto_free char *expected = encode(schema, fresh, false);
		assert_string_equal(reset, expected);
		return r;
	}
	buf_init(&again, len + 1);
	assert_int_equal(rpc_pack(&again, schema, object), 0);
	assert_int_equal(again.len, len);
	if (len > 0)
		assert_memory_equal(buf_data(&again), bytes, len);
	rpc_clear(schema, object);
	return 0;
}

static void pack_sample(struct buf *b, const struct sample *sample)
{
	buf_init(b, 4096);
	assert_int_equal(rpc_pack(b, sample->schema, sample->object), 0);
}

static void test_cut_and_extended(void **state)
{
	for (size_t i = 0; i < array_len(samples); i++) {
		auto_buf struct buf b;

		pack_sample(&b, &samples[i]);
		assert_int_equal(try_unpack(samples[i].schema, buf_data(&b), b.len), 0);
		for (size_t len = 0; len < b.len; len++)
			assert_int_equal(
				try_unpack(samples[i].schema, buf_data(&b), len), -EBADMSG);
		buf_append_byte(&b, 0);
		assert_int_equal(try_unpack(samples[i].schema, buf_data(&b), b.len), -EBADMSG);
	}
}

/* Each byte with each other value; most are refused, none may be misread. */
static void test_every_byte_changed(void **state)
{
	size_t refused = 0;

	for (size_t i = 0; i < array_len(samples); i++) {
		auto_buf struct buf b;

		pack_sample(&b, &samples[i]);
		for (size_t at = 0; at < b.len; at++) {
			uint8_t *byte = buf_data(&b) + at;
			uint8_t kept = *byte;

			for (unsigned flip = 1; flip < 256; flip++) {
				*byte = (uint8_t)(kept ^ flip);
				refused += try_unpack(samples[i].schema, buf_data(&b), b.len) < 0;
			}
			*byte = kept;
		}
	}
	assert_true(refused > 10000);
}

#define HOSTILE(schema, ...) \
	{ \
		&(schema), sizeof((uint8_t[]){__VA_ARGS__}), \
		{ \
			__VA_ARGS__ \
		} \
	}

static void test_hostile(void **state)
{
	static const struct {
		const struct rpc_schema *schema;
		size_t len;
		uint8_t bytes[32];
	} rows[] = {
		/* A boolean that is neither. */
		HOSTILE(rpc_remove_schema, 0, 0, 0, 0, 2),
		HOSTILE(rpc_remove_schema, 0, 0, 0, 0, 0xff),
		/* NULL where a string is required, a NUL inside, a length beyond the end. */
		HOSTILE(rpc_path_schema, 0xff, 0xff, 0xff, 0xff),
		HOSTILE(rpc_path_schema, 2, 0, 0, 0, 'a', 0),
		HOSTILE(rpc_path_schema, 3, 0, 0, 0, 'a', 'b'),
		HOSTILE(rpc_path_schema, 0xfe, 0xff, 0xff, 0xff, 'a'),
		/* Numbers out of range. */
		HOSTILE(rpc_spawned_schema, I64(0)),
		HOSTILE(rpc_spawned_schema, 1, 0, 0x40, 0, 0, 0, 0, 0),
		HOSTILE(rpc_spawned_schema, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		HOSTILE(rpc_process_status_schema, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff,
			0xff),
		/* Entries: none where one is counted, a counted one too many, nobody's name. */
		HOSTILE(rpc_dir_entries_schema, 1, 0, 0, 0),
		HOSTILE(rpc_dir_entries_schema, 0xff, 0xff, 0xff, 0xff),
		HOSTILE(rpc_dir_entries_schema, 2, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0),
		HOSTILE(rpc_dir_entries_schema, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		HOSTILE(rpc_dir_entries_schema, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0),
		/* Environments. */
		HOSTILE(rpc_env_schema, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		HOSTILE(rpc_env_schema, 1, 0, 0, 0, 1, 0, 0, 0, '=', 0, 0, 0, 0),
		HOSTILE(rpc_env_schema, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0),
		HOSTILE(rpc_env_schema, 1, 0, 0, 0, 1, 0, 0, 0, 'A', 0xff, 0xff, 0xff, 0xff),
		/* Enumerations. */
		HOSTILE(rpc_symlink_schema, 0, 0, 0, 0, 0, 0, 0, 0, I64(3)),
		HOSTILE(rpc_symlink_schema, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff,
			0xff, 0xff, 0xff),
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		if (try_unpack(rows[i].schema, rows[i].bytes, rows[i].len) != -EBADMSG)
			fail_msg("row %zu was accepted", i);
	}
	assert_int_equal(
		try_unpack(&rpc_symlink_schema, BYTES(0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff,
							0xff, 0xff, 0xff, 0xff, 0xff)),
		0);
}

static void put_string_of(struct buf *b, size_t len)
{
	auto_free char *text = mem_zalloc(len + 1);

	memset(text, 'x', len);
	assert_int_equal(buf_append_u32le(b, (uint32_t)len), 0);
	assert_int_equal(buf_append(b, text, len), 0);
}

static void test_limits(void **state)
{
	auto_buf struct buf b;

	buf_init(&b, 8 << 20);
	put_string_of(&b, RPC_PATH_MAX);
	assert_int_equal(try_unpack(&rpc_path_schema, buf_data(&b), b.len), 0);
	buf_clear(&b);
	put_string_of(&b, RPC_PATH_MAX + 1);
	assert_int_equal(try_unpack(&rpc_path_schema, buf_data(&b), b.len), -EBADMSG);

	for (size_t count = RPC_LIST_MAX; count <= RPC_LIST_MAX + 1; count++) {
		buf_clear(&b);
		buf_append_u32le(&b, (uint32_t)count);
		for (size_t i = 0; i < 2 * count; i++)
			put_string_of(&b, 1);
		assert_int_equal(try_unpack(&rpc_env_schema, buf_data(&b), b.len),
			count > RPC_LIST_MAX ? -EBADMSG : 0);
	}

	for (size_t count = RPC_DIR_ENTRIES_MAX; count <= RPC_DIR_ENTRIES_MAX + 1; count++) {
		buf_clear(&b);
		buf_append_u32le(&b, (uint32_t)count);
		for (size_t i = 0; i < count; i++) {
			put_string_of(&b, 1);
			buf_append(&b, "\0\0", 3);
		}
		assert_int_equal(try_unpack(&rpc_dir_entries_schema, buf_data(&b), b.len),
			count > RPC_DIR_ENTRIES_MAX ? -EBADMSG : 0);
	}
}

/* Bytes as a field that crosses, which no message has today. */
static void test_bytes(void **state)
{
	const struct rpc_field field = {.name = "data", .type = RPC_BYTES, .max = 3};
	const struct rpc_schema schema = {"bytes", &field, 1, sizeof(struct rpc_bytes)};
	const struct rpc_field needed = {
		.name = "data", .type = RPC_BYTES, .max = 3, .flags = RPC_REQUIRED};
	const struct rpc_schema required = {"bytes", &needed, 1, sizeof(struct rpc_bytes)};
	struct rpc_bytes bytes = {(uint8_t *)"\0x", 2}, empty = {(uint8_t *)"", 0}, absent = {0};

	expect_bytes(&schema, &bytes, BYTES(2, 0, 0, 0, 0, 'x'));
	expect_bytes(&schema, &empty, BYTES(0, 0, 0, 0));
	expect_bytes(&schema, &absent, BYTES(0xff, 0xff, 0xff, 0xff));
	assert_int_equal(try_unpack(&schema, BYTES(2, 0, 0, 0, 0, 'x')), 0);
	assert_int_equal(try_unpack(&schema, BYTES(0, 0, 0, 0)), 0);
	assert_int_equal(try_unpack(&schema, BYTES(0xff, 0xff, 0xff, 0xff)), 0);
	assert_int_equal(try_unpack(&required, BYTES(0xff, 0xff, 0xff, 0xff)), -EBADMSG);
	assert_int_equal(try_unpack(&schema, BYTES(4, 0, 0, 0, 1, 2, 3, 4)), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_json_trips),
		cmocka_unit_test(test_trips),
		cmocka_unit_test(test_unpacked_fields_stay),
		cmocka_unit_test(test_cut_and_extended),
		cmocka_unit_test(test_every_byte_changed),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
