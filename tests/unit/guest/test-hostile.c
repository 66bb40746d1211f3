/* Requests that no daemon would send. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/random.h"
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

static void check_alive(struct guest *g)
{
	guest_ok(g, RPC_ENV_GET, &(struct rpc_env_key){"HOME"}, NULL);
}

static void raw_fails(struct guest *g, uint16_t method, const void *data, size_t len, int err)
{
	struct answer *a = guest_send_raw(g, method, data, len);

	guest_await(g, &a->done);
	assert_true(a->failed);
	assert_int_equal(a->failure.err, err);
	answer_free(a);
}

static void test_unknown_methods(void **state)
{
	struct guest *g = *state;

	raw_fails(g, RPC_ABORT, "", 0, ENOSYS);
	raw_fails(g, RPC_METHOD_COUNT, "", 0, ENOSYS);
	raw_fails(g, 999, "xyz", 3, ENOSYS);
	raw_fails(g, 65535, "", 0, ENOSYS);
	check_alive(g);
}

static void test_bad_parameters(void **state)
{
	struct guest *g = *state;
	uint8_t bytes[64];

	for (uint16_t method = 1; method < RPC_METHOD_COUNT; method++) {
		const struct rpc_method *m = rpc_method_by_id(method);

		if (!m->params || !(m->flags & RPC_AGENT))
			continue;
		raw_fails(g, method, "", 0, EINVAL);
		memset(bytes, 0xff, sizeof(bytes));
		raw_fails(g, method, bytes, sizeof(bytes), EINVAL);
		memset(bytes, 0, sizeof(bytes));
		raw_fails(g, method, bytes, 3, EINVAL);
	}
	check_alive(g);
}

static void test_random_parameters(void **state)
{
	struct guest *g = *state;
	uint8_t bytes[256];

	for (int i = 0; i < 2000; i++) {
		uint16_t method = (uint16_t)random_below(RPC_METHOD_COUNT + 2);
		size_t len = random_below(sizeof(bytes));
		struct answer *a;

		/* Removing what a lucky path names is no test. */
		if (method == 0 || method == RPC_REMOVE)
			continue;
		random_bytes(bytes, len);
		a = guest_send_raw(g, method, bytes, len);
		guest_await(g, &a->done);
		answer_free(a);
	}
	check_alive(g);
}

/* A NUL inside a path would name another file. */
static void test_nul_in_path(void **state)
{
	static const char bytes[] = "\4\0\0\0a\0bc";

	raw_fails(*state, RPC_STAT, bytes, 8, EINVAL);
}

/* The same stream twice, in one request and in two. */
static void test_stream_id_twice(void **state)
{
	struct guest *g = *state;
	struct inbox out = {0};
	struct rpc_spawned result;
	struct rpc_spawn params;
	char *args[] = {"-c", "sleep 0.2; echo x"};

	spawn_params(g, &params, "sh", NULL, &out, NULL);
	params.args = (struct rpc_strings){args, 2};
	params.stderr_channel = params.stdout_channel;
	guest_fails(g, RPC_SPAWN, &params, EEXIST, NULL, "spawn 'sh'");
	inbox_free(&out);
	out = (struct inbox){0};
	spawn_params(g, &params, "sh", NULL, &out, NULL);
	params.args = (struct rpc_strings){args, 2};
	guest_ok(g, RPC_SPAWN, &params, &result);
	guest_fails(g, RPC_SPAWN, &params, EEXIST, NULL, "spawn 'sh'");
	guest_await(g, &out.ended);
	assert_int_equal(out.total, 2);
	expect_end(g, result.pid, 0, NULL);
	inbox_free(&out);
}

/* No stream where one is needed. */
static void test_no_stream(void **state)
{
	struct guest *g = *state;
	struct rpc_read_file read = {.path = "/dev/null"};
	struct rpc_write_file write = {
		.path = "/dev/null", .options = {.create = true, .mode = -1}};

	guest_fails(g, RPC_READ_FILE, &read, EINVAL, NULL, "readfile");
	guest_fails(g, RPC_WRITE_FILE, &write, EINVAL, NULL, "writefile");
	check_alive(g);
}

