/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_bench_prog.h"

#include <lauxlib.h>

#include "bench/bench_prog.h"
#include "lua/lua_vm.h"

#define TYPE "perilune.bench.program"
#define REPEAT_MAX 100000000

static int new_program(lua_State *L)
{
	size_t len;
	const char *object = luaL_checklstring(L, 1, &len);
	struct bench_prog **self = lua_newuserdata(L, sizeof(struct bench_prog *));
	struct error error;
	int err;

	*self = NULL;
	luaL_getmetatable(L, TYPE);
	lua_setmetatable(L, -2);
	err = bench_prog__new(object, len, self, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

static struct bench_prog *check(lua_State *L)
{
	struct bench_prog *self = *(struct bench_prog **)luaL_checkudata(L, 1, TYPE);

	if (!self)
		luaL_error(L, "this program is closed");
	return self;
}

static int program_cost(lua_State *L)
{
	const struct bench_prog_cost *cost = bench_prog__cost(check(L));

	lua_createtable(L, 0, 4);
	lua_pushnumber(L, cost->instructions);
	lua_setfield(L, -2, "instructions");
	lua_pushnumber(L, cost->verified);
	lua_setfield(L, -2, "verified");
	lua_pushnumber(L, cost->states);
	lua_setfield(L, -2, "states");
	lua_pushnumber(L, (double)cost->map_bytes);
	lua_setfield(L, -2, "map_bytes");
	return 1;
}

static int program_run(lua_State *L)
{
	struct bench_prog *self = check(L);
	size_t len;
	const char *frame = luaL_checklstring(L, 2, &len);
	lua_Number repeat = luaL_checknumber(L, 3);
	struct error error;
	uint32_t ns;
	int err;

	luaL_argcheck(L, repeat >= 1 && repeat <= REPEAT_MAX, 3, "1 to 100 million times");
	err = bench_prog__run(self, frame, len, (uint32_t)repeat, &ns, &error);
	if (err)
		return lua_vm__fail(L, err, &error);
	lua_pushnumber(L, ns);
	return 1;
}

static int program_close(lua_State *L)
{
	struct bench_prog **self = luaL_checkudata(L, 1, TYPE);

	bench_prog__free(*self);
	*self = NULL;
	return 0;
}

void lua_bench_prog__add(lua_State *L)
{
	static const luaL_Reg methods[] = {{"cost", program_cost},
					   {"run", program_run},
					   {"close", program_close},
					   {"__gc", program_close},
					   {NULL, NULL}};

	lua_vm__type(L, TYPE, methods);
	lua_pushcfunction(L, new_program);
	lua_setfield(L, -2, "program");
}
