/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.term: the terminal, as far as a screen needs it. See lua_term.c for its functions.
 */
#ifndef PERILUNE_LUA_TERM_H
#define PERILUNE_LUA_TERM_H

#include <lua.h>

int luaopen_perilune_core_term(lua_State *L);

#endif
