/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.compile: C source to BPF object, beside the loop, or while the caller waits.
 *
 * - start({name=, source=, args={…}, cache=directory or ""}, done) → c | nil, message, code
 *   Calls done(object, {cached=, seconds=}) or done(nil, message, code), once, later.
 *   c:cancel() makes that "ECANCELED".
 * - now({…}) → object, {cached=, seconds=} | nil, message, code: the same, and the caller waits
 * - clang() → path | nil, message, code
 * - cache_dir() → path | nil, message, code
 */
#ifndef PERILUNE_LUA_COMPILE_H
#define PERILUNE_LUA_COMPILE_H

#include <lua.h>

int luaopen_perilune_core_compile(lua_State *L);

#endif
