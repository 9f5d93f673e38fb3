/* SPDX-License-Identifier: Apache-2.0 */
#include "lua_capture.h"

#include <arpa/inet.h>
#include <lauxlib.h>

#include "lua_vm.h"

#define CAPTURE_TYPE "perilune.capture"

struct lua_capture {
	struct capture *capture; /* NULL: closed */
	struct capture_frame frame;
	int has_frame;
};

static struct lua_capture *check(lua_State *L)
{
	struct lua_capture *c = luaL_checkudata(L, 1, CAPTURE_TYPE);

	if (!c->capture)
		luaL_error(L, "this capture is closed");
	return c;
}

struct capture_frame *lua_capture__frame(lua_State *L, int index)
{
	struct lua_capture *c = luaL_checkudata(L, index, CAPTURE_TYPE);

	luaL_argcheck(L, c->has_frame, index, "the capture has no current frame");
	return &c->frame;
}

static int core_open(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	struct lua_capture *c = lua_newuserdata(L, sizeof(*c));
	struct error error;
	int err;

	*c = (struct lua_capture){0};
	luaL_getmetatable(L, CAPTURE_TYPE);
	lua_setmetatable(L, -2);
	err = capture__open(path, &c->capture, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static int capture_next(lua_State *L)
{
	struct lua_capture *c = check(L);
	struct error error;
	int got = capture__next(c->capture, &c->frame, &error);
	uint64_t us;

	c->has_frame = got == 1;
	if (got < 0)
		return lua_vm__fail(L, got, &error);
	if (!got) {
		lua_pushnil(L);
		return 1;
	}
	us = c->frame.time / 1000;
	lua_pushnumber(L, (double)us);
	lua_pushinteger(L, (lua_Integer)(c->frame.time % 1000));
	lua_pushinteger(L, c->frame.captured);
	lua_pushinteger(L, c->frame.wire);
	return 4;
}

static int capture_peek_addresses(lua_State *L)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	struct lua_capture *c = check(L);

	if (!c->has_frame || capture_frame__addresses(&c->frame, src, dst, sizeof(src))) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushstring(L, src);
	lua_pushstring(L, dst);
	return 2;
}

static int capture_close(lua_State *L)
{
	struct lua_capture *c = luaL_checkudata(L, 1, CAPTURE_TYPE);

	capture__close(c->capture);
	*c = (struct lua_capture){0};
	return 0;
}

static const luaL_Reg methods[] = {
	{"next", capture_next},
	{"peek_addresses", capture_peek_addresses},
	{"close", capture_close},
	{"__gc", capture_close},
	{NULL, NULL},
};

static const luaL_Reg functions[] = {
	{"open", core_open},
	{NULL, NULL},
};

int luaopen_perilune_core_capture(lua_State *L)
{
	luaL_newmetatable(L, CAPTURE_TYPE);
	luaL_register(L, NULL, methods);
	lua_pushvalue(L, -1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
