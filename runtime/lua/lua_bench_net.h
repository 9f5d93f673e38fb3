/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.bench.net() → n | nil, message, code: takes the process into a network namespace of its own, with a veth pair
 * (bench_net.h); before anything runs on a worker.
 *
 * - n:interface() → the index of the interface that packets come in on
 * - n:name() → its name
 * - n:send(count) → true | nil, message, code: so many packets, each from another source
 * - n:load{ packets =, marked =, milliseconds = } → true | nil, message, code: sends on all CPUs (bench_load.h) until
 * - n:unload() → how many packets that were
 */
#ifndef PERILUNE_LUA_BENCH_NET_H
#define PERILUNE_LUA_BENCH_NET_H

#include <lua.h>

/* Makes the type, and sets the function in the table at the top of the stack. */
void lua_bench_net__add(lua_State *L);

#endif
