#include "keeper/netrules.h"

#include <arpa/inet.h>
#include <assert.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "keeper/netlink.h"
#include "keeper/network.h"

#define TABLE "warren"
#define CHAIN_RAW "raw_out"
#define CHAIN_NAT "nat_out"
#define CHAIN_FILTER "filter_out"
#define DNS_PORT 53

/* A batch that is being written, and in it one message. */
struct writer {
	struct netrules *rules;
	struct nlmsghdr *msg;
	uint32_t seq;
};

/* --- messages --------------------------------------------------------------------------------- */

static void begin(struct writer *w, uint16_t type, uint16_t flags, uint8_t family, uint16_t res_id)
{
	struct nfgenmsg *head;

	assert(w->rules->len + MNL_NLMSG_HDRLEN + sizeof(*head) <= NETRULES_SIZE);
	w->msg = mnl_nlmsg_put_header(w->rules->batch + w->rules->len);
	w->msg->nlmsg_type = type;
	w->msg->nlmsg_flags = NLM_F_REQUEST | flags;
	w->msg->nlmsg_seq = w->seq++;
	head = mnl_nlmsg_put_extra_header(w->msg, sizeof(*head));
	head->nfgen_family = family;
	head->version = NFNETLINK_V0;
	head->res_id = htons(res_id);
}

static void end(struct writer *w)
{
	w->rules->len += w->msg->nlmsg_len;
}

static void put(struct writer *w, uint16_t type, const void *data, size_t len)
{
	bool fits = mnl_attr_put_check(w->msg, NETRULES_SIZE - w->rules->len, type, len, data);

	assert(fits);
	(void)fits;
}

static void put_u32(struct writer *w, uint16_t type, uint32_t value)
{
	value = htonl(value);
	put(w, type, &value, sizeof(value));
}

static void put_text(struct writer *w, uint16_t type, const char *text)
{
	put(w, type, text, strlen(text) + 1);
}

static struct nlattr *open_nest(struct writer *w, uint16_t type)
{
	assert(w->rules->len + w->msg->nlmsg_len + MNL_ATTR_HDRLEN <= NETRULES_SIZE);
	return mnl_attr_nest_start(w->msg, type);
}

static void close_nest(struct writer *w, struct nlattr *nest)
{
	mnl_attr_nest_end(w->msg, nest);
}

static void begin_object(struct writer *w, enum nf_tables_msg_types type, uint16_t flags)
{
	begin(w, NFNL_SUBSYS_NFTABLES << 8 | type, flags, NFPROTO_INET, 0);
}

/* --- expressions ------------------------------------------------------------------------------ */

struct expr {
	struct nlattr *elem, *data;
};

static struct expr open_expr(struct writer *w, const char *name)
{
	struct expr e;

	e.elem = open_nest(w, NFTA_LIST_ELEM);
	put_text(w, NFTA_EXPR_NAME, name);
	e.data = open_nest(w, NFTA_EXPR_DATA);
	return e;
}

static void close_expr(struct writer *w, struct expr e)
{
	close_nest(w, e.data);
	close_nest(w, e.elem);
}

