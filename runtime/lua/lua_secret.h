/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.secret: what credentials need.
 *
 *	sha256(text)    → 64 hex digits
 *	random(bytes)   → so many bytes that nobody can guess (at most 256) | nil, message, code
 *	equal(a, b)     → whether two texts are the same; how long that takes says nothing of where they differ
 *	uid()           → the effective user
 */
#ifndef PERILUNE_LUA_SECRET_H
#define PERILUNE_LUA_SECRET_H

#include <lua.h>

int luaopen_perilune_core_secret(lua_State *L);

#endif
