/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.pins: maps of a policy on the BPF file system (pins.h), for Lua.
 *
 *	open(policy)			→ pins | nil, message, code
 *	pins:reuse(probe, map, name, keep)	before the probe is loaded: use what is pinned under that name, by an earlier run if
 *					kept → true | nil, message, code
 *	pins:remove(name)		of one that is not kept
 *	pins:add(probe, map, name, keep)	→ its path | nil, message, code
 *	pins:close()			removes what is not kept
 */
#ifndef PERILUNE_LUA_PINS_H
#define PERILUNE_LUA_PINS_H

#include <lua.h>

int luaopen_perilune_core_pins(lua_State *L);

#endif
