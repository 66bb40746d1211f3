#include "unit.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "wire/dns.h"

#define WWW "\3www\7example\3com"

struct message {
	uint8_t data[DNS_MESSAGE_MAX + 100];
	size_t len;
};

static void put(struct message *m, const void *data, size_t len)
{
	assert_true(len <= sizeof(m->data) - m->len);
	memcpy(m->data + m->len, data, len);
	m->len += len;
}

static void put_u16(struct message *m, unsigned v)
{
	uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	put(m, bytes, 2);
}

static void put_header(struct message *m, unsigned flags, const unsigned counts[4])
{
	put_u16(m, 0xbeef);
	put_u16(m, flags);
	for (int i = 0; i < 4; i++)
		put_u16(m, counts[i]);
}

/* As glibc makes them: recursion desired, and with "options edns0" an OPT record that takes 1200
 * bytes. name is in wire form without the final zero. */
static struct message glibc_query(const char *name, unsigned type, bool edns)
{
	const unsigned counts[4] = {1, 0, 0, edns};
	struct message m = {0};

	put_header(&m, 0x0100, counts);
	put(&m, name, strlen(name) + 1);
	put_u16(&m, type);
	put_u16(&m, 1);
	if (edns)
		put(&m, "\0\0\x29\x04\xb0\0\0\0\0\0\0", 11);
	return m;
}

/* In a block of its exact size, so that a sanitizer sees a read behind it. */
static int parse(const struct message *m, struct dns_query *q)
{
	auto_free uint8_t *copy = mem_dup(m->data, m->len);

	return dns_parse_query(copy, m->len, q);
}

/* --- queries ---------------------------------------------------------------------------------- */

static void test_glibc(void **state)
{
	static const unsigned types[] = {DNS_A, DNS_AAAA, DNS_HTTPS, 0, 65535};

	for (size_t i = 0; i < 2 * array_len(types); i++) {
		struct message m = glibc_query(WWW, types[i / 2], i % 2);
		struct dns_query q;

		assert_int_equal(parse(&m, &q), 0);
		assert_int_equal(q.id, 0xbeef);
		assert_int_equal(q.flags, 0x0100);
		assert_int_equal(q.type, types[i / 2]);
		assert_int_equal(q.class, DNS_CLASS_IN);
		assert_string_equal(q.name, "www.example.com");
		assert_false(q.odd);
		assert_int_equal(q.edns, i % 2);
		assert_int_equal(q.wire_len, 17);
		assert_memory_equal(q.wire_name, WWW, 17);
	}
}

static void test_names(void **state)
{
	static const struct {
		const char *wire;
		const char *text;
		bool odd;
	} cases[] = {
		{"", "", false},
		{"\1a", "a", false},
		{"\3wWw\7ExAmPlE\3cOm", "wWw.ExAmPlE.cOm", false},
		{"\1*\4_tcp\1-", "*._tcp.-", false},
		{"\3a.b\3com", "", true},
		{"\1 ", "", true},
		{"\3a\x01z\3com", "", true},
		{"\6b\xc3\xbc"
		 "che\3com",
			"", true},
		{"\3com\1/", "", true},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct message m = glibc_query(cases[i].wire, DNS_A, false);
		struct dns_query q;

		assert_int_equal(parse(&m, &q), 0);
		assert_string_equal(q.name, cases[i].text);
		assert_int_equal(q.odd, cases[i].odd);
		assert_int_equal(q.wire_len, strlen(cases[i].wire) + 1);
		assert_memory_equal(q.wire_name, cases[i].wire, q.wire_len);
	}
}

static void test_nul_in_name(void **state)
{
	const unsigned counts[4] = {1};
	struct message m = {0};
	struct dns_query q;

	put_header(&m, 0x0100, counts);
	put(&m, "\3a\0b\3com\0\0\1\0\1", 13);
	assert_int_equal(parse(&m, &q), 0);
	assert_true(q.odd);
	assert_string_equal(q.name, "");
	assert_int_equal(q.wire_len, 9);
}

static struct message long_query(size_t last_label)
{
	struct message m = {0};
	const unsigned counts[4] = {1, 0, 0, 1};
	uint8_t label[64];

