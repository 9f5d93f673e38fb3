/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.map: the BPF maps of this machine.
 *
 *	list() → { { id, type, name, key_size, value_size, max_entries, flags = { word … }, hashes, btf, pinned = { path … },
 *	             programs = { { id, name } … } } … }, ordered by id; `hashes` only of Bloom filters, `btf`: it describes itself
 *	dump({ path = | id = | name = }, { json, drain, follow, fold = word, limit, fd }) → dump
 *	dump:describe() → a table as in list(), without pinned and programs
 *	dump:run(function(ok | nil, message, code))   on a worker; writes to `fd` (standard output)
 *	dump:stop()                                   ends it soon
 *	dump:rows(), dump:note()                      for afterwards
 *
 * Whoever runs a dump to standard output has to flush what Lua has written before. On failure nil, message, errno name.
 */
#ifndef PERILUNE_LUA_MAP_H
#define PERILUNE_LUA_MAP_H

#include <lua.h>

int luaopen_perilune_core_map(lua_State *L);

#endif
