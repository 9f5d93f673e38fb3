/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_pins.h"

#include <lauxlib.h>

#include "lua/lua_probe.h"
#include "lua/lua_vm.h"
#include "probe/pins.h"

#define PINS_TYPE "perilune.pins"

static int core_open(lua_State *L)
{
	const char *policy = luaL_checkstring(L, 1);
	struct pins **pins = lua_newuserdata(L, sizeof(struct pins *));
	struct error error;
	int err;

	*pins = NULL;
	luaL_getmetatable(L, PINS_TYPE);
	lua_setmetatable(L, -2);
	err = pins__open(policy, pins, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static struct pins *check(lua_State *L)
{
	struct pins **pins = luaL_checkudata(L, 1, PINS_TYPE);

	if (!*pins)
		luaL_error(L, "these pins are closed");
	return *pins;
}

static int pins_reuse(lua_State *L)
{
	struct pins *pins = check(L);
	struct error error;
	int err = pins__reuse(pins, lua_probe__get(L, 2), luaL_checkstring(L, 3),
			      luaL_checkstring(L, 4), lua_toboolean(L, 5), &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

static int pins_add(lua_State *L)
{
	struct pins *pins = check(L);
	char path[PINS_PATH];
	struct error error;
	int err = pins__add(pins, lua_probe__get(L, 2), luaL_checkstring(L, 3),
			    luaL_checkstring(L, 4), lua_toboolean(L, 5), path, &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushstring(L, path);
	return 1;
}

static int pins_remove(lua_State *L)
{
	pins__remove(check(L), luaL_checkstring(L, 2));
	return 0;
}

static int pins_close(lua_State *L)
{
	struct pins **pins = luaL_checkudata(L, 1, PINS_TYPE);

	pins__close(*pins);
	*pins = NULL;
	return 0;
}

int luaopen_perilune_core_pins(lua_State *L)
{
	static const luaL_Reg methods[] = {{"reuse", pins_reuse},
					   {"add", pins_add},
					   {"remove", pins_remove},
					   {"close", pins_close},
					   {NULL, NULL}};
	static const luaL_Reg functions[] = {{"open", core_open}, {NULL, NULL}};

	luaL_newmetatable(L, PINS_TYPE);
	lua_newtable(L);
	luaL_register(L, NULL, methods);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, pins_close);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
