/* SPDX-License-Identifier: Apache-2.0 */
/*
 * perilune.core.loop: the event loop, its clocks, timers and signals. Monotonic times are seconds.
 *
 * - run() → true | nil, message, code: until stop(), or until nothing is left that could call back
 * - stop()
 * - now() → seconds, monotonic
 * - wall() → whole µs since the epoch
 * - boot() → whole µs of the boot clock, which goes on while the machine sleeps
 * - timer(fn) → t with t:start(deadline), t:stop(), t:close(); a running one stays alive by itself
 * - signal("SIGINT", fn) → s; calls fn("SIGINT") for each one, until s:close()
 * - on_step(fn) → s; calls fn() each time somebody sets the wall clock, until s:close(); nil, message, code where that cannot be watched
 * - watch(fd, fn) → w; calls fn() whenever the descriptor can be read, again and again until it has been, until w:close(); does not
 *   keep the loop running
 * - rfc3339(µs [, ns beyond it]) → "2026-11-23T21:06:05.123456000Z"
 * - pid()
 * - urgent() → whether the loop's thread runs sooner from now on when something wakes it (urgency.h)
 */
#ifndef PERILUNE_LUA_LOOP_H
#define PERILUNE_LUA_LOOP_H

#include <lua.h>

int luaopen_perilune_core_loop(lua_State *L);

#endif
