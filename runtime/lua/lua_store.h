/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.store: files that outlive a run (file.h), for perilune.store.
 *
 *	read(path, most)          → contents, of at most so many bytes
 *	replace(path, bytes)      → true: atomic, on the disk when it returns
 *	replace_soon(path, bytes, done)  → true: the same on a worker, then done(true | nil, message, code)
 *	remove(path), rename(from, to)   → true
 *	log(path)                 → a log: log:write(text) → its size in bytes, log:sync() → true, log:size(), log:close()
 *	lock(path)                → a lock: lock:close(); it ends with the process
 *	is_own(directory)         → true when nobody else may put anything into it; nil, message, code when others may, or it is not there
 *	sweep(directory)          removes what processes that are gone have left half written
 *	privileged()              → whether this is root
 *
 * All fail as nil, message, code.
 */
#ifndef PERILUNE_LUA_STORE_H
#define PERILUNE_LUA_STORE_H

#include <lua.h>

int luaopen_perilune_core_store(lua_State *L);

#endif
