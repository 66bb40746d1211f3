/* The daemon's end of a gate, against a gate that is this test. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/mem.h"
#include "rpc/pack.h"
#include "sandbox/egress.h"

struct fixture {
	struct egress egress;
	struct loop *loop;
	int gate; /* its end */
	unsigned ready, applied, events, ends;
	int64_t closed;
	uint64_t dropped;
	char text[128]; /* of the last event, certificate or end */
	bool stop_at_event, done_in_callback;
};

static struct fixture *of(struct egress *e)
{
	return container_of(e, struct fixture, egress);
}

static void on_ready(struct egress *e, const struct gate_ready *ready)
{
	struct fixture *f = of(e);

	f->ready++;
	snprintf(f->text, sizeof(f->text), "%s %s", ready->ca_pem != NULL ? ready->ca_pem : "-",
		ready->ca_hash != NULL ? ready->ca_hash : "-");
	loop_stop(f->loop, 0);
}

static void on_applied(struct egress *e, int64_t closed)
{
	struct fixture *f = of(e);

	f->applied++;
	f->closed = closed;
	loop_stop(f->loop, 0);
}

static void on_event(struct egress *e, const struct gate_event *event)
{
	struct fixture *f = of(e);

	f->events++;
	snprintf(f->text, sizeof(f->text), "%s:%d", event->host != NULL ? event->host : "-",
		(int)event->port);
	if (f->done_in_callback)
		egress_done(e);
	if (f->stop_at_event)
		loop_stop(f->loop, 0);
}

static void on_dropped(struct egress *e, uint64_t count)
{
	of(e)->dropped += count;
	loop_stop(of(e)->loop, 0);
}

static void on_end(struct egress *e, const char *why)
{
	struct fixture *f = of(e);

	assert_false(egress_open(e));
	f->ends++;
	snprintf(f->text, sizeof(f->text), "%s", why);
	loop_stop(f->loop, 0);
}

static const struct egress_ops ops = {
	.on_ready = on_ready,
	.on_applied = on_applied,
	.on_event = on_event,
	.on_dropped = on_dropped,
	.on_end = on_end,
};

static int setup(void **state)
{
	struct fixture *f = mem_new(struct fixture);
	int pair[2];

	f->loop = loop_new();
	if (f->loop == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
		egress_init(&f->egress, f->loop, pair[0], &ops) < 0)
		return -1;
	f->gate = pair[1];
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	egress_done(&f->egress);
	fd_close(f->gate);
	loop_free(f->loop);
	free(f);
	return 0;
}

/* The gate says something. */
static void say(struct fixture *f, enum gate_message type, const struct rpc_schema *schema,
	const void *object)
{
	auto_buf struct buf b;

	buf_init(&b, GATE_MESSAGE_MAX);
	assert_int_equal(buf_append_byte(&b, (uint8_t)type), 0);
	assert_int_equal(rpc_pack(&b, schema, object), 0);
	assert_int_equal(send(f->gate, buf_data(&b), b.len, 0), b.len);
}

/* What the gate has been told. */
static void hear(
	struct fixture *f, enum gate_message type, const struct rpc_schema *schema, void *object)
{
	static uint8_t message[GATE_MESSAGE_MAX];
	ssize_t n = recv(f->gate, message, sizeof(message), MSG_DONTWAIT);

	assert_true(n > 0);
	assert_int_equal(message[0], type);
	assert_int_equal(rpc_unpack(message + 1, (size_t)n - 1, schema, object), 0);
}

static void say_event(struct fixture *f, const char *host)
{
	struct gate_event event = {
		.kind = GATE_EVENT_FLOW, .host = (char *)(uintptr_t)host, .port = 443};

	say(f, GATE_EVENT, &gate_event_schema, &event);
}

static void configure(struct fixture *f)
{
	char *rules[] = {(char *)"a.example"};
	struct gate_config config = {.sandbox_id = (char *)"sbx", .rules = {rules, 1}};
	struct gate_ready ready = {0};

	assert_int_equal(egress_configure(&f->egress, &config), 0);
	say(f, GATE_READY, &gate_ready_schema, &ready);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->ready, 1);
	hear(f, GATE_CONFIG, &gate_config_schema, &config);
	rpc_clear(&gate_config_schema, &config);
}

