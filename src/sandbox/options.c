/* What a sandbox is made with: copies, and their end. */
#include <string.h>

#include "base/mem.h"
#include "sandbox/sandbox_priv.h"

void sandbox_strings_done(struct rpc_strings *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->items[i]);
	free(s->items);
	*s = (struct rpc_strings){0};
}

void sandbox_strings_copy(struct rpc_strings *to, const struct rpc_strings *from)
{
	to->items = mem_zalloc_array(from->count, sizeof(*to->items));
	to->count = from->count;
	for (size_t i = 0; i < from->count; i++)
		to->items[i] = mem_strdup(from->items[i]);
}

void sandbox_options_forget_values(struct sandbox_options *o)
{
	for (size_t i = 0; i < o->secret_count; i++) {
		char *value = take_ptr(o->secrets[i].value);

		if (value != NULL)
			mem_wipe(value, strlen(value));
		free(value);
	}
}

void sandbox_options_done(struct sandbox_options *o)
{
	for (size_t i = 0; i < o->label_count; i++) {
		free(o->labels[i].key);
		free(o->labels[i].value);
	}
	for (size_t i = 0; i < o->env.count; i++) {
		free(o->env.items[i].key);
		free(o->env.items[i].value);
	}
	free(o->env.items);
	sandbox_strings_done(&o->net);
	sandbox_options_forget_values(o);
	for (size_t i = 0; i < o->secret_count; i++) {
		free(o->secrets[i].name);
		free(o->secrets[i].placeholder);
		sandbox_strings_done(&o->secrets[i].hosts);
	}
	free(o->secrets);
	memset(o, 0, sizeof(*o));
}

void sandbox_options_copy(struct sandbox_options *to, const struct sandbox_options *from)
{
	*to = *from;
	for (size_t i = 0; i < from->label_count; i++) {
		to->labels[i].key = mem_strdup(from->labels[i].key);
		to->labels[i].value = mem_strdup(from->labels[i].value);
	}
	to->env.items = mem_zalloc_array(from->env.count, sizeof(struct rpc_pair));
	for (size_t i = 0; i < from->env.count; i++) {
		to->env.items[i].key = mem_strdup(from->env.items[i].key);
		to->env.items[i].value = mem_strdup(from->env.items[i].value);
	}
	sandbox_strings_copy(&to->net, &from->net);
	to->secrets = mem_zalloc_array(from->secret_count, sizeof(*to->secrets));
	for (size_t i = 0; i < from->secret_count; i++) {
		to->secrets[i].name = mem_strdup(from->secrets[i].name);
		to->secrets[i].value = mem_strdup(from->secrets[i].value);
		to->secrets[i].placeholder = mem_strdup(from->secrets[i].placeholder);
		sandbox_strings_copy(&to->secrets[i].hosts, &from->secrets[i].hosts);
	}
}
