/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.tap: captures that go on (tap.h), for Lua.
 *
 *	open(probe)				→ tap | nil, message, code
 *	tap:start({ path =, comment =, snap =, packets =, bytes =, ends = (µs since the epoch), everything =, set = (a number from 0) })
 *						→ slot | nil, message, code
 *	tap:suspect(slot, member, field)	→ true | nil, message, code
 *	tap:interface(ifindex, name)
 *	tap:consume(capture)			in a replay, after each frame: takes what the programs have copied of the capture's current one
 *	tap:ended(slot)				→ whether it has ended by itself
 *	tap:stop(slot)				→ { packets =, bytes =, lost =, why =, message = } what is wrong with the file, if anything is
 *	tap:close()
 *
 *	room(directory, total, bytes, oldest)	makes the directory if need be, and room for a file of so many bytes among its *.pcapng of at most `total`
 *						bytes together, by removing the oldest if `oldest` → true | nil, message, code
 */
#ifndef PERILUNE_LUA_TAP_H
#define PERILUNE_LUA_TAP_H

#include <lua.h>

int luaopen_perilune_core_tap(lua_State *L);

#endif
