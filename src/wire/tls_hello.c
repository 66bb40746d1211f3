#include "wire/tls_hello.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "wire/reader.h"

#define RECORD_HEADER 5
#define RECORD_MAX 16384
#define RECORD_ALERT 21
#define RECORD_HANDSHAKE 22
#define MESSAGE_HEADER 4
#define MESSAGE_CLIENT_HELLO 1
#define ALERT_FATAL 2
#define RANDOM_SIZE 32
#define SESSION_ID_MAX 32
#define NAME_TYPE_HOST 0

enum extension {
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_ALPN = 16,
	EXTENSION_ECH = 0xfe0d,
};

enum ech_form { ECH_OUTER = 0, ECH_INNER = 1 };

/* --- records ---------------------------------------------------------------------------------- */

int tls_hello_likely(const uint8_t *data, size_t len)
{
	/* Record: type, version 3.0 to 3.4, length up to 2^14; then the type of the message. */
	static const struct {
		uint8_t min, max;
	} start[] = {
		{RECORD_HANDSHAKE, RECORD_HANDSHAKE},
		{3, 3},
		{0, 4},
		{0, RECORD_MAX >> 8},
		{0, UINT8_MAX},
		{MESSAGE_CLIENT_HELLO, MESSAGE_CLIENT_HELLO},
	};

	for (size_t i = 0; i < array_len(start); i++) {
		if (i == len)
			return -EAGAIN;
		if (data[i] < start[i].min || data[i] > start[i].max)
			return 0;
	}
	return 1;
}

/* The body of the next record, as far as it is there (then *ret_whole is false). A bad reader: no
 * record of a handshake. */
static struct reader next_record(struct reader *r, bool *ret_whole)
{
	static const struct reader bad = {.bad = true};
	uint8_t type = reader_u8(r);
	uint8_t major = reader_u8(r);

	(void)reader_u8(r); /* minor version: 1 in most hellos, whatever comes later */
	size_t len = reader_u16(r);

	if (type != RECORD_HANDSHAKE || major != 3 || len == 0 || len > RECORD_MAX)
		return bad;
	*ret_whole = len <= r->left;
	return reader_part(r, *ret_whole ? len : r->left);
}

/* Takes the message header apart once its four bytes are there; they may be in records of one byte.
 * Returns the message's size with its header, 0 (not there yet) or a negative errno. */
static ssize_t message_size(const uint8_t *head, size_t len)
{
	struct reader r = {.data = head, .left = len};

	if (len > 0 && reader_u8(&r) != MESSAGE_CLIENT_HELLO)
		return -EBADMSG;
	if (len < MESSAGE_HEADER)
		return 0;
	size_t size = MESSAGE_HEADER + (size_t)reader_u24(&r);
	return size > TLS_HELLO_MAX - RECORD_HEADER ? -E2BIG : (ssize_t)size;
}

/* What the records hold of the message, copied to ret_message when that is not NULL. Returns the
 * message's size when all of it is there, or a negative errno. */
static ssize_t collect(const uint8_t *data, size_t len, uint8_t *ret_message)
{
	struct reader r = {.data = data, .left = len};
	uint8_t head[MESSAGE_HEADER] = {0};
	size_t have = 0;
	ssize_t size = 0;

	while (r.left >= RECORD_HEADER) {
		bool whole = false;
		struct reader body = next_record(&r, &whole);

		if (body.bad)
			return -EBADMSG;
		if (ret_message && body.left > 0)
			memcpy(ret_message + have, body.data, body.left);
		for (size_t i = 0; i < body.left && have + i < sizeof(head); i++)
			head[have + i] = body.data[i];
		have += body.left;
		size = message_size(head, have < sizeof(head) ? have : sizeof(head));
		if (size < 0)
			return size;
		/* Nothing may follow in the record before there is an answer. */
		if (size > 0 && have > (size_t)size)
			return -EBADMSG;
		if (size > 0 && have == (size_t)size)
			return whole ? size : -EBADMSG;
	}
	return len >= TLS_HELLO_MAX ? -E2BIG : -EAGAIN;
}

/* --- extensions ------------------------------------------------------------------------------- */

/* Exactly one name, as every server has it: what a second one means, each could see differently. */
static int parse_server_name(struct reader *r, struct tls_hello *ret)
{
	struct reader list = reader_part(r, reader_u16(r));
	uint8_t type = reader_u8(&list);
	size_t len = reader_u16(&list);
	const uint8_t *name = reader_bytes(&list, len);

	if (!name || !reader_at_end(&list) || type != NAME_TYPE_HOST || len == 0 ||
		len >= sizeof(ret->name))
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		if (name[i] <= 0x20 || name[i] >= 0x7f)
			return -EBADMSG;
		ret->name[i] = (char)name[i];
	}
	ret->name[len] = '\0';
	return 0;
}

