#include "gate/tls/sessions.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "policy/rules.h"

struct entry {
	SSL_SESSION *session; /* NULL: free */
	char host[HOST_NAME_SIZE];
	uint16_t port;
	uint64_t verified_ns;
	uint64_t used; /* order of use */
};

struct sessions {
	struct entry entries[SESSIONS_MAX];
	uint64_t uses;
};

struct sessions *sessions_new(void)
{
	return mem_new(struct sessions);
}

static void drop(struct entry *e)
{
	SSL_SESSION_free(e->session);
	e->session = NULL;
	e->used = 0;
}

void sessions_free(struct sessions *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < array_len(s->entries); i++)
		drop(&s->entries[i]);
	free(s);
}

static struct entry *find(struct sessions *s, const char *host, uint16_t port)
{
	for (size_t i = 0; i < array_len(s->entries); i++) {
		struct entry *e = &s->entries[i];

		if (e->session != NULL && e->port == port && strcmp(e->host, host) == 0)
			return e;
	}
	return NULL;
}

/* The host's place, or that of the one used longest ago. */
static struct entry *place_for(struct sessions *s, const char *host, uint16_t port)
{
	struct entry *found = find(s, host, port);

	for (size_t i = 0; i < array_len(s->entries) && found == NULL; i++) {
		if (s->entries[i].session == NULL)
			found = &s->entries[i];
	}
	if (found != NULL)
		return found;
	found = &s->entries[0];
	for (size_t i = 1; i < array_len(s->entries); i++) {
		if (s->entries[i].used < found->used)
			found = &s->entries[i];
	}
	return found;
}

void sessions_keep(struct sessions *s, const char *host, uint16_t port, SSL_SESSION *session,
	uint64_t verified_ns)
{
	struct entry *e;
	size_t len = strlen(host);

	if (len >= sizeof(e->host) || SSL_SESSION_is_resumable(session) != 1) {
		SSL_SESSION_free(session);
		return;
	}
	e = place_for(s, host, port);
	drop(e);
	memcpy(e->host, host, len + 1);
	e->port = port;
	e->session = session;
	e->verified_ns = verified_ns;
	e->used = ++s->uses;
}

SSL_SESSION *sessions_find(struct sessions *s, const char *host, uint16_t port, uint64_t now_ns,
	uint64_t *ret_verified_ns)
{
	struct entry *e = find(s, host, port);

	if (e == NULL)
		return NULL;
	if (now_ns - e->verified_ns > SESSIONS_LIFE_NS ||
		SSL_SESSION_is_resumable(e->session) != 1) {
		drop(e);
		return NULL;
	}
	e->used = ++s->uses;
	*ret_verified_ns = e->verified_ns;
	return e->session;
}