static void test_configure(void **state)
{
	struct fixture *f = *state;
	char *hosts[] = {(char *)"api.example"};
	char *rules[] = {(char *)"a.example", (char *)"*.b.example:443"};
	struct gate_secret secret = {
		.name = (char *)"KEY",
		.placeholder = (char *)"DENO_SECRET_PLACEHOLDER_00",
		.value = {(uint8_t *)"hunter2", 7},
		.hosts = {hosts, 1},
	};
	struct gate_config config = {
		.sandbox_id = (char *)"sbx_ord_1",
		.rules = {rules, 2},
		.secrets = {&secret, 1},
	};
	struct gate_ready ready = {.ca_pem = (char *)"PEM", .ca_hash = (char *)"0123abcd"};
	struct gate_config heard;

	assert_int_equal(egress_configure(&f->egress, &config), 0);
	assert_int_equal(egress_configure(&f->egress, &config), -EBUSY);
	hear(f, GATE_CONFIG, &gate_config_schema, &heard);
	assert_string_equal(heard.sandbox_id, "sbx_ord_1");
	assert_int_equal(heard.rules.count, 2);
	assert_int_equal(heard.secrets.count, 1);
	assert_memory_equal(((struct gate_secret *)heard.secrets.items)->value.data, "hunter2", 7);
	assert_null(heard.http_proxy);
	rpc_clear(&gate_config_schema, &heard);
	say(f, GATE_READY, &gate_ready_schema, &ready);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->ready, 1);
	assert_string_equal(f->text, "PEM 0123abcd");
}

/* 64 secrets of 1.5 KiB and 1000 rules: what one request header can hold goes out at once. */
static void test_large_configuration(void **state)
{
	static uint8_t value[1536];
	struct fixture *f = *state;
	struct gate_secret secrets[GATE_SECRETS_MAX];
	char *rules[GATE_RULES_MAX];
	char *hosts[] = {(char *)"api.example"};
	struct gate_config config = {.sandbox_id = (char *)"sbx",
		.rules = {rules, array_len(rules)},
		.secrets = {secrets, array_len(secrets)}};

	memset(value, 'v', sizeof(value));
	for (size_t i = 0; i < array_len(rules); i++)
		rules[i] = (char *)"some-host-name.example:443";
	for (size_t i = 0; i < array_len(secrets); i++)
		secrets[i] = (struct gate_secret){
			(char *)"NAME", (char *)"DENO", {value, sizeof(value)}, {hosts, 1}};
	assert_int_equal(egress_configure(&f->egress, &config), 0);
	for (size_t i = 0; i < array_len(secrets); i++)
		secrets[i].value.len = 0;
	hear(f, GATE_CONFIG, &gate_config_schema, &config);
	assert_int_equal(config.secrets.count, GATE_SECRETS_MAX);
	rpc_clear(&gate_config_schema, &config);
}

static void test_too_large(void **state)
{
	static uint8_t value[16384];
	struct fixture *f = *state;
	struct gate_secret secrets[16] = {0};
	struct gate_config config = {.sandbox_id = (char *)"sbx", .secrets = {secrets, 16}};

	for (size_t i = 0; i < array_len(secrets); i++)
		secrets[i] = (struct gate_secret){
			(char *)"NAME", (char *)"DENO", {value, sizeof(value)}, {NULL, 0}};
	assert_int_equal(egress_configure(&f->egress, &config), -E2BIG);
	assert_true(egress_open(&f->egress));
}

static void test_policy(void **state)
{
	struct fixture *f = *state;
	char *rules[] = {(char *)"c.example"};
	struct gate_policy policy = {{rules, 1}};
	struct gate_applied applied = {.closed = 3};

	configure(f);
	assert_int_equal(egress_set_rules(&f->egress, &policy), 0);
	assert_int_equal(egress_set_rules(&f->egress, &policy), -EBUSY);
	hear(f, GATE_POLICY, &gate_policy_schema, &policy);
	assert_string_equal(policy.rules.items[0], "c.example");
	rpc_clear(&gate_policy_schema, &policy);
	/* Events may come in between. */
	say_event(f, "a.example");
	say(f, GATE_APPLIED, &gate_applied_schema, &applied);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->events, 1);
	assert_int_equal(f->applied, 1);
	assert_int_equal(f->closed, 3);
}

static void expect_malformed(struct fixture *f)
{
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->ends, 1);
	assert_string_equal(f->text, "the gate sent a malformed message");
	assert_int_equal(f->ready + f->applied, 0);
	/* Its socket is closed, which ends it. */
	assert_int_equal(send(f->gate, "x", 1, MSG_NOSIGNAL), -1);
}

