/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_bench_net.h"

#include <lauxlib.h>
#include <net/if.h>
#include <string.h>

#include "bench/bench_load.h"
#include "bench/bench_net.h"
#include "lua/lua_table.h"
#include "lua/lua_vm.h"

#define TYPE "perilune.bench.net"

struct lua_bench_net {
	struct bench_net *net;
	struct bench_load *load; /* NULL: none */
};

static int new_net(lua_State *L)
{
	struct lua_bench_net *self = lua_newuserdata(L, sizeof(*self));
	struct error error;
	int err;

	*self = (struct lua_bench_net){0};
	luaL_getmetatable(L, TYPE);
	lua_setmetatable(L, -2);
	err = bench_net__new(&self->net, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static struct lua_bench_net *check(lua_State *L)
{
	return luaL_checkudata(L, 1, TYPE);
}

static int net_interface(lua_State *L)
{
	lua_pushinteger(L, bench_net__ifindex(check(L)->net));
	return 1;
}

static int net_name(lua_State *L)
{
	char name[IF_NAMESIZE] = "";

	lua_pushstring(L, if_indextoname((unsigned int)bench_net__ifindex(check(L)->net), name));
	return 1;
}

static int net_send(lua_State *L)
{
	int count = luaL_checkint(L, 2), err;
	struct error error;

	luaL_argcheck(L, count >= 0 && count <= 65536, 2, "at most 65536 packets");
	err = bench_net__send(check(L)->net, (uint32_t)count);
	if (err) {
		error__set(&error, err, "cannot send: %s", strerror(-err));
		return lua_vm__fail(L, err, &error);
	}
	lua_pushboolean(L, 1);
	return 1;
}

static int net_load(lua_State *L)
{
	struct lua_bench_net *self = check(L);
	struct bench_load_pace pace;
	struct error error;
	int err;

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_argcheck(L, !self->load, 1, "there is load already");
	pace = (struct bench_load_pace){.packets = (uint32_t)lua_table__integer(L, 2, "packets", 0),
					.marked = (uint32_t)lua_table__integer(L, 2, "marked", 0),
					.milliseconds = (uint32_t)lua_table__integer(L, 2,
										     "milliseconds",
										     0)};
	err = bench_load__start(self->net, &pace, &self->load, &error);
	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushboolean(L, 1);
	return 1;
}

static int net_unload(lua_State *L)
{
	struct lua_bench_net *self = check(L);

	lua_pushnumber(L, (double)bench_load__stop(self->load));
	self->load = NULL;
	return 1;
}

static int net_gc(lua_State *L)
{
	struct lua_bench_net *self = check(L);

	bench_load__stop(self->load);
	bench_net__free(self->net);
	*self = (struct lua_bench_net){0};
	return 0;
}

void lua_bench_net__add(lua_State *L)
{
	static const luaL_Reg methods[] = {
		{"interface", net_interface},
		{"name", net_name},
		{"send", net_send},
		{"load", net_load},
		{"unload", net_unload},
		{"__gc", net_gc},
		{NULL, NULL},
	};

	lua_vm__type(L, TYPE, methods);
	lua_pushcfunction(L, new_net);
	lua_setfield(L, -2, "net");
}
