/*
 * The sandbox's name server. It never asks anybody: a name gets an address that stands for it
 * (names.h), whether the policy allows it or not, so that a connection to it can be made or
 * refused with a reason, and so that nothing leaves in the names asked for. There are no other
 * records: no IPv6 addresses, and no HTTPS records, which would tell of QUIC and Encrypted Client
 * Hello.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "gate/gate.h"
#include "wire/dns.h"

#define TTL 30
#define TURN_QUERIES 64

static void report(struct gate *g, const struct dns_query *q, const char *name)
{
	struct gate_event event = {
		.kind = GATE_EVENT_DENIED,
		.protocol = (char *)"dns",
		.host = (char *)(uintptr_t)name,
		.port = 53,
		.reason = (char *)"not-allowed",
		.detail =
			(char *)"a query for records that may carry data, for a name that no rule "
				"allows",
	};

	(void)q;
	audit_event(&g->audit, &event);
}

static size_t answer_reverse(struct gate *g, const struct dns_query *q, uint8_t *ret)
{
	struct address a = {.bytes = {[10] = 0xff, [11] = 0xff}};
	const char *name;

	if (dns_reverse_address(q->name, a.bytes + 12) < 0)
		return dns_put_answer(q, DNS_NXDOMAIN, NULL, NULL, TTL, ret);
	name = names_find(g->names, &a);
	return dns_put_answer(q, name != NULL ? DNS_NOERROR : DNS_NXDOMAIN, NULL, name, TTL, ret);
}

/* "_http._tcp.example.com" asks about services of example.com. */
static const char *without_service(const char *name)
{
	const char *dot;

	while (*name == '_' && (dot = strchr(name, '.')) != NULL)
		name = dot + 1;
	return name;
}

static size_t answer_name(struct gate *g, const struct dns_query *q, uint8_t *ret)
{
	char name[HOST_NAME_SIZE];
	uint8_t address[4];
	bool known;

	/* One label alone is a name of the sandbox's own network, where there is nobody else. */
	if (q->odd || host_name_normalise(q->name, strlen(q->name), name) < 0 ||
		strchr(name, '.') == NULL)
		return dns_put_answer(q, DNS_NXDOMAIN, NULL, NULL, TTL, ret);
	known = rules_know_name(&g->rules, name);
	if (q->type == DNS_A || q->type == DNS_ANY) {
		names_address(g->names, name, known, address);
		return dns_put_answer(q, DNS_NOERROR, address, NULL, TTL, ret);
	}
	if (!known && !rules_know_name(&g->rules, without_service(name)) && q->type != DNS_AAAA &&
		q->type != DNS_HTTPS && q->type != DNS_SVCB) {
		report(g, q, name);
		return dns_put_answer(q, DNS_REFUSED, NULL, NULL, TTL, ret);
	}
	return dns_put_answer(q, DNS_NOERROR, NULL, NULL, TTL, ret);
}

size_t dns_answer(struct gate *g, const uint8_t *query, size_t len, uint8_t *ret, size_t room)
{
	struct dns_query q;
	int r = dns_parse_query(query, len, &q);

	if (r == -EBADMSG || room < DNS_ANSWER_MAX)
		return 0;
	if (r == -EINVAL)
		return dns_put_answer(&q, DNS_FORMERR, NULL, NULL, TTL, ret);
	if (r < 0)
		return dns_put_answer(&q, DNS_NOTIMP, NULL, NULL, TTL, ret);
	if (q.class != DNS_CLASS_IN)
		return dns_put_answer(&q, DNS_REFUSED, NULL, NULL, TTL, ret);
	if (q.type == DNS_PTR)
		return answer_reverse(g, &q, ret);
	return answer_name(g, &q, ret);
}

void dns_on_udp(struct gate *g, int fd)
{
	for (int i = 0; i < TURN_QUERIES; i++) {
		uint8_t query[DNS_MESSAGE_MAX], answer[DNS_ANSWER_MAX];
		struct sockaddr_storage peer;
		socklen_t peer_len = sizeof(peer);
		ssize_t n = recvfrom(fd, query, sizeof(query), MSG_DONTWAIT,
			(struct sockaddr *)&peer, &peer_len);

		if (n < 0)
			return; /* none left, or an error that was reported to us and is over */
		size_t len =
			g->configured ? dns_answer(g, query, (size_t)n, answer, sizeof(answer)) : 0;
		if (len > 0)
			(void)sendto(fd, answer, len, MSG_DONTWAIT | MSG_NOSIGNAL,
				(struct sockaddr *)&peer, peer_len);
	}
}