	memset(label, 'x', sizeof(label));
	label[0] = 63;
	put_header(&m, 0x0100, counts);
	for (int i = 0; i < 3; i++)
		put(&m, label, 64);
	label[0] = (uint8_t)last_label;
	put(&m, label, 1 + last_label);
	put(&m, "\0\0\1\0\1", 5);
	put(&m, "\0\0\x29\x04\xb0\0\0\0\0\0\0", 11);
	return m;
}

static void test_long_names(void **state)
{
	struct message m = long_query(61);
	struct dns_query q;

	assert_int_equal(parse(&m, &q), 0);
	assert_int_equal(q.wire_len, 255);
	assert_int_equal(strlen(q.name), 253);
	m = long_query(62);
	assert_int_equal(parse(&m, &q), -EINVAL);
	assert_int_equal(q.wire_len, 0);
}

static void test_headers(void **state)
{
	static const struct {
		unsigned flags;
		unsigned counts[4];
		int err;
	} cases[] = {
		{0x0100, {1, 0, 0, 0}, 0},
		{0x0000, {1, 0, 0, 0}, 0},
		{0x01b0, {1, 0, 0, 0}, 0}, /* AD and CD; Z is ignored as well */
		{0x8100, {1, 0, 0, 0}, -EBADMSG},
		{0x0900, {1, 0, 0, 0}, -ENOSYS},
		{0x2800, {1, 0, 0, 0}, -ENOSYS}, /* UPDATE */
		{0x7800, {9, 9, 9, 9}, -ENOSYS},
		{0x0300, {1, 0, 0, 0}, -EINVAL}, /* truncated */
		{0x0100, {0, 0, 0, 0}, -EINVAL},
		{0x0100, {2, 0, 0, 0}, -EINVAL},
		{0x0100, {1, 1, 0, 0}, -EINVAL},
		{0x0100, {1, 0, 1, 0}, -EINVAL},
		{0x0100, {1, 0, 0, 1}, -EINVAL},
		{0x0100, {1, 0, 0, 2}, -EINVAL},
		{0x0100, {65535, 0, 0, 0}, -EINVAL},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct message m = {0};
		struct dns_query q = {.id = 1};

		put_header(&m, cases[i].flags, cases[i].counts);
		put(&m, WWW "\0\0\1\0\1", 21);
		assert_int_equal(parse(&m, &q), cases[i].err);
		assert_int_equal(q.id, cases[i].err == -EBADMSG ? 1 : 0xbeef);
		if (cases[i].err != -EBADMSG)
			assert_int_equal(q.flags, cases[i].flags);
		if (cases[i].err < 0)
			assert_int_equal(q.wire_len, 0);
	}
}

static void test_questions(void **state)
{
	/* What follows the header, for one question and one additional record. */
	static const struct {
		const char *name;
		const char *data;
		size_t len;
	} cases[] = {
#define CASE(name, data) {name, data, sizeof(data) - 1}
#define QUESTION "\1a\0\0\1\0\1"
		CASE("compressed name", "\xc0\x0c\0\1\0\1\0\0\x29\x04\xb0\0\0\0\0\0\0"),
		CASE("compressed end", "\1a\xc0\x0c\0\1\0\1\0\0\x29\x04\xb0\0\0\0\0\0\0"),
		CASE("old label type", "\1a\x41\x0c\0\1\0\1\0\0\x29\x04\xb0\0\0\0\0\0\0"),
		CASE("type of label 10", "\x80\0\1\0\1\0\0\x29\x04\xb0\0\0\0\0\0\0"),
		CASE("no end", "\3www\7example"),
		CASE("label past the end", "\3www\x3f"
					   "example"),
		CASE("not OPT", QUESTION "\0\0\1\0\1\0\0\0\0\0\4\1\2\3\4"),
		CASE("named OPT", QUESTION "\1a\0\0\x29\x04\xb0\0\0\0\0\0\0"),
		CASE("OPT with a compressed name", QUESTION "\xc0\x0c\0\x29\x04\xb0\0\0\0\0\0\0"),
		CASE("version 1", QUESTION "\0\0\x29\x04\xb0\0\1\0\0\0\0"),
		CASE("options past the end", QUESTION "\0\0\x29\x04\xb0\0\0\0\0\0\1"),
		CASE("option past its end", QUESTION "\0\0\x29\x04\xb0\0\0\0\0\0\6\0\x0a\0\3ab"),
		CASE("half an option", QUESTION "\0\0\x29\x04\xb0\0\0\0\0\0\3\0\x0a\0"),
		CASE("trailing byte", QUESTION "\0\0\x29\x04\xb0\0\0\0\0\0\0\0"),
		CASE("no record", QUESTION),
#undef CASE
	};
	const unsigned counts[4] = {1, 0, 0, 1};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct message m = {0};
		struct dns_query q;

		print_message("# %s\n", cases[i].name);
		put_header(&m, 0x0100, counts);
		put(&m, cases[i].data, cases[i].len);
		assert_int_equal(parse(&m, &q), -EINVAL);
		assert_int_equal(q.id, 0xbeef);
		assert_false(q.edns);
	}
}