static void test_answer_unasked(void **state)
{
	struct fixture *f = *state;
	struct gate_ready ready = {0};

	say(f, GATE_READY, &gate_ready_schema, &ready);
	expect_malformed(f);
}

static void test_wrong_answer(void **state)
{
	struct fixture *f = *state;
	struct gate_config config = {.sandbox_id = (char *)"sbx"};
	struct gate_applied applied = {0};

	assert_int_equal(egress_configure(&f->egress, &config), 0);
	say(f, GATE_APPLIED, &gate_applied_schema, &applied);
	expect_malformed(f);
}

static void test_event_before_ready(void **state)
{
	struct fixture *f = *state;
	struct gate_config config = {.sandbox_id = (char *)"sbx"};

	assert_int_equal(egress_configure(&f->egress, &config), 0);
	say_event(f, "a.example");
	expect_malformed(f);
	assert_int_equal(f->events, 0);
}

static void test_bad_certificate_name(void **state)
{
	struct fixture *f = *state;
	struct gate_config config = {.sandbox_id = (char *)"sbx"};
	struct gate_ready ready = {.ca_pem = (char *)"PEM", .ca_hash = (char *)"../../et"};

	assert_int_equal(egress_configure(&f->egress, &config), 0);
	say(f, GATE_READY, &gate_ready_schema, &ready);
	expect_malformed(f);
}

static void test_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} cases[] = {
		{"\0", 1},
		{"\1", 1}, /* CONFIG is not the gate's to send */
		{"\2", 1}, /* nor POLICY */
		{"\5", 1}, /* an event without anything */
		{"\5\0", 2},
		{"\6", 1},
		{"\377", 1},
	};

	(void)state;
	for (size_t i = 0; i < array_len(cases); i++) {
		void *own = NULL;
		struct fixture *f;

		assert_int_equal(setup(&own), 0);
		f = own;
		configure(f);
		f->ready = 0;
		assert_int_equal(send(f->gate, cases[i].bytes, cases[i].len, 0), cases[i].len);
		expect_malformed(f);
		teardown(&own);
	}
}

static void test_end_of_gate(void **state)
{
	struct fixture *f = *state;
	struct gate_policy policy = {0};

	configure(f);
	say_event(f, "last.example");
	f->gate = fd_close(f->gate);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->events, 1); /* what it had said before counts */
	assert_int_equal(f->ends, 1);
	assert_string_equal(f->text, "the gate has ended");
	assert_int_equal(egress_set_rules(&f->egress, &policy), -EPIPE);
}

/* Beyond a number a second events are counted, not passed on; the gate's own count is added. */
static void test_flood(void **state)
{
	struct fixture *f = *state;
	struct gate_event own = {.kind = GATE_EVENT_DROPPED, .count = 1000};
	unsigned sent = 0;

	configure(f);
	assert_int_equal(fd_set_nonblock(f->gate, true), 0);
	say(f, GATE_EVENT, &gate_event_schema, &own);
	f->stop_at_event = true;
	while (f->dropped == 0) {
		if (sent < EGRESS_EVENTS_MAX + 50) {
			say_event(f, "flood.example");
			sent++;
			if (sent > EGRESS_EVENTS_MAX)
				continue;
		}
		assert_int_equal(loop_run(f->loop), 0);
	}
	assert_true(f->events >= EGRESS_EVENTS_MAX);
	assert_int_equal(f->events + f->dropped, sent + 1000);
	assert_int_equal(f->ends, 0);
	/* A new second, and events pass again. */
	f->events = 0;
	say_event(f, "calm.example");
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->events, 1);
}

static void test_ended_by_owner_in_callback(void **state)
{
	struct fixture *f = *state;

	configure(f);
	say_event(f, "a.example");
	say_event(f, "b.example");
	f->stop_at_event = f->done_in_callback = true;
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->events, 1);
	assert_int_equal(f->ends, 0);
	assert_false(egress_open(&f->egress));
}

static void test_drain(void **state)
{
	struct fixture *f = *state;

	configure(f);
	for (int i = 0; i < 3; i++)
		say_event(f, "late.example");
	egress_drain(&f->egress);
	assert_int_equal(f->events, 3);
	assert_true(egress_open(&f->egress));
	f->gate = fd_close(f->gate);
	egress_drain(&f->egress);
	assert_int_equal(f->ends, 1);
	egress_drain(&f->egress);
	assert_int_equal(f->ends, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_configure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large_configuration, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_answer_unasked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_event_before_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_certificate_name, setup, teardown),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test_setup_teardown(test_end_of_gate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ended_by_owner_in_callback, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
