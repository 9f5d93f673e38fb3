/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.bench: tables to measure on (bench.h). For lua/perilune/bench/.
 *
 * - table(kind, entries) → t | nil, message, code; kind is "hash" or "array"
 * - t:fill() → true | nil, message, code: puts all entries in
 * - t:read(way [, { clear=, json=, most= }]) → seconds, entries | nil, message, code
 * - t:batch(way) → batch (lua_batch.h), seconds | nil, message, code
 * - t:drain(way, fn) → true | nil, message, code: reads and clears all on a worker, then calls fn(seconds, entries) or
 *   fn(nil, message, code); meanwhile the other methods fail with EBUSY
 * - t:id() → the map's id, 0 when it is not known
 * - t:close()
 * - child{ program, argument, … } → seconds, kilobytes at most | nil, message, code: runs it, output thrown away (bench_child.h)
 * - bare(object, program, ifindex) → seconds | nil, message, code: libbpf's open, load and attach, and nothing else (bench_inject.h)
 * - self() → the path of the program that is running
 * - net() and program(): lua_bench_net.h, lua_bench_prog.h
 *
 * A way is "best", "mapped", "gather", "batch" or "single".
 */
#ifndef PERILUNE_LUA_BENCH_H
#define PERILUNE_LUA_BENCH_H

#include <lua.h>

int luaopen_perilune_core_bench(lua_State *L);

#endif
