/* SPDX-License-Identifier: Apache-2.0 */
#include "lua/lua_table.h"

#include <lauxlib.h>
#include <string.h>

lua_Integer lua_table__integer(lua_State *L, int table, const char *name, lua_Integer otherwise)
{
	lua_Integer value;

	lua_getfield(L, table, name);
	value = luaL_optinteger(L, -1, otherwise);
	lua_pop(L, 1);
	return value;
}

const char *lua_table__string(lua_State *L, int table, const char *name)
{
	const char *value;

	lua_getfield(L, table, name);
	value = lua_tostring(L, -1);
	lua_pop(L, 1);
	return value;
}

/* The word is at the top of the stack. */
static void add(lua_State *L, struct lua_folds *folds, const char *field)
{
	const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
	struct window_fold *fold = &folds->items[folds->count];

	if (folds->count == LUA_FOLDS_MAX)
		luaL_error(L, "more than %d folds", LUA_FOLDS_MAX);
	fold->field = field;
	if (!word || layout__fold_by_name(word, &fold->fold))
		luaL_error(L, "fold%s%s is sum, min, max or last%s", field ? " of " : "",
			   field ? field : "", field ? "" : ", or none");
	folds->count++;
}

size_t lua_table__folds(lua_State *L, int table, struct lua_folds *folds,
			const struct window_fold **first, bool *keep)
{
	size_t before = folds->count;

	*first = &folds->items[before];
	lua_getfield(L, table, "fold");
	*keep = lua_type(L, -1) == LUA_TSTRING && !strcmp(lua_tostring(L, -1), "none");
	if (*keep) {
		lua_pop(L, 1);
		return 0;
	}
	if (lua_istable(L, -1)) {
		lua_pushnil(L);
		while (lua_next(L, -2)) {
			if (lua_type(L, -2) != LUA_TSTRING)
				luaL_error(L, "fold takes names of fields");
			add(L, folds, lua_tostring(L, -2));
			lua_pop(L, 1);
		}
	} else if (!lua_isnil(L, -1)) {
		add(L, folds, NULL);
	}
	lua_pop(L, 1);
	return folds->count - before;
}
