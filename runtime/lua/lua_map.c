/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_map.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "lua/lua_table.h"
#include "lua/lua_vm.h"
#include "map/map_dump.h"
#include "map/map_find.h"
#include "map/map_prog.h"

#define TYPE "perilune.map.dump"

struct lua_dump {
	struct map_dump *dump;
	struct map map; /* what is said of it; its descriptor is the dump's */
	struct lua_vm *vm;
	struct error error;
	bool begun, busy;
	int err, fn, self;
};

/* ------------------------------------------------------------------------------------------- list */

static void set_number(lua_State *L, const char *key, double value)
{
	lua_pushnumber(L, value);
	lua_setfield(L, -2, key);
}

static void set_text(lua_State *L, const char *key, const char *text)
{
	lua_pushstring(L, text);
	lua_setfield(L, -2, key);
}

static void push_flags(lua_State *L, uint32_t flags)
{
	int n = 0;

	lua_newtable(L);
	for (unsigned bit = 0; bit < 32; bit++) {
		const char *name = map_type__flag(bit);

		if (!(flags & 1U << bit))
			continue;
		if (name)
			lua_pushstring(L, name);
		else
			lua_pushfstring(L, "bit_%d", (int)bit);
		lua_rawseti(L, -2, ++n);
	}
}

static void push_map(lua_State *L, const struct map *map)
{
	char room[16];

	lua_createtable(L, 0, 10);
	set_number(L, "id", map->id);
	set_text(L, "type", map_type__name(map->type, room));
	set_text(L, "name", map->name);
	set_number(L, "key_size", map->key_size);
	set_number(L, "value_size", map->value_size);
	set_number(L, "max_entries", map->max_entries);
	push_flags(L, map->flags);
	lua_setfield(L, -2, "flags");
	lua_pushboolean(L, map->key_type || map->value_type || map->kernel_value_type);
	lua_setfield(L, -2, "btf");
	if (map->kind && map->kind->way == MAP_DESCRIBED)
		set_number(L, "hashes", (double)(map->extra & 15 ? map->extra & 15 : 5));
}

static void push_pins(lua_State *L, const struct map_pins *pins, uint32_t id)
{
	int n = 0;

	lua_newtable(L);
	for (size_t i = 0; i < pins->count; i++) {
		if (pins->all[i].map != id)
			continue;
		lua_pushstring(L, pins->all[i].path);
		lua_rawseti(L, -2, ++n);
	}
}

static void push_programs(lua_State *L, const struct map_progs *progs, uint32_t id)
{
	int n = 0;

	lua_newtable(L);
	for (size_t i = 0; i < progs->count; i++) {
		if (!map_prog__uses(&progs->all[i], id))
			continue;
		lua_createtable(L, 0, 2);
		set_number(L, "id", progs->all[i].id);
		set_text(L, "name", progs->all[i].name);
		lua_rawseti(L, -2, ++n);
	}
}

struct listing {
	struct map_pins pins;
	struct map_progs progs;
	struct map map; /* the one that is being looked at */
	struct error error;
	int err;
};

/* Under lua_pcall, so that no memory error leaves anything behind. */
static int push_list(lua_State *L)
{
	struct listing *l = lua_touserdata(L, 1);
	uint32_t id = 0;
	int n = 0;

	lua_newtable(L);
	while (!(l->err = map__next_id(id, &id, &l->error))) {
		l->err = map__open_id(id, &l->map, &l->error);
		if (l->err == -ENOENT) /* gone meanwhile */
			continue;
		if (l->err)
			break;
		push_map(L, &l->map);
		map__close(&l->map);
		push_pins(L, &l->pins, id);
		lua_setfield(L, -2, "pinned");
		push_programs(L, &l->progs, id);
		lua_setfield(L, -2, "programs");
		lua_rawseti(L, -2, ++n);
	}
	if (l->err == -ENOENT) /* after the last */
		l->err = 0;
	return 1;
}

static int list(lua_State *L)
{
	struct listing l = {0};
	int failed = 0;

	l.err = map_progs__read(&l.progs, &l.error);
	if (!l.err) {
		l.err = map_pins__read(&l.pins);
		if (l.err)
			error__set(&l.error, l.err, "cannot list the maps: %s", strerror(-l.err));
	}
	if (!l.err) {
		lua_pushcfunction(L, push_list);
		lua_pushlightuserdata(L, &l);
		failed = lua_pcall(L, 1, 1, 0);
	}
	map__close(&l.map);
	map_pins__free(&l.pins);
	map_progs__free(&l.progs);
	if (failed)
		return lua_error(L);
	return l.err ? lua_vm__fail(L, l.err, &l.error) : 1;
}

/* ------------------------------------------------------------------------------------------- dump */

