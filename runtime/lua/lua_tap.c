/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_tap.h"

#include <lauxlib.h>
#include <string.h>

#include "capture/tap.h"
#include "capture/tap_room.h"
#include "lua/lua_capture.h"
#include "lua/lua_probe.h"
#include "lua/lua_table.h"
#include "lua/lua_vm.h"

#define TAP_TYPE "perilune.tap"
#define FILE_TYPE "perilune.tap.file"

static int core_open(lua_State *L)
{
	struct probe *probe = lua_probe__get(L, 1);
	struct tap **tap = lua_newuserdata(L, sizeof(struct tap *));
	struct error error;
	int err;

	*tap = NULL;
	luaL_getmetatable(L, TAP_TYPE);
	lua_setmetatable(L, -2);
	/* The tap looks into maps of the probe's, so it keeps that. */
	lua_newtable(L);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, 1);
	lua_setfenv(L, -2);
	err = tap__open(lua_vm__loop(lua_vm__from(L)), probe, tap, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static struct tap *check(lua_State *L)
{
	struct tap **tap = luaL_checkudata(L, 1, TAP_TYPE);

	if (!*tap)
		luaL_error(L, "this tap is closed");
	return *tap;
}

static int tap_start(lua_State *L)
{
	struct tap *tap = check(L);
	struct tap_spec spec = {0};
	struct error error;
	int slot, err;

	luaL_checktype(L, 2, LUA_TTABLE);
	spec.path = lua_table__string(L, 2, "path");
	spec.comment = lua_table__string(L, 2, "comment");
	luaL_argcheck(L, spec.path && spec.comment, 2, "path and comment");
	spec.snap = (uint32_t)lua_table__integer(L, 2, "snap", 0);
	lua_getfield(L, 2, "packets");
	spec.packets = (uint64_t)luaL_checknumber(L, -1);
	lua_getfield(L, 2, "bytes");
	spec.bytes = (uint64_t)luaL_checknumber(L, -1);
	lua_getfield(L, 2, "ends");
	spec.until = (uint64_t)luaL_checknumber(L, -1) * 1000;
	lua_getfield(L, 2, "everything");
	spec.everything = lua_toboolean(L, -1);
	lua_getfield(L, 2, "patient");
	spec.patient = lua_toboolean(L, -1);
	spec.set = (int)lua_table__integer(L, 2, "set", -1);
	err = tap__start(tap, &spec, &slot, &error);
	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushinteger(L, slot);
	return 1;
}

static int tap_suspect(lua_State *L)
{
	struct error error;
	int err = tap__suspect(check(L), (int)luaL_checkinteger(L, 2), luaL_checkstring(L, 3),
			       luaL_checkstring(L, 4), &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

static int tap_interface(lua_State *L)
{
	tap__interface(check(L), (uint32_t)luaL_checkinteger(L, 2), luaL_checkstring(L, 3));
	return 0;
}

static int tap_consume(lua_State *L)
{
	const struct capture_frame *frame = lua_capture__frame(L, 2);

	tap__consume(check(L), frame->data, frame->captured);
	return 0;
}

static int tap_ended(lua_State *L)
{
	lua_pushboolean(L, tap__ended(check(L), (int)luaL_checkinteger(L, 2)));
	return 1;
}

static int tap_stop(lua_State *L)
{
	struct pcapng **file = lua_newuserdata(L, sizeof(struct pcapng *));
	struct tap_result result;

	*file = NULL;
	luaL_getmetatable(L, FILE_TYPE);
	lua_setmetatable(L, -2);
	tap__stop(check(L), (int)luaL_checkinteger(L, 2), &result, file);
	lua_createtable(L, 0, 5);
	lua_pushnumber(L, (double)result.packets);
	lua_setfield(L, -2, "packets");
	lua_pushnumber(L, (double)result.bytes);
	lua_setfield(L, -2, "bytes");
	lua_pushnumber(L, (double)result.lost);
	lua_setfield(L, -2, "lost");
	lua_pushstring(L, result.why); /* nil when NULL */
	lua_setfield(L, -2, "why");
	if (result.code) {
		lua_pushstring(L, strerror(-result.code));
		lua_setfield(L, -2, "message");
	}
	lua_insert(L, -2);
	return 2;
}

/* Whether it is complete, and what was wrong with it; with true it is waited for. */
static int file_ended(lua_State *L)
{
	struct pcapng **file = luaL_checkudata(L, 1, FILE_TYPE);
	int err;

	luaL_argcheck(L, *file, 1, "its end is known");
	if (!lua_toboolean(L, 2) && !pcapng__has_ended(*file)) {
		lua_pushboolean(L, 0);
		return 1;
	}
	err = pcapng__close(*file);
	*file = NULL;
	lua_pushboolean(L, 1);
	if (err)
		lua_pushstring(L, strerror(-err));
	return err ? 2 : 1;
}

static int file_close(lua_State *L)
{
	struct pcapng **file = luaL_checkudata(L, 1, FILE_TYPE);

	pcapng__close(*file);
	*file = NULL;
	return 0;
}

static int tap_close(lua_State *L)
{
	struct tap **tap = luaL_checkudata(L, 1, TAP_TYPE);

	tap__close(*tap);
	*tap = NULL;
	return 0;
}

static int core_room(lua_State *L)
{
	struct error error;
	int err = tap_room__make(luaL_checkstring(L, 1), (uint64_t)luaL_checknumber(L, 2),
				 (uint64_t)luaL_checknumber(L, 3), lua_toboolean(L, 4), &error);

	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

int luaopen_perilune_core_tap(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"start", tap_start},	  {"suspect", tap_suspect}, {"interface", tap_interface},
		{"consume", tap_consume}, {"ended", tap_ended},	    {"stop", tap_stop},
		{"close", tap_close},	  {"__gc", tap_close},	    {NULL, NULL}};
	static const luaL_Reg file_methods[] = {{"ended", file_ended},
						{"__gc", file_close},
						{NULL, NULL}};
	static const luaL_Reg functions[] = {{"open", core_open},
					     {"room", core_room},
					     {NULL, NULL}};

	lua_vm__type(L, TAP_TYPE, methods);
	lua_vm__type(L, FILE_TYPE, file_methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
