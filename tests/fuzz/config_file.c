/* The configuration file: any text is either taken, and then prints as a text that is taken again,
 * or refused with a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "config/config_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Values of keys the text does not mention. */
static void load_defaults(struct config *c)
{
	char *const argv[] = {(char *)"warrend", (char *)"--config=/dev/null", NULL};

	if (config_load(c, 2, argv, NULL, NULL) < 0)
		abort();
}

static char *printed(const struct config *c, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	if (out == NULL)
		abort();
	config_print(c, out);
	if (fclose(out) != 0)
		abort();
	return text;
}

/* A value that fills its line leaves no room for the blanks that are printed around the '='. */
static bool has_long_line(const char *text)
{
	for (; *text != '\0'; text += text[0] == '\n') {
		size_t len = strcspn(text, "\n");

		if (len > 198)
			return true;
		text += len;
	}
	return false;
}

static void check_round_trip(const struct config *c)
{
	size_t len;
	auto_free char *first = printed(c, &len);
	struct config again;

	if (has_long_line(first))
		return;
	load_defaults(&again);
	if (config_read_text(&again, "fuzz", first, len, NULL) < 0)
		abort();

	auto_free char *second = printed(&again, &len);

	if (strcmp(first, second) != 0)
		abort();
	config_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c;
	struct error err = {0};

	load_defaults(&c);
	if (config_read_text(&c, "fuzz", (const char *)data, size, &err) < 0) {
		if (err.message[0] == '\0')
			abort();
	} else {
		check_round_trip(&c);
	}
	config_done(&c);
	return 0;
}