static struct lua_dump *check(lua_State *L)
{
	return luaL_checkudata(L, 1, TYPE);
}

static bool flag(lua_State *L, int table, const char *name)
{
	bool set;

	lua_getfield(L, table, name);
	set = lua_toboolean(L, -1);
	lua_pop(L, 1);
	return set;
}

static void check_dump_options(lua_State *L, int table, struct map_dump_options *out)
{
	const char *fold;

	luaL_checktype(L, table, LUA_TTABLE);
	*out = (struct map_dump_options){
		.json = flag(L, table, "json"),
		.drain = flag(L, table, "drain"),
		.follow = flag(L, table, "follow"),
		.limit = UINT64_MAX,
		.fd = (int)lua_table__integer(L, table, "fd", STDOUT_FILENO),
	};
	fold = lua_table__string(L, table, "fold");
	out->folded = fold != NULL;
	luaL_argcheck(L, !fold || !layout__fold_by_name(fold, &out->fold), table,
		      "a fold is sum, min, max or last");
	lua_getfield(L, table, "limit");
	if (!lua_isnil(L, -1))
		out->limit = (uint64_t)luaL_checknumber(L, -1);
	lua_pop(L, 1);
}

static int open_map(lua_State *L, int table, struct map *map, struct error *error)
{
	const char *path = lua_table__string(L, table, "path"),
		   *name = lua_table__string(L, table, "name");

	if (path)
		return map__open_path(path, map, error);
	if (name)
		return map__open_name(name, map, error);
	return map__open_id((uint32_t)lua_table__integer(L, table, "id", 0), map, error);
}

static int new_dump(lua_State *L)
{
	struct map_dump_options options;
	struct lua_dump *self;
	struct map map = {0};
	struct error error = {0};
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	check_dump_options(L, 2, &options);
	self = lua_newuserdata(L, sizeof(*self));
	*self = (struct lua_dump){.vm = lua_vm__from(L), .fn = LUA_NOREF, .self = LUA_NOREF};
	luaL_getmetatable(L, TYPE);
	lua_setmetatable(L, -2);
	err = open_map(L, 1, &map, &error);
	if (!err) {
		self->map = map;
		self->map.fd = -1;
		err = map_dump__new(&map, &options, &self->dump, &error);
	}
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static void run(void *arg)
{
	struct lua_dump *self = arg;

	self->err = map_dump__run(self->dump, &self->error);
}

static void ran(void *arg)
{
	struct lua_dump *self = arg;
	struct lua_vm *vm = self->vm;
	lua_State *L = lua_vm__state(vm);
	int nargs = 1;

	self->busy = false;
	lua_vm__push(L, self->fn);
	lua_vm__unref(L, &self->fn);
	if (self->err)
		nargs = lua_vm__fail(L, self->err, &self->error);
	else
		lua_pushboolean(L, 1);
	lua_vm__unref(L, &self->self);
	lua_vm__call(vm, nargs, 0);
}

static int dump_run(lua_State *L)
{
	struct lua_dump *self = check(L);
	struct error error;
	int err;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	luaL_argcheck(L, !self->begun, 1, "a dump runs once");
	err = loop__work(lua_vm__loop(self->vm), run, ran, self);
	if (err) {
		error__set(&error, err, "cannot start a worker: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	self->begun = self->busy = true;
	self->fn = lua_vm__ref(L, 2);
	self->self = lua_vm__ref(L, 1);
	lua_pushboolean(L, 1);
	return 1;
}

static int dump_stop(lua_State *L)
{
	map_dump__stop(check(L)->dump);
	return 0;
}

static struct lua_dump *check_idle(lua_State *L)
{
	struct lua_dump *self = check(L);

	luaL_argcheck(L, !self->busy, 1, "the dump is running");
	return self;
}

static int dump_rows(lua_State *L)
{
	lua_pushnumber(L, (double)map_dump__rows(check_idle(L)->dump));
	return 1;
}

static int dump_note(lua_State *L)
{
	const char *note = map_dump__note(check_idle(L)->dump);

	lua_pushstring(L, *note ? note : NULL);
	return 1;
}

static int dump_describe(lua_State *L)
{
	push_map(L, &check(L)->map);
	return 1;
}

static int dump_gc(lua_State *L)
{
	struct lua_dump *self = check(L);

	map_dump__free(self->dump);
	self->dump = NULL;
	return 0;
}

int luaopen_perilune_core_map(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"run", dump_run},   {"stop", dump_stop},	  {"rows", dump_rows},
		{"note", dump_note}, {"describe", dump_describe}, {"__gc", dump_gc},
		{NULL, NULL},
	};
	static const luaL_Reg functions[] = {{"list", list}, {"dump", new_dump}, {NULL, NULL}};

	lua_vm__type(L, TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
