/* The encoded rules are what nft makes of their text: both are loaded into a fresh network
 * namespace each, and read back by nft, as text and as the kernel's instructions. */
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/mman.h>

#include "keeper/netrules.h"

#define NFT "/usr/sbin/nft"

static const char text[] =
	"table inet warren {\n"
	"	chain raw_out {\n"
	"		type filter hook output priority -300; policy accept;\n"
	"		ip saddr 127.0.0.0/8 ip daddr 127.0.0.0/8 notrack\n"
	"		ip6 saddr ::1 ip6 daddr ::1 notrack\n"
	"	}\n"
	"	chain nat_out {\n"
	"		type nat hook output priority -100; policy accept;\n"
	"		fib daddr type local return\n"
	"		meta nfproto ipv4 udp dport 53 dnat ip to 10.200.0.2:15053\n"
	"		meta nfproto ipv6 udp dport 53 dnat ip6 to [fd00:5b::2]:15053\n"
	"		meta nfproto ipv4 meta l4proto tcp dnat ip to 10.200.0.2:15001\n"
	"		meta nfproto ipv6 meta l4proto tcp dnat ip6 to [fd00:5b::2]:15001\n"
	"	}\n"
	"	chain filter_out {\n"
	"		type filter hook output priority 0; policy drop;\n"
	"		fib daddr type local accept\n"
	"		meta l4proto tcp reject with tcp reset\n"
	"		reject with icmpx admin-prohibited\n"
	"	}\n"
	"}\n";

/* Exit status of nft, whose output lands in out (cut to size). */
static int nft(char *const *argv, const char *input, char *out, size_t size)
{
	int in[2], back[2], status = -1;
	size_t len = 0;
	ssize_t n;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(back[1], 1);
		execv(NFT, argv);
		_exit(127);
	}
	close(in[0]);
	close(back[1]);
	/* Less than a pipe holds. */
	if (write(in[1], input, strlen(input)) != (ssize_t)strlen(input))
		return -1;
	close(in[1]);
	while ((n = read(back[0], out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = '\0';
	close(back[0]);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

struct view {
	bool by_nft;
	char text[8192];
	char code[8192];
};

static int look(void *data)
{
	static char *const load[] = {"nft", "-f", "-", NULL};
	static char *const as_text[] = {"nft", "-s", "list", "ruleset", NULL};
	static char *const as_code[] = {"nft", "--debug=netlink", "list", "ruleset", NULL};
	static struct netrules rules;
	struct view *v = data;

	netrules_build(&rules);
	if (v->by_nft ? nft(load, text, v->text, sizeof(v->text)) != 0 : netrules_load(&rules) != 0)
		return 1;
	if (nft(as_text, "", v->text, sizeof(v->text)) != 0 ||
		nft(as_code, "", v->code, sizeof(v->code)) != 0)
		return 2;
	return 0;
}

static void test_as_nft(void **state)
{
	struct view *views = mmap(NULL, 2 * sizeof(*views), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (!netns_possible() || access(NFT, X_OK) < 0) {
		print_message("needs root and nft\n");
		skip();
	}
	assert_ptr_not_equal(views, MAP_FAILED);
	views[0].by_nft = true;
	for (int i = 0; i < 2; i++)
		assert_int_equal(netns_run(look, &views[i]), 0);
	assert_non_null(strstr(views[0].text, "dnat ip6 to [fd00:5b::2]:15053"));
	assert_string_equal(views[0].text, views[1].text);
	assert_non_null(strstr(views[0].code, "[ reject type 2 code 3 ]"));
	assert_string_equal(views[0].code, views[1].code);
	munmap(views, 2 * sizeof(*views));
}

static int load_twice(void *data)
{
	static struct netrules rules;

	(void)data;
	netrules_build(&rules);
	if (netrules_load(&rules) != 0)
		return 1;
	return netrules_load(&rules) == -EEXIST ? 0 : 2;
}

/* A failure of any message is heard of. */
static void test_refused(void **state)
{
	if (!netns_possible())
		skip();
	assert_int_equal(netns_run(load_twice, NULL), 0);
}

/* Every message ends where the next begins. */
static void test_form(void **state)
{
	static struct netrules rules;
	unsigned messages = 0;
	bool acked = false;

	netrules_build(&rules);
	assert_in_range(rules.len, 1000, NETRULES_SIZE);
	for (size_t at = 0; at < rules.len; messages++) {
		const struct nlmsghdr *msg = (const void *)(rules.batch + at);

		assert_in_range(msg->nlmsg_len, NLMSG_HDRLEN, rules.len - at);
		assert_int_equal(msg->nlmsg_len % NLMSG_ALIGNTO, 0);
		assert_int_equal((msg->nlmsg_flags & NLM_F_ACK) != 0, msg->nlmsg_seq == rules.last);
		acked |= msg->nlmsg_seq == rules.last;
		at += msg->nlmsg_len;
	}
	assert_true(acked);
	assert_int_equal(messages, 2 + 4 + 10); /* the batch, table and chains, rules */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_as_nft),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
