/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.twin: windows over objects that know nothing of windows, for Lua (see twin.h).
 *
 *	open(object, name)                  → twin | nil, message, code
 *	twin:entries(map, n)                before load: entries of a map
 *	twin:use(program, hook)             before load: what a program is for, when its section's name does not say so
 *	twin:tail(map, index, program)      before load: a tail call, in each instance its own
 *	twin:share(other, map)              before load: a map is the other's (twin.h)
 *	twin:keep()                         maps that are not windowed are read with every CPU's values
 *	twin:load(done)                     done(true) | done(nil, message, code), as all that follow
 *	twin:attach({hook=, ifindex=, mode=, program=}, done)    done(mode)
 *	twin:windows({ {map=, fold=, field=, total={map=, field=, index=}}, … }, done)   done(true); after load, also when attached; fold: as
 *	                                    for probe:windows; total: where what an LRU map's `field` should add up to is counted
 *	twin:ways()                         how each windowed map is read here: { [position] = "gather", … }
 *	twin:swap(maps, done)               ends the window; maps: {true|false, …} by position; done({ [position] = batch }, cost)
 *	twin:flip(done)                     the first part of a swap: done(cost), and
 *	twin:drain(maps, done)              the second: as swap's; between them, twins that share maps are flipped
 *	twin:read(map, {clear=}|nil, done)  a map in use: done(batch); with clear, what is read is removed
 *	twin:put(map, key, value)           after load: sets an entry; both are bytes
 *	twin:adopt(other, done)             takes over the other's links, each in one step: done(true)
 *	twin:detach(done)                   done(count)
 *	twin:close()                        detaches and unloads; also when collected. Batches that came of it stay
 *
 * cost: { wall = µs since the epoch and now = monotonic s, when the window ended; swap=, skew=, skew_least=, grace=, read=: seconds;
 * gone = links whose interface no longer is; evicted = { [position] = count } }.
 *
 * One piece of work at a time: while a done is owed, all of these answer "EBUSY".
 */
#ifndef PERILUNE_LUA_TWIN_H
#define PERILUNE_LUA_TWIN_H

#include <lua.h>

int luaopen_perilune_core_twin(lua_State *L);

#endif