/* With a cookie and padding, as other resolvers' libraries send them. */
static void test_options(void **state)
{
	const unsigned counts[4] = {1, 0, 0, 1};
	struct message m = {0};
	struct dns_query q;

	put_header(&m, 0x0100, counts);
	put(&m, QUESTION, 7);
	put(&m, "\0\0\x29\x10\0\0\0\x80\0\0\x14", 11);
	put(&m,
		"\0\x0a\0\x08"
		"12345678\0\x0c\0\x04\0\0\0\0",
		20);
	assert_int_equal(parse(&m, &q), 0);
	assert_true(q.edns);
}

static void test_every_cut(void **state)
{
	struct message m = glibc_query(WWW, DNS_A, true);
	size_t whole = m.len;
	struct dns_query q;

	for (m.len = 0; m.len < whole; m.len++)
		assert_int_equal(parse(&m, &q), m.len < 12 ? -EBADMSG : -EINVAL);
	m.data[m.len++] = 0;
	assert_int_equal(parse(&m, &q), -EINVAL);
}

static void test_too_long(void **state)
{
	const unsigned counts[4] = {1, 0, 0, 1};
	struct dns_query q;

	for (unsigned over = 0; over < 2; over++) {
		struct message m = {0};
		unsigned options = DNS_MESSAGE_MAX - 12 - 7 - 11 + over;

		put_header(&m, 0x0100, counts);
		put(&m, QUESTION, 7);
		put(&m, "\0\0\x29\x10\0\0\0\0\0", 9);
		put_u16(&m, options);
		put_u16(&m, 12);
		put_u16(&m, options - 4);
		m.len += options - 4;
		assert_int_equal(m.len, DNS_MESSAGE_MAX + over);
		assert_int_equal(parse(&m, &q), over ? -EINVAL : 0);
	}
}

/* --- answers, read by libc -------------------------------------------------------------------- */

static ns_msg open_answer(
	const uint8_t *data, size_t len, unsigned questions, unsigned answers, unsigned additional)
{
	ns_msg msg;

	assert_true(len <= DNS_ANSWER_MAX);
	assert_int_equal(ns_initparse(data, (int)len, &msg), 0);
	assert_int_equal(ns_msg_id(msg), 0xbeef);
	assert_int_equal(ns_msg_getflag(msg, ns_f_qr), 1);
	assert_int_equal(ns_msg_getflag(msg, ns_f_aa), 0);
	assert_int_equal(ns_msg_getflag(msg, ns_f_tc), 0);
	assert_int_equal(ns_msg_getflag(msg, ns_f_ra), 1);
	assert_int_equal(ns_msg_getflag(msg, ns_f_z), 0);
	assert_int_equal(ns_msg_getflag(msg, ns_f_ad), 0);
	assert_int_equal(ns_msg_count(msg, ns_s_qd), questions);
	assert_int_equal(ns_msg_count(msg, ns_s_an), answers);
	assert_int_equal(ns_msg_count(msg, ns_s_ns), 0);
	assert_int_equal(ns_msg_count(msg, ns_s_ar), additional);
	return msg;
}

static ns_rr record(ns_msg *msg, ns_sect section)
{
	ns_rr rr;

	assert_int_equal(ns_parserr(msg, section, 0, &rr), 0);
	return rr;
}

static void check_opt(ns_msg *msg)
{
	ns_rr rr = record(msg, ns_s_ar);

	assert_int_equal(ns_rr_type(rr), 41);
	assert_int_equal(ns_rr_class(rr), 1232);
	assert_int_equal(ns_rr_ttl(rr), 0);
	assert_int_equal(ns_rr_rdlen(rr), 0);
}