static bool is_protocol(const uint8_t *data, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(data, name, len) == 0;
}

static int parse_alpn(struct reader *r, struct tls_hello *ret)
{
	struct reader list = reader_part(r, reader_u16(r));

	if (list.left == 0)
		return -EBADMSG;
	while (list.left > 0) {
		size_t len = reader_u8(&list);
		const uint8_t *name = reader_bytes(&list, len);

		if (!name || len == 0)
			return -EBADMSG;
		if (is_protocol(name, len, "h2"))
			ret->offers_h2 = true;
		if (is_protocol(name, len, "http/1.1"))
			ret->offers_http1 = true;
	}
	ret->has_alpn = true;
	return 0;
}

/* The inner form says that there is nothing hidden: it is empty. */
static int parse_ech(struct reader *r, struct tls_hello *ret)
{
	switch (reader_u8(r)) {
	case ECH_INNER:
		return r->bad ? -EBADMSG : 0;
	case ECH_OUTER:
		break;
	default:
		return -EBADMSG;
	}
	(void)reader_bytes(r, 4); /* KDF and AEAD */
	(void)reader_u8(r);       /* number of the key */
	(void)reader_bytes(r, reader_u16(r));
	size_t payload = reader_u16(r);
	if (!reader_bytes(r, payload) || payload == 0)
		return -EBADMSG;
	ret->has_ech = true;
	return 0;
}

static const struct {
	enum extension type;
	int (*parse)(struct reader *r, struct tls_hello *ret);
} extensions[] = {
	{EXTENSION_SERVER_NAME, parse_server_name},
	{EXTENSION_ALPN, parse_alpn},
	{EXTENSION_ECH, parse_ech},
};

static int parse_extension(struct reader *list, unsigned *seen, struct tls_hello *ret)
{
	uint16_t type = reader_u16(list);
	struct reader body = reader_part(list, reader_u16(list));

	if (body.bad)
		return -EBADMSG;
	for (size_t i = 0; i < array_len(extensions); i++) {
		if (extensions[i].type != type)
			continue;
		if (*seen & 1U << i)
			return -EBADMSG;
		*seen |= 1U << i;
		int r = extensions[i].parse(&body, ret);
		return r == 0 && !reader_at_end(&body) ? -EBADMSG : r;
	}
	return 0;
}

static int parse_body(struct reader *r, struct tls_hello *ret)
{
	uint8_t major = reader_u8(r);
	unsigned seen = 0;

	(void)reader_u8(r);
	(void)reader_bytes(r, RANDOM_SIZE);
	size_t session_id = reader_u8(r);
	(void)reader_bytes(r, session_id);
	size_t ciphers = reader_u16(r);
	(void)reader_bytes(r, ciphers);
	size_t compressions = reader_u8(r);
	(void)reader_bytes(r, compressions);
	if (r->bad || major != 3 || session_id > SESSION_ID_MAX || ciphers == 0 || ciphers % 2 ||
		compressions == 0)
		return -EBADMSG;
	if (r->left == 0) /* extensions came with TLS 1.2 */
		return 0;
	struct reader list = reader_part(r, reader_u16(r));
	if (!reader_at_end(r))
		return -EBADMSG;
	while (list.left > 0) {
		int err = parse_extension(&list, &seen, ret);

		if (err < 0)
			return err;
	}
	return 0;
}

int tls_hello_parse(const uint8_t *data, size_t len, struct tls_hello *ret)
{
	struct tls_hello hello = {0};
	auto_free uint8_t *message = NULL;
	ssize_t size;

	/* What comes too early to be wanted is not looked at. */
	if (len > TLS_HELLO_MAX)
		len = TLS_HELLO_MAX;
	if (len > 0 && tls_hello_likely(data, len) == 0)
		return -EBADMSG;
	size = collect(data, len, NULL);
	if (size < 0)
		return (int)size;
	message = mem_zalloc(len);
	(void)collect(data, len, message);
	struct reader r = {.data = message + MESSAGE_HEADER, .left = (size_t)size - MESSAGE_HEADER};
	int err = parse_body(&r, &hello);
	if (err < 0)
		return err;
	*ret = hello;
	return 1;
}

void tls_hello_alert(uint8_t description, uint8_t ret[TLS_ALERT_SIZE])
{
	const uint8_t alert[TLS_ALERT_SIZE] = {RECORD_ALERT, 3, 3, 0, 2, ALERT_FATAL, description};

	memcpy(ret, alert, sizeof(alert));
}