/* The largest request, and answers as long as a variable can be. */
static void test_large_messages(void **state)
{
	struct guest *g = *state;
	auto_free char *value = mem_zalloc(RPC_STRING_MAX + 1);
	struct rpc_env_set set = {"BIG", value};
	struct rpc_text text;
	auto_free uint8_t *huge = mem_zalloc(CHANNEL_MESSAGE_MAX);

	memset(value, 'v', RPC_STRING_MAX);
	guest_ok(g, RPC_ENV_SET, &set, NULL);
	guest_ok(g, RPC_ENV_GET, &(struct rpc_env_key){"BIG"}, &text);
	assert_int_equal(strlen(text.text), RPC_STRING_MAX);
	rpc_clear(&rpc_text_schema, &text);
	raw_fails(g, RPC_ENV_SET, huge, CHANNEL_MESSAGE_MAX, EINVAL);
	check_alive(g);
}

/* More answers than the channel's queue holds, to a daemon that reads none of them for a while:
 * some are refused, none is lost, and the agent lives. */
static void test_flood(void **state)
{
	enum { COUNT = 400 };
	struct guest *g = *state;
	auto_free char *value = mem_zalloc(RPC_STRING_MAX + 1);
	struct answer *a[COUNT];
	unsigned refused = 0;

	memset(value, 'v', RPC_STRING_MAX);
	for (int i = 0; i < 7; i++) {
		char name[] = {'V', (char)('0' + i), 0};
		struct rpc_env_set set = {name, value};

		guest_ok(g, RPC_ENV_SET, &set, NULL);
	}
	stream_pause(&g->channel.stream);
	for (size_t i = 0; i < COUNT; i++)
		a[i] = guest_send(g, RPC_ENV_TO_OBJECT, NULL);
	guest_turn(g, 200);
	stream_resume(&g->channel.stream);
	for (size_t i = 0; i < COUNT; i++) {
		guest_await(g, &a[i]->done);
		if (a[i]->failed)
			assert_int_equal(a[i]->failure.err, EAGAIN);
		refused += a[i]->failed;
		answer_free(a[i]);
	}
	assert_in_range(refused, 1, COUNT - 16);
	check_alive(g);
}

static void test_cancel_unknown(void **state)
{
	struct guest *g = *state;
	struct answer *a = guest_call(g, RPC_ENV_GET, &(struct rpc_env_key){"HOME"});
	uint8_t frame[CHANNEL_HEADER_SIZE] = {[4] = CHANNEL_CANCEL};

	/* Answered already: nothing happens. */
	store_u32le(frame + 8, a->id);
	assert_int_equal(stream_write(&g->channel.stream, frame, sizeof(frame)), 0);
	answer_free(a);
	check_alive(g);
}

static void broken_frame(const uint8_t *frame, size_t len)
{
	struct guest *g = guest_new(NULL);

	spawn_shell(g, "sleep 60", NULL, NULL, NULL);
	assert_int_equal(stream_write(&g->channel.stream, frame, len), 0);
	for (int i = 0; i < 100 && !g->over; i++)
		guest_turn(g, 20);
	assert_true(g->over);
	guest_free(g);
}

/* What breaks the channel ends the agent, with all processes. */
static void test_broken_frames(void **state)
{
	uint8_t frame[CHANNEL_HEADER_SIZE + 1] = {0};

	frame[4] = CHANNEL_FRAME_COUNT;
	broken_frame(frame, CHANNEL_HEADER_SIZE);
	frame[4] = CHANNEL_RESPONSE;
	broken_frame(frame, CHANNEL_HEADER_SIZE);
	frame[4] = CHANNEL_DATA;
	frame[0] = 1;
	store_u32le(frame + 8, 4000000);
	broken_frame(frame, sizeof(frame));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_unknown_methods),
		TEST(test_bad_parameters),
		TEST(test_random_parameters),
		TEST(test_nul_in_path),
		TEST(test_stream_id_twice),
		TEST(test_no_stream),
		TEST(test_large_messages),
		TEST(test_flood),
		TEST(test_cancel_unknown),
		cmocka_unit_test(test_broken_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
