#include "wire/dns.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "wire/reader.h"

#define HEADER_SIZE 12
#define LABEL_MAX 63
#define WIRE_NAME_MAX 255
#define TYPE_OPT 41
#define UDP_SIZE 1232                        /* what we say we take: fits every path unfragmented */
#define QUESTION_NAME (0xc000 | HEADER_SIZE) /* compressed: the name in the question */

#define FLAG_RESPONSE 0x8000
#define FLAG_TRUNCATED 0x0200
#define FLAG_RECURSION_DESIRED 0x0100
#define FLAG_RECURSION_AVAILABLE 0x0080
#define FLAG_CHECKING_DISABLED 0x0010
#define OPCODE_MASK 0x7800

/* --- queries ---------------------------------------------------------------------------------- */

static bool is_plain(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
	       c == '_' || c == '*';
}

/* The text of a label, behind a dot when it is not the first. Room is what parse_name() checks: a
 * name's text is shorter than its wire form. */
static void add_label(struct dns_query *q, const uint8_t *label, size_t len, size_t *text_len)
{
	if (*text_len > 0)
		q->name[(*text_len)++] = '.';
	for (size_t i = 0; i < len; i++) {
		if (!is_plain(label[i]))
			q->odd = true;
		q->name[(*text_len)++] = (char)label[i];
	}
	q->name[*text_len] = '\0';
}

/* Compression has nothing to point at in the first name of a message, so it is not followed. */
static int parse_name(struct reader *r, struct dns_query *q)
{
	const uint8_t *start = r->data;
	size_t text_len = 0;
	size_t len;

	do {
		len = reader_u8(r);
		const uint8_t *label = reader_bytes(r, len);

		if (len > LABEL_MAX || !label)
			return -EINVAL;
		q->wire_len += 1 + len;
		/* A label leaves room for the end of the name. */
		if (q->wire_len + (len > 0) > WIRE_NAME_MAX)
			return -EINVAL;
		if (len > 0)
			add_label(q, label, len, &text_len);
	} while (len > 0);
	memcpy(q->wire_name, start, q->wire_len);
	if (q->odd)
		q->name[0] = '\0';
	return 0;
}

/* The one record that a query may have besides its question (RFC 6891). Options are skipped, but
 * must be well formed. */
static int parse_opt(struct reader *r)
{
	uint8_t root = reader_u8(r);
	uint16_t type = reader_u16(r);

	(void)reader_u16(r); /* class: size of the answer that is taken; ours are small */
	(void)reader_u8(r);  /* upper bits of the rcode */
	uint8_t version = reader_u8(r);
	(void)reader_u16(r); /* flags: DNSSEC wanted; there is none */
	struct reader options = reader_part(r, reader_u16(r));

	if (r->bad || root != 0 || type != TYPE_OPT || version != 0)
		return -EINVAL;
	while (options.left > 0) {
		(void)reader_u16(&options);
		(void)reader_bytes(&options, reader_u16(&options));
		if (options.bad)
			return -EINVAL;
	}
	return 0;
}

static int parse_sections(struct reader *r, struct dns_query *q)
{
	uint16_t questions = reader_u16(r);
	uint16_t answers = reader_u16(r);
	uint16_t authorities = reader_u16(r);
	uint16_t additional = reader_u16(r);

	if (questions != 1 || answers != 0 || authorities != 0 || additional > 1)
		return -EINVAL;
	int err = parse_name(r, q);
	if (err < 0)
		return err;
	q->type = reader_u16(r);
	q->class = reader_u16(r);
	q->edns = additional == 1;
	if (q->edns && parse_opt(r) < 0)
		return -EINVAL;
	return reader_at_end(r) ? 0 : -EINVAL;
}

