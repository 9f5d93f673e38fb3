/* SPDX-License-Identifier: Apache-2.0 */
/* What of a twin is done at once, without a worker. */
#include "lua/lua_twin_impl.h"

#include <errno.h>
#include <string.h>

const char *const lua_twin__hooks[] = {"xdp", "tc.ingress", "tc.egress", NULL};

struct lua_twin *lua_twin__check_at(lua_State *L, int index)
{
	struct lua_twin *t = luaL_checkudata(L, index, TWIN_TYPE);

	if (!t->twin || t->closed || t->closing)
		luaL_error(L, "this twin is closed");
	return t;
}

struct lua_twin *lua_twin__check(lua_State *L)
{
	return lua_twin__check_at(L, 1);
}

int lua_twin__fail(lua_State *L, int code, const char *message)
{
	struct error error;

	error__set(&error, code, "%s", message);
	return lua_vm__fail(L, code, &error);
}

static int answer(lua_State *L, int err, const struct error *error)
{
	if (err)
		return lua_vm__fail(L, err, error);
	lua_pushboolean(L, 1);
	return 1;
}

int lua_twin__open(lua_State *L)
{
	size_t len;
	const char *object = luaL_checklstring(L, 1, &len);
	const char *name = luaL_checkstring(L, 2);
	struct lua_twin *t = lua_newuserdata(L, sizeof(*t));
	struct error error = {0};
	int err;

	memset(t, 0, sizeof(*t));
	t->vm = lua_vm__from(L);
	t->done_ref = t->self_ref = t->argument_ref = LUA_NOREF;
	luaL_getmetatable(L, TWIN_TYPE);
	lua_setmetatable(L, -2);
	err = twin__open(object, len, name, &t->twin, &error);
	return err ? lua_vm__fail(L, err, &error) : 1;
}

int lua_twin__entries(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);
	struct error error = {0};

	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	return answer(L,
		      twin__set_entries(t->twin, luaL_checkstring(L, 2),
					(uint32_t)luaL_checknumber(L, 3), &error),
		      &error);
}

int lua_twin__use(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);
	const char *program = luaL_checkstring(L, 2);
	enum hook hook = (enum hook)luaL_checkoption(L, 3, NULL, lua_twin__hooks);
	struct error error = {0};

	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	return answer(L, twin__use(t->twin, program, hook, &error), &error);
}

int lua_twin__tail(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);
	struct error error = {0};

	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	return answer(L,
		      twin__set_tail(t->twin, luaL_checkstring(L, 2),
				     (uint32_t)luaL_checknumber(L, 3), luaL_checkstring(L, 4),
				     &error),
		      &error);
}

int lua_twin__share(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);
	const struct lua_twin *other = lua_twin__check_at(L, 2);
	struct error error = {0};

	if (t->busy || other->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	return answer(L, twin__share(t->twin, other->twin, luaL_checkstring(L, 3), &error), &error);
}

int lua_twin__keep(lua_State *L)
{
	twin__keep(lua_twin__check(L)->twin);
	return 0;
}

int lua_twin__put(lua_State *L)
{
	struct lua_twin *t = lua_twin__check(L);
	const char *map = luaL_checkstring(L, 2);
	size_t key_size, value_size;
	const char *key = luaL_checklstring(L, 3, &key_size);
	const char *value = luaL_checklstring(L, 4, &value_size);
	struct error error = {0};

	if (t->busy)
		return lua_twin__fail(L, -EBUSY, "the twin is busy");
	return answer(L, twin__put(t->twin, map, key, key_size, value, value_size, &error), &error);
}
