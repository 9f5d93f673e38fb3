/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.probe: objects, their windows and their attachments, for Lua.
 *
 *	open(object, name)              → probe | nil, message, code
 *	probe:entries(map, n)           before load: entries of a map (of each half)
 *	probe:maps()                    what the source declares: { { name=, type="hash", entries=, padding= }, … }; padding: bytes of
 *	                                its key that no member is
 *	probe:programs()                { { name=, section= }, … }
 *	probe:layout(map[, index])      of a map's records, as batch:layout() gives it; index: an enum that names an array's index
 *	probe:load(done)                on a worker; done(true) | done(nil, message, code)
 *	probe:windows{ {map=, kind="map"|"array", entries=, index=, fold=}, … }   after load: the windowed maps, in this order;
 *					fold of per-CPU values: "sum"|"min"|"max"|"last", or { field = one of them, … }
 *	probe:netns(name | nil)         the network namespace that interfaces are in, nil for the process's own; before anything is attached
 *	probe:attach({hook=, ifindex=, iface=, mode=, program=}, done)      done(mode); "ENODEV": no interface of this index is called iface
 *	probe:release(ifindex, done)    from one interface, also one that has gone; done(count)
 *	probe:alive(ifindex, done)      done(boolean): whether all that was attached there still is
 *	probe:detach(done)              done(count)
 *	probe:take_over(from, {[hook] = program}, done)   puts its programs in the place of those of another probe, wherever that is attached
 *					to one of these hooks, each in one step; done(true). Neither is to be touched until done
 *	probe:flip(level, thin, shed)   one store: ends the window, next one at level (an index from 0), sampled probes thinned 2^thin times,
 *	                                probes of the bits in shed off (both 0 when nil) → wall µs, monotonic s, what has begun: { level =,
 *	                                thin =, shed =, by_trigger = whether a trigger has raised the level, deepest = the highest level that
 *	                                the ended window may have counts of }; "EBUSY" while the last window is not drained
 *	probe:raised()                  whether a trigger has changed the level since the last flip
 *	probe:arm(armed, raising)       bit i: the i-th trigger is tested; it may raise the level
 *	probe:ways()                    how each windowed map is read here: { [position] = "gather", … }
 *	probe:drain(maps, done)         on a worker, after the grace period; maps: {true|false, …} by position;
 *	                                done({ [position] = batch }, { swap =, grace =, read =, skew = 0 }), in seconds
 *	probe:drain_now(maps)           without grace period, rows sorted: for replays; → { [position] = batch }
 *	probe:member(set, member, in)   puts an address or subnet into a set that limits probes, or takes it out
 *	probe:renew(mono)               leases of levels run anew, from now or from an earlier time (s); before the first time they do not run
 *	probe:clock()                   sets the programs' wall clock right
 *	probe:run(program, capture)     replays the capture's current frame through an XDP program
 *	probe:events(map, type, fn)     after load: fn(batch) whenever events have come into the ring buffer `map` (bpf/ring.h), as records
 *	                                of the struct `type`, oldest first → events; events:consume(): calls fn now with what is there
 *	                                → how many; events:close(): no more of them; until then they outlive the probe
 *	probe:close()                   detaches; also when collected
 *
 * One piece of work at a time: while a done of theirs is owed, load, attach, release, alive and detach answer "EBUSY". A drain goes on
 * beside them, and is alone of its kind as well.
 */
#ifndef PERILUNE_LUA_PROBE_H
#define PERILUNE_LUA_PROBE_H

#include <lua.h>

struct probe;

/* The probe at `index`; a Lua error when it is none, or closed. */
struct probe *lua_probe__get(lua_State *L, int index);

int luaopen_perilune_core_probe(lua_State *L);

#endif