int dns_parse_query(const uint8_t *data, size_t len, struct dns_query *ret)
{
	struct reader r = {.data = data, .left = len};
	struct dns_query q = {0};

	if (len < HEADER_SIZE)
		return -EBADMSG;
	q.id = reader_u16(&r);
	q.flags = reader_u16(&r);
	if (q.flags & FLAG_RESPONSE)
		return -EBADMSG;
	*ret = q;
	if (q.flags & OPCODE_MASK)
		return -ENOSYS;
	if (len > DNS_MESSAGE_MAX || (q.flags & FLAG_TRUNCATED))
		return -EINVAL;
	int err = parse_sections(&r, &q);
	if (err == 0)
		*ret = q;
	return err;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Without a check of room: the longest question, an address and OPT are 298 bytes, and a target is
 * measured before. */
struct writer {
	uint8_t *data;
	size_t len;
};

static void put_u16(struct writer *w, unsigned v)
{
	w->data[w->len++] = (uint8_t)(v >> 8);
	w->data[w->len++] = (uint8_t)v;
}

static void put_bytes(struct writer *w, const void *data, size_t len)
{
	memcpy(w->data + w->len, data, len);
	w->len += len;
}

/* Wire form of a name's text. Returns its length, or -EINVAL. */
static ssize_t encode_name(const char *text, uint8_t ret[WIRE_NAME_MAX])
{
	size_t len = 0;

	while (*text != '\0') {
		size_t label = strcspn(text, ".");

		if (label == 0 || label > LABEL_MAX || len + 1 + label + 1 > WIRE_NAME_MAX)
			return -EINVAL;
		ret[len++] = (uint8_t)label;
		memcpy(ret + len, text, label);
		len += label;
		text += label;
		text += *text == '.';
	}
	ret[len++] = 0;
	return (ssize_t)len;
}

static void put_record(
	struct writer *w, enum dns_type type, uint32_t ttl, const void *data, size_t len)
{
	put_u16(w, QUESTION_NAME);
	put_u16(w, type);
	put_u16(w, DNS_CLASS_IN);
	put_u16(w, ttl >> 16);
	put_u16(w, ttl & 0xffff);
	put_u16(w, (unsigned)len);
	put_bytes(w, data, len);
}

static void put_opt(struct writer *w)
{
	static const uint8_t rest[6] = {0}; /* rcode, version, flags, no options */
	static const uint8_t root = 0;

	put_bytes(w, &root, 1);
	put_u16(w, TYPE_OPT);
	put_u16(w, UDP_SIZE);
	put_bytes(w, rest, sizeof(rest));
}

static unsigned answer_flags(const struct dns_query *q, enum dns_rcode rcode)
{
	unsigned kept = OPCODE_MASK | FLAG_RECURSION_DESIRED | FLAG_CHECKING_DISABLED;

	return FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | (q->flags & kept) | (unsigned)rcode;
}

size_t dns_put_answer(const struct dns_query *q, enum dns_rcode rcode, const uint8_t address[4],
	const char *target, uint32_t ttl, uint8_t ret[DNS_ANSWER_MAX])
{
	struct writer w = {.data = ret};
	uint8_t name[WIRE_NAME_MAX];
	ssize_t name_len = 0;
	bool question = q->wire_len > 0; /* else the query was malformed */
	bool has_address = question && address;

	if (question && !address && target) {
		name_len = encode_name(target, name);
		/* A question about an address is short, so that each name fits into its answer. */
		if (name_len < 0 || q->wire_len + (size_t)name_len > DNS_ANSWER_MAX - 64) {
			name_len = 0;
			rcode = DNS_SERVFAIL;
		}
	}
	put_u16(&w, q->id);
	put_u16(&w, answer_flags(q, rcode));
	put_u16(&w, question);
	put_u16(&w, has_address || name_len > 0);
	put_u16(&w, 0);
	put_u16(&w, q->edns);
	if (question) {
		put_bytes(&w, q->wire_name, q->wire_len);
		put_u16(&w, q->type);
		put_u16(&w, q->class);
	}
	if (has_address)
		put_record(&w, DNS_A, ttl, address, 4);
	else if (name_len > 0)
		put_record(&w, DNS_PTR, ttl, name, (size_t)name_len);
	if (q->edns)
		put_opt(&w);
	return w.len;
}

/* --- reverse names ---------------------------------------------------------------------------- */

/* A number from 0 to 255 without leading zeros, and the dot behind it. */
static int read_octet(const char **name, uint8_t *ret)
{
	const char *p = *name;
	unsigned n = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if ((p > *name && n == 0) || n > 25)
			return -EINVAL;
		n = n * 10 + (unsigned)(*p - '0');
	}
	if (p == *name || n > 255 || *p != '.')
		return -EINVAL;
	*name = p + 1;
	*ret = (uint8_t)n;
	return 0;
}

int dns_reverse_address(const char *name, uint8_t ret[4])
{
	uint8_t octets[4];

	for (int i = 3; i >= 0; i--) {
		if (read_octet(&name, &octets[i]) < 0)
			return -EINVAL;
	}
	if (strcasecmp(name, "in-addr.arpa") != 0)
		return -EINVAL;
	memcpy(ret, octets, sizeof(octets));
	return 0;
}