/* What kind of address the packet goes to. */
static void load_fib_type(struct writer *w)
{
	struct expr e = open_expr(w, "fib");

	put_u32(w, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	put_u32(w, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	put_u32(w, NFTA_FIB_DREG, NFT_REG_1);
	close_expr(w, e);
}

static void load_meta(struct writer *w, enum nft_meta_keys key)
{
	struct expr e = open_expr(w, "meta");

	put_u32(w, NFTA_META_KEY, key);
	put_u32(w, NFTA_META_DREG, NFT_REG_1);
	close_expr(w, e);
}

static void load_payload(
	struct writer *w, enum nft_payload_bases base, uint32_t offset, uint32_t len)
{
	struct expr e = open_expr(w, "payload");

	put_u32(w, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_u32(w, NFTA_PAYLOAD_BASE, base);
	put_u32(w, NFTA_PAYLOAD_OFFSET, offset);
	put_u32(w, NFTA_PAYLOAD_LEN, len);
	close_expr(w, e);
}

static void put_value(struct writer *w, uint16_t type, const void *value, size_t len)
{
	struct nlattr *nest = open_nest(w, type);

	put(w, NFTA_DATA_VALUE, value, len);
	close_nest(w, nest);
}

/* The rule goes on only if what was loaded last is this. */
static void match(struct writer *w, const void *value, size_t len)
{
	struct expr e = open_expr(w, "cmp");

	put_u32(w, NFTA_CMP_SREG, NFT_REG_1);
	put_u32(w, NFTA_CMP_OP, NFT_CMP_EQ);
	put_value(w, NFTA_CMP_DATA, value, len);
	close_expr(w, e);
}

static void match_byte(struct writer *w, uint8_t value)
{
	match(w, &value, sizeof(value));
}

static void load_value(struct writer *w, enum nft_registers reg, const void *value, size_t len)
{
	struct expr e = open_expr(w, "immediate");

	put_u32(w, NFTA_IMMEDIATE_DREG, reg);
	put_value(w, NFTA_IMMEDIATE_DATA, value, len);
	close_expr(w, e);
}

static void give_verdict(struct writer *w, int verdict)
{
	struct expr e = open_expr(w, "immediate");

	put_u32(w, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	struct nlattr *data = open_nest(w, NFTA_IMMEDIATE_DATA);
	struct nlattr *code = open_nest(w, NFTA_DATA_VERDICT);
	put_u32(w, NFTA_VERDICT_CODE, (uint32_t)verdict);
	close_nest(w, code);
	close_nest(w, data);
	close_expr(w, e);
}

static void send_to(struct writer *w, uint8_t family, in_port_t port)
{
	const struct in_addr ip4 = {htonl(NETWORK_ADDRESS4)};
	const struct in6_addr ip6 = NETWORK_ADDRESS6;

	if (family == NFPROTO_IPV4)
		load_value(w, NFT_REG_1, &ip4, sizeof(ip4));
	else
		load_value(w, NFT_REG_1, &ip6, sizeof(ip6));
	port = htons(port);
	load_value(w, NFT_REG_2, &port, sizeof(port));

	struct expr e = open_expr(w, "nat");
	put_u32(w, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	put_u32(w, NFTA_NAT_FAMILY, family);
	put_u32(w, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
	put_u32(w, NFTA_NAT_REG_PROTO_MIN, NFT_REG_2);
	put_u32(w, NFTA_NAT_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED);
	close_expr(w, e);
}

static void reject(struct writer *w, enum nft_reject_types type, uint8_t code)
{
	struct expr e = open_expr(w, "reject");

	put_u32(w, NFTA_REJECT_TYPE, type);
	put(w, NFTA_REJECT_ICMP_CODE, &code, sizeof(code));
	close_expr(w, e);
}

/* --- rules ------------------------------------------------------------------------------------ */

static struct nlattr *begin_rule(struct writer *w, const char *chain)
{
	begin_object(w, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	put_text(w, NFTA_RULE_TABLE, TABLE);
	put_text(w, NFTA_RULE_CHAIN, chain);
	return open_nest(w, NFTA_RULE_EXPRESSIONS);
}

static void end_rule(struct writer *w, struct nlattr *expressions)
{
	close_nest(w, expressions);
	end(w);
}

/* Loopback is known by the first bytes of its addresses: all of them for IPv6. */
static void rule_loopback(struct writer *w, uint8_t family)
{
	static const struct {
		uint32_t source, destination, len;
		uint8_t bytes[sizeof(struct in6_addr)];
	} heads[] = {
		{12, 16, 1, {127}},
		{8, 24, 16, {[15] = 1}},
	};
	unsigned i = family == NFPROTO_IPV6;
	struct nlattr *rule = begin_rule(w, CHAIN_RAW);

	load_meta(w, NFT_META_NFPROTO);
	match_byte(w, family);
	load_payload(w, NFT_PAYLOAD_NETWORK_HEADER, heads[i].source, heads[i].len);
	match(w, heads[i].bytes, heads[i].len);
	load_payload(w, NFT_PAYLOAD_NETWORK_HEADER, heads[i].destination, heads[i].len);
	match(w, heads[i].bytes, heads[i].len);
	close_expr(w, open_expr(w, "notrack"));
	end_rule(w, rule);
}

static void rule_local(struct writer *w, const char *chain, int verdict)
{
	const uint32_t type = RTN_LOCAL; /* in host order, as the kernel loads it */
	struct nlattr *rule = begin_rule(w, chain);

	load_fib_type(w);
	match(w, &type, sizeof(type));
	give_verdict(w, verdict);
	end_rule(w, rule);
}

static void rule_dns(struct writer *w, uint8_t family)
{
	const in_port_t port = htons(DNS_PORT);
	struct nlattr *rule = begin_rule(w, CHAIN_NAT);

	load_meta(w, NFT_META_NFPROTO);
	match_byte(w, family);
	load_meta(w, NFT_META_L4PROTO);
	match_byte(w, IPPROTO_UDP);
	load_payload(w, NFT_PAYLOAD_TRANSPORT_HEADER, 2, sizeof(port));
	match(w, &port, sizeof(port));
	send_to(w, family, NETWORK_PORT_DNS);
	end_rule(w, rule);
}

static void rule_tcp(struct writer *w, uint8_t family)
{
	struct nlattr *rule = begin_rule(w, CHAIN_NAT);

	load_meta(w, NFT_META_NFPROTO);
	match_byte(w, family);
	load_meta(w, NFT_META_L4PROTO);
	match_byte(w, IPPROTO_TCP);
	send_to(w, family, NETWORK_PORT_TCP);
	end_rule(w, rule);
}

static void rule_reset_tcp(struct writer *w)
{
	struct nlattr *rule = begin_rule(w, CHAIN_FILTER);

	load_meta(w, NFT_META_L4PROTO);
	match_byte(w, IPPROTO_TCP);
	reject(w, NFT_REJECT_TCP_RST, 0);
	end_rule(w, rule);
}

static void rule_reject(struct writer *w)
{
	struct nlattr *rule = begin_rule(w, CHAIN_FILTER);

	reject(w, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
	w->msg->nlmsg_flags |= NLM_F_ACK; /* sent when all of the batch is in force */
	w->rules->last = w->msg->nlmsg_seq;
	end_rule(w, rule);
}

/* --- the table -------------------------------------------------------------------------------- */

static void make_table(struct writer *w)
{
	begin_object(w, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	put_text(w, NFTA_TABLE_NAME, TABLE);
	put_u32(w, NFTA_TABLE_FLAGS, 0);
	end(w);
}

static void make_chain(
	struct writer *w, const char *name, const char *type, int priority, uint32_t policy)
{
	begin_object(w, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
	put_text(w, NFTA_CHAIN_TABLE, TABLE);
	put_text(w, NFTA_CHAIN_NAME, name);
	put_text(w, NFTA_CHAIN_TYPE, type);
	put_u32(w, NFTA_CHAIN_POLICY, policy);
	struct nlattr *hook = open_nest(w, NFTA_CHAIN_HOOK);
	put_u32(w, NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_OUT);
	put_u32(w, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	close_nest(w, hook);
	end(w);
}

void netrules_build(struct netrules *r)
{
	struct writer w = {.rules = r, .seq = 1};

	r->len = 0;
	begin(&w, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end(&w);
	make_table(&w);
	make_chain(&w, CHAIN_RAW, "filter", -300, NF_ACCEPT);
	make_chain(&w, CHAIN_NAT, "nat", -100, NF_ACCEPT);
	make_chain(&w, CHAIN_FILTER, "filter", 0, NF_DROP);
	rule_loopback(&w, NFPROTO_IPV4);
	rule_loopback(&w, NFPROTO_IPV6);
	rule_local(&w, CHAIN_NAT, NFT_RETURN);
	rule_dns(&w, NFPROTO_IPV4);
	rule_dns(&w, NFPROTO_IPV6);
	rule_tcp(&w, NFPROTO_IPV4);
	rule_tcp(&w, NFPROTO_IPV6);
	rule_local(&w, CHAIN_FILTER, NF_ACCEPT);
	rule_reset_tcp(&w);
	rule_reject(&w);
	begin(&w, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end(&w);
}

int netrules_load(const struct netrules *r)
{
	return netlink_exchange(NETLINK_NETFILTER, r->batch, r->len, r->last);
}