static void test_answer_address(void **state)
{
	static const uint8_t address[4] = {198, 18, 0, 5};

	for (int edns = 0; edns < 2; edns++) {
		struct message m = glibc_query("\3wWw\7eXample\3Com", DNS_A, edns);
		uint8_t answer[DNS_ANSWER_MAX];
		struct dns_query q;

		assert_int_equal(parse(&m, &q), 0);
		size_t len = dns_put_answer(&q, DNS_NOERROR, address, NULL, 70000, answer);
		ns_msg msg = open_answer(answer, len, 1, 1, (unsigned)edns);
		ns_rr rr = record(&msg, ns_s_an);

		assert_int_equal(ns_msg_getflag(msg, ns_f_rcode), 0);
		assert_int_equal(ns_msg_getflag(msg, ns_f_rd), 1);
		/* The question as it came, in its case too. */
		assert_memory_equal(answer + 12, m.data + 12, 21);
		assert_int_equal(ns_rr_type(rr), ns_t_a);
		assert_int_equal(ns_rr_class(rr), ns_c_in);
		assert_int_equal(ns_rr_ttl(rr), 70000);
		assert_string_equal(ns_rr_name(rr), "wWw.eXample.Com");
		assert_int_equal(ns_rr_rdlen(rr), 4);
		assert_memory_equal(ns_rr_rdata(rr), address, 4);
		if (edns)
			check_opt(&msg);
	}
}

static void test_answer_without_records(void **state)
{
	static const enum dns_rcode rcodes[] = {
		DNS_NOERROR, DNS_SERVFAIL, DNS_NXDOMAIN, DNS_REFUSED};

	for (size_t i = 0; i < array_len(rcodes); i++) {
		struct message m = glibc_query(WWW, DNS_AAAA, true);
		uint8_t answer[DNS_ANSWER_MAX];
		struct dns_query q;

		assert_int_equal(parse(&m, &q), 0);
		size_t len = dns_put_answer(&q, rcodes[i], NULL, NULL, 0, answer);
		ns_msg msg = open_answer(answer, len, 1, 0, 1);

		assert_int_equal(ns_msg_getflag(msg, ns_f_rcode), rcodes[i]);
		assert_int_equal(ns_rr_type(record(&msg, ns_s_qd)), DNS_AAAA);
		check_opt(&msg);
	}
}

/* RD and CD are those of the query, AD is never set. */
static void test_answer_flags(void **state)
{
	static const struct {
		unsigned query, answer;
	} cases[] = {
		{0x0000, 0x8080},
		{0x0100, 0x8180},
		{0x0110, 0x8190},
		{0x0170, 0x8190},
		{0x0020, 0x8080},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		struct message m = glibc_query(WWW, DNS_A, false);
		uint8_t answer[DNS_ANSWER_MAX];
		struct dns_query q;

		m.data[2] = (uint8_t)(cases[i].query >> 8);
		m.data[3] = (uint8_t)cases[i].query;
		assert_int_equal(parse(&m, &q), 0);
		(void)dns_put_answer(&q, DNS_NOERROR, NULL, NULL, 0, answer);
		assert_int_equal(answer[2] << 8 | answer[3], cases[i].answer);
	}
}

static void test_answer_to_malformed(void **state)
{
	static const uint8_t address[4] = {1, 2, 3, 4};
	struct message m = glibc_query(WWW, DNS_A, true);
	uint8_t answer[DNS_ANSWER_MAX];
	struct dns_query q;

	m.len--;
	assert_int_equal(parse(&m, &q), -EINVAL);
	size_t len = dns_put_answer(&q, DNS_FORMERR, address, "a", 1, answer);
	ns_msg msg = open_answer(answer, len, 0, 0, 0);
	assert_int_equal(len, 12);
	assert_int_equal(ns_msg_getflag(msg, ns_f_rcode), ns_r_formerr);

	m.data[2] |= 0x28;
	assert_int_equal(parse(&m, &q), -ENOSYS);
	len = dns_put_answer(&q, DNS_NOTIMP, NULL, NULL, 0, answer);
	msg = open_answer(answer, len, 0, 0, 0);
	assert_int_equal(ns_msg_getflag(msg, ns_f_rcode), ns_r_notimpl);
	assert_int_equal(ns_msg_getflag(msg, ns_f_opcode), 5);
}

