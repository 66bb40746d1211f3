#include "wire/tls_flight.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "wire/reader.h"

#define RECORD_HEADER 5
#define RECORD_MAX 16384
#define RECORD_HANDSHAKE 22
#define MESSAGE_HEADER 4
#define MESSAGE_SERVER_HELLO 2
#define MESSAGE_CERTIFICATE 11
#define RANDOM_SIZE 32
#define EXTENSION_SUPPORTED_VERSIONS 43
#define VERSION_TLS13 0x0304

/* Puts the handshake's bytes together. Returns how many; *ret_over: no more of them can come. */
static size_t collect(const uint8_t *data, size_t len, uint8_t *out, bool *ret_over)
{
	struct reader r = {.data = data, .left = len};
	size_t have = 0;

	*ret_over = false;
	while (r.left >= RECORD_HEADER) {
		uint8_t type = reader_u8(&r);
		uint8_t major = reader_u8(&r);

		(void)reader_u8(&r);
		size_t size = reader_u16(&r);
		if (type != RECORD_HANDSHAKE || major != 3 || size == 0 || size > RECORD_MAX) {
			*ret_over = true;
			return have;
		}
		struct reader body = reader_part(&r, size < r.left ? size : r.left);
		memcpy(out + have, body.data, body.left);
		have += body.left;
	}
	return have;
}

/* The next message, whole. False: not there. */
static bool next_message(struct reader *r, uint8_t *ret_type, struct reader *ret_body)
{
	struct reader ahead = *r;

	*ret_type = reader_u8(&ahead);
	*ret_body = reader_part(&ahead, reader_u24(&ahead));
	if (ret_body->bad)
		return false;
	*r = ahead;
	return true;
}

static bool is_tls13(struct reader hello)
{
	(void)reader_u16(&hello);
	(void)reader_bytes(&hello, RANDOM_SIZE);
	(void)reader_bytes(&hello, reader_u8(&hello));
	(void)reader_bytes(&hello, 3); /* cipher, compression */
	struct reader list = reader_part(&hello, reader_u16(&hello));

	while (!list.bad && list.left > 0) {
		uint16_t type = reader_u16(&list);
		struct reader body = reader_part(&list, reader_u16(&list));

		if (type == EXTENSION_SUPPORTED_VERSIONS && reader_u16(&body) == VERSION_TLS13)
			return true;
	}
	return false;
}

static int take_certificate(struct reader body, uint8_t **ret_cert, size_t *ret_len)
{
	struct reader list = reader_part(&body, reader_u24(&body));
	struct reader leaf = reader_part(&list, reader_u24(&list));

	if (leaf.bad || leaf.left == 0)
		return 0;
	*ret_cert = mem_dup(leaf.data, leaf.left);
	*ret_len = leaf.left;
	return 1;
}

static int find(struct reader r, bool over, uint8_t **ret_cert, size_t *ret_len)
{
	const int more = over ? 0 : -EAGAIN;
	struct reader body;
	uint8_t type;

	if (!next_message(&r, &type, &body))
		return more;
	if (type != MESSAGE_SERVER_HELLO || is_tls13(body))
		return 0;
	if (!next_message(&r, &type, &body))
		return more;
	return type == MESSAGE_CERTIFICATE ? take_certificate(body, ret_cert, ret_len) : 0;
}

int tls_flight_certificate(const uint8_t *data, size_t len, uint8_t **ret_cert, size_t *ret_len)
{
	bool whole = len >= TLS_FLIGHT_MAX;
	bool over = false;

	if (whole)
		len = TLS_FLIGHT_MAX;
	auto_free uint8_t *messages = mem_zalloc(len);
	size_t have = collect(data, len, messages, &over);
	struct reader r = {.data = messages, .left = have};
	return find(r, over || whole, ret_cert, ret_len);
}
