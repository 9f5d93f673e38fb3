/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.filter: pcap-filter(7) expressions (filter.h).
 *
 *	source(expression, name) → C text of a function `name` | nil, message, code
 */
#ifndef PERILUNE_LUA_FILTER_H
#define PERILUNE_LUA_FILTER_H

#include <lua.h>

int luaopen_perilune_core_filter(lua_State *L);

#endif
