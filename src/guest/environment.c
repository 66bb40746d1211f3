#include "guest/environment.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "rpc/methods.h"

struct variable {
	struct table_entry entry;
	struct list node;
	char *value; /* inside text */
	char *text;  /* "NAME=value" */
	char name[];
};

void environment_init(struct environment *env)
{
	*env = (struct environment){0};
	table_init(&env->by_name);
	list_init(&env->order);
}

static size_t cost(const char *name, const char *value)
{
	return strlen(name) + strlen(value) + 2 + sizeof(char *);
}

static void variable_free(struct environment *env, struct variable *v)
{
	env->bytes -= cost(v->name, v->value);
	table_remove(&env->by_name, &v->entry);
	list_del(&v->node);
	free(v->text);
	free(v);
}

void environment_clear(struct environment *env)
{
	struct table_entry *e;

	while ((e = table_any(&env->by_name)))
		variable_free(env, container_of(e, struct variable, entry));
}

void environment_done(struct environment *env)
{
	environment_clear(env);
	table_done(&env->by_name);
}

static bool name_valid(const char *name)
{
	return name && *name && !strchr(name, '=');
}

static struct variable *find(const struct environment *env, const char *name)
{
	struct table_entry *e = table_find_str(&env->by_name, name);

	return e ? container_of(e, struct variable, entry) : NULL;
}

int environment_set(struct environment *env, const char *name, const char *value)
{
	size_t name_len, after, freed;
	struct variable *v;
	char *text;

	if (!name_valid(name) || !value)
		return -EINVAL;
	v = find(env, name);
	freed = v ? cost(v->name, v->value) : 0;
	after = env->bytes - freed + cost(name, value);
	if (after > ENVIRONMENT_MAX || (!v && env->by_name.count >= RPC_LIST_MAX))
		return -E2BIG;
	name_len = strlen(name);
	text = mem_printf("%s=%s", name, value);
	if (!v) {
		v = mem_zalloc(sizeof(*v) + name_len + 1);
		memcpy(v->name, name, name_len + 1);
		table_insert_str(&env->by_name, &v->entry, v->name);
		list_push_back(&env->order, &v->node);
	}
	free(v->text);
	v->text = text;
	v->value = text + name_len + 1;
	env->bytes = after;
	return 0;
}

int environment_delete(struct environment *env, const char *name)
{
	struct variable *v;

	if (!name_valid(name))
		return -EINVAL;
	v = find(env, name);
	if (v)
		variable_free(env, v);
	return 0;
}

const char *environment_get(const struct environment *env, const char *name)
{
	struct variable *v = name_valid(name) ? find(env, name) : NULL;

	return v ? v->value : NULL;
}

int environment_add(struct environment *env, const struct environment *other)
{
	struct list *pos;
	int r = 0;

	list_for_each (pos, &other->order) {
		const struct variable *v = container_of(pos, struct variable, node);

		r = environment_set(env, v->name, v->value);
		if (r < 0)
			break;
	}
	return r;
}

int environment_add_map(struct environment *env, const struct rpc_map *map)
{
	int r = 0;

	for (size_t i = 0; i < map->count && r == 0; i++)
		r = environment_set(env, map->items[i].key, map->items[i].value);
	return r;
}

int environment_add_defaults(struct environment *env, const char *home)
{
	auto_free char *path = mem_printf("%s/.local/bin:%s/.deno/bin:/usr/local/sbin:"
					  "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		home, home);
	const struct rpc_pair pairs[] = {
		{"PATH", path},
		{"HOME", (char *)(uintptr_t)home},
		{"USER", "app"},
		{"LOGNAME", "app"},
		{"SHELL", "/bin/bash"},
		{"LANG", "C.UTF-8"},
		/* What it asks about is the image's affair, and would only be refused. */
		{"DENO_NO_UPDATE_CHECK", "1"},
	};
	const struct rpc_map map = {(struct rpc_pair *)(uintptr_t)pairs, array_len(pairs)};

	return environment_add_map(env, &map);
}

char **environment_vector(const struct environment *env)
{
	char **vector = mem_zalloc_array(env->by_name.count + 1, sizeof(*vector));
	struct list *pos;
	size_t n = 0;

	list_for_each (pos, &env->order)
		vector[n++] = container_of(pos, struct variable, node)->text;
	return vector;
}

struct rpc_map environment_map(const struct environment *env)
{
	struct rpc_map map = {
		.items = mem_zalloc_array(env->by_name.count, sizeof(struct rpc_pair)),
	};
	struct list *pos;

	list_for_each (pos, &env->order) {
		struct variable *v = container_of(pos, struct variable, node);

		map.items[map.count++] = (struct rpc_pair){v->name, v->value};
	}
	return map;
}
