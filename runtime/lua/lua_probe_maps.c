/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <lauxlib.h>

#include "lua/lua_batch.h"
#include "lua/lua_probe.h"
#include "lua/lua_probe_impl.h"
#include "map/map_type.h"
#include "probe/probe_maps.h"

#define LAYOUT_TYPE "perilune.probe.layout"

static void push_map(const struct probe_map *map, void *arg)
{
	lua_State *L = arg;
	char room[16];

	lua_createtable(L, 0, 4);
	lua_pushstring(L, map->name);
	lua_setfield(L, -2, "name");
	lua_pushstring(L, map_type__name(map->type, room));
	lua_setfield(L, -2, "type");
	lua_pushnumber(L, map->entries);
	lua_setfield(L, -2, "entries");
	lua_pushnumber(L, map->padding);
	lua_setfield(L, -2, "padding");
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* probe:maps() → { { name =, type =, entries =, padding = }, … } */
static int probe_maps(lua_State *L)
{
	struct probe *probe = lua_probe__get(L, 1);

	lua_newtable(L);
	probe_maps__each(probe, push_map, L);
	return 1;
}

static void push_program(const char *name, const char *section, void *arg)
{
	lua_State *L = arg;

	lua_createtable(L, 0, 2);
	lua_pushstring(L, name);
	lua_setfield(L, -2, "name");
	lua_pushstring(L, section);
	lua_setfield(L, -2, "section");
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* probe:programs() → { { name =, section = }, … } */
static int probe_programs(lua_State *L)
{
	struct probe *probe = lua_probe__get(L, 1);

	lua_newtable(L);
	probe_maps__each_program(probe, push_program, L);
	return 1;
}

static int layout_gc(lua_State *L)
{
	struct layout **layout = luaL_checkudata(L, 1, LAYOUT_TYPE);

	layout__free(*layout);
	*layout = NULL;
	return 0;
}

/* probe:layout(map[, index]) → as batch:layout() gives it | nil, message, code */
static int probe_layout(lua_State *L)
{
	struct probe *probe = lua_probe__get(L, 1);
	const char *map = luaL_checkstring(L, 2);
	const char *index = luaL_optstring(L, 3, NULL);
	struct layout **layout = lua_newuserdata(L, sizeof(*layout));
	struct error error = {0};
	int err;

	*layout = NULL;
	if (luaL_newmetatable(L, LAYOUT_TYPE)) {
		lua_pushcfunction(L, layout_gc);
		lua_setfield(L, -2, "__gc");
	}
	lua_setmetatable(L, -2);
	err = probe_maps__layout(probe, map, index, layout, &error);
	return err ? lua_vm__fail(L, err, &error) : lua_batch__push_layout(L, *layout);
}

const struct luaL_Reg lua_probe_maps_methods[] = {
	{"maps", probe_maps},
	{"programs", probe_programs},
	{"layout", probe_layout},
	{NULL, NULL},
};
