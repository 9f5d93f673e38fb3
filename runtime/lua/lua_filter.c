/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_filter.h"

#include <lauxlib.h>

#include "compile/filter.h"
#include "lua/lua_vm.h"

#define SOURCE_MAX (1UL << 20)

static int filter_source(lua_State *L)
{
	const char *expression = luaL_checkstring(L, 1);
	const char *name = luaL_checkstring(L, 2);
	struct error error = {0};
	struct buf out;
	int err;

	buf__init(&out, SOURCE_MAX);
	err = filter__source(expression, name, &out, &error);
	if (err) {
		buf__free(&out);
		return lua_vm__fail(L, err, &error);
	}
	lua_pushlstring(L, out.data, out.len);
	buf__free(&out);
	return 1;
}

int luaopen_perilune_core_filter(lua_State *L)
{
	static const luaL_Reg functions[] = {{"source", filter_source}, {NULL, NULL}};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
