/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For bindings: what stands in the tables that describe windows and attachments. `table` is a place on the stack.
 */
#ifndef PERILUNE_LUA_TABLE_H
#define PERILUNE_LUA_TABLE_H

#include <lua.h>

#include "probe/window_map.h"

lua_Integer lua_table__integer(lua_State *L, int table, const char *name, lua_Integer otherwise);

/* NULL when it is not there. Valid as long as the table holds it. */
const char *lua_table__string(lua_State *L, int table, const char *name);

#define LUA_FOLDS_MAX 256

struct lua_folds {
	struct window_fold items[LUA_FOLDS_MAX];
	size_t count;
};

/*
 * Reads `fold` ("sum", "min", "max", "last", or a table of field = one of these) behind those that `folds` has. Returns how many,
 * *first where they begin. "none": *keep, and no folds. A Lua error for any other word or thing. The texts are valid as long as
 * the table holds them.
 */
size_t lua_table__folds(lua_State *L, int table, struct lua_folds *folds,
			const struct window_fold **first, bool *keep);

#endif