static void test_answer_name(void **state)
{
	struct message m = glibc_query("\1"
				       "5\1"
				       "0\2"
				       "18\3"
				       "198\7in-addr\4arpa",
		DNS_PTR, true);
	uint8_t answer[DNS_ANSWER_MAX];
	char target[300];
	char text[300];
	struct dns_query q;

	memset(target, 'n', sizeof(target));
	for (size_t i = 63; i < 253; i += 64)
		target[i] = '.';
	target[253] = '\0';
	assert_int_equal(parse(&m, &q), 0);
	size_t len = dns_put_answer(&q, DNS_NOERROR, NULL, target, 1, answer);
	ns_msg msg = open_answer(answer, len, 1, 1, 1);
	ns_rr rr = record(&msg, ns_s_an);
	assert_int_equal(ns_rr_type(rr), ns_t_ptr);
	assert_int_equal(
		ns_name_uncompress(answer, answer + len, ns_rr_rdata(rr), text, sizeof(text)), 255);
	assert_string_equal(text, target);
	check_opt(&msg);
}

static void test_answer_bad_name(void **state)
{
	static const char *const targets[] = {"a..b", ".a",
		"lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll.example"};
	struct message m = long_query(61);
	uint8_t answer[DNS_ANSWER_MAX];
	char target[300];
	struct dns_query q;

	assert_int_equal(parse(&m, &q), 0);
	for (size_t i = 0; i < array_len(targets); i++) {
		size_t len = dns_put_answer(&q, DNS_NOERROR, NULL, targets[i], 1, answer);
		ns_msg msg = open_answer(answer, len, 1, 0, 1);

		assert_int_equal(ns_msg_getflag(msg, ns_f_rcode), ns_r_servfail);
	}
	/* Good, but not beside the longest question. */
	memset(target, 'n', sizeof(target));
	for (size_t i = 63; i < 253; i += 64)
		target[i] = '.';
	target[253] = '\0';
	size_t len = dns_put_answer(&q, DNS_NOERROR, NULL, target, 1, answer);
	ns_msg msg = open_answer(answer, len, 1, 0, 1);
	assert_int_equal(ns_msg_getflag(msg, ns_f_rcode), ns_r_servfail);
}

static void test_reverse(void **state)
{
	static const struct {
		const char *name;
		const char *address; /* 4 bytes; NULL: refused */
	} cases[] = {
		{"5.0.18.198.in-addr.arpa", "\xc6\x12\0\5"},
		{"255.0.0.127.IN-ADDR.ARPA", "\x7f\0\0\xff"},
		{"0.0.0.0.in-addr.arpa", "\0\0\0\0"},
		{"256.0.18.198.in-addr.arpa", NULL},
		{"05.0.18.198.in-addr.arpa", NULL},
		{"00.0.18.198.in-addr.arpa", NULL},
		{"0.18.198.in-addr.arpa", NULL},
		{"1.5.0.18.198.in-addr.arpa", NULL},
		{"5.0.18.198.in-addr.arpa.com", NULL},
		{"5.0.18.198.in-addr", NULL},
		{"5.0.18.198", NULL},
		{"5.0.18.198.", NULL},
		{"5..18.198.in-addr.arpa", NULL},
		{"-5.0.18.198.in-addr.arpa", NULL},
		{"99999999999999999999.0.18.198.in-addr.arpa", NULL},
		{"4294967301.0.18.198.in-addr.arpa", NULL},
		{"b._dns-sd._udp.0.0.18.198.in-addr.arpa", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < array_len(cases); i++) {
		uint8_t address[4] = {9, 9, 9, 9};

		print_message("# %s\n", cases[i].name);
		assert_int_equal(dns_reverse_address(cases[i].name, address),
			cases[i].address ? 0 : -EINVAL);
		assert_memory_equal(
			address, cases[i].address ? cases[i].address : "\x9\x9\x9\x9", 4);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_glibc),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_nul_in_name),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_answer_address),
		cmocka_unit_test(test_answer_without_records),
		cmocka_unit_test(test_answer_flags),
		cmocka_unit_test(test_answer_to_malformed),
		cmocka_unit_test(test_answer_name),
		cmocka_unit_test(test_answer_bad_name),
		cmocka_unit_test(test_reverse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
