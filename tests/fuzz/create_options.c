/* The configuration header of create: any bytes as base64 text, and the same bytes as the JSON. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "server/create_options.h"
#include "wire/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const char *header, size_t len)
{
	static const struct config config = {
		.regions = (char *)"ord,ams",
		.max_lifetime_ms = 86400000,
		.region_list = {"ord", "ams"},
		.region_count = 2,
	};
	struct sandbox_options o = {0};
	struct error err = {0};
	int r = create_options_parse(header, len, &config, "", 1700000000000, &o, &err);

	if (r == 0) {
		if (o.memory_mb < 768 || o.memory_mb > 4096 || o.label_count > 5 ||
			(o.session && o.stop_at_ms != 0) || (!o.net_given && o.net.count > 0) ||
			o.secret_count > 64)
			abort();
		for (size_t i = 0; i < o.secret_count; i++)
			if (o.secrets[i].value[0] == '\0' || o.secrets[i].hosts.count == 0 ||
				strpbrk(o.secrets[i].value, "\r\n") != NULL)
				abort();
		sandbox_options_done(&o);
	} else if (err.err != r || err.message[0] == '\0') {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = base64_encoded_len(size);
	auto_free char *text = mem_zalloc(len + 1);

	parse((const char *)data, size);
	parse(text, base64_encode(text, data, size));
	return 0;
}
