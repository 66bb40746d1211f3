/* What the files of this room share: the table of keys and the setting of one value. */
#pragma once

#include "config/config.h"

enum key_type {
	KEY_STRING,
	KEY_PATH,     /* made absolute */
	KEY_DURATION, /* int64_t, milliseconds */
	KEY_INT,      /* int64_t */
	KEY_SIZE,     /* int64_t, bytes */
	KEY_BOOL,
};

struct config_key {
	struct config_key_info info;
	size_t offset; /* of the member of struct config */
	int64_t min;   /* numbers: bounds, both included */
	int64_t max;
	const char *choices; /* strings: the allowed words with '|' between; NULL: any */
	/* strings: further check, may fill derived members; the reason in *ret_err */
	int (*check)(struct config *c, const char *text, struct error *ret_err);
	/* Variables of the environment, the stronger first, whose value is the default. */
	const char *ambient[2];
	enum key_type type;
	bool optional;     /* paths: may be empty */
	bool url_password; /* strings: a URL that may hold a password, which is never shown */
};

/* Where a value comes from: for messages and for what a relative path means. */
enum config_source { SOURCE_DEFAULT, SOURCE_AMBIENT, SOURCE_FILE, SOURCE_ENV, SOURCE_FLAG };

struct config_origin {
	enum config_source source;
	const char *file; /* SOURCE_FILE; SOURCE_AMBIENT: the variable */
	unsigned line;
};

/* Keys in the order of the documentation; *ret_count of them. */
const struct config_key *config_keys(size_t *ret_count);
/* NULL when there is none of that name. */
const struct config_key *config_find_key(const char *name, size_t len);

/* Checks text and makes it the key's value. */
int config_set(struct config *c, const struct config_key *key, const char *text,
	const struct config_origin *origin, struct error *ret_err);
/* Writes the key's value as the file would have it. */
void config_write_value(const struct config *c, const struct config_key *key, FILE *out);

/* Applies a file. must_exist false: an absent file is fine. */
int config_read_file(struct config *c, const char *path, bool must_exist, struct error *ret_err);
/* The same for a text (path only for messages): -EINVAL at the first bad line. */
int config_read_text(
	struct config *c, const char *path, const char *text, size_t len, struct error *ret_err);

int config_check_listen(struct config *c, const char *text, struct error *ret_err);
int config_check_regions(struct config *c, const char *text, struct error *ret_err);
int config_check_user(struct config *c, const char *text, struct error *ret_err);
int config_check_public_url(struct config *c, const char *text, struct error *ret_err);

/* network.c */
int config_check_egress_default(struct config *c, const char *text, struct error *ret_err);
int config_check_private(struct config *c, const char *text, struct error *ret_err);
int config_check_proxy(struct config *c, const char *text, struct error *ret_err);
int config_check_no_proxy(struct config *c, const char *text, struct error *ret_err);
/* Writes a proxy's URL with *** for its password. */
void config_write_proxy(const char *url, FILE *out);
