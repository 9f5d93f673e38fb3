/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

#include "lua/lua_vm.h"

#define CAPTURE_TYPE "perilune.capture"
#define FRAME_MAX (1UL << 20)

struct lua_capture {
	struct capture *capture; /* NULL: closed */
	struct capture_frame frame;
	struct buf copy; /* of a frame with other addresses */
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
	buf__init(&c->copy, FRAME_MAX);
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

static struct lua_capture *check_frame(lua_State *L)
{
	struct lua_capture *c = check(L);

	luaL_argcheck(L, c->has_frame, 1, "the capture has no current frame");
	return c;
}

static int capture_at(lua_State *L)
{
	struct lua_capture *c = check_frame(L);
	lua_Number us = luaL_checknumber(L, 2), ns = luaL_checknumber(L, 3);

	luaL_argcheck(L, us >= 0 && us < 9e15, 2, "µs since the epoch expected");
	luaL_argcheck(L, ns >= 0 && ns < 1000, 3, "0 to 999 ns expected");
	c->frame.time = (uint64_t)us * 1000 + (uint64_t)ns;
	return 0;
}

static int capture_readdress(lua_State *L)
{
	static const char *const ends[] = {"src", "dst", NULL};
	struct lua_capture *c = check_frame(L);
	bool destination = luaL_checkoption(L, 2, NULL, ends);
	const char *text = luaL_checkstring(L, 3);
	bool v6 = strchr(text, ':') != NULL;
	unsigned char address[16];
	struct error error;
	int err;

	luaL_argcheck(L, inet_pton(v6 ? AF_INET6 : AF_INET, text, address) == 1, 3,
		      "an address expected");
	err = capture_frame__readdress(&c->frame, &c->copy, destination, address, v6 ? 16 : 4,
				       (uint32_t)luaL_checknumber(L, 4));
	if (err && err != -ENOENT) {
		error__set(&error, err, "a frame cannot be copied: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	lua_pushboolean(L, !err);
	return 1;
}

static int capture_close(lua_State *L)
{
	struct lua_capture *c = luaL_checkudata(L, 1, CAPTURE_TYPE);

	capture__close(c->capture);
	buf__free(&c->copy);
	*c = (struct lua_capture){0};
	return 0;
}

static const luaL_Reg methods[] = {
	{"next", capture_next},
	{"peek_addresses", capture_peek_addresses},
	{"at", capture_at},
	{"readdress", capture_readdress},
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
	lua_vm__type(L, CAPTURE_TYPE, methods);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
